import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.test_utils import instance_for_test

from kedro_dagster.run import event_log as module
from kedro_dagster.run.event_log import EventLogHandler, event_log, in_batches

logger = logging.getLogger("project")


class Shown(NamedTuple):
    """A record in Dagster's event log."""

    level: int
    message: str


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Let the records through that the tests log."""
    deaf = logging.getLogger("deaf")
    logger.setLevel(logging.INFO)
    deaf.setLevel(logging.INFO)
    deaf.propagate = False
    yield
    logger.setLevel(logging.NOTSET)
    deaf.propagate = True


def log_in_step(
    home: dg.DagsterInstance, code: Callable[[], object], limit: int = 100
) -> list[dg.EventLogEntry]:
    """All of Dagster's event log of a step that runs code."""

    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "EVENT_LOG_LIMIT", limit)
            with event_log(context.log, context.instance):
                code()

    @dg.job
    def job() -> None:
        step()

    run = job.execute_in_process(instance=home)
    return [entry for entry in home.all_logs(run.run_id) if entry.step_key == "step"]


def records_of(entries: Sequence[dg.EventLogEntry]) -> list[Shown]:
    """What was logged, without Dagster's own events."""
    return [
        Shown(int(entry.level), entry.user_message)
        for entry in entries
        if entry.dagster_event is None
    ]


def shown(
    code: Callable[[], object], limit: int = 100, instance: Mapping[str, Any] | None = None
) -> list[Shown]:
    """What Dagster's event log shows of code that logs within a step."""
    with instance_for_test(overrides=dict(instance or {})) as home:
        return records_of(log_in_step(home, code, limit))


def test_a_record_is_shown_once_with_its_level_and_its_arguments() -> None:
    assert shown(lambda: logger.warning("%s of %d", "one", 2)) == [(logging.WARNING, "one of 2")]


def test_a_message_with_a_percent_sign_is_shown_as_it_is() -> None:
    assert shown(lambda: logger.info("100% done %s")) == [(logging.INFO, "100% done %s")]


def test_a_record_below_the_level_of_its_logger_is_not_shown() -> None:
    assert shown(lambda: logger.debug("detail")) == []


def test_a_level_of_the_project_s_own_is_shown_as_the_next_lower_one_of_python() -> None:
    def code() -> None:
        logger.log(25, "notice")
        logger.log(99, "panic")

    assert shown(code) == [
        (logging.INFO, "notice"),
        (logging.CRITICAL, "panic"),
    ]


def test_a_logger_that_does_not_propagate_is_shown_once() -> None:
    def code() -> None:
        logging.getLogger("deaf").info("parent")
        logging.getLogger("deaf.child").info("child")

    assert shown(code) == [(logging.INFO, "parent"), (logging.INFO, "child")]


def test_a_thread_started_in_the_step_is_shown() -> None:
    def code() -> None:
        thread = threading.Thread(target=logger.info, args=("from a thread",))
        thread.start()
        thread.join()

    assert shown(code) == [(logging.INFO, "from a thread")]


def test_dagster_s_own_records_are_not_shown_a_second_time() -> None:
    assert shown(lambda: dg.get_dagster_logger().info("once")) == [(logging.INFO, "once")]
    assert shown(lambda: logging.getLogger("dagster.daemon").warning("not of the step")) == []


@pytest.mark.parametrize("managed", ["root", "project"])
def test_a_logger_that_the_instance_manages_is_shown_once(managed: str) -> None:
    settings = {"python_logs": {"managed_python_loggers": [managed]}}

    assert [level for level, _ in shown(lambda: logger.info("once"), instance=settings)] == [
        logging.INFO
    ]


def test_a_handler_that_logs_itself_makes_no_recursion(request: pytest.FixtureRequest) -> None:
    class Chatty(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "chatty":
                logging.getLogger("chatty").warning("handled: %s", record.getMessage())

    handler = Chatty()
    logging.getLogger().addHandler(handler)
    request.addfinalizer(lambda: logging.getLogger().removeHandler(handler))

    assert sorted(message for _, message in shown(lambda: logger.info("once"))) == [
        "handled: once",
        "once",
    ]


def test_a_record_that_cannot_be_formatted_is_reported_and_raises_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = logger.makeRecord("project", logging.INFO, __file__, 1, "%d", ("text",), None)

    EventLogHandler(dg.DagsterLogManager.create([])).handle(record)

    assert "Logging error" in capsys.readouterr().err


def test_the_records_beyond_the_limit_are_counted() -> None:
    def code() -> None:
        for number in range(10):
            logger.info("record %d", number)

    *first, last = shown(code, limit=3)

    assert [message for _, message in first] == ["record 0", "record 1", "record 2"]
    assert last.level == logging.WARNING
    assert last.message.startswith("7 more log records are not shown here: a step shows 3.")


def test_nothing_is_left_behind_on_the_loggers() -> None:
    before = [list(logging.getLogger(name).handlers) for name in (None, "deaf")]

    shown(lambda: logger.info("once"))

    assert [logging.getLogger(name).handlers for name in (None, "deaf")] == before


def test_an_instance_in_memory_shows_each_record_once() -> None:
    with dg.DagsterInstance.ephemeral() as home:
        entries = log_in_step(home, lambda: logger.info("once"))

    assert records_of(entries) == [(logging.INFO, "once")]


def test_records_are_written_several_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    prepare = SqliteEventLogStorage.prepare_insert_event_batch

    def counted(storage: SqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> Any:
        sizes.append(len(events))
        return prepare(storage, events)

    monkeypatch.setattr(SqliteEventLogStorage, "prepare_insert_event_batch", counted)
    monkeypatch.setattr(module, "BATCH_DELAY", 3600)

    def code() -> None:
        for number in range(250):
            logger.info("record %d", number)

    assert [message for _, message in shown(code, limit=1000)] == [
        f"record {number}" for number in range(250)
    ]
    assert sizes == [100, 100, 50]


def wait_for_records(home: dg.DagsterInstance) -> list[str]:
    """What the event log shows of the only run, as soon as that is anything."""
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while not seen and time.monotonic() < deadline:
        run = home.get_runs()[0]
        seen.extend(message for _, message in records_of(home.all_logs(run.run_id)))
    return seen


def test_a_record_is_shown_while_the_step_runs() -> None:
    seen: list[str] = []

    def code() -> None:
        logger.info("at work")
        seen.extend(wait_for_records(home))

    with instance_for_test() as home:
        log_in_step(home, code)

    assert seen == ["at work"]


def test_records_and_events_of_dagster_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_DELAY", 3600)

    def code() -> None:
        logger.info("first")
        dg.get_dagster_logger().info("second")
        logger.info("third")

    with instance_for_test() as home:
        entries = log_in_step(home, code)

    assert [
        entry.dagster_event_type.name if entry.dagster_event_type else entry.user_message
        for entry in entries[-6:]
    ] == ["STEP_START", "first", "second", "third", "STEP_OUTPUT", "STEP_SUCCESS"]


def names_of(entries: Sequence[dg.EventLogEntry]) -> list[str]:
    """Dagster's own events, and of log records what they say."""
    return [
        entry.dagster_event_type.name if entry.dagster_event_type else entry.user_message
        for entry in entries
    ]


def test_what_only_the_ui_looks_at_is_written_with_the_start_and_the_end_of_its_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches, alone = [], []
    prepare, store = (
        SqliteEventLogStorage.prepare_insert_event_batch,
        SqliteEventLogStorage.store_event,
    )

    def prepare_batch(storage: SqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> Any:
        batches.append(names_of(events))
        return prepare(storage, events)

    def store_one(storage: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        alone.extend(names_of([event]))
        store(storage, event)

    monkeypatch.setattr(SqliteEventLogStorage, "prepare_insert_event_batch", prepare_batch)
    monkeypatch.setattr(SqliteEventLogStorage, "store_event", store_one)
    monkeypatch.setattr(module, "BATCH_DELAY", 3600)
    with instance_for_test() as home, in_batches(home):
        entries = log_in_step(home, lambda: logger.info("at work"))
    assert batches[-2:] == [
        ["RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS", "LOGS_CAPTURED", "STEP_START"],
        ["at work", "STEP_OUTPUT", "STEP_SUCCESS"],
    ]
    assert names_of(entries)[-4:] == ["STEP_START", *batches[-1]]
    assert not [name for name in alone if name.startswith("STEP_")]


def test_the_end_of_a_step_that_cannot_be_written_fails_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = SqliteEventLogStorage.store_event

    def prepare_nothing(*_: object) -> None:
        raise OSError("no such statement")

    def store_no_end(storage: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        if names_of([event]) == ["STEP_SUCCESS"]:
            raise OSError("the disk is full")
        store(storage, event)

    monkeypatch.setattr(SqliteEventLogStorage, "prepare_insert_event_batch", prepare_nothing)
    monkeypatch.setattr(SqliteEventLogStorage, "store_event", store_no_end)
    with instance_for_test() as home, in_batches(home), pytest.raises(OSError, match="disk"):
        log_in_step(home, lambda: logger.info("at work"))


def test_a_batch_that_cannot_be_written_is_written_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no such statement")

    monkeypatch.setattr(SqliteEventLogStorage, "prepare_insert_event_batch", broken)

    def code() -> None:
        logger.info("first")
        logger.info("second")

    assert [message for _, message in shown(code)] == ["first", "second"]


def test_what_the_database_logs_of_the_writing_is_not_written(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    engine = logging.getLogger("sqlalchemy.engine")
    request.addfinalizer(lambda: engine.setLevel(logging.NOTSET))
    written = threading.Event()
    write = module._Batches._write

    def tell(*arguments: Any) -> None:
        write(*arguments)
        written.set()

    monkeypatch.setattr(module._Batches, "_write", tell)

    def code() -> None:
        logger.info("once")
        engine.setLevel(logging.INFO)
        assert written.wait(60)
        engine.setLevel(logging.NOTSET)

    with instance_for_test() as home:
        entries = log_in_step(home, code)

    assert records_of(entries) == [(logging.INFO, "once")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_that_a_node_forks_shows_its_records_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH_DELAY", 3600)

    def code() -> None:
        logger.info("before the fork")
        process = os.fork()
        if process == 0:
            logger.info("in the fork")
            os._exit(0)
        os.waitpid(process, 0)
        logger.info("after the fork")

    assert [message for _, message in shown(code)] == [
        "before the fork",
        "in the fork",
        "after the fork",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_a_thread_begins_to_write_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flush, begun, over = module._Batches.flush, threading.Event(), threading.Event()

    def write(batches: module._Batches) -> None:
        with batches._writing:
            begun.set()
            over.wait(60)

    def flush_and_begin(batches: module._Batches) -> None:
        flush(batches)
        if batches._users and not begun.is_set():
            threading.Thread(target=write, args=(batches,), daemon=True).start()
            begun.wait(60)

    def code() -> None:
        monkeypatch.setattr(module._Batches, "flush", flush_and_begin)
        process = os.fork()
        if process == 0:
            signal.alarm(30)
            logger.info("in the fork")
            os._exit(0)
        os.waitpid(process, 0)
        over.set()

    assert [message for _, message in shown(code)] == ["in the fork"]
