"""The steps of jobs and of assets: which nodes share one, and what it is called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from typing import Any, TypeAlias

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..errors import KeyPath
from ..read.dagster_yml import GroupBy
from ..read.partition_entry import Partitioning
from .model import (
    AssetStepPlan,
    DatasetKind,
    Datasets,
    Nodes,
    StepPlan,
    data_inputs,
    data_outputs,
    partitioned_in,
)
from .names import identifier, key_identifier, node_identifier, op_name, with_digest
from .node_options import NodeOptionsResolver
from .partitions import steps_per_partition

Sources: TypeAlias = dict[str, tuple[str, ...]]
"""For each asset, the persisted datasets it is made from."""


@dataclass(frozen=True)
class StepPlanner:
    """Makes the steps of jobs and of assets.

    Args:
        datasets: The datasets of all jobs.
        options: Finds the settings of steps.
        labels: What nodes without a name are called.
        side_effects: The assets that stand for the run of a node, by the node.
        mistakes: Where nodes that share a step disagree about its settings; added to.
    """

    datasets: Datasets
    options: NodeOptionsResolver
    labels: Mapping[str, str] = field(default_factory=dict)
    side_effects: Mapping[Node, str] = field(default_factory=dict)
    mistakes: dict[KeyPath, str] = field(default_factory=dict)

    def job_steps(
        self,
        job: str,
        groups: Sequence[tuple[str, Nodes]],
        fans_out: bool,
        whole: Collection[str] = (),
    ) -> tuple[StepPlan, ...]:
        """Make the steps of a job; some nodes are whole, and have one step for all partitions."""
        datasets, steps = self.datasets, list[StepPlan]()
        readers: dict[str, set[int]] = defaultdict(set)
        for index, (_, group) in enumerate(groups):
            for name in _names_in(group, data_inputs):
                readers[name].add(index)
        for index, (label, group) in enumerate(groups):
            outputs = tuple(
                name
                for name in _names_in(group, data_outputs)
                if datasets[name].persisted or readers[name] != {index}
            )
            name, settings = node_identifier(label), self.options.settings_of(group, self.mistakes)
            fan = steps_per_partition(group, datasets, whole) if fans_out else [((), {})]
            for keys, scopes in fan:
                step = "__".join((name, *map(key_identifier, keys)))
                steps.append(
                    StepPlan(step, group, outside_inputs(group), outputs, scopes, keys, settings)
                )
            if fan[0][0]:  # a gather step for each nothing dataset
                steps += (
                    StepPlan(f"{identifier(name)}__all", (), (name,), (name,))
                    for name in outputs
                    if datasets[name].kind is DatasetKind.NOTHING
                )
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
            if made.issuperset(chain.from_iterable(map(self._made_by, pipeline.nodes))):
                continue
            for group in _merge_cycles(group_by_memory(pipeline.nodes, self.datasets), pipeline):
                sources = self._upstream(group)
                upstream = {asset: sources[asset] for asset in sources if asset not in made}
                made.update(upstream)
                whole = self.options.whole_nodes(group)
                found += (
                    self._asset_step(group, part, sources, whole)
                    for part in self._same_partitions(upstream, group, whole)
                )
        found = _without_cycles(found)
        names = _names([plan.step for plan in found], reserved)
        return [
            replace(plan, step=replace(plan.step, name=name, op=name))
            for plan, name in zip(found, names, strict=True)
        ]

    def _asset_step(
        self, group: Nodes, upstream: Sources, sources: Sources, whole: frozenset[str]
    ) -> AssetStepPlan:
        name = node_identifier(group_label(group, self.labels))
        if upstream.keys() != sources.keys():  # there may be a step for the other assets
            name = with_digest(name, *sorted(upstream))
        settings = self.options.settings_of(group, self.mistakes)
        name = f"{name}__assets"
        step = StepPlan(name, group, outside_inputs(group), tuple(upstream), settings=settings)
        outputs = _names_in(group, data_outputs)
        transient = frozenset(name for name in outputs if not self.datasets[name].persisted)
        partitioned = partitioned_in(upstream, self.datasets)
        at_once = {name for node in group if node.name in whole for name in data_outputs(node)}
        return AssetStepPlan(
            step=step,
            upstream=upstream,
            transient=transient,
            partitioning=next(iter(partitioned.values()), None),
            whole=whole,
            takes_all=not at_once.isdisjoint(partitioned),
            side_effects={
                node: name
                for node in group
                if (name := self.side_effects.get(node, "")) in upstream
            },
        )

    def _made_by(self, node: Node) -> Iterable[str]:
        """What a node makes, be it data or a side effect."""
        side_effect = self.side_effects.get(node)
        return (*data_outputs(node), *([side_effect] if side_effect else ()))

    def _upstream(self, group: Nodes) -> Sources:
        """The sources of each asset that a group makes."""
        sources: dict[str, dict[str, None]] = {}
        for node in group:
            read: dict[str, None] = {}
            for name in data_inputs(node):
                persisted = self.datasets[name].persisted
                read.update({name: None} if persisted else sources.get(name, {}))
            sources.update(dict.fromkeys(self._made_by(node), read))
        return {name: tuple(sources[name]) for name in sources if self.datasets[name].persisted}

    def _same_partitions(
        self, upstream: Sources, group: Nodes, whole: Collection[str]
    ) -> list[Sources]:
        """Divide assets by their partitions: a step in Dagster can have only one kind of them.

        A plain asset stands with a partitioned one that the same node makes in the same run.
        """
        beside: dict[str, Partitioning] = {}
        for node in group:
            partitioned = list(partitioned_in(data_outputs(node), self.datasets).values())
            if node.name in whole and partitioned:
                beside.update(dict.fromkeys(data_outputs(node), partitioned[0]))
        parts: list[tuple[Any, Sources]] = []
        for asset, sources in upstream.items():
            partitioning = self.datasets[asset].partitioning or beside.get(asset)
            definition = partitioning and partitioning.definition
            part = next((part for other, part in parts if other == definition), None)
            if part is None:
                parts.append((definition, part := {}))
            part[asset] = sources
        return [part for _, part in parts]


def _names_in(group: Nodes, names_of: Callable[[Node], Iterable[str]]) -> list[str]:
    """The datasets that the nodes of a group read or write, each once."""
    return list(dict.fromkeys(name for node in group for name in names_of(node)))


def outside_inputs(group: Nodes) -> tuple[str, ...]:
    """The datasets that a group of nodes has from others."""
    made = set(_names_in(group, data_outputs))
    return tuple(name for name in _names_in(group, data_inputs) if name not in made)


def _names(steps: Sequence[StepPlan], reserved: Iterable[str]) -> list[str]:
    """The names of steps. Those of two nodes of one name each have a digest behind it."""
    counts = Counter([*reserved, *(step.name for step in steps)])
    return [
        with_digest(step.name, *(node.name for node in step.nodes), *step.keys, *step.outputs)
        if counts[step.name] > 1
        else step.name
        for step in steps
    ]


def group_nodes(
    group_by: GroupBy | None, pipeline: Pipeline, datasets: Datasets, labels: Mapping[str, str]
) -> list[tuple[str, Nodes]]:
    """Group the nodes of a job, as its ``group_by`` says, and label each group."""
    nodes = pipeline.nodes
    if group_by == "pipeline":
        return [("pipeline", tuple(nodes))]
    if group_by == "namespace":
        by_name = {node.name: node for node in nodes}
        groups = pipeline.group_nodes_by("namespace")
        return [
            (labels.get(group.name, group.name), tuple(by_name[name] for name in group.nodes))
            for group in groups
        ]
    if group_by == "tag":
        by_tags: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            label = labels.get(node.name, node.name)
            by_tags[" ".join(sorted(node.tags)) or f"{label} "].append(node)
        return [(label.strip(), tuple(group)) for label, group in by_tags.items()]
    by_memory = group_by == "memory"
    found = group_by_memory(nodes, datasets) if by_memory else [(node,) for node in nodes]
    return [(group_label(group, labels), group) for group in found]


def group_by_memory(nodes: Sequence[Node], datasets: Datasets) -> list[Nodes]:
    """Put nodes between which a transient dataset is passed into one group."""
    groups = [[index] for index in range(len(nodes))]
    producer = {name: index for index, node in enumerate(nodes) for name in data_outputs(node)}
    for index, node in enumerate(nodes):
        for name in data_inputs(node):
            if name in producer and not (name in datasets and datasets[name].persisted):
                small, large = sorted((groups[index], groups[producer[name]]), key=len)
                if small is not large:
                    large += small
                    for member in small:
                        groups[member] = large
    found = {id(group): group for group in groups}.values()
    return [tuple(nodes[index] for index in sorted(group)) for group in found]


def group_label(nodes: Nodes, labels: Mapping[str, str]) -> str:
    """A label for a group of nodes: the name of its node, or from its first to its last one."""
    if len(nodes) > 1:
        nodes = tuple(Pipeline(nodes).nodes)  # an order that does not depend on other nodes
    ends = (nodes[0], nodes[-1]) if len(nodes) > 1 else nodes
    return "_to_".join(labels.get(node.name, node.name) for node in ends)


def find_cycle(steps: Iterable[tuple[Iterable[str], Iterable[str]]]) -> list[int]:
    """Of steps, by what each reads and writes, find the places of some that wait for each other."""
    steps = list(steps)
    maker = {name: place for place, (_, writes) in enumerate(steps) for name in writes}
    graph = {
        place: {maker[name] for name in reads if maker.get(name, place) != place}
        for place, (reads, _) in enumerate(steps)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def cycle_of_groups(groups: Sequence[Nodes]) -> list[Nodes]:
    """Find groups that wait for each other, if there are any."""
    names = ((_names_in(group, data_inputs), _names_in(group, data_outputs)) for group in groups)
    return [groups[place] for place in find_cycle(names)]


def _merge_cycles(groups: list[Nodes], pipeline: Pipeline) -> list[Nodes]:
    """Join groups that wait for each other: a step cannot wait for its own middle."""
    while cycle := cycle_of_groups(groups):
        members = {node for group in cycle for node in group}
        groups = [group for group in groups if members.isdisjoint(group)]
        groups.append(tuple(node for node in pipeline.nodes if node in members))
    return groups


def _without_cycles(steps: list[AssetStepPlan]) -> list[AssetStepPlan]:
    """Leave out the steps by which an asset would depend on itself.

    One pipeline may read what another writes and the other way round, as long as they are two
    jobs; assets cannot, so those of the smaller pipeline are only recorded when its job runs.
    """
    while cycle := find_cycle((chain(*step.upstream.values()), step.upstream) for step in steps):
        del steps[max(cycle)]
    return steps
