"""The loggers of ``dagster.yml``, as Dagster's."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import dagster as dg

from .config import KeyPath, LoggerOptions
from .errors import Mistake, did_you_mean
from .project import KedroProject


def getLogger(name: str | None = None) -> logging.Logger:  # noqa: N802
    """Get a logger whose records show in Dagster: any logger of Python's does.

    Args:
        name: The logger's name.

    Returns:
        ``logging.getLogger(name)``.
    """
    return logging.getLogger(name)


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
