"""Lets the run worker of a run show how the run goes: a command that runs a job in its process."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import dagster as dg

from ..read.credentials import redact

if TYPE_CHECKING:
    from ..doors.dagster import ExecutionPlan, PlanOrchestrationContext


class Watch(Protocol):
    """Shows a run."""

    def begin(self, steps: int) -> None:
        """Show that a run of some steps begins."""

    def show(self, event: dg.DagsterEvent) -> None:
        """Show what happens."""


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """Show the events of runs that are executed meanwhile, and cancel these by an interrupt."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def watched(
    context: PlanOrchestrationContext, plan: ExecutionPlan, events: Iterator[dg.DagsterEvent]
) -> Iterator[dg.DagsterEvent]:
    """Pass the events of a run on, to whom watches it too."""
    watch = _watch.get()
    if watch is None:
        yield from events
        return
    watch.begin(len(plan.step_keys_to_execute))
    try:
        for event in events:
            watch.show(event)
            yield event
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        # As who cancels a run on a server does first: else, Dagster takes it for a failure
        context.instance.report_run_canceling(context.dagster_run, "Interrupted in the terminal.")
        raise


def how_to_resume(run_id: str, job: str | None = None) -> str:
    """The command that goes on with a run, in the environment of this process."""
    options = {"--env": "KEDRO_ENV", "--conf-source": "KEDRO_CONF_SOURCE"}
    given = {option: os.environ.get(name) for option, name in options.items()}
    said = (word for option, value in given.items() if value for word in (option, value))
    command = ("kedro", "dagster", "run", *([job] if job else []), "--resume", run_id, *said)
    return redact(shlex.join(command))
