"""The executors of ``dagster.yml``, as Dagster's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ..doors.dagster import missing_variables
from ..plan.executors import import_executor
from ..read.dagster_yml import ExecutorOptions


def executor_definition(options: ExecutorOptions) -> dg.ExecutorDefinition:
    """Find an executor and configure it."""
    definition = import_executor(options.kind)

    def options_of_run(_: Any) -> Mapping[str, Any]:
        """Give the options as they are written: Dagster reads ``{env: NAME}`` when a run starts."""
        missing = [
            f"Option {'.'.join((options.kind, *keys))} of dagster.yml: "
            f"{message.partition('Error: ')[2].strip()}"
            for keys, message in missing_variables(definition, options.options)
        ]
        if missing:
            raise dg.DagsterInvariantViolationError("\n".join(missing))
        return options.options

    return definition.configured(options_of_run, name=definition.name)
