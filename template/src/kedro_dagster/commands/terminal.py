"""How a run looks in a terminal: its steps while it goes, and what has come of it."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import dagster as dg
import kedro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..run.executor import step_error
from ..run.progress import how_to_resume

_STARTS = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)
_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS: "done",
    dg.DagsterEventType.STEP_FAILURE: "failed",
    dg.DagsterEventType.STEP_SKIPPED: "skipped",
    dg.DagsterEventType.STEP_UP_FOR_RETRY: "to be tried again",
}
_OWN = f'  File "{Path(__file__).parents[1]}{os.sep}'
_FAILURES = (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE)


class Lines:
    """Shows the steps of a run in a line each, where there is no terminal."""

    def __init__(self) -> None:
        self.steps = self.done = self.failed = 0

    def show(self, event: dg.DagsterEvent, steps: int) -> None:
        """Show what happens in a run of some steps."""
        self.steps = steps
        state, step = _ENDS.get(event.event_type), str(event.step_key)
        if event.event_type in _STARTS:
            self.started(step)
        elif state:
            self.done += state in ("done", "skipped")
            self.failed += state == "failed"
            self.ended(step, state)

    def started(self, step: str) -> None:
        """Show that a step has begun."""

    def ended(self, step: str, state: str) -> None:
        """Show how a step has ended."""
        click.echo(f"[{self.done}/{self.steps}] {step} {state}")


class Bars(Lines):
    """Shows below what is printed which steps run, and since when."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._whole = progress.add_task("The run begins", total=None)
        self._running: dict[str, TaskID] = {}

    def started(self, step: str) -> None:
        """Add a line for a step."""
        self._running[step] = self._progress.add_task(step, total=None)
        self._update()

    def ended(self, step: str, state: str) -> None:  # noqa: ARG002
        """Take the line of a step away."""
        with suppress(KeyError):
            self._progress.remove_task(self._running.pop(step))
        self._update()

    def _update(self) -> None:
        text = f"{self.done} of {self.steps} steps done, {len(self._running)} running"
        text += f", {self.failed} failed" if self.failed else ""
        self._progress.update(self._whole, total=self.steps, completed=self.done, description=text)


@contextmanager
def display() -> Iterator[Lines]:
    """Show a run."""
    if os.name != "posix" or not sys.stdout.isatty():
        yield Lines()
        return
    with ExitStack() as stack:
        console = stack.enter_context(_above_all_output())
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        progress = Progress(*columns, console=console, transient=True)
        yield Bars(stack.enter_context(progress))


@contextmanager
def _above_all_output() -> Iterator[Console]:
    """Give a console to which all goes that this process and its children print meanwhile."""
    before = {descriptor: os.dup(descriptor) for descriptor in (1, 2) if os.isatty(descriptor)}
    read, write = os.pipe()
    console = Console(file=os.fdopen(os.dup(1), "w"))

    def pass_on() -> None:
        with os.fdopen(read, errors="replace") as lines:
            for line in lines:
                console.print(Text.from_ansi(line.rstrip("\r\n")), soft_wrap=True)

    # A daemon: a process that a node has left behind may keep the pipe open
    thread = threading.Thread(target=pass_on, name="kedro-terminal-output", daemon=True)
    _replace(dict.fromkeys(before, write))
    os.close(write)
    thread.start()
    try:
        yield console
    finally:
        _replace(before)
        thread.join(2)
        if not thread.is_alive():
            console.file.close()
        for descriptor in before.values():
            os.close(descriptor)


def _replace(descriptors: dict[int, int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, other in descriptors.items():
        os.dup2(other, descriptor)


def echo_summary(events: Sequence[dg.DagsterEvent], run: dg.DagsterRun, since: float) -> None:
    """Print what has come of a run that began at some time."""
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            key = f" [{made.partition}]" if made.partition else ""
            path = made.metadata.get("path")
            name = f"{made.asset_key.to_user_string()}{key}"
            click.echo(f"  {name}  {path.value if path else ''}".rstrip())
    failures = [event for event in events if event.event_type in _FAILURES]
    canceled = run.status is dg.DagsterRunStatus.CANCELED
    for event in () if canceled else [one for one in failures if one.step_key] or failures:
        error = step_error(event)
        what = f"Step {event.step_key}" if event.step_key else "The run"
        message = next(iter(error.args[0].splitlines()), "")
        frames = _frames_of_others(error.traceback)
        click.secho(f"{frames}{what} failed: {message}", fg="red")
    status, seconds = run.status.value.lower(), time.monotonic() - since
    text = f"Run {run.run_id} of {run.job_name}: {status} in {seconds:.1f} seconds."
    click.secho(text, fg="green" if run.is_success else "red")
    if not run.is_success:
        command = how_to_resume(run.run_id, run.job_name)
        click.echo(f"To go on with what it has not done: {command}")


def _frames_of_others(traceback: str) -> str:
    """A traceback without what is between Dagster and the node: it is in the UI."""
    frames = re.split(r'^(?=  File ")', traceback, flags=re.MULTILINE)
    inner = tuple(f'  File "{Path(one.__file__ or "").parent}{os.sep}' for one in (dg, kedro))
    kept = [frame for frame in frames if not frame.startswith((*inner, _OWN))]
    return "".join(kept)
