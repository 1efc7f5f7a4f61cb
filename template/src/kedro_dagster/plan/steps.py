"""The steps of jobs and of assets, and their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..read.functions import function_key
from ..read.partition_keys import PartitionScope
from ..utils import format_dataset_name, format_node_name
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
from .names import unique_names
from .node_options import NodeOptionsResolver
from .partitions import steps_per_partition


class StepRegistry:
    """Makes steps, and gives each a name that no other one has.

    Jobs that run the same nodes in the same way share a step, and so an op.
    """

    def __init__(self, settings: NodeOptionsResolver) -> None:
        self._settings = settings
        self._labels: dict[Hashable, str] = {}
        self._forms: dict[str, str] = {}

    def add(
        self,
        nodes: Nodes,
        outputs: tuple[str, ...],
        where: str,
        *,
        scopes: Mapping[str, PartitionScope] | None = None,
        keys: tuple[str, ...] = (),
        assets: bool = False,
    ) -> StepPlan:
        """Make a step, which goes by its label until all :meth:`names` are known."""
        made = {name for node in nodes for name in data_outputs(node)}
        read = (name for node in nodes for name in data_inputs(node) if name not in made)
        scopes, settings = scopes or {}, self._settings.of(nodes)
        functions = tuple((node, function_key(node.func)) for node in nodes)
        identity = (functions, outputs, tuple(scopes.items()), assets, settings)
        if identity not in self._labels:
            label = group_label(nodes)
            parts = [format_node_name(label), *(re.sub("[^A-Za-z0-9_]", "_", key) for key in keys)]
            if assets:
                parts.append("assets")
            label = "/".join((label, *keys, *parts[len(keys) + 1 :]))
            while label in self._forms:
                label, parts = f"{label}/{where}", [*parts, where]
            self._labels[identity], self._forms[label] = label, "__".join(parts)
        inputs, label = tuple(dict.fromkeys(read)), self._labels[identity]
        return StepPlan(label, nodes, inputs, outputs, scopes, keys, settings)

    def gather(self, name: str) -> StepPlan:
        """Make the step that ends when all steps that give a nothing dataset have."""
        label = f"/{name}"  # which no node is called
        self._forms[label] = f"{format_dataset_name(name)}__all"
        return StepPlan(label, (), (name,), (name,))

    def names(self, reserved: Iterable[str]) -> Mapping[str, str]:
        """The names of all steps by label; in Dagster, an op cannot be called as a job is."""
        return unique_names(self._forms, self._forms.__getitem__, reserved)


def plan_job_steps(
    name: str,
    groups: Sequence[Nodes],
    datasets: Mapping[str, DatasetPlan],
    steps: StepRegistry,
    fans_out: bool,
) -> list[StepPlan]:
    """Make the steps of a job."""
    readers: dict[str, set[int]] = defaultdict(set)
    for index, group in enumerate(groups):
        for node in group:
            for read in data_inputs(node):
                readers[read].add(index)
    found = []
    for index, group in enumerate(groups):
        outputs = tuple(
            dict.fromkeys(
                output
                for node in group
                for output in data_outputs(node)
                if datasets[output].persisted or readers[output] != {index}
            )
        )
        fan = steps_per_partition(group, datasets) if fans_out else [((), {})]
        for keys, scopes in fan:
            found.append(steps.add(group, outputs, name, scopes=scopes, keys=keys))
        if fan[0][0]:
            nothing = (one for one in outputs if datasets[one].kind is DatasetKind.NOTHING)
            found += map(steps.gather, nothing)
    return found


def plan_asset_steps(
    pipelines: Mapping[str, Pipeline], datasets: Mapping[str, DatasetPlan], steps: StepRegistry
) -> list[AssetStepPlan]:
    """Find the step that makes each asset; where several pipelines do, the largest has the say."""
    made: set[str] = set()
    found: list[AssetStepPlan] = []
    for name, pipeline in sorted(pipelines.items(), key=lambda item: -len(item[1].nodes)):
        if made.issuperset(map(strip_transcoding, pipeline.all_outputs())):
            continue
        for group in merge_cycles(group_by_memory(pipeline.nodes, datasets), pipeline.nodes):
            upstream = {
                asset: sources
                for asset, sources in _upstream(group, datasets).items()
                if asset not in made
            }
            transient = frozenset(
                output
                for node in group
                for output in data_outputs(node)
                if not datasets[output].persisted
            )
            made.update(upstream)
            for part in _same_partitions(upstream, datasets):
                step = steps.add(group, tuple(part), name, assets=True)
                partitioning = datasets[next(iter(part))].partitioning
                found.append(AssetStepPlan(step, part, transient, partitioning))
    return _without_cycles(found)


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
