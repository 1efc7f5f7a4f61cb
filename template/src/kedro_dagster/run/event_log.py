"""What is logged in a run, in Dagster's event log: a database row each, written in batches."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

import dagster as dg
from dagster._core.events.log import construct_event_record
from dagster._core.instance.types import _EventListenerLogHandler
from dagster._core.log_manager import (
    DagsterLogHandler,
    get_log_record_metadata,
    has_log_record_metadata,
)
from dagster._core.storage.event_log import InMemoryEventLogStorage, SqlEventLogStorage
from dagster._utils.log import StructuredLoggerMessage

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
        self._log, self._batches = _in_batches(log)
        self._left = self._limit = limit
        self._cut = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what the database logs of the writing, which would be written in turn."""
        return not getattr(_here, "writing", False) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless it is Dagster's own, or comes by its managed_python_loggers."""
        if record.name.partition(".")[0] == "dagster" or has_log_record_metadata(record):
            self.flush()  # Dagster writes it at once, and it comes after those that wait
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

    def flush(self) -> None:
        """Write the records that wait, such as before an event of Dagster's."""
        for batch in self._batches:
            batch.flush()

    def close(self) -> None:
        """Tell how many records were left out, and write those that wait."""
        if self._cut:
            self._log.warning(
                "%d more log records are not shown here: a step shows %d. All of them went to "
                "the handlers of conf/logging.yml.",
                self._cut,
                self._limit,
            )
        self.flush()
        super().close()


@contextmanager
def event_log(log: dg.DagsterLogManager, limit: int = EVENT_LOG_LIMIT) -> Iterator[EventLogHandler]:
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
    own = dg.get_dagster_logger()
    own.handlers.insert(0, handler)  # before Dagster's handler, to keep the order of the records
    try:
        yield handler
    finally:
        for logger in (logging.root, own, *deaf):
            logger.removeHandler(handler)
        handler.close()


class _Batches(logging.Handler):
    """Stands for Dagster's own handler, and writes several records in one transaction.

    Of each record, Dagster makes a connection and a commit of its own: 4 ms in memory and more on
    a disk, for the five or six that Kedro logs of a node.
    """

    def __init__(self, one_by_one: logging.Handler, storage: SqlEventLogStorage) -> None:
        super().__init__(one_by_one.level)
        self._one_by_one = one_by_one
        self._storage = storage
        self._waiting: deque[logging.LogRecord] = deque()
        self._timer: threading.Timer | None = None
        self._process = os.getpid()
        # Not the handler's lock: who logs does not wait for who writes, which may log as well
        self._writing = threading.RLock()
        _open.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record for a moment."""
        self._waiting.append(record)
        if os.getpid() != self._process:  # of a fork by the node, which may end at any time
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
                    self._write([self._waiting.popleft() for _ in range(size)])
            finally:
                _here.writing = False

    def _write(self, records: list[logging.LogRecord]) -> None:
        messages = [
            StructuredLoggerMessage(
                record.name, record.msg, record.levelno, get_log_record_metadata(record), record
            )
            for record in records
        ]
        entries = [construct_event_record(message) for message in messages]
        try:
            with self._storage.run_connection(entries[0].run_id) as connection:
                connection.execute(self._storage.prepare_insert_event_batch(entries))
        except Exception:  # noqa: BLE001  # which the other way tells of
            for record in records:
                try:
                    self._one_by_one.handle(record)
                except Exception:  # noqa: BLE001  # as every handler of logging does
                    self.handleError(record)


_open: WeakSet[_Batches] = WeakSet()


def _in_batches(log: dg.DagsterLogManager) -> tuple[dg.DagsterLogManager, list[_Batches]]:
    """Make a log that writes to the same places, but to Dagster's event log in batches."""
    inner = log._dagster_handler
    handlers = [_batches_for(handler) or handler for handler in inner._handlers]
    batches = [handler for handler in handlers if isinstance(handler, _Batches)]
    twin = DagsterLogHandler(inner.metadata, inner._loggers, handlers)
    return dg.DagsterLogManager(twin, log.level), batches


def _batches_for(handler: logging.Handler) -> _Batches | None:
    if not isinstance(handler, _EventListenerLogHandler):
        return None
    storage = handler._instance.event_log_storage
    in_memory = isinstance(storage, InMemoryEventLogStorage)  # which has listeners of its own
    if in_memory or not isinstance(storage, SqlEventLogStorage):
        return None
    return _Batches(handler, storage)


def _write_all() -> None:
    for batches in list(_open):
        batches.flush()


if hasattr(os, "register_at_fork"):
    # Nothing waits and no lock is held in the copy of this process that a node makes
    os.register_at_fork(before=_write_all)
