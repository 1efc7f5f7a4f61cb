"""What starts a job, beside a person."""

from __future__ import annotations

from dataclasses import dataclass

from ..read import dagster_yml


@dataclass(frozen=True)
class SchedulePlan:
    """When a job runs by itself, and what the schedule is called in Dagster."""

    name: str
    options: dagster_yml.ScheduleOptions
