"""The executor around any other: it calls Kedro's pipeline hooks, in the run worker."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from ..doors import dagster as dagster_door
from ..doors.dagster_workers import StepExecutor, processes_from
from ..doors.kedro import datasets_in
from ..errors import StepFailedError
from ..plan.model import ProjectPlan
from ..read.credentials import redacted_errors
from .event_log import event_log, in_batches
from .forking import ProcessState, reasons_not_to_fork
from .hooks import PipelineHooks, pipeline_hooks
from .identity import identity_of, lost_with, new_identity, state_of_hooks, tags_of
from .kedro_run import KedroRun
from .launched import check_start_method
from .processes import preload, start_method_of_workers
from .progress import watched
from .selection import RunOptions, select_nodes
from .shared_storage import SharedStorage, find_results, load_state, send_state
from .turns import turn_of_run
from .worker_processes import ForkedProcesses, FreshProcesses
from .worker_steps import StepRunner
from .workers import Note, Workers

if TYPE_CHECKING:
    from ..doors.dagster import (
        ExecutionPlan,
        PlanOrchestrationContext,
        RetryMode,
        StepDependencyConfig,
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


@dataclass(eq=False, repr=False)
class KedroExecutor(dg.Executor):
    """Stands around any executor in the run worker, as ``KedroSession.run`` around a runner.

    ``start_method`` is that of the workers which it keeps, if any.
    """

    inner: dg.Executor
    plan: ProjectPlan
    name: str
    start_method: str | None = None
    max_steps: float = float("inf")

    @property
    def retries(self) -> RetryMode:
        """The wrapped executor's."""
        return self.inner.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """The wrapped executor's."""
        return self.inner.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps, and call the pipeline hooks of Kedro around them."""
        events = self._execute(plan_context, execution_plan)
        with turn_of_run(self.plan, plan_context):
            yield from watched(plan_context, execution_plan, events)

    def _execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        context, instance, run_id = plan_context, plan_context.instance, plan_context.run_id
        steps = {
            key: dagster_door.outputs_to_make(execution_plan.get_step_by_key(key).step_outputs)
            for key in execution_plan.step_keys_to_execute
        }
        parent = context.dagster_run.parent_run_id
        lost = parent is not None and lost_with(instance, parent)
        selection = select_nodes(self.plan, context.job_name, self.name, steps, lost)
        if selection is None:
            yield from self._execute_steps(context, execution_plan)
            return
        before = ProcessState.now() if self.start_method == "fork" else None
        tags = tags_of(instance, run_id) if context.resume_from_failure else {}
        single_process = dagster_door.is_in_process(self.inner)
        run = KedroRun(
            self.plan,
            identity_of(tags, run_id) or new_identity(instance, run_id, single_process),
            RunOptions.of(context.run_config, selection.job),
            selection.pipeline_names,
            single_process=single_process,
            tags=context.dagster_run.tags,
            load_state=partial(load_state, instance, context.dagster_run, tags),
            job_resources=context.job.get_definition().resource_defs,
        )
        state = state_of_hooks(tags, run_id)
        around = pipeline_hooks(run, selection, instance, run_id, context.log, state=state)
        with redacted_errors(), around as hooks:
            for event in self._execute_nodes(context, execution_plan, hooks, before):
                error: BaseException | None = None
                if event.is_step_failure:
                    error = run.errors.get(str(event.step_key)) or step_error(event)
                    hooks.failure = hooks.failure or error
                elif event.is_step_success:
                    run.steps_done.add(str(event.step_key))
                if hooks.viz:
                    hooks.viz.saw(event, error)
                yield event
            if hooks.failure is None:
                find_results(context, run, hooks.running)

    def _execute_nodes(
        self,
        context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        hooks: PipelineHooks,
        before: ProcessState | None,
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps in workers where the executor keeps some, and else as it does by itself."""
        run = hooks.run
        use_workers = processes_from(self.inner) if self.start_method else None
        datasets = [(name, dataset) for name, (dataset, _) in datasets_in(run.catalog).items()]
        if before and (reasons := "; ".join(reasons_not_to_fork(before, datasets))):
            context.log.info(f"Workers are not forked from the run worker: {reasons}.")
            before = None
        forked = before is not None and use_workers is not None
        if not (forked or run.single_process):
            with event_log(context.log, context.instance):
                send_state(SharedStorage.of(context), run, hooks.changes)
        if not use_workers:
            yield from self._execute_steps(context, execution_plan)
            return
        inner, instance = self._inner_context(context), context.instance.get_ref()
        retries, load_data = self.retries.for_inner_plan(), execution_plan.repository_load_data
        execute = StepExecutor(inner.job, inner.dagster_run, inner.run_config, retries, load_data)
        runner = StepRunner(run if forked else None, instance, execute)
        processes: ForkedProcesses | FreshProcesses
        if before:
            keep = random.getstate() != before.random_state
            processes = ForkedProcesses(runner, keep_random_state=keep)
        else:  # a fork server has nothing open, so that it can be forked
            method = "forkserver" if self.start_method == "fork" else str(self.start_method)
            processes = FreshProcesses(runner, method)
        steps = self.plan.kedro_steps(context.job_name).items()
        timeouts = {key: one.settings.timeout for key, one in steps if one.settings.timeout}
        tell = partial(_note, context, run, set())
        workers = Workers(processes, tell, timeouts, self.max_steps)
        logs: Any = inner.instance.compute_log_manager
        shows = hasattr(logs, "terminal")  # which is ours, see compute_logs
        terminal = logs.terminal(inner.run_id) if shows else nullcontext(lambda _: None)
        with terminal as show, closing(workers), use_workers(workers):
            for event in self.inner.execute(inner, execution_plan):
                show(event)
                yield event

    def _execute_steps(
        self, context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        refuse_threads(self.inner)
        with in_batches(context.instance):
            yield from self.inner.execute(self._inner_context(context), execution_plan)

    def _inner_context(self, context: PlanOrchestrationContext) -> PlanOrchestrationContext:
        tags = tags_of(context.instance, context.run_id)  # so that no step asks for them
        dagster_run = context.dagster_run.with_tags(tags)
        return dagster_door.context_for(context, self.inner, dagster_run) or context


def _note(
    plan_context: PlanOrchestrationContext, run: KedroRun, told: set[str], note: Note
) -> None:
    """Take what a worker tells beside its events: an exception, a changed catalog, its end."""
    if note.kind == "killed":
        plan_context.log.error(
            f"Step {note.step_key!r} did not end within {note.content:g} seconds of being told to: "
            "its process is killed."
        )
    elif note.kind == "error":
        with suppress(Exception):  # an exception of the user's may not unpickle
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
    info = getattr(event.event_specific_data, "error", None)
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
