"""What a forked worker does: it runs steps of the Kedro run that it was forked with."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.executor.child_process_executor import (
    ChildProcessCommand,
    _execute_command_in_child_process,
)

from ..doors import kedro as kedro_door
from .kedro_run import KedroRun, continue_run
from .workers import Note


@dataclass(frozen=True)
class StepRunner:
    """Runs the steps of a Dagster run in a worker, with what was there when it was forked."""

    run: KedroRun
    plan_context: PlanOrchestrationContext
    execution_plan: ExecutionPlan
    executor: dg.Executor

    def __call__(self, connection: Connection) -> None:
        """Run each step that comes through the connection, until it is closed."""
        events = _Sender(connection)
        continue_run(self.plan_context.run_id, self.run)
        # Its own instance, and so connections of its own to the database
        with dg.DagsterInstance.from_ref(self.plan_context.instance.get_ref()) as instance:
            while True:
                try:
                    step_key, known_state = connection.recv()
                except EOFError:
                    return
                step = _Step(self, instance, events, step_key, known_state)
                _execute_command_in_child_process(events, step)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Sender:
    """The end of a connection that Dagster takes for a queue."""

    connection: Connection

    def put(self, message: Any) -> None:
        self.connection.send(message)


@dataclass(frozen=True)
class _Step(ChildProcessCommand):
    runner: StepRunner
    instance: dg.DagsterInstance
    events: _Sender
    key: str
    known_state: Any

    def execute(self) -> Iterator[dg.DagsterEvent]:
        context, run = self.runner.plan_context, self.runner.run
        yield dg.DagsterEvent.step_worker_started(
            create_context_free_log_manager(self.instance, context.dagster_run),
            context.job_name,
            message=f'Executing step "{self.key}" in a worker process.',
            metadata={"pid": dg.MetadataValue.text(str(os.getpid()))},
            step_key=self.key,
        )
        load_data = self.runner.execution_plan.repository_load_data
        plan = create_execution_plan(
            context.job,
            run_config=context.run_config,
            step_keys_to_execute=[self.key],
            known_state=self.known_state,
            repository_load_data=load_data,
        )
        before = kedro_door.datasets_in(run.catalog)
        for event in execute_plan_iterator(
            plan,
            context.job,
            context.dagster_run,
            self.instance,
            retry_mode=self.runner.executor.retries.for_inner_plan(),
            run_config=context.run_config,
        ):
            if event.is_step_failure and self.key in run.errors:
                self._send_error(run.errors[self.key])
            yield event
        for name, (dataset, _) in kedro_door.datasets_in(run.catalog).items():
            if name not in before or before[name][0] is not dataset:
                self.events.put(Note("catalog changed", self.key, name))

    def _send_error(self, error: BaseException) -> None:
        """Send an exception itself where it can be pickled; Dagster's event only describes it."""
        try:
            content = pickle.dumps(error)
        except Exception:  # noqa: BLE001  # whatever an exception of the user's holds
            return
        self.events.put(Note("error", self.key, content))
