"""What starts a job, beside a person: schedules, other jobs; and of which job one is a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..read.dagster_yml import AfterOptions, JobOptions, ScheduleOptions
from .names import sensor_name


@dataclass(frozen=True)
class SchedulePlan:
    """When a job runs by itself, and what the schedule is called in Dagster."""

    name: str
    options: ScheduleOptions


@dataclass(frozen=True)
class AfterPlan:
    """The jobs after which a job starts by itself, and what its sensor is called in Dagster."""

    name: str
    jobs: tuple[AfterOptions, ...]

    def __str__(self) -> str:
        return ", ".join("/".join(filter(None, (one.location, one.job))) for one in self.jobs)


@dataclass(frozen=True)
class PresetPlan:
    """Of which job another one is a preset, and what the config of its runs has."""

    job: str
    name: str
    run_options: Mapping[str, Any]


def after_of(job: str, options: JobOptions) -> AfterPlan | None:
    """After which jobs a job starts, if after any."""
    jobs = tuple(dict.fromkeys(map(AfterOptions.of, options.after)))
    return AfterPlan(sensor_name(job), jobs) if jobs else None
