"""Where the worker processes of a run come from: forked from the run worker, or begun anew."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection as mp
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, TypeAlias

from ..errors import WorkersLostError
from .processes import PRELOADED

PATIENCE = 10.0
"""Seconds that a worker without further steps has to end."""

RunSteps: TypeAlias = Callable[[Connection], None]
"""What a worker does: it runs the steps that come through the connection, until it is closed."""


class ForkedProcesses:
    """Workers that are copies of the run worker, as those of Kedro's ParallelRunner are.

    The run worker has threads, of Dagster's and of others, and a lock that a thread holds at the
    moment of a fork stays locked in the copy. So it is forked once, into the *nursery*: a process
    with one thread, which does nothing but fork the workers.
    """

    def __init__(self, run_steps: RunSteps, *, keep_random_state: bool) -> None:
        self._nursery, theirs = multiprocessing.Pipe()
        # Python seeds it anew in a fork, which would undo what a hook has done
        random_state = random.getstate()
        start_method = multiprocessing.get_start_method(allow_none=True)

        def work(connection: Connection) -> None:
            # For the processes of nodes: that of its own start is what multiprocessing gives one
            multiprocessing.set_start_method(start_method, force=True)
            if keep_random_state:
                random.setstate(random_state)
            run_steps(connection)

        context = multiprocessing.get_context("fork")
        arguments = (theirs, self._nursery, work)
        self._process = context.Process(target=_nursery, args=arguments, name="kedro-nursery")
        self._workers: set[int] = set()
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork of several threads. The copy takes no lock of theirs: it
            # opens its own Dagster instance, and logging and threading renew their own locks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def start(self) -> tuple[int, Connection]:
        """Have the nursery fork a worker."""
        with _nursery_lives():
            self._nursery.send(None)
            pid = self._nursery.recv()
            self._workers.add(pid)
            return pid, Connection(recv_handle(self._nursery))

    def end(self, pid: int) -> int:
        """Have the nursery wait for a worker."""
        with _nursery_lives():
            self._nursery.send(pid)
            exitcode = int(self._nursery.recv())
        self._workers.discard(pid)
        return exitcode

    def close(self) -> None:
        """Let the nursery end, which kills the workers that it has left."""
        self._nursery.close()
        self._process.join()
        if self._process.exitcode:  # it was killed itself
            for pid in self._workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class FreshProcesses:
    """Workers that begin anew and import the project, where the run worker cannot be forked."""

    def __init__(self, run_steps: RunSteps, start_method: str) -> None:
        self._context: Any = multiprocessing.get_context(start_method)
        if start_method == "forkserver":
            self._context.set_forkserver_preload(list(PRELOADED))
        self._run_steps = run_steps
        self._processes: dict[int, BaseProcess] = {}

    def start(self) -> tuple[int, Connection]:
        """Start a worker, which opens a Kedro session when it gets its first step."""
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._run_steps)
        process = self._context.Process(target=_fresh_worker, args=arguments, name="kedro-worker")
        process.start()
        theirs.close()
        self._processes[process.pid] = process
        return process.pid, ours

    def end(self, pid: int) -> int:
        """Wait for a worker."""
        return _end(self._processes.pop(pid))

    def close(self) -> None:
        """Let idle workers end by themselves, and kill one that runs a step of a run let go."""
        for process in self._processes.values():
            _end(process)


def _end(process: BaseProcess) -> int:
    """Let a process end by itself, if it does not wait for a thread of a node; give its status."""
    process.join(PATIENCE)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@contextmanager
def _nursery_lives() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, RuntimeError) as error:
        raise WorkersLostError(
            "The process from which the workers of this run are forked has ended. If it has "
            "printed no error, it was killed, perhaps for want of memory."
        ) from error


def _nursery(connection: Connection, theirs: Connection, run_steps: RunSteps) -> None:
    """Fork a worker when asked to, until the run worker is gone; then no worker may live on."""
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # the memory that workers share stays shared
    context = multiprocessing.get_context("fork")
    workers: dict[int, BaseProcess] = {}
    process: BaseProcess
    run_worker = os.getppid()
    try:
        while True:
            try:
                pid = connection.recv()
            except EOFError:
                break
            if pid:
                connection.send(_end(workers.pop(pid)))
                continue
            ours, inner = multiprocessing.Pipe()
            arguments = (inner, (ours, connection), run_steps)
            process = context.Process(target=_worker, args=arguments, name="kedro-worker")
            process.start()
            inner.close()
            assert process.pid is not None
            workers[process.pid] = process
            connection.send(process.pid)
            send_handle(connection, ours.fileno(), run_worker)
            ours.close()
    finally:  # the run worker may be killed while it is told something
        for process in workers.values():
            process.kill()


def _worker(connection: Connection, others: tuple[Connection, ...], run_steps: RunSteps) -> None:
    for other in others:
        other.close()
    run_steps(connection)


def _fresh_worker(connection: Connection, run_steps: RunSteps) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    threading.Thread(target=_end_with_the_run_worker, daemon=True).start()
    run_steps(connection)


def _end_with_the_run_worker() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    mp.wait([parent.sentinel])
    os._exit(1)
