"""Which nodes share a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..read.dagster_yml import JobOptions
from .model import DatasetPlan, Nodes, data_inputs, data_outputs


def group_nodes(
    options: JobOptions, pipeline: Pipeline, datasets: Mapping[str, DatasetPlan]
) -> list[tuple[str, Nodes]]:
    """Group the nodes of a job, as its ``group_by`` says, and label each group."""
    nodes = pipeline.nodes
    if options.group_by == "pipeline":
        return [("pipeline", tuple(nodes))]
    if options.group_by == "namespace":
        by_name = {node.name: node for node in nodes}
        groups = pipeline.group_nodes_by("namespace")
        return [(group.name, tuple(by_name[name] for name in group.nodes)) for group in groups]
    by_memory = options.group_by == "memory"
    found = group_by_memory(nodes, datasets) if by_memory else [(node,) for node in nodes]
    return [(group_label(group), group) for group in found]


def group_by_memory(nodes: Sequence[Node], datasets: Mapping[str, DatasetPlan]) -> list[Nodes]:
    """Put nodes between which a transient dataset is passed into one group."""
    parent = list(range(len(nodes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    producer = {name: index for index, node in enumerate(nodes) for name in data_outputs(node)}
    for index, node in enumerate(nodes):
        for name in data_inputs(node):
            if name in producer and not _persisted(datasets, name):
                first, second = sorted((root(index), root(producer[name])))
                parent[second] = first
    groups: dict[int, list[Node]] = defaultdict(list)
    for index, node in enumerate(nodes):
        groups[root(index)].append(node)
    return [tuple(group) for group in groups.values()]


def _persisted(datasets: Mapping[str, DatasetPlan], name: str) -> bool:
    return name in datasets and datasets[name].persisted


def group_graph(groups: Sequence[Nodes]) -> dict[Nodes, set[Nodes]]:
    """For each group, the groups it reads from."""
    producer = {name: group for group in groups for node in group for name in data_outputs(node)}
    return {
        group: {
            producer[name]
            for node in group
            for name in data_inputs(node)
            if name in producer and producer[name] is not group
        }
        for group in groups
    }


def find_cycle(graph: Mapping[Any, Iterable[Any]]) -> list[Any]:
    """Find nodes of a graph that wait for each other, if there are any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def cycle_message(cycle: Sequence[Nodes]) -> str:
    """Say which groups wait for each other, and what to do."""
    path = " -> ".join("+".join(node.name for node in group) for group in cycle)
    return (
        f"this grouping makes steps wait for each other: {path}. Group by 'pipeline', or leave "
        "group_by out."
    )


def group_label(nodes: Nodes) -> str:
    """A label for a group of nodes: the name of its node, or from its first to its last one."""
    if len(nodes) == 1:
        return str(nodes[0].name)
    first, *_, last = Pipeline(nodes).nodes  # in an order of their own, whatever stands around them
    return f"{first.name}_to_{last.name}"


def merge_cycles(groups: list[Nodes], order: Sequence[Node]) -> list[Nodes]:
    """Join groups that wait for each other: a step cannot wait for its own middle."""
    position = {node: index for index, node in enumerate(order)}
    while cycle := find_cycle(group_graph(groups)):
        members = set(cycle)
        joined = sorted((node for group in members for node in group), key=position.__getitem__)
        groups = [group for group in groups if group not in members]
        groups.append(tuple(joined))
    return groups
