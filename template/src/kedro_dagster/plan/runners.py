"""Kedro's runners, for the nodes that share a step."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, ParallelRunner
from kedro.utils import load_obj
from pydantic import ValidationError

from ..doors.kedro import strip_transcoding
from ..errors import RunConfigError, did_you_mean
from ..read.dagster_yml import JobOptions, RunnerOptions
from ..read.mistakes import Mistakes
from .model import Datasets, JobPlan, partitioned_in

_KEDROS = ("SequentialRunner", "ThreadRunner")

NOT_FOR_PARTITIONS = (
    "a run of this job makes one partition, and Kedro only asks whether there is any. Leave it "
    "out: a backfill finds the partitions that are missing."
)


def make_runner(options: RunnerOptions) -> AbstractRunner:
    """Make a runner as ``kedro run --runner`` does."""
    runner_class = load_obj(options.type, "kedro.runner")
    if not (isinstance(runner_class, type) and issubclass(runner_class, AbstractRunner)):
        raise TypeError(f"it is no runner of Kedro's, but {runner_class!r}")
    if issubclass(runner_class, ParallelRunner):
        raise TypeError(
            "it starts processes of its own, as executor 'multiprocess' does: take that"
        )
    runner: AbstractRunner = runner_class(**options.arguments)
    return runner


def runs_in_order(options: RunnerOptions | None) -> bool:
    """Whether nodes run one after the other, as they do without a runner."""
    return options is None or options.type.removeprefix("kedro.runner.") == "SequentialRunner"


def is_async(options: RunnerOptions | None) -> bool:
    """Whether the datasets of a node load and save in threads."""
    return options is not None and options.arguments.get("is_async") is True


def runner_of_run(value: Any, job: JobPlan | None, datasets: Datasets) -> RunnerOptions:
    """Read the runner that a run asks for; refuse one that cannot run the nodes of its steps."""
    path = ("runner",)
    try:
        options = RunnerOptions.model_validate(value)
    except ValidationError as error:
        raise RunConfigError(path, error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    own = job.runner.type if job and job.runner else None
    if options.type not in (*_KEDROS, "ParallelRunner", own):
        known = _KEDROS if own is None else {*_KEDROS, own}
        message = f"no run chooses the code that is imported. {did_you_mean(options.type, known)}"
        raise RunConfigError(path, f"{options.type}: {message}")
    try:
        make_runner(options)
    except Exception as error:
        raise RunConfigError(path, f"{options.type}: {error}.") from error
    if not runs_in_order(options):
        if job is None or not any(len(step.nodes) > 1 for step in job.steps):
            message = "it runs the nodes of a step, and here each step has one. Give the job"
            raise RunConfigError(path, f"{options.type}: {message} 'group_by', or leave it out.")
        if partitioned := _partitioned(job.pipeline, datasets):
            raise RunConfigError(path, f"{options.type}: {_see_each_other(partitioned)}")
    return options


def _partitioned(pipeline: Pipeline, datasets: Datasets) -> Collection[str]:
    names = (name for name in map(strip_transcoding, pipeline.datasets()) if name in datasets)
    return partitioned_in(names, datasets)


def _see_each_other(partitioned: Collection[str]) -> str:
    return (
        f"dataset {min(partitioned)!r} is partitioned, and nodes that run at the same time would "
        "see each other's partitions. Leave it out."
    )


def check_runner(
    job: str, options: JobOptions, pipeline: Pipeline, datasets: Datasets, mistakes: Mistakes
) -> None:
    """Look for mistakes in the runner of a job."""
    if options.runner is None:
        return
    place = ("jobs", job, "runner")
    in_order = runs_in_order(options.runner)
    if options.group_by is None and options.target == "ops" and not in_order:
        mistakes.add(place, "it runs the nodes of a step. Write 'group_by' too, such as pipeline.")
    partitioned = _partitioned(pipeline, datasets)
    if partitioned and options.partitions != "all" and not in_order:
        mistakes.add(place, _see_each_other(partitioned))
    try:
        make_runner(options.runner)
    except AttributeError:
        message = f"there is no runner {options.runner.type!r}."
        mistakes.add(place, message, options.runner.type, _KEDROS)
    except Exception as error:  # noqa: BLE001  # an import, or what the class says of its arguments
        mistakes.add(place, f"{options.runner.type}: {error}.")
