"""The steps of jobs and of assets, and their names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..errors import KeyPath
from .grouping import find_cycle, group_by_memory, group_label, merge_cycles
from .model import (
    AssetStepPlan,
    DatasetKind,
    DatasetPlan,
    Nodes,
    StepPlan,
    data_inputs,
    data_outputs,
)
from .names import identifier, key_identifier, node_identifier, op_name, with_digest
from .node_options import NodeOptionsResolver
from .partitions import steps_per_partition


@dataclass(frozen=True)
class StepPlanner:
    """Makes the steps of jobs and of assets.

    Args:
        datasets: The datasets of all jobs.
        options: Finds the settings of steps.
        mistakes: Where nodes that share a step disagree about its settings; added to.
    """

    datasets: Mapping[str, DatasetPlan]
    options: NodeOptionsResolver
    mistakes: dict[KeyPath, str]

    def job_steps(
        self, job: str, groups: Sequence[tuple[str, Nodes]], fans_out: bool
    ) -> tuple[StepPlan, ...]:
        """Make the steps of a job."""
        datasets, readers, steps = self.datasets, _readers(groups), list[StepPlan]()
        for index, (label, group) in enumerate(groups):
            outputs = tuple(
                dict.fromkeys(
                    output
                    for node in group
                    for output in data_outputs(node)
                    if datasets[output].persisted or readers[output] != {index}
                )
            )
            name, settings = node_identifier(label), self.options.settings_of(group, self.mistakes)
            fan = steps_per_partition(group, datasets) if fans_out else [((), {})]
            for keys, scopes in fan:
                step = "__".join((name, *map(key_identifier, keys)))
                steps.append(StepPlan(step, group, _inputs(group), outputs, scopes, keys, settings))
            if fan[0][0]:
                nothing = (one for one in outputs if datasets[one].kind is DatasetKind.NOTHING)
                steps += map(_gather, nothing)
        names = _names(steps, reserved=[job])
        return tuple(
            replace(step, name=name, op=op_name(job, name))
            for step, name in zip(steps, names, strict=True)
        )

    def asset_steps(
        self, pipelines: Iterable[Pipeline], reserved: Iterable[str]
    ) -> list[AssetStepPlan]:
        """Make the step of each asset; where several pipelines make it, that of the largest."""
        made: set[str] = set()
        found: list[AssetStepPlan] = []
        for pipeline in sorted(pipelines, key=lambda pipeline: -len(pipeline.nodes)):
            if made.issuperset(map(strip_transcoding, pipeline.all_outputs())):
                continue
            groups = group_by_memory(pipeline.nodes, self.datasets)
            for group in merge_cycles(groups, pipeline.nodes):
                sources = _upstream(group, self.datasets)
                upstream = {asset: sources[asset] for asset in sources if asset not in made}
                made.update(upstream)
                for part in _same_partitions(upstream, self.datasets):
                    whole = part.keys() == sources.keys()
                    found.append(self._asset_step(group, part, whole))
        found = _without_cycles(found)
        names = _names([plan.step for plan in found], reserved)
        return [
            replace(plan, step=replace(plan.step, name=name, op=name))
            for plan, name in zip(found, names, strict=True)
        ]

    def _asset_step(
        self, group: Nodes, upstream: Mapping[str, tuple[str, ...]], whole: bool
    ) -> AssetStepPlan:
        name = node_identifier(group_label(group))
        if not whole:  # there may be a step for the other assets
            name = with_digest(name, *sorted(upstream))
        settings = self.options.settings_of(group, self.mistakes)
        step = StepPlan(
            f"{name}__assets", group, _inputs(group), tuple(upstream), settings=settings
        )
        outputs = (output for node in group for output in data_outputs(node))
        transient = frozenset(name for name in outputs if not self.datasets[name].persisted)
        return AssetStepPlan(
            step, upstream, transient, self.datasets[next(iter(upstream))].partitioning
        )


def _readers(groups: Sequence[tuple[str, Nodes]]) -> Mapping[str, set[int]]:
    """For each dataset, the places of the groups that read it."""
    readers: dict[str, set[int]] = defaultdict(set)
    for index, (_, group) in enumerate(groups):
        for node in group:
            for name in data_inputs(node):
                readers[name].add(index)
    return readers


def _inputs(group: Nodes) -> tuple[str, ...]:
    """The datasets that a group of nodes has from others."""
    made = {name for node in group for name in data_outputs(node)}
    return tuple(
        dict.fromkeys(name for node in group for name in data_inputs(node) if name not in made)
    )


def _gather(name: str) -> StepPlan:
    """Make the step that ends when all steps that give a nothing dataset have."""
    return StepPlan(f"{identifier(name)}__all", (), (name,), (name,))


def _names(steps: Sequence[StepPlan], reserved: Iterable[str]) -> list[str]:
    """The names of steps; of those that have one name after all, each has a digest behind it."""
    counts = Counter([*reserved, *(step.name for step in steps)])
    return [
        with_digest(step.name, *(node.name for node in step.nodes), *step.keys, *step.outputs)
        if counts[step.name] > 1
        else step.name
        for step in steps
    ]


def _same_partitions(
    upstream: Mapping[str, tuple[str, ...]], datasets: Mapping[str, DatasetPlan]
) -> list[dict[str, tuple[str, ...]]]:
    """Divide assets, as one step of Dagster's has one kind of partitions."""
    parts: list[tuple[Any, dict[str, tuple[str, ...]]]] = []
    for asset, sources in upstream.items():
        partitioning = datasets[asset].partitioning
        definition = partitioning.definition if partitioning else None
        for other, part in parts:
            if other == definition:
                part[asset] = sources
                break
        else:
            parts.append((definition, {asset: sources}))
    return [part for _, part in parts]


def _without_cycles(steps: list[AssetStepPlan]) -> list[AssetStepPlan]:
    """Leave out the steps by which an asset would depend on itself.

    One pipeline may read what another writes and the other way round, as long as they are two
    jobs; assets cannot, so those of the smaller pipeline are only recorded when its job runs.
    """
    while True:
        maker = {asset: index for index, step in enumerate(steps) for asset in step.upstream}
        graph = {
            index: {
                maker[source]
                for sources in step.upstream.values()
                for source in sources
                if maker.get(source, index) != index
            }
            for index, step in enumerate(steps)
        }
        cycle = find_cycle(graph)
        if not cycle:
            return steps
        del steps[max(cycle)]


def _upstream(group: Nodes, datasets: Mapping[str, DatasetPlan]) -> dict[str, tuple[str, ...]]:
    """For each asset a group makes, the persisted datasets it is made from."""
    sources: dict[str, dict[str, None]] = {}
    assets: dict[str, tuple[str, ...]] = {}
    for node in group:
        read: dict[str, None] = {}
        for name in data_inputs(node):
            read.update({name: None} if datasets[name].persisted else sources.get(name, {}))
        for name in data_outputs(node):
            sources[name] = read
            if datasets[name].persisted:
                assets[name] = tuple(read)
    return assets
