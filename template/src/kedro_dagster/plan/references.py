"""What jobs name of the rest of ``dagster.yml``: their schedules and loggers."""

from __future__ import annotations

from collections.abc import Mapping

from ..read.dagster_yml import (
    JobOptions,
    KedroDagsterConfig,
    LoggerOptions,
)
from .model import SchedulePlan
from .names import schedule_name


def loggers_of(config: KedroDagsterConfig, options: JobOptions) -> Mapping[str, LoggerOptions]:
    """The loggers of a job by name; one that stands in the job is called after its place."""
    found = {}
    for index, logger in enumerate(options.loggers):
        if isinstance(logger, LoggerOptions):
            found[f"logger_{index}"] = logger
        elif logger in config.loggers:
            found[logger] = config.loggers[logger]
    return found


def schedule_of(config: KedroDagsterConfig, job: str) -> SchedulePlan | None:
    """The schedule of a job."""
    schedule = config.jobs[job].schedule
    options = config.schedules.get(schedule) if isinstance(schedule, str) else schedule
    return SchedulePlan(schedule_name(job), options) if options else None
