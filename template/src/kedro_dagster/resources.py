"""The resources of the code location: the Kedro run of a process, and its IO managers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any

import dagster as dg
from dagster._check import not_none
from dagster._core.execution.context.system import StepExecutionContext
from kedro.io.core import generate_timestamp

from .errors import StepFailedError, TransientDataError
from .event_log import event_log
from .partitions import Scope, typed_keys
from .plan import ProjectPlan
from .run import KedroRun, kept, run_in_this_process, shared
from .run_scope import RunOptions, planned_steps, scope_of
from .run_tags import close_hooks, identity_of, lost_with, new_identity, open_hooks, tags_of

KEDRO = "kedro"
KEDRO_IO_MANAGER = "kedro_io_manager"
IO_MANAGER = "io_manager"
TRANSIENT_IO_MANAGER = "kedro_transient_io_manager"

_CONFIG = {
    "runtime_params": dg.Field(
        dg.Permissive(),
        default_value={},
        is_required=False,
        description="Parameters of this run, as 'kedro run --params' takes them.",
    ),
    "load_versions": dg.Field(
        dg.Map(str, str, "dataset"),
        default_value={},
        is_required=False,
        description="Versions of datasets to load, as 'kedro run --load-versions' takes them.",
    ),
    "partition_keys": dg.Field(
        dg.Any,
        default_value=None,
        is_required=False,
        description="The only partitions to run, of a job that runs all: keys, or {start, end}.",
    ),
}


class Transient(Enum):
    """Where the value of a transient dataset is, when it is not handed over."""

    IN_CATALOG = "in the catalog of this process"
    LOST = "in a process that has ended"


class KedroResource(dg.ResourceDefinition):
    """Gives each process of a run its :class:`KedroRun`; its config is that of ``kedro run``.

    Args:
        plan: The project's plan.
    """

    def __init__(self, plan: ProjectPlan) -> None:
        self.plan = plan
        super().__init__(
            self._open_run,
            config_schema=_CONFIG,
            description="The Kedro run: session, context, hooks and catalog.",
        )

    def _open_run(self, context: dg.InitResourceContext) -> Iterator[KedroRun]:
        plan, options = self.plan, RunOptions(**context.resource_config)
        if context.run is None:  # outside of runs, such as defs.load_asset_value
            yield KedroRun(plan, str(generate_timestamp()), options, ["__default__"])
            return
        run_id = context.run.run_id
        if shared_run := run_in_this_process(run_id):
            yield shared_run
            return
        tags = context.run.tags  # as the run worker has handed them to this process, if it has
        if not identity_of(tags, run_id):
            tags = tags_of(_instance(context), run_id)
        if identity := identity_of(tags, run_id):
            names = plan.pipeline_names(context.run.job_name)
            with kept(run_id, lambda: KedroRun(plan, identity, options, names, tags=tags)) as run:
                yield run
        else:
            yield from _open_alone(plan, context, options)


def _open_alone(
    plan: ProjectPlan, context: dg.InitResourceContext, options: RunOptions
) -> Iterator[KedroRun]:
    """Stand in for :class:`KedroExecutor`: ``execute_in_process`` and ``materialize`` replace it.

    ``after_pipeline_run`` is then called within the last step, where an error of a hook still
    fails the run.
    """
    instance, dagster_run = _instance(context), not_none(context.run)
    steps = planned_steps(instance, dagster_run)
    scope = scope_of(plan, dagster_run.job_name, "in_process", steps)
    names = scope.pipeline_names if scope else ["__default__"]
    identity = new_identity(instance, dagster_run.run_id, single_process=True)
    run = KedroRun(plan, identity, options, names, single_process=True)
    with shared(dagster_run.run_id, run):
        if scope is None:
            yield run
            return
        with event_log(not_none(context.log)):
            open_hooks(instance, dagster_run.run_id, run.start(scope))
        run.finish_with(scope, plan.kedro_steps(dagster_run.job_name).intersection(steps))
        try:
            run.warm_up(scope)
            yield run
        except Exception as error:
            run.errors[""] = error
            raise
        finally:
            if not run.finished:
                errors = [*run.errors.values(), StepFailedError("The run ended early.")]
                run.fail(scope, errors[0])
            close_hooks(instance, dagster_run.run_id)


def _instance(context: dg.InitResourceContext) -> dg.DagsterInstance:
    if context.instance is None:
        raise dg.DagsterInvariantViolationError("A Kedro run needs a Dagster instance.")
    return context.instance


class KedroIOManager(dg.IOManager):
    """Loads and saves assets through the Kedro catalog, for Dagster-native assets beside Kedro's.

    Args:
        run: The Kedro run of this process.
    """

    def __init__(self, run: KedroRun) -> None:
        self._run = run

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the dataset that an asset is; of a partitioned one, the partitions asked for."""
        with self._in_scope(context) as name:
            return self._run.catalog.load(name)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Save the dataset that an asset is; of a partitioned one, the partitions of the run."""
        with self._in_scope(context) as name:
            self._run.catalog.save(name, obj)

    @contextmanager
    def _in_scope(self, context: dg.InputContext | dg.OutputContext) -> Iterator[str]:
        """The catalog name of an asset, for as long as just its partitions are in scope."""
        name = ".".join(context.asset_key.path)
        dataset = self._run.plan.datasets.get(name)
        variant = dataset.variants[0] if dataset else name
        with ExitStack() as stack:
            if dataset and dataset.partitioning and context.has_asset_partitions:
                keys = typed_keys(dataset.partitioning.definition, context.asset_partition_keys)
                partitioned: Any = self._run.catalog.get(variant)
                where = f"an asset of step {context.step_context.step.key}"
                stack.enter_context(partitioned.in_scope(Scope(keys), name, where, False))
            yield variant


def kedro_io_manager() -> dg.IOManagerDefinition:
    """Make the IO manager of all assets that are Kedro datasets."""
    return dg.IOManagerDefinition(
        lambda context: KedroIOManager(context.resources.kedro),
        required_resource_keys={KEDRO},
        description="Loads and saves through the Kedro catalog.",
    )


class TransientIOManager(dg.IOManager):
    """Passes values between steps: in memory in one process, else by the ``io_manager`` resource.

    That resource is asked of the step, which requires it: Dagster gives every job one, but does
    not know it where sensors are evaluated, and would refuse a resource that depends on it.

    Args:
        run: The Kedro run of this process.
    """

    def __init__(self, run: KedroRun) -> None:
        self._run = run

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a value, unless the steps that want it are in this process."""
        if obj is Transient.IN_CATALOG:
            return
        try:
            _between_processes(context.step_context).handle_output(context, obj)
        except Exception as error:
            raise TransientDataError(
                f"Dataset {self._run.plan.by_identifier[context.name].name!r}, written by step "
                f"{context.step_key!r}, is in no catalog entry that is saved, and its value "
                f"({type(obj).__name__}) cannot be stored for another process: {error}. Run the "
                "nodes in one step with 'group_by: memory' on the job, or in one process with an "
                "in_process executor, or give the dataset a catalog entry."
            ) from error

    def load_input(self, context: dg.InputContext) -> Any:
        """Find a value, or say where it is."""
        upstream = not_none(context.upstream_output)
        name = self._run.plan.by_identifier[upstream.name].name
        if name in self._run.in_memory:
            return Transient.IN_CATALOG
        if lost_with(context.instance, upstream.run_id):
            return Transient.LOST
        return _between_processes(context.step_context).load_input(context)


def _between_processes(step_context: StepExecutionContext) -> dg.IOManager:
    manager: dg.IOManager = step_context.scoped_resources_builder.build({IO_MANAGER}).io_manager
    return manager


def transient_io_manager() -> dg.IOManagerDefinition:
    """Make the IO manager of the outputs that stand in no persisted dataset."""
    return dg.IOManagerDefinition(
        lambda context: TransientIOManager(context.resources.kedro),
        required_resource_keys={KEDRO},
        description="Passes transient datasets: in memory, or by the resource 'io_manager'.",
    )
