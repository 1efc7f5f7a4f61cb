"""What jobs name of the rest of ``dagster.yml``: their schedules and loggers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..read.dagster_yml import (
    JobOptions,
    KedroDagsterConfig,
    LoggerOptions,
    ScheduleOptions,
)
from .model import SchedulePlan


def loggers_of(config: KedroDagsterConfig, options: JobOptions) -> Mapping[str, LoggerOptions]:
    """The loggers of a job by name; one that stands in the job is called after its place."""
    found = {}
    for index, logger in enumerate(options.loggers):
        if isinstance(logger, LoggerOptions):
            found[f"logger_{index}"] = logger
        elif logger in config.loggers:
            found[logger] = config.loggers[logger]
    return found


def schedules_of_jobs(config: KedroDagsterConfig) -> Mapping[str, SchedulePlan]:
    """The schedules by job. One that several jobs name is one for each, named after both."""
    uses = Counter(job.schedule for job in config.jobs.values() if isinstance(job.schedule, str))
    taken = {*config.schedules, *config.sensors}
    found = {}
    for job, options in config.jobs.items():
        name = options.schedule if isinstance(options.schedule, str) else ""
        schedule = config.schedules.get(name) if name else options.schedule
        if not isinstance(schedule, ScheduleOptions):
            continue
        if uses[name] != 1:
            name = f"{job}_{name or 'schedule'}"
            while name in taken:
                name += "_"
            taken.add(name)
        found[job] = SchedulePlan(name, schedule)
    return found
