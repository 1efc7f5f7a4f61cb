"""The executor around any executor: Kedro's pipeline hooks, in the process that runs the run."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from ..doors import dagster as dagster_door
from ..doors.kedro import datasets_in
from ..errors import StepFailedError
from ..plan.model import ProjectPlan
from ..read.credentials import redacted_errors
from .event_log import event_log
from .forking import ProcessState, reasons_not_to_fork
from .hooks import PipelineHooks, pipeline_hooks
from .identity import identity_of, lost_with, new_identity, tags_of
from .kedro_run import KedroRun
from .launched import check_start_method
from .processes import choose_start_method, forks_workers
from .selection import RunOptions, RunSelection, select_nodes
from .shared_storage import SharedStorage, find_results, load_state, send_state
from .worker_steps import StepRunner
from .workers import ForkedWorkers, Note

if TYPE_CHECKING:
    from ..doors.dagster import (
        ExecutionPlan,
        PlanOrchestrationContext,
        RetryMode,
        StepDependencyConfig,
    )


def with_kedro_hooks(definition: dg.ExecutorDefinition, plan: ProjectPlan) -> dg.ExecutorDefinition:
    """Wrap an executor, so that Kedro's pipeline hooks are called around all steps of a run."""

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        creation = definition.executor_creation_fn
        assert creation is not None
        executor = creation(context)
        if not dagster_door.is_multiprocess(executor):  # which its name does not tell
            return KedroExecutor(executor, plan, definition.name)
        if definition is dg.multi_or_in_process_executor:  # else, config is that of dagster.yml
            check_start_method(context.executor_config)
        forks = forks_workers(context)
        context, note = choose_start_method(context)
        return KedroExecutor(creation(context), plan, definition.name, note, forks=forks)

    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]  # taken as it is
        requirements=definition.get_requirements,
        executor_creation_fn=create,
        description=definition.description,
    )


class KedroExecutor(dg.Executor):
    """Stands around any executor in the run worker, as ``KedroSession.run`` around a runner."""

    def __init__(
        self,
        inner: dg.Executor,
        plan: ProjectPlan,
        name: str,
        note: str = "",
        *,
        forks: bool = False,
    ) -> None:
        self._inner = inner
        self._plan = plan
        self._name = name
        self._note = note
        self._forks = forks

    @property
    def retries(self) -> RetryMode:
        """The wrapped executor's."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """The wrapped executor's."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps, and call the pipeline hooks of Kedro around them."""
        if self._note:
            plan_context.log.info(self._note)
        steps = {
            key: dagster_door.outputs_to_make(execution_plan.get_step_by_key(key).step_outputs)
            for key in execution_plan.step_keys_to_execute
        }
        parent = plan_context.dagster_run.parent_run_id
        lost = parent is not None and lost_with(plan_context.instance, parent)
        selection = select_nodes(self._plan, plan_context.job_name, self._name, steps, lost)
        if selection is None:
            yield from self._execute_steps(plan_context, execution_plan)
        else:
            yield from self._execute_nodes(plan_context, execution_plan, selection)

    def _execute_nodes(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        selection: RunSelection,
    ) -> Iterator[dg.DagsterEvent]:
        before = ProcessState.now() if self._forks else None
        instance, run_id = plan_context.instance, plan_context.run_id
        tags = tags_of(instance, run_id) if plan_context.resume_from_failure else {}
        resumed = identity_of(tags, run_id)
        single_process = dagster_door.is_in_process(self._inner)
        run = KedroRun(
            self._plan,
            resumed or new_identity(instance, run_id, single_process),
            RunOptions.of(plan_context.run_config),
            selection.pipeline_names,
            single_process=single_process,
            tags=plan_context.dagster_run.tags,
            load_state=partial(load_state, SharedStorage.of(plan_context), tags),
        )
        around = pipeline_hooks(
            run, selection, instance, run_id, plan_context.log, resumed=bool(resumed)
        )
        with redacted_errors(), around as hooks:
            if before:
                steps = self._execute_forked(plan_context, execution_plan, hooks, before)
            else:
                steps = self._execute_apart(plan_context, execution_plan, hooks)
            for event in steps:
                if event.is_step_failure and hooks.failure is None:
                    hooks.failure = run.errors.get(str(event.step_key)) or step_error(event)
                yield event
            if hooks.failure is None:
                find_results(plan_context, run, selection)

    def _execute_forked(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        hooks: PipelineHooks,
        before: ProcessState,
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps in workers forked from this process, unless it must not be forked."""
        run = hooks.run
        datasets = [(name, dataset) for name, (dataset, _) in datasets_in(run.catalog).items()]
        if reasons := list(reasons_not_to_fork(before, datasets)):
            plan_context.log.info(f"Each step has a process of its own: {'; '.join(reasons)}.")
            yield from self._execute_apart(plan_context, execution_plan, hooks)
            return
        context = self._inner_context(plan_context)
        execute = dagster_door.step_executor(context, execution_plan, self._inner)
        send_all = dagster_door.child_process()
        if execute is None or send_all is None:
            yield from self._execute_apart(plan_context, execution_plan, hooks)
            return
        workers = ForkedWorkers(
            StepRunner(run, context.run_id, context.instance, execute, send_all),
            partial(_note, plan_context, run, set()),
            keep_random_state=random.getstate() != before.random_state,
        )
        with closing(workers):
            applied = dagster_door.processes_from(self._inner, workers)
            with applied() if applied else nullcontext():
                yield from self._inner.execute(context, execution_plan)

    def _execute_apart(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        hooks: PipelineHooks,
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps in processes that know of this one only what is stored for them."""
        if hooks.datasets and not hooks.run.single_process:
            with event_log(plan_context.log, plan_context.instance):
                send_state(SharedStorage.of(plan_context), hooks.datasets)
        return self._execute_steps(plan_context, execution_plan)

    def _execute_steps(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        refuse_threads(self._inner)
        return self._inner.execute(self._inner_context(plan_context), execution_plan)

    def _inner_context(self, plan_context: PlanOrchestrationContext) -> PlanOrchestrationContext:
        tags = tags_of(plan_context.instance, plan_context.run_id)  # so that no step asks for them
        dagster_run = plan_context.dagster_run.with_tags(tags)
        return dagster_door.context_for(plan_context, self._inner, dagster_run) or plan_context


def _note(
    plan_context: PlanOrchestrationContext, run: KedroRun, told: set[str], note: Note
) -> None:
    """Take what a worker tells beside its events: an exception, or a changed catalog."""
    if note.kind == "error":
        with suppress(Exception):  # an exception of the user's may not be made of its arguments
            run.errors[note.step_key] = pickle.loads(note.content)  # noqa: S301  # a fork wrote it
    elif note.content not in told:
        told.add(note.content)
        plan_context.log.warning(
            f"A hook has put dataset {note.content!r} into the catalog while step "
            f"{note.step_key!r} ran. It holds for later steps of the same process only, as with "
            "Kedro's ParallelRunner. Put it there in before_pipeline_run, or use in_process."
        )


def step_error(event: dg.DagsterEvent) -> StepFailedError:
    """Tell of a failure in another process, of which only a description has come here."""
    data: Any = event.event_specific_data
    info = getattr(data, "error", None)
    if info is None:
        return StepFailedError(event.message or "The run failed.")
    while info.cause and str(info.cls_name).startswith("Dagster"):  # it wraps what was raised
        info = info.cause
    return StepFailedError(info.message.strip(), info.cls_name, "".join(info.stack))


def refuse_threads(executor: Any) -> None:
    """Refuse to run on Dask workers with several threads, where Dagster would wait for ever.

    Dagster is not made for several steps in one process at a time: two of them were seen to wait
    for each other's locks of ``logging`` in any job. ``dask worker`` has a thread for each core.
    """
    if getattr(executor, "cluster_type", None) != "existing":
        return
    from dask.distributed import Client  # noqa: PLC0415  # it is there with the executor

    with Client(executor.cluster_configuration["address"]) as client:
        crowded = [worker for worker, threads in client.nthreads().items() if threads > 1]
    if crowded:
        raise dg.DagsterInvariantViolationError(
            f"Dask worker {crowded[0]} has several threads, in which Dagster's steps wait for each "
            "other without end. Start workers with one thread: "
            "dask worker <scheduler> --nworkers 4 --nthreads 1"
        )
