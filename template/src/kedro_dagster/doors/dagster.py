"""What is private to Dagster. Each name is looked up when it is used, and may be gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from .fallback import needed, or_else, unsupported

if TYPE_CHECKING:
    from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition,
    )
    from dagster._core.execution.context.system import (
        PlanOrchestrationContext as PlanOrchestrationContext,
    )
    from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
    from dagster._core.execution.retries import RetryMode as RetryMode
    from dagster._core.execution.step_dependency_config import (
        StepDependencyConfig as StepDependencyConfig,
    )
    from dagster._core.launcher.base import CheckRunHealthResult as CheckRunHealthResult
    from dagster._core.launcher.base import LaunchRunContext as LaunchRunContext

DAGSTER = "dagster"

# --- Executors


def is_in_process(executor: dg.Executor) -> bool:
    """Whether an executor runs all steps in one process."""
    try:
        from dagster._core.executor.in_process import InProcessExecutor
    except ImportError as error:  # how values pass depends on it
        raise unsupported(DAGSTER, str(error)) from error
    return isinstance(executor, InProcessExecutor)


@or_else(DAGSTER, "the processes of steps are spawned, and each imports the project", default=False)
def is_multiprocess(executor: dg.Executor) -> bool:
    """Whether an executor runs each step in a process of its own."""
    from dagster._core.executor.multiprocess import MultiprocessExecutor

    return isinstance(executor, MultiprocessExecutor)


@or_else(
    DAGSTER,
    "executors on Dask and Celery refuse to run, and each step reads the tags of its run",
    default=None,
)
def context_for(
    context: PlanOrchestrationContext, executor: dg.Executor, run: dg.DagsterRun
) -> PlanOrchestrationContext:
    """The context of a run with another executor and another record of the run in it."""
    from dagster._core.execution.context.system import PlanOrchestrationContext

    return PlanOrchestrationContext(
        context.plan_data._replace(dagster_run=run),
        context.log,
        executor,  # those on Dask and Celery look for themselves there
        context.output_capture,
        context.resume_from_failure,
    )


# --- Steps


def outputs_to_make(outputs: Iterable[Any]) -> list[str]:
    """The outputs of a step that a run is to make; of a multi-asset, these may be some."""
    properties = {output.name: needed(DAGSTER, output, "properties") for output in outputs}
    return [
        name
        for name, one in properties.items()
        if not needed(DAGSTER, one, "is_asset") or needed(DAGSTER, one, "asset_key")
    ]


def resource_of_step(step: dg.StepExecutionContext, key: str) -> Any:
    """A resource that a step requires, whichever of its IO managers asks for it."""
    return getattr(needed(DAGSTER, step, "scoped_resources_builder").build({key}), key)


# --- Partitions and options


def mapping_between(
    given: dg.PartitionMapping | None,
    upstream: dg.PartitionsDefinition[str],
    downstream: dg.PartitionsDefinition[str] | None,
) -> dg.PartitionMapping:
    """The mapping that is given, or else the one that Dagster infers for assets."""
    if given is not None:
        return given
    try:
        from dagster._core.definitions.partitions.utils.mapping import infer_partition_mapping
    except ImportError as error:  # a job's step could get other partitions than an asset
        raise unsupported(DAGSTER, str(error)) from error
    return infer_partition_mapping(None, downstream, upstream)


# --- The event log


@or_else(DAGSTER, "what 'managed_python_loggers' names may be shown twice in runs", default=False)
def is_shown_by_dagster(record: logging.LogRecord) -> bool:
    """Whether Dagster itself stores a record, since ``managed_python_loggers`` names its logger."""
    from dagster._core.log_manager import has_log_record_metadata

    return has_log_record_metadata(record)


@or_else(DAGSTER, "each log record takes a transaction of its own", default=None)
def batch_writer(
    instance: dg.DagsterInstance,
) -> tuple[Any, Callable[[Sequence[dg.EventLogEntry]], None]] | None:
    """Give the storage of the event log, and a function that writes records of one run to it."""
    from dagster._core.storage.event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if instance.is_ephemeral or not isinstance(storage, SqlEventLogStorage):
        return None
    connect, prepare = storage.run_connection, storage.prepare_insert_event_batch

    def write(entries: Sequence[dg.EventLogEntry]) -> None:
        with connect(entries[0].run_id) as connection:
            connection.execute(prepare(entries))

    return storage, write


# --- What a code server hands to its runs

_ALL_PIPELINES = "each run imports the pipelines of all jobs"


def _load_context() -> DefinitionsLoadContext:
    from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext

    return DefinitionsLoadContext.get()


@or_else(DAGSTER, _ALL_PIPELINES, default=None)
def has_runs_to_come() -> bool:
    """Whether this process is a code server that starts runs, and not the process of a run."""
    from dagster._core.definitions.definitions_load_context import DefinitionsLoadType

    return _load_context().load_type is DefinitionsLoadType.INITIALIZATION


@or_else(DAGSTER, _ALL_PIPELINES, default=None)
def hand_to_runs(key: str, text: str) -> None:
    """Send a text along with each run, as Dagster's reconstruction metadata."""
    _load_context().add_to_pending_reconstruction_metadata(key, text)


@or_else(DAGSTER, _ALL_PIPELINES, default=None)
def handed_over(key: str) -> str | None:
    """The text that the code server has sent along with the run of this process."""
    if has_runs_to_come() is not False:
        return None
    text: str | None = _load_context().reconstruction_metadata.get(key)
    return text


# --- The run launcher


@or_else(DAGSTER, "a run fails that a code server refuses while it shuts down", default=None)
def back_to_queue(error: Exception) -> Exception:
    """The error that makes Dagster queue a run once more."""
    from dagster._core.errors import DagsterUserCodeUnreachableError

    return DagsterUserCodeUnreachableError(str(error))


@or_else(DAGSTER, "a run that ends with its code server stays in progress", default=None)
def health_check(
    launcher: dg.DefaultRunLauncher,
) -> Callable[[dg.DagsterRun], CheckRunHealthResult] | None:
    """Give a function that asks a run's code server whether the process of the run is alive."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult

    find_client = launcher._get_grpc_client_for_termination

    def check(run: dg.DagsterRun) -> CheckRunHealthResult:
        client = find_client(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It has ended by now.")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError:  # the server may live, and so may its runs
            return CheckRunHealthResult(WorkerStatus.RUNNING, "The code server is not reached.")
        if dg.deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "It ended with its code server.")

    return check
