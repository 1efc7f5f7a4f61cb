"""Python's ``logging`` in Dagster's event log, without a change in the code that logs."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.log_manager import has_log_record_metadata

from .config import KeyPath, LoggerOptions
from .errors import Mistake, did_you_mean
from .project import KedroProject

EVENT_LOG_LIMIT = 1_000
"""How many records of one step go to Dagster's event log; a database row each."""


def getLogger(name: str | None = None) -> logging.Logger:  # noqa: N802
    """Get a logger whose records show in Dagster: any logger of Python's does.

    Args:
        name: The logger's name.

    Returns:
        ``logging.getLogger(name)``.
    """
    return logging.getLogger(name)


class EventLogHandler(logging.Handler):
    """Passes the records of Python's logging on to a Dagster log, up to a limit.

    Args:
        log: The log of a step or of a run.
        limit: How many records to pass on; the project's own handlers get all of them.
    """

    def __init__(self, log: logging.Logger, limit: int = EVENT_LOG_LIMIT) -> None:
        super().__init__()
        self._log = log
        self._left = limit
        self.cut = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless it is Dagster's own, or comes by its managed_python_loggers."""
        if record.name.partition(".")[0] == "dagster" or has_log_record_metadata(record):
            return
        if self._left <= 0:
            self.cut += 1
            return
        self._left -= 1
        # Dagster refuses other levels than Python's own five
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            self._log.log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  # as every handler of logging does
            self.handleError(record)


@contextmanager
def event_log(log: logging.Logger, limit: int = EVENT_LOG_LIMIT) -> Iterator[None]:
    """Show in a Dagster log what is logged meanwhile, at the levels the project has set.

    Args:
        log: The log of a step or of a run.
        limit: How many records to show; the last one says how many were left out.
    """
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
        yield
    finally:
        for logger in (logging.root, *deaf):
            logger.removeHandler(handler)
        if handler.cut:
            log.warning(
                "%d more log records are not shown here: a step shows %d. All of them went to "
                "the handlers of conf/logging.yml.",
                handler.cut,
                limit,
            )


def check_loggers(project: KedroProject) -> list[Mistake]:
    """Look for loggers whose handlers are not there, or name what is not there.

    Args:
        project: The project.

    Returns:
        The mistakes, each at the key in ``dagster.yml`` where it stands.
    """
    loggers: dict[KeyPath, LoggerOptions] = {
        ("loggers", name): options for name, options in project.config.loggers.items()
    }
    for name, job in project.config.jobs.items():
        for index, options in enumerate(job.loggers):
            if isinstance(options, LoggerOptions):
                loggers["jobs", name, "loggers", str(index)] = options
    return [
        project.mistake((*path, "handlers", *keys), message)
        for path, options in loggers.items()
        for keys, message in _handler_faults(options)
    ]


def _handler_faults(options: LoggerOptions) -> Iterator[tuple[KeyPath, str]]:
    for name, handler in options.handlers.items():
        factory = "()" if "()" in handler else "class"
        try:
            logging.config.BaseConfigurator({}).resolve(str(handler.get(factory, "")))
        except ValueError as error:
            cause = error.__cause__ or error
            message = f"{handler.get(factory)!r} cannot be imported: {cause}."
            yield (name, factory), f"{message} Write one like 'logging.StreamHandler'."
        formatter = handler.get("formatter")
        if formatter is not None and formatter not in options.formatters:
            message = f"{formatter!r} is not defined in 'formatters'."
            yield (name, "formatter"), f"{message} {did_you_mean(formatter, options.formatters)}"
        for key in handler.get("filters", ()):
            if key not in options.filters:
                message = f"{key!r} is not defined in 'filters'."
                yield (name, "filters"), f"{message} {did_you_mean(key, options.filters)}"


def logger_definition(name: str, options: LoggerOptions) -> dg.LoggerDefinition:
    """Make a Dagster logger of the words of :func:`logging.config.dictConfig`.

    Args:
        name: A name that no other logger of the code location has.
        options: Its level, handlers, formatters and filters.

    Returns:
        The logger.
    """

    def create(_: dg.InitLoggerContext) -> logging.Logger:
        # dictConfig itself would close the handlers of all other loggers of the process
        configurator = logging.config.DictConfigurator({"version": 1})
        content = configurator.config
        content["formatters"] = {
            key: configurator.configure_formatter(dict(value))
            for key, value in options.formatters.items()
        }
        content["filters"] = {
            key: configurator.configure_filter(dict(value))
            for key, value in options.filters.items()
        }
        logger = logging.Logger(f"dagster.{name}", options.level)
        for value in options.handlers.values():
            logger.addHandler(configurator.configure_handler(dict(value)))
        if not options.handlers:
            logger.addHandler(logging.StreamHandler())
        return logger

    return dg.LoggerDefinition(create, description=f"Logger {name!r} of dagster.yml.")
