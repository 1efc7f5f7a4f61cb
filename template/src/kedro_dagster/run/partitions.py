"""The partitions of a run: whether it has those that it needs, and which ones its nodes make."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import dagster as dg
from kedro.pipeline.node import Node

from ..doors import kedro as kedro_door
from ..doors.kedro import strip_transcoding
from ..plan.model import Nodes, ProjectPlan, data_outputs, partitioned_in
from ..read.partition_entry import Partitioning, all_keys, typed_keys
from ..read.partition_keys import PartitionScope
from .kedro_run import KedroRun
from .selection import RunSelection

logger = logging.getLogger(__name__)

Scopes: TypeAlias = Mapping[str, PartitionScope]
"""What a node may touch, by dataset."""

_KEY, _START, _END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
"""The tags by which Dagster gives a run its partitions."""


def has_partitions(tags: Mapping[str, str]) -> bool:
    """Whether a run is of a partition, or of a range of them."""
    return any(tag in (_KEY, _START) or tag.startswith(f"{_KEY}/") for tag in tags)


def check_partitions(
    plan: ProjectPlan, selection: RunSelection, instance: dg.DagsterInstance, run_id: str
) -> None:
    """Refuse a run without the partitions that its nodes need, before the first of them runs."""
    wanted = _partitioned(plan, selection)
    if not wanted:
        return
    run = instance.get_run_by_id(run_id)
    tags = run.tags if run else {}
    for step in {step for step, _ in selection.tasks} if selection.assets else ():
        asset_step = plan.asset_steps[step]
        made = [name for name in asset_step.upstream if name in wanted]
        if made and asset_step.takes_all:
            nodes = [node.name for node in asset_step.step.nodes if node.name in asset_step.whole]
            _check_all(", ".join(nodes), made[0], wanted[made[0]], tags, instance)
    if not has_partitions(tags):
        raise ValueError(_pick_one(selection, wanted, instance))


def _partitioned(plan: ProjectPlan, selection: RunSelection) -> dict[str, Partitioning]:
    """The datasets of which a run makes the partitions that it is given."""
    if selection.job is None or selection.assets:
        return partitioned_in(selection.assets, plan.datasets)
    if selection.job.partitioning is None:
        return {}
    nodes = (node for _, node in selection.tasks if node.name not in selection.job.whole)
    names = (name for node in nodes for name in data_outputs(node))
    return partitioned_in(dict.fromkeys(names), plan.datasets)


def _pick_one(
    selection: RunSelection, wanted: Mapping[str, Partitioning], instance: dg.DagsterInstance
) -> str:
    """Say which partitions there are, and how to pick one."""
    kinds = dict[dg.PartitionsDefinition[str], str]()
    for name, one in wanted.items():
        kinds.setdefault(one.definition, name)
    known = {name: all_keys(definition, instance) for definition, name in kinds.items()}
    there = "; ".join(f"{name!r} has {_listed(keys)}" for name, keys in known.items())
    key = next((keys[-1] for keys in known.values() if keys), "KEY")
    if selection.job:
        command = f"kedro dagster run {selection.job.name} --partition {key!r}"
        pick = f"in the launchpad, or with: {command}"
    else:
        pick = f"where you materialise, or with: dagster asset materialize --partition {key!r}"
    return (
        f"This run makes one partition at a time, and is given none: {there}. Pick one {pick}; for "
        "several, start a backfill in the UI."
    )


def _listed(keys: Sequence[str]) -> str:
    if len(keys) > 5:
        return f"{len(keys)} partitions, from {keys[0]!r} to {keys[-1]!r}"
    return f"the partitions {', '.join(map(repr, keys))}" if keys else "no partitions yet"


def _check_all(
    node: str,
    name: str,
    partitioning: Partitioning,
    tags: Mapping[str, str],
    instance: dg.DagsterInstance,
) -> None:
    """Refuse to make some partitions where a node makes all of them."""
    definition, keys = partitioning.definition, all_keys(partitioning.definition, instance)
    given = {key for tag, key in tags.items() if tag == _KEY}
    if not given and _START in tags:
        ends = typed_keys(definition, (tags[_START], tags[_END]))
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            span = dg.PartitionKeyRange(*ends)
            given = set(definition.get_partition_keys_in_range(span))
    if given.issuperset(keys):
        return
    raise ValueError(
        f"Node {node!r} makes all partitions of {name!r} at once ('partitions: all' in "
        f"dagster.yml), and this run is of {len(given) or 'none'} of them; {name!r} has "
        f"{_listed(keys)}. Materialise all in one run: choose all in the UI, or "
        f"dagster asset materialize --partition-range '{keys[0]}...{keys[-1]}'."
    )


def without_data(run: KedroRun, node: Node, scopes: Scopes, made: Nodes) -> str | None:
    """Say which partitions a node is for that may be without data, and all are.

    What the nodes of its own step make is not there yet, and does not count.
    """
    own = {name for other in made for name in data_outputs(other)}
    for variant in node.inputs:
        name = strip_transcoding(variant)
        scope, dataset = scopes.get(name), run.plan.datasets.get(name)
        if scope is None or not scope.keys or name in own:
            continue
        assert dataset is not None
        assert dataset.partitioning is not None
        if dataset.partitioning.skips_missing:
            partitioned = kedro_door.unwrap_cached(run.get_dataset(variant))
            if not partitioned.existing(map(partitioned.path_of, scope.keys)):
                return f"{name!r} has no data yet for {', '.join(scope.keys[:5])}"
    return None


def saved_keys(
    run: KedroRun, variant: str, scope: PartitionScope | None, instance: dg.DagsterInstance
) -> tuple[str, ...]:
    """The keys of the partitions that a node has saved; those that Dagster does not know are not.

    A node that runs once with all partitions, as in ``kedro run``, may save any.
    """
    partitioning = run.plan.datasets[strip_transcoding(variant)].partitioning
    assert partitioning is not None
    dataset = kedro_door.unwrap_cached(run.get_dataset(variant))
    saved, definition = dataset.take_saved(), partitioning.definition
    if scope is not None:
        return tuple(key for key in scope.keys if dataset.partition_id(key) in saved)
    keys, existing = sorted(map(dataset.key_of, saved)), {*all_keys(definition, instance)}
    if others := [key for key in keys if key not in existing]:
        logger.warning("Saved to %r, and no partitions of it: %s", variant, ", ".join(others))
    return typed_keys(definition, [key for key in keys if key in existing])


@contextmanager
def in_scope(
    run: KedroRun, variant: str, scope: PartitionScope, who: str, *, in_chunks: bool = False
) -> Iterator[None]:
    """Let a partitioned dataset in the catalog hold just some partitions, for a node or asset."""
    dataset: Any = run.catalog.get(variant)
    partitioned = kedro_door.unwrap_cached(dataset)
    partitioned.use_version(run.run_id)
    with ExitStack() as stack:
        if dataset is not partitioned:  # it keeps the partitions of one scope
            dataset.release()
            stack.callback(dataset.release)
        stack.enter_context(partitioned.in_scope(scope, strip_transcoding(variant), who, in_chunks))
        yield
