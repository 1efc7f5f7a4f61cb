"""What one writes by hand so that steps need no processes: workers that are forked once.

It is copied into the hand-written code location. It has what is fast, and nothing else: no retries,
no limits, no cancellation, and a worker that dies ends the run.
"""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import cast

import dagster as dg
from dagster._core.execution.api import execute_plan_iterator
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.system_config.objects import ResolvedRunConfig


class WarmExecutor(dg.Executor):
    """Gives the steps of a run to a few processes."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @property
    def retries(self) -> RetryMode:
        """There are none."""
        return RetryMode.DISABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run all steps."""
        fork = multiprocessing.get_context("fork")
        idle: list[Connection] = []
        busy: dict[Connection, str] = {}
        for _ in range(self._workers):
            ours, theirs = fork.Pipe()
            fork.Process(target=work, args=(theirs, plan_context, execution_plan)).start()
            idle.append(ours)
        with ActiveExecution(execution_plan, self.retries) as active:
            while busy or not active.is_complete:
                for step in active.get_steps_to_execute(limit=len(idle)):
                    connection = idle.pop()
                    connection.send((step.key, active.get_known_state()))
                    busy[connection] = step.key
                for connection in cast("list[Connection]", wait(busy)):
                    event = connection.recv()
                    if event:
                        yield event
                        active.handle_event(event)
                    else:
                        idle.append(connection)
                        active.verify_complete(plan_context, busy.pop(connection))
                yield from active.plan_events_iterator(plan_context)
        for connection in idle:
            connection.send(None)


def work(connection: Connection, context: PlanOrchestrationContext, plan: ExecutionPlan) -> None:
    """Run each step that comes through the connection."""
    job, config = context.reconstructable_job, context.run_config
    definition = job.get_definition()
    resolved = ResolvedRunConfig.build(definition, config)
    with dg.DagsterInstance.from_ref(context.instance.get_ref()) as instance:
        while order := connection.recv():
            step_key, known_state = order
            part = plan._replace(known_state=known_state)
            part = part.build_subset_plan([step_key], definition, resolved)
            run = context.dagster_run
            for event in execute_plan_iterator(part, job, run, instance, run_config=config):
                connection.send(event)
            connection.send(None)


@dg.executor(
    name="warm",
    config_schema={"workers": int},
    requirements=dg.multiple_process_executor_requirements(),
)
def warm_executor(context: dg.InitExecutorContext) -> dg.Executor:
    """The executor of a job."""
    return WarmExecutor(int(str(context.executor_config["workers"])))
