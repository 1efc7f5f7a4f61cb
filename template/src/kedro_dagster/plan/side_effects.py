"""Nodes that no asset needs, and the assets that they become where ``dagster.yml`` asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from itertools import chain

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..read.partition_entry import Partitioning
from ..read.project import KedroProject
from .lineage import Lineage
from .model import (
    DatasetKind,
    DatasetPlan,
    Datasets,
    ProjectPlan,
    data_inputs,
    data_outputs,
    nodes_making,
)
from .names import identifier, with_digest
from .partitions import driving_dataset

RUN_THEM = (
    "Run a job that has them, give what they make a catalog entry, or write in dagster.yml "
    "assets: {side_effects: true}; for what hooks put into the catalog, {from_hooks: true}."
)


def nodes_in_no_asset(plan: ProjectPlan) -> list[str]:
    """The names of the nodes that no asset needs, so that only jobs run them."""
    made = {name for step in plan.asset_steps.values() for name in step.upstream}
    pipelines = [job.pipeline for job in plan.jobs.values()]
    found = _not_needed(pipelines, plan.datasets, made, plan.side_effects)
    return list(dict.fromkeys(node.name for node in found))


def _not_needed(
    pipelines: Iterable[Pipeline],
    datasets: Datasets,
    made: Collection[str],
    ends: Container[Node] = (),
) -> list[Node]:
    """Of the nodes of pipelines, those that make none of some assets, and nothing for one."""
    transient = frozenset(name for name, one in datasets.items() if not one.persisted)
    nodes = [pipeline.nodes for pipeline in pipelines]
    needed = {*chain(*(nodes_making(one, {*made}, transient, ends) for one in nodes))}
    return [node for node in dict.fromkeys(chain(*nodes)) if node not in needed]


def plan_side_effects(
    project: KedroProject,
    pipelines: Collection[Pipeline],
    datasets: Datasets,
    labels: Mapping[str, str],
    whole: Collection[str],
) -> dict[Node, DatasetPlan]:
    """Plan an asset for each node that no asset needs, and that nothing follows.

    It is called as the node is, with a digest behind it where a dataset or another one is too.
    Some nodes are whole: they run once, with all partitions.
    """
    kept = {name: one for name, one in datasets.items() if one.persisted}
    left = _not_needed(pipelines, datasets, kept)
    read = {name for node in left for name in data_inputs(node)}
    ends = [node for node in left if read.isdisjoint(data_outputs(node))]
    lineage, prefix = Lineage(project.pipelines, pipelines), project.config.assets.key_prefix
    names = {node: labels.get(node.name, node.name) for node in ends}
    taken = Counter((*names.values(), *datasets, *project.catalog.config))
    keys = {one.asset.key for one in kept.values()}
    found: dict[Node, DatasetPlan] = {}
    for node, label in names.items():
        name, key = label, dg.AssetKey([*prefix, *label.split(".")])
        if taken[label] > 1 or key in keys:
            name = with_digest(label, node.name, *node.inputs, *node.outputs)
            key = dg.AssetKey([*prefix, name])
        leader = None if node.name in whole else driving_dataset(node, datasets)
        found[node] = DatasetPlan(
            name=name,
            identifier=identifier(name),
            kind=DatasetKind.NOTHING,
            partitioning=Partitioning(leader[1].definition) if leader else None,
            said=dg.AssetSpec(key),
            **lineage.of_node(node),
        )
    return found
