"""Lets the run worker of a run show how the run goes: a command that runs a job in its process."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from ..read.credentials import redact

if TYPE_CHECKING:
    from ..doors.dagster import ExecutionPlan, PlanOrchestrationContext


Show: TypeAlias = Callable[[dg.DagsterEvent, int], None]
"""Shows an event of a run that has so many steps."""

_show: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def watched_by(show: Show) -> Iterator[None]:
    """Show the events of runs that are executed meanwhile, and cancel these by an interrupt."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def watched(
    context: PlanOrchestrationContext, plan: ExecutionPlan, events: Iterator[dg.DagsterEvent]
) -> Iterator[dg.DagsterEvent]:
    """Pass the events of a run on, to whom watches it too."""
    show, steps = _show.get(), len(plan.step_keys_to_execute)
    if show is None:
        yield from events
        return
    try:
        for event in events:
            show(event, steps)
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
