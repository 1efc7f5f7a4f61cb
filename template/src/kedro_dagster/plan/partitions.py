"""Which partitions a step is for, and which ones it may touch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.dagster import mapping_between
from ..doors.kedro import strip_transcoding
from ..errors import did_you_mean
from ..read.dagster_yml import JobOptions
from ..read.partition_entry import Partitioning, all_keys, typed_keys
from ..read.partition_keys import PartitionScope
from .model import DatasetKind, Datasets, Nodes, data_inputs, data_outputs, partitioned_in


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
            "same partitions. Make two nodes of it."
        )
    return (first, driving[first]) if driving and not other else None


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
    scopes = dict.fromkeys(written, PartitionScope(keys))
    for name, partitioning in partitioned_in(data_inputs(node), datasets).items():
        scopes[name] = _scope_of_input(name, partitioning, written, keys, store)
    return scopes


def _scope_of_input(
    name: str,
    partitioning: Partitioning,
    written: Mapping[str, Partitioning],
    keys: tuple[str, ...],
    store: dg.DagsterInstance | None,
) -> PartitionScope:
    """Find the partitions of a dataset that are read to write some partitions of others."""
    mappings = {target: partitioning.mapping_to(target) for target in written}
    wants_all = any(isinstance(one, dg.AllPartitionMapping) for one in mappings.values())
    if wants_all or not keys:
        everything = all_keys(partitioning.definition, store)
        return PartitionScope(everything, optional=not partitioning.is_static)
    if not written:
        return PartitionScope(keys)
    found: dict[str, None] = {}
    for target in {id(mapping): target for target, mapping in mappings.items()}.values():
        try:
            of_target = upstream_keys(partitioning, written[target], target, keys, store)
        except ValueError as error:
            raise ValueError(f"dataset {name!r}, for {target!r}: {error}") from error
        found.update(dict.fromkeys(of_target))
    return PartitionScope(tuple(found))


def steps_per_partition(
    group: Nodes, datasets: Datasets
) -> list[tuple[tuple[str, ...], dict[str, PartitionScope]]]:
    """The steps of a group of nodes: one for each partition key, or one for all."""
    if len(group) > 1:
        names = (name for node in group for name in (*data_inputs(node), *data_outputs(node)))
        whole = partitioned_in(names, datasets).items()
        return [((), {name: PartitionScope(all_keys(one.definition)) for name, one in whole})]
    (node,) = group
    leader = driving_dataset(node, datasets)
    if leader is None:
        return [((), partitions_for_node(node, datasets, ()))]
    return [
        ((key,), partitions_for_node(node, datasets, [key]))
        for key in all_keys(leader[1].definition)
    ]


def job_partitioning(
    options: JobOptions, pipeline: Pipeline, datasets: Datasets
) -> tuple[Partitioning | None, bool]:
    """The partitions of which a run takes one, and whether the job fans out instead."""
    leaders = dict(filter(None, (driving_dataset(node, datasets) for node in pipeline.nodes)))
    names = list(dict.fromkeys(map(strip_transcoding, sorted(pipeline.datasets()))))
    involved = partitioned_in((name for name in names if name in datasets), datasets)
    if options.partitions == "fan_out":
        for name, partitioning in involved.items():
            if not partitioning.is_static:
                raise ValueError(
                    f"'partitions: fan_out' wants all keys to be known beforehand, and those of "
                    f"{name!r} are not. Leave it out."
                )
        return None, True
    if options.partitions is None and all(one.fans_out for one in involved.values()):
        return None, True
    first = next(iter(leaders), "")
    for name, partitioning in leaders.items():
        if partitioning.definition != leaders[first].definition:
            raise ValueError(
                f"one run cannot hold the partitions of both {first!r} and {name!r}. Make a job "
                "for each, or, where all keys are static, 'partitions: fan_out'; or materialise "
                "the assets, with a backfill."
            )
    return leaders.get(first), False


def upstream_keys(
    upstream: Partitioning,
    downstream: Partitioning,
    downstream_name: str,
    keys: Iterable[str],
    store: dg.DagsterInstance | None = None,
) -> tuple[str, ...]:
    """Ask Dagster which partitions of a dataset some partitions of another are made from."""
    up, down = upstream.definition, downstream.definition
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
                down.subset_with_partition_keys(keys), down, up
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


def check_mapping(upstream: Partitioning, downstream: Partitioning, downstream_name: str) -> None:
    """Ask Dagster whether the partitions of a dataset can be made from those of another."""
    up, down = upstream.definition, downstream.definition
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
