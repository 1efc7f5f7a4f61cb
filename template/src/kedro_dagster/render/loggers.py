"""The loggers of ``dagster.yml``, as Dagster's."""

from __future__ import annotations

import logging.config

import dagster as dg

from ..read.dagster_yml import LoggerOptions


def logger_definition(name: str, options: LoggerOptions) -> dg.LoggerDefinition:
    """Make a Dagster logger of the words of :func:`logging.config.dictConfig`."""

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
