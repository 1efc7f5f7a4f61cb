import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
import pytest

from kedro_dagster.logging import EventLogHandler, event_log

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


def shown(
    code: Callable[[], object], limit: int = 100, instance: Mapping[str, Any] | None = None
) -> list[Shown]:
    """What Dagster's event log shows of code that logs within a step."""

    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        with event_log(context.log, limit):
            code()

    @dg.job
    def job() -> None:
        step()

    with dg.DagsterInstance.ephemeral(settings=dict(instance or {})) as home:
        run = job.execute_in_process(instance=home)
        return [
            Shown(int(entry.level), entry.user_message)
            for entry in home.all_logs(run.run_id)
            if entry.dagster_event is None and entry.step_key == "step"
        ]


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

    EventLogHandler(logging.Logger("step")).handle(record)

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
