"""What is private to Dagster of the processes in which it runs steps: for workers that stay."""

from __future__ import annotations

import multiprocessing.context
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import dagster as dg

from .dagster import DAGSTER
from .fallback import or_else

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


def send_events(send: Callable[[Any], object], events: Iterator[Any]) -> None:
    """Send events from a child process to Dagster's executor, in the form that it reads."""
    command, _, execute = _child_process()

    class Command(command):  # type: ignore[misc, valid-type]
        def execute(self) -> Iterator[Any]:
            return events

    execute(SimpleNamespace(put=send), Command())


def child_process_done(pid: int) -> Any:
    """What Dagster's executor has from a child process that has nothing more to do."""
    _, done, _ = _child_process()
    return done(pid)


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


def _child_process() -> tuple[Any, Any, Any]:
    from dagster._core.executor.child_process_executor import (
        ChildProcessCommand,
        ChildProcessDoneEvent,
        _execute_command_in_child_process,
    )

    return ChildProcessCommand, ChildProcessDoneEvent, _execute_command_in_child_process
