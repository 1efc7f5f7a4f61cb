"""Jobs that make assets: in which steps, and what of a job has no place there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..read.dagster_yml import JobOptions
from ..read.mistakes import Mistakes
from .model import AssetStepPlan, Datasets, JobPlan, Nodes, StepPlan, partitioned_in
from .steps import outside_inputs

_NO_PLACE: Mapping[str, str] = {
    "group_by": "its nodes share a step where values pass between them in memory, and no others do",
    "loggers": "Dagster gives it those of the code location: give them to dg.Definitions in "
    "definitions.py",
    "only_missing_outputs": "Dagster plans what it makes before it starts. Choose the assets that "
    "are missing when you launch it",
    "partitions": "a run of it makes one partition of its assets, and a backfill several; write "
    "'partitions: all' at its nodes, under 'nodes', where they are to run once",
}
"""What a job of assets cannot have, and why."""


def check_target(job: str, options: JobOptions, mistakes: Mistakes) -> None:
    """Look for keys of a job that do not go with its target."""
    place = ("jobs", job)
    if options.target == "ops" and options.select is not None:
        message = f"{options.select!r} chooses assets. Write 'target: assets' too."
        mistakes.add((*place, "select"), message)
    for key, why in _NO_PLACE.items() if options.target == "assets" else ():
        value = getattr(options, key)
        if value and value != "per_run":
            told = repr(value) if isinstance(value, (str, bool)) else "this"
            mistakes.add((*place, key), f"{told} is not for a job of assets: {why}.")


def assets_of(pipeline: Pipeline, asset_steps: Collection[AssetStepPlan]) -> list[str]:
    """The assets that the nodes of a pipeline make, and those that stand for the run of one."""
    wanted = set(map(strip_transcoding, pipeline.all_outputs()))
    for step in asset_steps:
        wanted.update(
            step.side_effects[node] for node in pipeline.nodes if node in step.side_effects
        )
    return [name for step in asset_steps for name in step.upstream if name in wanted]


def nodes_in_job(job: JobPlan | None, nodes: Nodes) -> Nodes:
    """The nodes of a step of the asset layer, as the pipeline of a job has them, if there is one.

    To Kedro, two nodes are equal that have one name and different functions.
    """
    own = {node.name: node for node in job.pipeline.nodes} if job else {}
    return tuple(one if (one := own.get(node.name)) == node else node for node in nodes)


def with_assets(
    job: JobPlan, names: Iterable[str], asset_steps: Iterable[AssetStepPlan], datasets: Datasets
) -> JobPlan:
    """Let a job make some assets, in the parts of steps that this takes."""
    wanted, steps = set(names), list[StepPlan]()
    for one in asset_steps:
        if made := tuple(name for name in one.upstream if name in wanted):
            nodes = nodes_in_job(job, one.nodes_for(made))
            part = replace(one.step, nodes=nodes, inputs=outside_inputs(nodes), outputs=made)
            steps.append(part)
    assets = tuple(name for step in steps for name in step.outputs)
    partitioned = partitioned_in(assets, datasets)
    return replace(
        job,
        steps=tuple(steps),
        assets=assets,
        partitioning=next(iter(partitioned.values()), None),
    )


def check_assets(
    job: JobPlan,
    pipeline: Pipeline | None,
    asset_steps: Mapping[str, AssetStepPlan],
    datasets: Datasets,
    mistakes: Mistakes,
) -> None:
    """Look for what a job of assets would not do as ``kedro run`` does it with its pipeline."""
    key = "select" if job.select else "target"
    for message in chain(
        _nodes_of_others(job, pipeline) if pipeline else (),
        _nodes_in_no_asset(job, pipeline) if pipeline and not job.select else (),
        _other_partitions(job, datasets),
    ):
        mistakes.add(("jobs", job.name, key), message)
    at_once = [step for step in job.steps if asset_steps[step.name].takes_all]
    if job.schedule and at_once:
        message = f"a tick makes one partition, and {at_once[0].outputs[0]!r} has all made at once."
        advice = "Leave out 'target', and write 'partitions: all' on the job."
        mistakes.add(("jobs", job.name, "schedule"), f"{message} {advice}")


def _nodes_of_others(job: JobPlan, pipeline: Pipeline) -> Iterator[str]:
    own = set(map(id, pipeline.nodes))
    for step in job.steps:
        if others := [node.name for node in step.nodes if id(node) not in own]:
            yield (
                f"{' and '.join(map(repr, step.outputs))} would be made as in a larger pipeline, "
                f"with what this one does not have: {', '.join(others)}. Take that in, or leave "
                "out 'target'."
            )


def _nodes_in_no_asset(job: JobPlan, pipeline: Pipeline) -> Iterator[str]:
    ran = {node.name for step in job.steps for node in step.nodes}
    if left := [node.name for node in pipeline.nodes if node.name not in ran]:
        yield (
            f"nodes that no asset needs would not run: {', '.join(left)}. Give what they make a "
            "catalog entry, write 'side_effects: true' under 'assets', leave them out of the "
            "pipeline, or leave out 'target', without which each node is a step."
        )


def _other_partitions(job: JobPlan, datasets: Datasets) -> Iterator[str]:
    partitioned = partitioned_in(job.assets, datasets)
    names = {one.definition: name for name, one in partitioned.items()}
    if len(names) > 1:
        first, second, *_ = sorted(names.values())
        yield (
            f"one run cannot hold the partitions of both {first!r} and {second!r}. Make a job for "
            "each, or leave out 'target'."
        )
