"""Kedro's runners, for the nodes that share a step."""

from __future__ import annotations

from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, ParallelRunner
from kedro.utils import load_obj

from ..doors.kedro import strip_transcoding
from ..read.dagster_yml import JobOptions, RunnerOptions
from ..read.mistakes import Mistakes
from .model import Datasets, partitioned_in

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


def check_runner(
    job: str, options: JobOptions, pipeline: Pipeline, datasets: Datasets, mistakes: Mistakes
) -> None:
    """Look for mistakes in the runner of a job."""
    if options.runner is None:
        return
    place = ("jobs", job, "runner")
    if options.group_by is None:
        mistakes.add(place, "it runs the nodes of a step. Write 'group_by' too, such as pipeline.")
    names = (name for name in map(strip_transcoding, pipeline.datasets()) if name in datasets)
    partitioned = partitioned_in(names, datasets)
    if partitioned and options.partitions != "all":
        message = f"dataset {min(partitioned)!r} is partitioned, and nodes that run at the same"
        mistakes.add(place, f"{message} time would see each other's partitions. Leave it out.")
    try:
        make_runner(options.runner)
    except AttributeError:
        message = f"there is no runner {options.runner.type!r}."
        mistakes.add(place, message, options.runner.type, ("SequentialRunner", "ThreadRunner"))
    except Exception as error:  # noqa: BLE001  # an import, or what the class says of its arguments
        mistakes.add(place, f"{options.runner.type}: {error}.")
