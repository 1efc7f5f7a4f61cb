"""Which partitions a step is for, and which ones it may touch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.dagster import mapping_between
from ..errors import did_you_mean
from ..read.dagster_yml import JobOptions
from ..read.partition_entry import Partitioning, all_keys, typed_keys
from ..read.partition_keys import PartitionScope
from .model import (
    DatasetKind,
    DatasetPlan,
    Datasets,
    Nodes,
    data_inputs,
    data_outputs,
    partitioned_in,
)


def driving_dataset(node: Node, datasets: Datasets) -> tuple[str, Partitioning] | None:
    """The dataset whose partitions a node runs for, one at a time; ``None`` if it takes all.

    It is one that the node writes, or one that it reads where it writes no data.
    """
    written = partitioned_in(data_outputs(node), datasets)
    data = [
        name
        for name in data_outputs(node)
        if name not in written and datasets[name].kind is not DatasetKind.NOTHING
    ]
    driving = written or ({} if data else partitioned_in(data_inputs(node), datasets))
    first = next(iter(driving), "")
    other = [name for name in driving if driving[name].definition != driving[first].definition]
    if written and (data or other):
        raise ValueError(
            f"node {node.name!r} writes {first!r} and {(data + other)[0]!r}, which do not have the "
            f"same partitions. Make two nodes of it, or {_whole(node)}"
        )
    return (first, driving[first]) if driving and not other else None


def _whole(node: Node) -> str:
    return (
        f"let it run once, with all partitions: 'nodes: {{{node.name}: {{partitions: all}}}}', or "
        "'partitions: all' on the job, for each of its nodes."
    )


def partitions_for_node(
    node: Node, datasets: Datasets, keys: Sequence[str], store: dg.DagsterInstance | None = None
) -> dict[str, PartitionScope]:
    """Find the partitions that a node may touch when it runs for some partition keys."""
    written = partitioned_in(data_outputs(node), datasets)
    if written and not keys:
        raise ValueError(
            f"node {node.name!r} runs for one partition at a time: give the run a partition key."
        )
    leader = driving_dataset(node, datasets)
    keys = typed_keys(leader[1].definition, keys) if leader else ()
    scopes = {
        name: PartitionScope(keys, optional=one.skips_missing and len(keys) > 1)
        for name, one in written.items()
    }
    targets = {name: datasets[name].partitioning for name in data_outputs(node)}
    for name, partitioning in partitioned_in(data_inputs(node), datasets).items():
        scopes[name] = _scope_of_input(name, partitioning, targets, keys, store)
    return scopes


def _scope_of_input(
    name: str,
    partitioning: Partitioning,
    targets: Mapping[str, Partitioning | None],
    keys: tuple[str, ...],
    store: dg.DagsterInstance | None,
) -> PartitionScope:
    """Find the partitions of a dataset that are read to write some partitions of others.

    Where it is read for plain datasets, it is all of them, or those that mappings to these give.
    """
    optional = partitioning.skips_missing
    if keys and not any(targets.values()):
        return PartitionScope(keys, optional)
    if keys:
        mappings = {name: partitioning.mapping_to(name) for name, one in targets.items() if one}
    else:
        mappings = {target: partitioning.mapping_to_plain(target) for target in targets}
    by_mapping = {id(mapping): target for target, mapping in mappings.items()}
    wants_all = any(isinstance(one, dg.AllPartitionMapping) for one in mappings.values())
    if wants_all or not (keys or (mappings and None not in mappings.values())):
        everything = all_keys(partitioning.definition, store)
        return PartitionScope(everything, optional or not partitioning.is_static)
    found: dict[str, None] = {}
    for target in by_mapping.values():
        try:
            of_target = upstream_keys(partitioning, targets[target], target, keys, store)
        except ValueError as error:
            raise ValueError(f"dataset {name!r}, for {target!r}: {error}") from error
        found.update(dict.fromkeys(of_target))
    return PartitionScope(tuple(found), optional)


def steps_per_partition(
    group: Nodes, datasets: Datasets, whole: Collection[str]
) -> list[tuple[tuple[str, ...], dict[str, PartitionScope]]]:
    """The steps of a group of nodes: one for each partition key, or one for all.

    Those that are whole have no scope: they depend on all partitions, and all depend on them.
    """
    by_key = [node for node in group if node.name not in whole]
    if len(group) > 1 or not by_key:
        names = (name for node in by_key for name in (*data_inputs(node), *data_outputs(node)))
        scopes = {
            name: PartitionScope(all_keys(one.definition), one.skips_missing)
            for name, one in partitioned_in(names, datasets).items()
        }
        return [((), scopes)]
    (node,) = by_key
    leader = driving_dataset(node, datasets)
    if leader is None:
        return [((), partitions_for_node(node, datasets, ()))]
    try:
        return [
            ((key,), partitions_for_node(node, datasets, [key]))
            for key in all_keys(leader[1].definition)
        ]
    except ValueError as error:
        raise ValueError(f"{error} Or {_whole(node)}") from error


def job_partitioning(
    options: JobOptions, pipeline: Pipeline, datasets: Datasets, whole: Collection[str]
) -> tuple[Partitioning | None, bool]:
    """The partitions of which a run takes one, and whether the job fans out instead."""
    nodes = [node for node in pipeline.nodes if node.name not in whole]
    leaders = dict(filter(None, (driving_dataset(node, datasets) for node in nodes)))
    touched = {name for node in nodes for name in (*data_inputs(node), *data_outputs(node))}
    involved = partitioned_in(sorted(touched), datasets)
    if options.partitions == "fan_out":
        for name, partitioning in involved.items():
            if not partitioning.is_static:
                raise ValueError(
                    f"'partitions: fan_out' wants all keys to be known beforehand, and those of "
                    f"{name!r} are not. Leave it out, or write 'partitions: all', with which each "
                    "node runs once."
                )
        return None, True
    definitions = [one.definition for one in involved.values()]
    plain = all(isinstance(one, dg.StaticPartitionsDefinition) for one in definitions)
    if options.partitions is None and plain:
        return None, True
    first = next(iter(leaders), "")
    for name, partitioning in leaders.items():
        if partitioning.definition != leaders[first].definition:
            raise ValueError(
                f"one run cannot hold the partitions of both {first!r} and {name!r}. Make a job "
                "for each, or, where all keys are static, 'partitions: fan_out'; or write "
                "'partitions: all', with which each node runs once; or materialise the assets, "
                "with a backfill."
            )
    return leaders.get(first), False


def spread_missing(datasets: Datasets, nodes: Iterable[Node]) -> dict[str, DatasetPlan]:
    """Let what nodes make of partitions that may be missing be missing, too."""
    made_of: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        for name in partitioned_in(data_inputs(node), datasets):
            made_of[name].update(partitioned_in(data_outputs(node), datasets))
    found = dict(datasets)
    left = [name for name, one in partitioned_in(datasets, datasets).items() if one.skips_missing]
    while left:
        for name in made_of.pop(left.pop(), ()):
            left.append(name)
            partitioning = found[name].partitioning
            assert partitioning is not None
            skipping = replace(partitioning, skips_missing=True)
            found[name] = replace(found[name], partitioning=skipping)
    return found


def upstream_keys(
    upstream: Partitioning,
    downstream: Partitioning | None,
    downstream_name: str,
    keys: Iterable[str],
    store: dg.DagsterInstance | None = None,
) -> tuple[str, ...]:
    """Ask Dagster which partitions of a dataset some partitions of another are made from.

    The other one may have no partitions, and then there are no keys.
    """
    up, down = upstream.definition, downstream.definition if downstream else None
    mapping = mapping_between(upstream.mapping_to(downstream_name), up, down)
    keys = tuple(keys)
    if type(mapping) is dg.StaticPartitionMapping:
        sources = upstream.sources[id(mapping)]
        return tuple(dict.fromkeys(source for key in keys for source in sources.get(key, ())))
    if type(mapping) is dg.IdentityPartitionMapping and (
        up == down or (upstream.is_static and upstream.static_keys.issuperset(keys))
    ):
        return keys
    try:
        with dg.partition_loading_context(dynamic_partitions_store=store):
            result = mapping.get_upstream_mapped_partitions_result_for_partitions(
                down.subset_with_partition_keys(keys) if down else None, down, up
            )
            missing = result.required_but_nonexistent_subset.get_partition_keys()
            found = typed_keys(up, sorted(result.partitions_subset.get_partition_keys()))
    except Exception as error:  # a mapping of any kind may refuse in its own way
        raise ValueError(str(error)) from error
    if missing:
        raise ValueError(
            f"{type(mapping).__name__} asks for {', '.join(sorted(missing)[:5])}, which it does "
            "not have. Give partition_mappings for the dataset."
        )
    return found


def mapping_of_asset(
    upstream: Partitioning, downstream: Partitioning | None, downstream_name: str, *, wholly: bool
) -> dg.PartitionMapping | None:
    """The mapping between two assets; ``None`` for the one that Dagster infers."""
    if downstream is None:  # a pattern may match any dataset
        return upstream.mapping_to_plain(downstream_name)
    try:
        check_mapping(upstream, downstream, downstream_name)
    except ValueError:
        wholly = True
    return dg.AllPartitionMapping() if wholly else upstream.mapping_to(downstream_name)


def check_mapping(
    upstream: Partitioning, downstream: Partitioning | None, downstream_name: str
) -> None:
    """Ask Dagster whether the partitions of a dataset can be made from those of another."""
    up, down = upstream.definition, downstream.definition if downstream else None
    mapping = mapping_between(upstream.mapping_to(downstream_name), up, down)
    try:
        mapping.validate_partition_mapping(up, down)
    except Exception as error:  # a mapping of any kind may refuse in its own way
        raise ValueError(f"for {downstream_name!r}: {error}") from error
    named = set(getattr(mapping, "partition_keys", ()))
    if upstream.is_static and (unknown := sorted(named - upstream.static_keys)):
        raise ValueError(
            f"for {downstream_name!r}: there is no partition {unknown[0]!r}. "
            f"{did_you_mean(unknown[0], upstream.static_keys)}"
        )
