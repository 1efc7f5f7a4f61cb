"""The worker processes of a run: forked from the run worker, and kept for many steps.

Dagster's multiprocess executor starts a process for each step, through a context of
``multiprocessing``. :class:`ForkedWorkers` is such a context. To start a process hands the step to
a worker that was forked after ``before_pipeline_run``, as the workers of Kedro's ParallelRunner
are: what hooks, resolvers and modules have in memory holds in each node. Retries, pools, limits,
priorities, cancellation and crashes stay Dagster's own.

The run worker has threads, of Dagster's and of others, and a lock that a thread holds at the
moment of a fork stays locked in the copy. So it is forked once, into the *nursery*: a process with
one thread, which does nothing but fork the workers.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import random
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection as mp
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

KILL_AFTER = 30.0
"""Seconds after which a step that does not heed an interrupt is killed."""


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


class ForkedWorkers:
    """The workers of a run, as the context of ``multiprocessing`` that an executor asks.

    ``run_steps`` is what a worker does: it gets a connection, receives what ``start`` of a
    process was given, and sends events. ``tell`` gets each :class:`Note` of a worker.
    """

    def __init__(
        self,
        run_steps: Callable[[Connection], None],
        tell: Callable[[Note], None],
        *,
        keep_random_state: bool,
        max_steps: float = float("inf"),
    ) -> None:
        self._tell = tell
        self._max_steps = max_steps
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._nursery, theirs = multiprocessing.Pipe()
        # Python seeds it anew in a fork, which would undo what a hook has done
        random_state = random.getstate() if keep_random_state else None
        start_method = multiprocessing.get_start_method(allow_none=True)
        arguments = (theirs, self._nursery, run_steps, random_state, start_method)
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_nursery, args=arguments, name="kedro-nursery")
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork of several threads. The copy takes no lock of theirs: it
            # opens its own Dagster instance, and logging and threading renew their own locks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def close(self) -> None:
        """End all processes: a busy worker is one of a run that has been let go."""
        for worker in (*self._idle, *self._busy):
            worker.connection.close()
        self._nursery.close()
        self._process.join()

    # What Dagster's executor asks of a context of multiprocessing

    def _check_available(self) -> None:
        """Multiprocessing asks each context whether the platform has it."""

    def Event(self) -> _Interrupt:  # noqa: N802
        """What interrupts a step."""
        return _Interrupt()

    def Queue(self) -> _Events:  # noqa: N802
        """What the events of a step come out of."""
        return _Events()

    def Process(self, target: Any, args: tuple[_Events, Any]) -> _Lease:  # noqa: N802, ARG002
        """A step, which a worker runs when it is started."""
        events, command = args
        lease = _Lease(self, (command.step_key, command.known_state))
        events.lease = command.term_event.lease = lease
        return lease

    # What the parts below ask

    def take(self) -> _Worker:
        """An idle worker, or a new one."""
        worker = self._idle.pop() if self._idle else self._new_worker()
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
        self._nursery.send(worker.pid)
        return int(self._nursery.recv())

    def wait(self, seconds: float) -> None:
        """Wait until any worker has something to say."""
        mp.wait([worker.connection for worker in self._busy], seconds)

    def tell(self, note: Note) -> None:
        """Pass a note of a worker on."""
        self._tell(note)

    def _new_worker(self) -> _Worker:
        self._nursery.send(None)
        pid = self._nursery.recv()
        return _Worker(pid, Connection(recv_handle(self._nursery)))


class _Lease(BaseProcess):
    """A step that a worker runs: what Dagster's executor takes for a process of its own."""

    def __init__(self, workers: ForkedWorkers, task: Any) -> None:
        # Not that of BaseProcess: there is no process to be made
        self.workers = workers
        self.worker: _Worker | None = None
        self._task = task
        self._exitcode: int | None = None
        self._interrupted: float | None = None

    @property
    def pid(self) -> int | None:
        return self.worker.pid if self.worker else None

    @property
    def exitcode(self) -> int | None:
        return self._exitcode

    def start(self) -> None:
        self.worker = self.workers.take()
        try:
            self.worker.connection.send(self._task)
        except OSError:  # it has died while it was idle
            self.workers.bury(self.worker)
            self.worker = None
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
        if self._interrupted and time.monotonic() > self._interrupted + KILL_AFTER:
            os.kill(self.worker.pid, signal.SIGKILL)
        try:
            while self.worker.connection.poll():
                message = self.worker.connection.recv()
                if not isinstance(message, Note):
                    return message
                self.workers.tell(message)
        except (EOFError, OSError):
            self._exitcode = self.workers.bury(self.worker)
        raise queue.Empty

    def interrupt(self) -> None:
        if self.worker and self._exitcode is None:
            self._interrupted = time.monotonic()
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


@dataclass
class _Interrupt:
    """What Dagster sets to end a step: in place of an event that a thread of it waits for."""

    lease: _Lease | None = None

    def set(self) -> None:
        if self.lease:
            self.lease.interrupt()


# In the nursery


def _nursery(
    connection: Connection,
    theirs: Connection,
    run_steps: Callable[[Connection], None],
    random_state: Any,
    start_method: str | None,
) -> None:
    """Fork a worker when asked to, until the run worker is gone; then no worker may live on."""
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # the memory that workers share stays shared
    context = multiprocessing.get_context("fork")
    workers: dict[int, BaseProcess] = {}
    run_worker = os.getppid()
    while True:
        try:
            pid = connection.recv()
        except EOFError:
            break
        if pid:
            process = workers.pop(pid)
            process.join()
            connection.send(process.exitcode)
            continue
        ours, inner = multiprocessing.Pipe()
        arguments = (inner, (ours, connection), run_steps, random_state, start_method)
        process = context.Process(target=_worker, args=arguments, name="kedro-worker")
        process.start()
        inner.close()
        assert process.pid is not None
        workers[process.pid] = process
        connection.send(process.pid)
        send_handle(connection, ours.fileno(), run_worker)
        ours.close()
    for process in workers.values():
        process.kill()


def _worker(
    connection: Connection,
    others: tuple[Connection, ...],
    run_steps: Callable[[Connection], None],
    random_state: Any,
    start_method: str | None,
) -> None:
    for other in others:
        other.close()
    # For the processes of nodes: that of its own start is what multiprocessing gives a process
    multiprocessing.set_start_method(start_method, force=True)
    if random_state is not None:
        random.setstate(random_state)
    run_steps(connection)
