"""What a step records of the datasets that it makes: materialisations, with all that is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from kedro.pipeline.node import Node

from ..doors.kedro import strip_transcoding
from ..plan.model import ProjectPlan, StepPlan, data_outputs
from ..plan.partitions import driving_dataset
from ..read.partition_entry import all_keys
from .checks import (
    Columns,
    Verdict,
    columns_before,
    drift,
    evaluation,
    has_failed,
    reads_first,
    validate_now,
)
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
        self,
        context: dg.OpExecutionContext,
        step: StepPlan,
        node: Node,
        scopes: Scopes,
        recorded: Collection[str],
    ) -> dict[str, tuple[str, ...]]:
        """Record what a node has saved; give the partition keys of each dataset that has some."""
        run, made = context.resources.kedro, dict[str, tuple[str, ...]]()
        run.facts.node_done(node)
        for variant in node.outputs:
            name = strip_transcoding(variant)
            if self.plan.datasets[name].partitioning:
                made[name] = saved_keys(run, variant, scopes.get(name), context.instance)
        self._checks(
            context, step, {name: scope.keys for name, scope in scopes.items()} | made, node
        )
        for name in data_outputs(node):
            dataset = self.plan.datasets[name]
            if dataset.persisted and name not in recorded:
                self._log_made(context, name, made.get(name, (None,)))
        side_effect = self.plan.side_effects.get(node)
        if side_effect and side_effect not in recorded:
            keys = self._keys_of_side_effect(node, side_effect, scopes, context.instance)
            self._log_made(context, side_effect, keys)
        return made

    def _keys_of_side_effect(
        self, node: Node, name: str, scopes: Scopes, instance: dg.DagsterInstance
    ) -> Sequence[str | None]:
        """The partitions for which a node has run, where its asset has some."""
        partitioning = self.plan.datasets[name].partitioning
        if partitioning is None:
            return (None,)
        leader = driving_dataset(node, self.plan.datasets)
        scope = scopes.get(leader[0]) if leader else None
        return scope.keys if scope else all_keys(partitioning.definition, instance)

    @contextmanager
    def of_failure(
        self, context: dg.OpExecutionContext, step: StepPlan, scopes: Scopes | None = None
    ) -> Iterator[None]:
        """Record how validators have judged before a node has failed, maybe because of that."""
        try:
            yield
        except Exception:
            keys = {name: scope.keys for name, scope in (scopes or {}).items()}
            self._checks(context, step, keys)
            raise

    def _checks(
        self,
        context: dg.OpExecutionContext,
        step: StepPlan,
        keys: Mapping[str, Sequence[str]],
        node: Node | None = None,
    ) -> None:
        """Record how validators have judged, and whether the columns of a table are others."""
        run: KedroRun = context.resources.kedro
        said, loaded = run.verdicts.take(), run.verdicts.columns
        saved = {name for name, verdicts in said.items() if verdicts[-1].mode == "save"}
        for name in data_outputs(node) if node else ():
            check = self.plan.datasets[name].check
            saved |= {name} if check and check.schema_drift else set()
        for name in dict.fromkeys((*said, *saved, *loaded)):
            verdicts, of_keys = said.get(name, []), keys.get(name, ())
            if name in saved or self._tells_of_load(context, step, name, verdicts, of_keys):
                columns = loaded.get(name) or run.facts.columns(name, next(iter(of_keys), None))
                self._log_check(context, name, verdicts, columns, of_keys)
        loaded.clear()

    def check_now(self, context: dg.OpExecutionContext, name: str) -> None:
        """Load a dataset to check it, when somebody asks for it."""
        verdicts, columns = validate_now(context.resources.kedro, self.plan.datasets[name])
        self._log_check(context, name, verdicts, columns)

    def _log_check(
        self,
        context: dg.OpExecutionContext,
        name: str,
        verdicts: Sequence[Verdict],
        columns: Columns | None,
        keys: Sequence[str] = (),
    ) -> None:
        dataset, key, changes = self.plan.datasets[name], self.asset_keys[name], None
        if dataset.check and dataset.check.schema_drift:
            changes = drift(columns_before(context.instance, key), columns)
        # Dagster plans the checks of a run of assets without partitions
        job = self.plan.jobs.get(context.job_name)
        partition = keys[0] if len(keys) == 1 and job and not job.assets else None
        told = evaluation(
            dataset,
            key,
            verdicts,
            context.resources.kedro.facts.hide,
            columns=columns,
            changes=changes,
            partitions=keys,
            partition=partition,
        )
        context.log_event(told)  # type: ignore[arg-type]  # it takes these as well

    def _tells_of_load(
        self,
        context: dg.OpExecutionContext,
        step: StepPlan,
        name: str,
        verdicts: Sequence[Verdict],
        keys: Sequence[str],
    ) -> bool:
        """Whether a step is the first to read some data, or the first to tell that it is bad.

        If several steps told at once how a check has gone in a run, Dagster would keep each of
        them, and refuse any later one.
        """
        if any(not (one.passed or one.validator.warns) for one in verdicts):
            return not has_failed(context.instance, self.asset_keys[name], context.run_id)
        job, chosen = self.plan.jobs.get(context.job_name), context.run.asset_selection
        steps: Iterable[StepPlan] = self.plan.kedro_steps(context.job_name).values()
        if job is None or job.assets:
            steps = [
                replace(one, outputs=tuple(made))
                for one in steps
                if (made := [n for n in one.outputs if not chosen or self.asset_keys[n] in chosen])
            ]
        check = self.plan.datasets[name].check
        if check and check.on_save and any(name in one.outputs for one in steps):
            return False
        return reads_first(name, step, steps, keys)

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


def keeping_events(
    context: dg.OpExecutionContext, outputs: Iterator[dg.Output[Any]]
) -> Iterator[Any]:
    """Hand on the events of a step that fails: Dagster drops what was logged before the failure."""
    try:
        yield from outputs
    except Exception:
        yield from context.consume_events()
        raise


def _told_of(run: KedroRun, name: str, key: str | None) -> dict[str, Any]:
    """What is told of a dataset, or of one of its partitions, that has been made."""
    return {**run.location(name, key), **run.facts.of(name, key)}
