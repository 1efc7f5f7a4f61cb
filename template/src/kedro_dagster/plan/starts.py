"""What starts a job, beside a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from ..read import dagster_yml
from ..read.dagster_yml import AfterOptions, JobOptions
from ..read.mistakes import Mistakes
from .names import sensor_name

if TYPE_CHECKING:
    from .model import JobPlan


@dataclass(frozen=True)
class SchedulePlan:
    """When a job runs by itself, and what the schedule is called in Dagster."""

    name: str
    options: dagster_yml.ScheduleOptions


@dataclass(frozen=True)
class AfterPlan:
    """The jobs after which a job starts by itself, and what its sensor is called in Dagster."""

    name: str
    jobs: tuple[AfterOptions, ...]

    def __str__(self) -> str:
        return ", ".join("/".join(filter(None, (one.location, one.job))) for one in self.jobs)


def after_of(job: str, options: JobOptions) -> AfterPlan | None:
    """After which jobs a job starts, if after any."""
    jobs = tuple(dict.fromkeys(map(AfterOptions.of, options.after)))
    return AfterPlan(sensor_name(job), jobs) if jobs else None


def check_after(
    options: Mapping[str, JobOptions], jobs: Mapping[str, JobPlan], mistakes: Mistakes
) -> None:
    """Look for jobs that start after one that is not there, after each other, or for no key."""
    own = {
        name: [one.job for one in map(AfterOptions.of, given.after) if not one.location]
        for name, given in options.items()
    }
    for name, others in own.items():
        place = ("jobs", name, "after")
        for other in others:
            if other == name:
                mistakes.add(place, "a job cannot start after itself.")
            elif other not in options:
                mistakes.add(place, f"{other!r} is not defined in 'jobs'.", other, options)
            elif name in jobs and other in jobs and not _same_keys(jobs[name], jobs[other]):
                message = f"a run of {name!r} takes one partition, and {other!r} has not the same"
                advice = "to pass on. Give it 'partitions: all', or a schedule."
                mistakes.add(place, f"{message} {advice}")
    graph = {name: [one for one in others if one != name] for name, others in own.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = error.args[1]
        message = f"these jobs would start each other for ever: {' -> '.join(cycle)}."
        mistakes.add(("jobs", cycle[-1], "after"), message)


def _same_keys(job: JobPlan, other: JobPlan) -> bool:
    if job.partitioning is None:
        return True
    return bool(other.partitioning and other.partitioning.definition == job.partitioning.definition)
