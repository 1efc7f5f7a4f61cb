"""What is logged in a run, in Dagster's event log: a database row each, written in batches."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any
from weakref import WeakSet

import dagster as dg

from ..doors.dagster import batch_writer, is_shown_by_dagster

EVENT_LOG_LIMIT = 1_000
"""How many records of one step go to Dagster's event log; a database row each."""

BATCH_DELAY = 0.1
"""Seconds after which a record is written at the latest, so that the UI shows a run as it goes."""

BATCH_SIZE = 100
"""How many records are written by one statement at the most."""

_here = threading.local()
"""Of each thread, whether it is writing to the event log."""


class EventLogHandler(logging.Handler):
    """Passes the records of Python's logging on to a Dagster log, up to a limit."""

    def __init__(self, log: dg.DagsterLogManager, limit: int = EVENT_LOG_LIMIT) -> None:
        super().__init__()
        self._log = log
        self._left = self._limit = limit
        self._cut = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what the database logs of the writing, which would be written in turn."""
        return not getattr(_here, "writing", False) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless Dagster has it anyway."""
        if record.name.partition(".")[0] == "dagster" or is_shown_by_dagster(record):
            return
        if self._left <= 0:
            self._cut += 1
            return
        self._left -= 1
        # Dagster refuses other levels than Python's own five
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            self._log.log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  # as every handler of logging does
            self.handleError(record)

    def close(self) -> None:
        """Tell how many records were left out."""
        if self._cut:
            self._log.warning(
                "%d more log records are not shown here: a step shows %d. All of them went to "
                "the handlers of conf/logging.yml.",
                self._cut,
                self._limit,
            )
        super().close()


@contextmanager
def event_log(
    log: dg.DagsterLogManager, instance: dg.DagsterInstance, limit: int = EVENT_LOG_LIMIT
) -> Iterator[None]:
    """Show in a Dagster log what is logged meanwhile, at the levels the project has set."""
    handler = EventLogHandler(log, limit)
    deaf = [
        logger
        for logger in list(logging.root.manager.loggerDict.values())
        if isinstance(logger, logging.Logger)
        and not logger.propagate
        and logger.name.partition(".")[0] != "dagster"
    ]
    for logger in (logging.root, *deaf):
        logger.addHandler(handler)
    try:
        with _in_batches(instance):
            yield
    finally:
        for logger in (logging.root, *deaf):
            logger.removeHandler(handler)
        handler.close()


class _Batches:
    """Stands before a storage of events, and writes several log records in one transaction.

    Of each record, Dagster makes a connection and a commit of its own: 4 ms in memory and more on
    a disk, for the five or six that Kedro logs of a node.
    """

    def __init__(self, storage: Any, write: Callable[[Sequence[dg.EventLogEntry]], None]) -> None:
        self.users = 0
        self._write_at_once = write
        self._store_one = storage.store_event
        self._waiting: deque[dg.EventLogEntry] = deque()
        self._timer: threading.Timer | None = None
        self._process = os.getpid()
        # Who logs does not wait for who writes, which may log as well
        self._writing = threading.RLock()
        _all.add(self)
        storage.store_event = self.store

    def store(self, event: dg.EventLogEntry) -> None:
        """Keep a log record for a moment; of Dagster's own events, keep the order."""
        in_fork = os.getpid() != self._process  # by a node, and may end at any time
        if event.is_dagster_event or in_fork or not self.users:
            self.flush()
            self._store_one(event)
            return
        self._waiting.append(event)
        if self._timer is None:
            self._timer = threading.Timer(BATCH_DELAY, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            if self._timer:
                self._timer.cancel()
                self._timer = None  # before any record is taken: a later one starts another
            _here.writing = True
            try:
                while self._waiting:
                    size = min(len(self._waiting), BATCH_SIZE)
                    events = [self._waiting.popleft() for _ in range(size)]
                    for _, of_one_run in groupby(events, key=lambda event: event.run_id):
                        self._write(list(of_one_run))
            finally:
                _here.writing = False

    def _write(self, events: Sequence[dg.EventLogEntry]) -> None:
        try:
            self._write_at_once(events)
        except Exception:  # noqa: BLE001  # which the other way tells of
            for event in events:
                try:
                    self._store_one(event)
                except Exception:  # noqa: BLE001  # as every handler of logging does
                    traceback.print_exc()


_all: WeakSet[_Batches] = WeakSet()


@contextmanager
def _in_batches(instance: dg.DagsterInstance) -> Iterator[None]:
    """Write what an instance is told to log in batches, where its event log is in a database."""
    found = batch_writer(instance)
    if found is None:
        yield
        return
    storage, write = found
    batches = getattr(storage.store_event, "__self__", None)
    if not isinstance(batches, _Batches):  # it is there from now on
        batches = _Batches(storage, write)
    batches.users += 1
    try:
        yield
    finally:
        batches.users -= 1
        batches.flush()


def _write_all() -> None:
    for batches in list(_all):
        batches.flush()


if hasattr(os, "register_at_fork"):
    # Nothing waits and no lock is held in the copy of this process that a node makes
    os.register_at_fork(before=_write_all)
