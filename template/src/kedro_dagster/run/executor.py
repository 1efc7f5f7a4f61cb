"""The executor around any executor: Kedro's pipeline hooks, in the process that runs the run."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import closing, suppress
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
from .processes import PRELOADED, preload, start_method_of_workers
from .selection import RunOptions, RunSelection, select_nodes
from .shared_storage import SharedStorage, find_results, load_state, send_state
from .worker_processes import ForkedProcesses, FreshProcesses, WorkerProcesses
from .worker_steps import StepRunner
from .workers import Note, Workers

if TYPE_CHECKING:
    from ..doors.dagster import (
        ExecutionPlan,
        PlanOrchestrationContext,
        RetryMode,
        StepDependencyConfig,
        StepExecutor,
    )


def with_kedro_hooks(
    definition: dg.ExecutorDefinition, plan: ProjectPlan, max_steps: float = float("inf")
) -> dg.ExecutorDefinition:
    """Wrap an executor, so that Kedro's pipeline hooks are called around all steps of a run.

    A worker of the multiprocess executor is replaced after ``max_steps``.
    """

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        creation = definition.executor_creation_fn
        assert creation is not None
        executor = creation(context)
        if not dagster_door.is_multiprocess(executor):  # which its name does not tell
            return KedroExecutor(executor, plan, definition.name)
        if definition is dg.multi_or_in_process_executor:  # else, config is that of dagster.yml
            check_start_method(context.executor_config)
        method = start_method_of_workers(context)
        return KedroExecutor(creation(preload(context)), plan, definition.name, method, max_steps)

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
        start_method: str | None = None,
        max_steps: float = float("inf"),
    ) -> None:
        self._inner = inner
        self._plan = plan
        self._name = name
        self._start_method = start_method
        self._max_steps = max_steps

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
        before = ProcessState.now() if self._start_method == "fork" else None
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
            for event in self._execute_in_workers(plan_context, execution_plan, hooks, before):
                if event.is_step_failure and hooks.failure is None:
                    hooks.failure = run.errors.get(str(event.step_key)) or step_error(event)
                yield event
            if hooks.failure is None:
                find_results(plan_context, run, selection)

    def _execute_in_workers(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        hooks: PipelineHooks,
        before: ProcessState | None,
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps in workers, where the executor has them, and else as it does."""
        run = hooks.run
        use_workers = dagster_door.processes_from(self._inner) if self._start_method else None
        datasets = [(name, dataset) for name, (dataset, _) in datasets_in(run.catalog).items()]
        reasons = "; ".join(reasons_not_to_fork(before, datasets)) if before else ""
        if reasons:
            plan_context.log.info(f"Workers are not forked from the run worker: {reasons}.")
        forked_after = before if use_workers and not reasons else None
        if not (forked_after or run.single_process):
            with event_log(plan_context.log, plan_context.instance):
                send_state(SharedStorage.of(plan_context), run, hooks.changes)
        if not use_workers:
            yield from self._execute_steps(plan_context, execution_plan)
            return
        context = self._inner_context(plan_context)
        execute = dagster_door.step_executor(context, execution_plan, self._inner)
        workers = Workers(
            self._processes(context, run, execute, forked_after),
            partial(_note, plan_context, run, set()),
            self._plan.timeouts(context.job_name),
            self._max_steps,
        )
        with closing(workers), use_workers(workers):
            yield from self._inner.execute(context, execution_plan)

    def _processes(
        self,
        context: PlanOrchestrationContext,
        run: KedroRun,
        execute: StepExecutor,
        forked_after: ProcessState | None,
    ) -> WorkerProcesses:
        """Where the workers come from: they are forked where that may be."""
        instance, run_id = context.instance.get_ref(), context.run_id
        if forked_after:
            kept = random.getstate() != forked_after.random_state
            runner = StepRunner(run, run_id, instance, execute)
            return ForkedProcesses(runner, keep_random_state=kept)
        # Where the run worker could be forked, so can a process that has nothing open
        method = "forkserver" if self._start_method == "fork" else str(self._start_method)
        return FreshProcesses(StepRunner(None, run_id, instance, execute), method, PRELOADED)

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
    if note.kind == "killed":
        plan_context.log.error(
            f"Step {note.step_key!r} did not end within {note.content:g} seconds of being told to: "
            "its process is killed."
        )
    elif note.kind == "error":
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
