"""The executors of ``dagster.yml``, as Dagster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._check import not_none
from dagster._config.post_process import post_process_config

from ..plan.executors import import_executor
from ..read.dagster_yml import ExecutorOptions


def executor_definition(options: ExecutorOptions) -> dg.ExecutorDefinition:
    """Find an executor and configure it."""
    definition = import_executor(options.kind)

    def options_of_run(_: Any) -> Mapping[str, Any]:
        """Give the options as they are written: Dagster reads ``{env: NAME}`` when a run starts."""
        if missing := list(_missing_variables(definition, options)):
            raise dg.DagsterInvariantViolationError("\n".join(missing))
        return options.options

    return definition.configured(options_of_run, name=definition.name)


def _missing_variables(
    definition: dg.ExecutorDefinition, options: ExecutorOptions
) -> Iterator[str]:
    """Say in a line each what Dagster would say with a traceback."""
    schema = not_none(definition.config_schema.config_type)
    for error in post_process_config(schema, options.options).errors or ():
        keys = ".".join((options.kind, *error.stack.levels))
        message = getattr(error.error_data, "message", error.message)
        yield f"Option {keys} of dagster.yml: {message.partition('Error: ')[2].strip()}"
