"""What is private to Dagster. Each name is looked up when it is used, and may be gone."""

from __future__ import annotations

import logging
import multiprocessing.context
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
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


# --- Workers

_A_PROCESS_A_STEP = "each step has a process and a Kedro session of its own"


@or_else(DAGSTER, _A_PROCESS_A_STEP, default=None)
def processes_from(
    executor: dg.Executor,
) -> Callable[[Any], AbstractContextManager[None]] | None:
    """Give a context manager in which the multiprocess executor starts its processes as workers."""
    _step_functions(), _child_process()  # in a worker, it would be too late to go without
    contexts: dict[str, Any] = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
    before: str = executor._start_method  # type: ignore[attr-defined]

    @contextmanager
    def use(workers: Any) -> Iterator[None]:
        name = f"kedro workers {id(workers)}"
        contexts[name] = workers
        executor._start_method = name  # type: ignore[attr-defined]
        try:
            yield
        finally:
            executor._start_method = before  # type: ignore[attr-defined]
            del contexts[name]

    return use


@dataclass(frozen=True)
class StepExecutor:
    """Runs the steps of a run as Dagster's own child processes do, wherever it is sent to."""

    job: Any
    run: dg.DagsterRun
    run_config: Mapping[str, Any]
    retries: Any
    load_data: Any

    def __call__(
        self, instance: dg.DagsterInstance, step_key: str, known_state: Any
    ) -> Iterator[dg.DagsterEvent]:
        """Run a step and give its events; the state is what is known of earlier attempts."""
        dagster = _step_functions()
        yield dg.DagsterEvent.step_worker_started(
            # Without loggers: the event log has it, and no terminal wants it
            dg.DagsterLogManager.create(loggers=[], instance=instance, dagster_run=self.run),
            self.run.job_name,
            message=f'Executing step "{step_key}" in a worker.',
            metadata={"pid": dg.MetadataValue.text(str(os.getpid()))},
            step_key=step_key,
        )
        plan, job, config = self._whole_plan
        plan = plan._replace(known_state=known_state)
        yield from dagster.execute_plan_iterator(
            dagster.build_subset_plan(plan, [step_key], job, config),
            self.job,
            self.run,
            instance,
            retry_mode=self.retries,
            run_config=self.run_config,
        )

    @cached_property
    def _whole_plan(self) -> tuple[Any, ...]:
        """The plan of all steps, made once in a worker: to make it takes longer with each step."""
        dagster = _step_functions()
        job = self.job.with_repository_load_data(self.load_data).get_definition()
        plan = dagster.create_execution_plan(
            job, self.run_config, repository_load_data=self.load_data
        )
        config = dagster.resolve(job, self.run_config)

        def resolve(job_def: Any, run_config: Any = None) -> Any:
            same = job_def is job and run_config == self.run_config
            return config if same else dagster.resolve(job_def, run_config)

        # Dagster resolves the config of all steps at each of them: a fifth of a step among 100.
        dagster.ResolvedRunConfig.build = staticmethod(resolve)
        return plan, job, config


def send_events(queue: Any, events: Iterator[Any]) -> None:
    """Send events from a child process to Dagster's executor, in the form that it reads."""
    dagster = _child_process()

    class Command(dagster.Command):  # type: ignore[misc, name-defined]
        def execute(self) -> Iterator[Any]:
            return events

    dagster.execute(queue, Command())


def child_process_done(pid: int) -> Any:
    """What Dagster's executor has from a child process that has nothing more to do."""
    return _child_process().Done(pid)


def _step_functions() -> SimpleNamespace:
    from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.system_config.objects import ResolvedRunConfig

    return SimpleNamespace(
        create_execution_plan=create_execution_plan,
        build_subset_plan=ExecutionPlan.build_subset_plan,
        execute_plan_iterator=execute_plan_iterator,
        ResolvedRunConfig=ResolvedRunConfig,
        resolve=ResolvedRunConfig.build,
    )


def _child_process() -> SimpleNamespace:
    from dagster._core.executor.child_process_executor import (
        ChildProcessCommand,
        ChildProcessDoneEvent,
        _execute_command_in_child_process,
    )

    return SimpleNamespace(
        Command=ChildProcessCommand,
        Done=ChildProcessDoneEvent,
        execute=_execute_command_in_child_process,
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


@or_else(DAGSTER, "a run that waits for its turn cannot be ended meanwhile", default=None)
def heed_interrupts() -> AbstractContextManager[None] | None:
    """Let the signal that ends a run raise an error meanwhile."""
    from dagster._core.errors import raise_execution_interrupts

    return raise_execution_interrupts()


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


@or_else(DAGSTER, "a variable that an executor needs is told with a traceback", default=[])
def missing_variables(
    executor: dg.ExecutorDefinition, options: Mapping[str, Any]
) -> list[tuple[tuple[str, ...], str]]:
    """Find options whose environment variable is not set, each with Dagster's message."""
    from dagster._config.post_process import post_process_config

    schema = executor.config_schema.config_type
    assert schema is not None
    return [
        (tuple(error.stack.levels), str(getattr(error.error_data, "message", error.message)))
        for error in post_process_config(schema, options).errors or ()
    ]


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
