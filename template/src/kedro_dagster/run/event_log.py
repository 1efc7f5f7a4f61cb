"""What is logged in a run, in Dagster's event log: a database row each, written in batches."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import Any
from weakref import WeakSet

import dagster as dg

from ..doors.dagster import batch_writer, is_shown_by_dagster

EVENT_LOG_LIMIT = 1_000  # records of a step that are shown: each takes a row of the database
BATCH_DELAY = 0.1  # seconds that a record waits at the most: the UI shows a run as it goes
BATCH_SIZE = 100  # records that one statement writes at the most

_WAITS = {
    None,  # a log record
    dg.DagsterEventType.STEP_WORKER_STARTED,
    dg.DagsterEventType.RESOURCE_INIT_STARTED,
    dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
    dg.DagsterEventType.LOGS_CAPTURED,
    dg.DagsterEventType.STEP_INPUT,
    dg.DagsterEventType.LOADED_INPUT,
    dg.DagsterEventType.HANDLED_OUTPUT,
    dg.DagsterEventType.STEP_OUTPUT,
}
"""What may wait: it is for the UI only."""

_ENDS_WAIT = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS}
"""What is written with all that waits: before a node can crash, and before a step ends."""

_here = threading.local()  # whether the thread is writing to the event log


class EventLogHandler(logging.Handler):
    """Passes the records of Python's logging on to a Dagster log, up to a limit."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        super().__init__()
        self._log = log
        self._seen = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what the database logs of the writing, which would be written in turn."""
        return not getattr(_here, "writing", False) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless Dagster has it anyway."""
        if _is_dagster(record) or is_shown_by_dagster(record):
            return
        self._seen += 1
        if self._seen > EVENT_LOG_LIMIT:
            return
        # Dagster refuses other levels than Python's own five
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            self._log.log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  # as every handler of logging does
            self.handleError(record)

    def close(self) -> None:
        """Tell how many records were left out."""
        if self._seen > EVENT_LOG_LIMIT:
            self._log.warning(
                "%d more log records are not shown here: a step shows %d. All of them went to "
                "the handlers of conf/logging.yml.",
                self._seen - EVENT_LOG_LIMIT,
                EVENT_LOG_LIMIT,
            )
        super().close()


@contextmanager
def event_log(log: dg.DagsterLogManager, instance: dg.DagsterInstance) -> Iterator[None]:
    """Show in a Dagster log what is logged meanwhile, at the levels the project has set."""
    handler = EventLogHandler(log)
    loggers = [logging.root, *_deaf_loggers()]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with in_batches(instance):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def _deaf_loggers() -> Iterator[logging.Logger]:
    """The loggers that hand nothing on to the root, but for Dagster's."""
    for one in list(logging.root.manager.loggerDict.values()):
        if isinstance(one, logging.Logger) and not one.propagate and not _is_dagster(one):
            yield one


def _is_dagster(of: logging.Logger | logging.LogRecord) -> bool:
    return of.name.partition(".")[0] == "dagster"


class _Batches:
    """Stands before a storage of events, and writes several records in one transaction.

    For each, Dagster makes a connection and a commit: 4 ms in memory and more on a disk, for the
    five or six that Kedro logs of a node, and for Dagster's own.
    """

    def __init__(self, storage: Any, write: Callable[[Sequence[dg.EventLogEntry]], None]) -> None:
        self._users = 0
        self._write_at_once = write
        self._store_one = storage.store_event
        self._waiting: deque[dg.EventLogEntry] = deque()
        self._timer: threading.Timer | None = None
        self._process = os.getpid()
        # Who logs does not wait for who writes, which may log as well
        self._writing = threading.RLock()
        _all.add(self)
        storage.store_event = self.store

    def __enter__(self) -> None:
        self._users += 1

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self.flush()

    def store(self, event: dg.EventLogEntry) -> None:
        """Keep a log record for a moment; of Dagster's own events, keep the order."""
        kind = event.dagster_event_type if event.is_dagster_event else None
        in_fork = os.getpid() != self._process  # by a node, and may end at any time
        if in_fork or not self._users or kind not in _WAITS | _ENDS_WAIT:
            self.flush()
            self._store_one(event)
            return
        self._waiting.append(event)
        if kind in _ENDS_WAIT:
            self.flush()
        elif self._timer is None:
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

    def leave_to_parent(self) -> None:
        """Let go, in a fork, of what another thread has begun to write."""
        self._writing = threading.RLock()
        self._waiting.clear()

    def _write(self, events: Sequence[dg.EventLogEntry]) -> None:
        try:
            self._write_at_once(events)
        except Exception:  # noqa: BLE001  # which the other way tells of
            failed = None
            for event in events:
                try:
                    self._store_one(event)
                except Exception as error:  # noqa: BLE001
                    traceback.print_exc()  # of a log record, as every handler of logging does
                    failed = error if event.is_dagster_event else failed
            if failed:  # as without batches
                raise failed from None


_all: WeakSet[_Batches] = WeakSet()


def in_batches(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """Write to the event log of an instance in batches meanwhile, where that is in a database."""
    if (found := batch_writer(instance)) is None:
        return nullcontext()
    before = getattr(found[0].store_event, "__self__", None)
    return before if isinstance(before, _Batches) else _Batches(*found)


def _write_all() -> None:
    for batches in list(_all):
        batches.flush()


def _leave_to_parent() -> None:
    for batches in list(_all):
        batches.leave_to_parent()


if hasattr(os, "register_at_fork"):
    # Nothing waits and no lock is held in the copy of this process that a node makes
    os.register_at_fork(before=_write_all, after_in_child=_leave_to_parent)
