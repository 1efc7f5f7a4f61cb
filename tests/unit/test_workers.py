"""What the run worker does with its workers, none of which is a process here."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from kedro_dagster.run import workers as module
from kedro_dagster.run.workers import Note, Workers


class OneWorker:
    """The end of a worker's connection that is the worker's, and the signals that it gets."""

    def __init__(self) -> None:
        self.ours, self.theirs = multiprocessing.Pipe()
        self.signals: list[int] = []
        self.now = 0.0  # seconds by the clock of the run worker
        self.notes: list[str] = []

    def start(self) -> tuple[int, Connection]:
        return os.getpid(), self.ours

    def end(self, _: int) -> int:
        return 0

    def close(self) -> None: ...


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[OneWorker]:
    one = OneWorker()
    monkeypatch.setattr(os, "kill", lambda _, number: one.signals.append(number))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: one.now))
    yield one
    one.theirs.close()
    one.ours.close()


def begin(worker: OneWorker) -> tuple[Any, Any]:
    """Start a step with a timeout as Dagster does; give its queue and its event."""
    anything: Any = worker
    workers: Any = Workers(anything, lambda note: worker.notes.append(note.kind), {"step": 10})
    events, event = workers.Queue(), workers.Event()
    command = SimpleNamespace(step_key="step", known_state=None, term_event=event)
    workers.Process(target=None, args=(events, command)).start()
    assert worker.theirs.recv() == ("step", None)
    return events, event


def test_a_step_is_killed_only_after_its_own_limit_has_begun(worker: OneWorker) -> None:
    events, _ = begin(worker)
    worker.now += 60  # in which it waits for its turn to write
    with pytest.raises(queue.Empty):
        events.get(block=False)
    assert worker.signals == []
    worker.theirs.send(Note("limit", "step", None))
    for _ in range(2):
        with pytest.raises(queue.Empty):
            events.get(block=False)
        worker.now += 10 + module.KILL_AFTER + 1
    assert worker.signals == [signal.SIGKILL]
    assert worker.notes == ["killed"]


def test_a_step_that_has_not_begun_is_interrupted_when_it_has(worker: OneWorker) -> None:
    events, event = begin(worker)
    event.set()  # its process ignores signals by now
    with pytest.raises(queue.Empty):
        events.get(block=False)
    assert worker.signals == []
    worker.theirs.send("it has begun")
    assert events.get(block=False) == "it has begun"
    assert worker.signals == [signal.SIGINT]


def test_a_step_that_has_begun_is_interrupted_at_once_and_killed_later(worker: OneWorker) -> None:
    events, event = begin(worker)
    worker.theirs.send("it has begun")
    events.get(block=False)
    event.set()
    assert worker.signals == [signal.SIGINT]
    worker.now += module.KILL_AFTER + 1
    with pytest.raises(queue.Empty):
        events.get(block=False)
    assert worker.signals == [signal.SIGINT, signal.SIGKILL]
