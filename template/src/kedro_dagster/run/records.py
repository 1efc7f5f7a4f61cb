"""What a step records of the datasets that it makes: materialisations, with all that is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from kedro.pipeline.node import Node

from ..doors.kedro import strip_transcoding
from ..plan.model import ProjectPlan
from .facts import ROWS
from .kedro_run import KedroRun
from .partitions import Scopes, saved_keys

_PARTITIONS_TOLD = 100  # by name, in a run of several: Dagster lists all of them for each


@dataclass(frozen=True)
class Records:
    """Records what nodes save, but for what Dagster itself records of an output."""

    plan: ProjectPlan
    asset_keys: Mapping[str, dg.AssetKey]

    def of_node(
        self, context: dg.OpExecutionContext, node: Node, scopes: Scopes, recorded: Collection[str]
    ) -> dict[str, tuple[str, ...]]:
        """Record what a node has saved; give the partition keys of each dataset that has some."""
        run, made = context.resources.kedro, dict[str, tuple[str, ...]]()
        run.facts.node_done(node)
        for variant in node.outputs:
            name = strip_transcoding(variant)
            dataset = self.plan.datasets[name]
            if dataset.partitioning:
                made[name] = saved_keys(run, variant, scopes.get(name), context.instance)
            if dataset.persisted and name not in recorded:
                self._log_made(context, name, made.get(name, (None,)))
        return made

    def output(
        self,
        context: dg.OpExecutionContext,
        name: str,
        keys: Sequence[str],
        made: Sequence[str] | None,
    ) -> dg.Output[Any] | None:
        """Give the output of an asset, unless some of the partitions of the run are not made."""
        dataset = self.plan.datasets[name]
        of_partitions = keys if dataset.partitioning else ()
        if made is not None and len(made) < len(of_partitions):
            self._log_made(context, name, made)
            context.log.warning(
                f"Of {len(keys)} partitions of {name!r}, {len(made)} are made: what this run would "
                "make of it is skipped. Materialise that for the partitions that are there."
            )
            return None  # by an output, Dagster would record them all
        key = of_partitions[0] if len(of_partitions) == 1 else None
        told = _told_of(context.resources.kedro, name, key)
        if len(of_partitions) > 1:
            told.pop(ROWS, None)  # it would be told of each
        if 1 < len(of_partitions) <= _PARTITIONS_TOLD:
            step = context.get_step_execution_context()
            for one in of_partitions:
                facts = context.resources.kedro.facts.of(name, one)
                step.add_asset_metadata(facts, self.asset_keys[name], one)
        return dg.Output(None, dataset.identifier, metadata=told)

    def _log_made(
        self, context: dg.OpExecutionContext, name: str, keys: Iterable[str | None]
    ) -> None:
        for key in keys:
            told, asset = _told_of(context.resources.kedro, name, key), self.asset_keys[name]
            context.log_event(dg.AssetMaterialization(asset, metadata=told, partition=key))


def _told_of(run: KedroRun, name: str, key: str | None) -> dict[str, Any]:
    """What is told of a dataset, or of one of its partitions, that has been made."""
    return {**run.location(name, key), **run.facts.of(name, key)}
