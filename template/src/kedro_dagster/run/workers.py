"""The workers of a run: processes that are kept for many steps.

Dagster's multiprocess executor starts a process for each step, through a context of
``multiprocessing``. :class:`Workers` is such a context. To start a process hands the step to a
worker that is there already. Retries, pools, limits, priorities, cancellation and crashes stay
Dagster's own.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import connection as mp
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from ..doors.dagster_workers import child_process_done
from .worker_processes import ForkedProcesses, FreshProcesses

KILL_AFTER = 30.0
"""Seconds after which a step is killed that heeds no interrupt, or not its own timeout."""

_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
}
"""The events by which a step ends: Dagster takes no other end after one of them."""


@dataclass(frozen=True)
class Note:
    """What a worker tells the run worker beside the events of Dagster."""

    kind: str
    step_key: str
    content: Any


@dataclass
class _Worker:
    """A worker process, as the run worker knows it."""

    pid: int
    connection: Connection
    steps: int = 0

    def died(self) -> bool:
        """Whether its process has ended, as far as the platform tells."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return Path("/proc/self/stat").exists()
        return status.rpartition(")")[2].split()[0] == "Z"


class Workers:
    """The workers of a run, as the context of ``multiprocessing`` that an executor asks."""

    def __init__(
        self,
        processes: ForkedProcesses | FreshProcesses,
        tell: Callable[[Note], None],
        timeouts: Mapping[str, float],  # in seconds, by step
        max_steps: float = float("inf"),  # before another takes its place
    ) -> None:
        self._processes = processes
        self.tell = tell
        self._timeouts = timeouts
        self._max_steps = max_steps
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def close(self) -> None:
        """End all processes: a busy worker is one of a run that has been let go."""
        for worker in (*self._idle, *self._busy):
            worker.connection.close()
        self._processes.close()

    # What Dagster's executor asks of a context of multiprocessing

    def _check_available(self) -> None:
        """Multiprocessing asks each context whether the platform has it."""

    def Event(self) -> _Lease:  # noqa: N802
        """What interrupts a step: the step itself, which Dagster takes for its process too."""
        return _Lease(self)

    def Queue(self) -> _Events:  # noqa: N802
        """What the events of a step come out of."""
        return _Events()

    def Process(self, target: Any, args: tuple[_Events, Any]) -> _Lease:  # noqa: N802, ARG002
        """A step, which a worker runs when it is started."""
        events, command = args
        lease: _Lease = command.term_event
        lease.command, lease.timeout = command, self._timeouts.get(command.step_key, 0)
        events.lease = lease
        return lease

    # What the parts below ask

    def take(self) -> _Worker:
        """An idle worker, or a new one."""
        worker = self._idle.pop() if self._idle else _Worker(*self._processes.start())
        worker.steps += 1
        self._busy.append(worker)
        return worker

    def give_back(self, worker: _Worker) -> None:
        """Keep a worker for another step, or let it end after its last."""
        self._busy.remove(worker)
        if worker.steps < self._max_steps:
            self._idle.append(worker)
        else:
            self.bury(worker)

    def bury(self, worker: _Worker) -> int:
        """Wait for a worker to end, and give its exit code."""
        if worker in self._busy:
            self._busy.remove(worker)
        worker.connection.close()
        return self._processes.end(worker.pid)

    def wait(self, seconds: float) -> None:
        """Wait until any worker has something to say."""
        mp.wait([worker.connection for worker in self._busy], seconds)


class _Lease(BaseProcess):
    """A step that a worker runs: what Dagster's executor takes for a process of its own."""

    def __init__(self, workers: Workers) -> None:
        # Not that of BaseProcess: there is no process to be made
        self.workers = workers
        self.worker: _Worker | None = None
        self.command: Any = None
        self.timeout = 0.0
        self._kill_at = float("inf")
        self._interrupted = False
        self._heeds = False
        self._ended = False
        self._exitcode: int | None = None

    @property
    def pid(self) -> int | None:
        return self.worker.pid if self.worker else None

    @property
    def exitcode(self) -> int | None:
        return self._exitcode

    def start(self) -> None:
        self.worker = self.workers.take()
        try:
            self.worker.connection.send((self.command.step_key, self.command.known_state))
        except OSError:
            exitcode = self.workers.bury(self.worker)
            if self.worker.steps == 1:
                self._exitcode = exitcode
            else:  # it has died while it was idle
                self.start()

    def is_alive(self) -> bool:
        return self._exitcode is None

    def join(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Give the worker back: Dagster joins the process of a step that has ended well."""
        assert self.worker is not None
        if self._exitcode is None:
            self.workers.give_back(self.worker)
            self._exitcode = 0

    def receive(self) -> Any:
        """The next event; ``queue.Empty`` where there is none by now."""
        assert self.worker is not None
        if self._exitcode is not None:
            raise queue.Empty
        if time.monotonic() > self._kill_at:
            self._kill_at = float("inf")
            self.workers.tell(Note("killed", self.command.step_key, KILL_AFTER))
            os.kill(self.worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        try:
            while self.worker.connection.poll():
                message = self.worker.connection.recv()
                if self._is_event(message):
                    return message
            # Processes that a node has forked keep the connection open when their worker dies
            died = self.worker.died() and not self.worker.connection.poll()
        except (EOFError, OSError):
            died = True
        if died:
            self._exitcode = self.workers.bury(self.worker)
            if self._ended:  # it has done its step
                return child_process_done(self.worker.pid)
        raise queue.Empty

    def _is_event(self, message: Any) -> bool:
        """Look at a message, and take what is not for Dagster."""
        if not self._heeds:  # before the first, the worker ignores the signal
            self._heeds = True
            self._interrupt()
        if isinstance(message, Note):
            if message.kind == "limit":
                self._kill_after(self.timeout)
            else:
                self.workers.tell(message)
            return False
        if isinstance(message, dg.DagsterEvent) and message.event_type in _ENDS:
            self._kill_at = float("inf")
            self._ended = True
        return True

    def _kill_after(self, seconds: float = 0) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + seconds + KILL_AFTER)

    def set(self) -> None:
        """End the step, by an interrupt or, if it does not heed that, by force."""
        self._interrupted = True
        self._kill_after()
        self._interrupt()

    def _interrupt(self) -> None:
        if self._interrupted and self._heeds and self.worker and self._exitcode is None:
            os.kill(self.worker.pid, signal.SIGINT)


@dataclass
class _Events:
    """The queue of a step's events."""

    lease: _Lease | None = None

    def get(self, block: bool = True, timeout: float = 0) -> Any:
        assert self.lease is not None
        try:
            return self.lease.receive()
        except queue.Empty:
            if not block or not self.lease.is_alive():
                raise
        # Of several steps, Dagster waits for one after the other: whichever has something to say
        self.lease.workers.wait(timeout)
        return self.lease.receive()

    def close(self) -> None:
        """There is nothing to close: the connection is the worker's."""
