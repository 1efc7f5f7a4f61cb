"""The executor around any executor: Kedro's pipeline hooks, in the process that runs the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg
from dagster._check import not_none
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.multiprocess import MultiprocessExecutor

from ..errors import StepFailedError
from ..plan.model import ProjectPlan
from .event_log import event_log
from .identity import close_hooks, identity_of, lost_with, new_identity, open_hooks, tags_of
from .kedro_run import KedroRun, publish_run
from .processes import choose_start_method
from .selection import RunOptions, RunSelection, outputs_to_make, select_nodes


def with_kedro_hooks(definition: dg.ExecutorDefinition, plan: ProjectPlan) -> dg.ExecutorDefinition:
    """Wrap an executor, so that Kedro's pipeline hooks are called around all steps of a run."""

    def create(context: InitExecutorContext) -> dg.Executor:
        creation = not_none(definition.executor_creation_fn)
        executor, note = creation(context), ""
        if isinstance(executor, MultiprocessExecutor):  # which its name does not tell
            context, note = choose_start_method(context)
            executor = creation(context)
        return KedroExecutor(executor, plan, definition.name, note)

    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]  # taken as it is
        requirements=definition.get_requirements,
        executor_creation_fn=create,
        description=definition.description,
    )


class KedroExecutor(dg.Executor):
    """Stands around any executor in the run worker, as ``KedroSession.run`` around a runner."""

    def __init__(self, inner: dg.Executor, plan: ProjectPlan, name: str, note: str = "") -> None:
        self._inner = inner
        self._plan = plan
        self._name = name
        self._note = note

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
            key: outputs_to_make(execution_plan.get_step_by_key(key).step_outputs)
            for key in execution_plan.step_keys_to_execute
        }
        parent = plan_context.dagster_run.parent_run_id
        lost = parent is not None and lost_with(plan_context.instance, parent)
        scope = select_nodes(self._plan, plan_context.job_name, self._name, steps, lost)
        if scope is None:
            yield from self._execute_steps(plan_context, execution_plan)
        else:
            yield from self._execute_nodes(plan_context, execution_plan, scope)

    def _execute_nodes(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        scope: RunSelection,
    ) -> Iterator[dg.DagsterEvent]:
        instance, run_id = plan_context.instance, plan_context.run_id
        tags = tags_of(instance, run_id) if plan_context.resume_from_failure else {}
        resumed = identity_of(tags, run_id)
        options = RunOptions.of(plan_context.run_config)
        single_process = isinstance(self._inner, InProcessExecutor)
        with event_log(plan_context.log):
            run = KedroRun(
                self._plan,
                resumed or new_identity(instance, run_id, single_process),
                options,
                scope.pipeline_names,
                single_process=single_process,
                tags=plan_context.dagster_run.tags,
            )
            if resumed:
                run.join(instance, run_id)
            else:
                open_hooks(instance, run_id, run.start(scope))
        failure: BaseException | None = None
        try:
            run.check_inputs_and_build(scope)
            with publish_run(run_id, run):
                for event in self._execute_steps(plan_context, execution_plan):
                    if event.is_step_failure and failure is None:
                        failure = run.errors.get(str(event.step_key)) or step_error(event)
                    yield event
        except GeneratorExit:
            raise  # Dagster has let go of the run: it is not over
        except BaseException as error:
            self._end(plan_context, run, scope, failure or error)
            raise
        self._end(plan_context, run, scope, failure)

    def _execute_steps(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        refuse_threads(self._inner)
        tags = tags_of(plan_context.instance, plan_context.run_id)  # so that no step asks for them
        dagster_run = plan_context.dagster_run.with_tags(tags)
        inner_context = PlanOrchestrationContext(
            plan_context.plan_data._replace(dagster_run=dagster_run),
            plan_context.log,
            self._inner,  # which looks there for itself, as those on Dask and Celery do
            plan_context.output_capture,
            plan_context.resume_from_failure,
        )
        return self._inner.execute(inner_context, execution_plan)

    def _end(
        self,
        plan_context: PlanOrchestrationContext,
        run: KedroRun,
        scope: RunSelection,
        failure: BaseException | None,
    ) -> None:
        with event_log(plan_context.log):
            try:
                if failure is None:
                    self._find_results(plan_context, run, scope)
                    run.finish(scope)
                else:
                    run.fail(scope, failure)
            finally:
                close_hooks(plan_context.instance, plan_context.run_id)

    def _find_results(
        self, plan_context: PlanOrchestrationContext, run: KedroRun, scope: RunSelection
    ) -> None:
        """Let ``run_result`` hold what steps in other processes gave to the ``io_manager``."""
        if run.single_process or scope.job is None:
            return
        done = plan_context.execution_plan.step_keys_to_execute
        steps = {name: step.name for step in scope.job.steps for name in step.outputs}
        for name in scope.pipeline.outputs():
            dataset = self._plan.datasets[name]
            if not dataset.persisted and steps.get(name) in done:
                load = partial(_load_output, plan_context, steps[name], dataset.identifier)
                run.find(name, load)


def _load_output(plan_context: PlanOrchestrationContext, step: str, output: str) -> Any:
    definitions = plan_context.job.get_definition().resource_defs
    keys = {"io_manager", *definitions["io_manager"].required_resource_keys}
    config: Mapping[str, Any] = plan_context.run_config.get("resources") or {}  # type: ignore[assignment]
    with dg.build_resources(
        {key: definitions[key] for key in keys},
        plan_context.instance,
        {key: value for key, value in config.items() if key in keys},
        plan_context.dagster_run,
    ) as resources:
        upstream = dg.build_output_context(step, output, run_id=plan_context.run_id)
        return resources.io_manager.load_input(dg.build_input_context(upstream_output=upstream))


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
