"""Kedro nodes as Dagster ops, and as the multi-assets that their persisted outputs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import dagster as dg

from ..plan.model import AssetStepPlan, ProjectPlan, StepPlan, partitioned_in
from ..plan.names import (
    IO_MANAGER,
    KEDRO,
    KEDRO_IO_MANAGER,
    TRANSIENT_IO_MANAGER,
    check_identifier,
    identifier,
)
from ..plan.parameters import config_schema
from ..read.dagster_yml import RetryOptions
from ..run.records import keeping_events
from ..run.steps import StepBody
from ..run.transient import Transient
from .assets import CatalogTranslator, tags_of
from .checks import check_alone, check_spec

_AFTER = dg.In(dg.Nothing)  # it only orders the steps


class NodeTranslator:
    """Makes the op of each step, and the multi-asset of each step of the asset layer."""

    def __init__(self, plan: ProjectPlan, catalog: CatalogTranslator) -> None:
        self.plan = plan
        self.catalog = catalog

    @cached_property
    def _body(self) -> StepBody:
        return StepBody(self.plan, self.catalog.asset_keys)

    @cached_property
    def _asset_priorities(self) -> dict[str, dict[str, str]]:
        """The tags by which Dagster takes, of the steps that can run, the first in Kedro's order.

        Those of a job have theirs in its graph.
        """
        steps = enumerate(self.plan.asset_steps.values())
        return {one.step.op: {"dagster/priority": str(-index)} for index, one in steps}

    def get_op_name(self, step: StepPlan) -> str:
        """The name of a step: that of its node in the graph of a job, and of the op of assets.

        Run config and history know the step by it.

        Args:
            step: The step, with the name that it has otherwise.

        Returns:
            The name, which no other step of the job, or of the assets, has.
        """
        return step.name

    def get_tags(self, step: StepPlan) -> dict[str, str]:
        """The Dagster tags of a step's op: the tags of its nodes.

        Args:
            step: The step.

        Returns:
            The tags, to which those of ``nodes:`` in ``dagster.yml`` are added.
        """
        return tags_of(step.nodes)

    def get_description(self, step: StepPlan) -> str:
        """The description of a step's op: what each of its nodes runs, as Kedro writes it.

        Args:
            step: The step.

        Returns:
            The description, as Markdown.
        """
        return "\n\n".join(f"`{node}`" for node in step.nodes)

    def get_pool(self, step: StepPlan) -> str | None:
        """The pool of a step's op, if any: that of its nodes in ``dagster.yml`` or the catalog."""
        return step.settings.pool

    def get_backfill_policy(self, asset_step: AssetStepPlan) -> dg.BackfillPolicy | None:
        """The backfill policy of a step of assets: that of the first dataset that has one.

        Args:
            asset_step: The step; one that takes all partitions is not asked for.

        Returns:
            The policy; ``None`` for a run for each partition.
        """
        for dataset in map(self.plan.datasets.__getitem__, asset_step.upstream):
            options = dataset.step_words and dataset.step_words.backfill_policy
            if dataset.metadata.get("backfill_policy") == "single_run" or (
                options and options.type == "single_run"
            ):
                return dg.BackfillPolicy.single_run()
            if options:
                return dg.BackfillPolicy.multi_run(options.max_partitions_per_run)
        return None

    def op(self, step: StepPlan) -> dg.OpDefinition:
        """Make the op of a job's step.

        Persisted datasets are passed by the catalog, so their inputs and outputs only order the
        steps; transient ones are passed by an IO manager.

        Args:
            step: The step.

        Returns:
            The op, with its parameters as config.
        """
        datasets, body = self.plan.datasets, self._body
        ins = {
            one.identifier: _AFTER
            if one.persisted
            else dg.In(dg.Any, default_value=Transient.IN_CATALOG)
            for one in (datasets[name] for name in step.inputs)
        }
        read = partitioned_in(step.inputs, datasets).values()
        required = not any(one.skips_missing for one in read)  # else, Dagster skips what follows
        outs = {
            one.identifier: dg.Out(dg.Nothing, is_required=required)
            if one.persisted
            else dg.Out(dg.Any, is_required=required, io_manager_key=TRANSIENT_IO_MANAGER)
            for one in (datasets[name] for name in step.outputs)
        }
        passes_values = not all(datasets[name].persisted for name in (*step.inputs, *step.outputs))
        resources = {KEDRO, IO_MANAGER} if passes_values else {KEDRO}
        return self._op(
            step, ins, outs, lambda context, given: body.run_op(step, context, given), resources
        )

    def assets(self, asset_step: AssetStepPlan) -> dg.AssetsDefinition:
        """Make the multi-asset of a step of the asset layer; any part of it can be made."""
        datasets, keys, body = self.plan.datasets, self.catalog.asset_keys, self._body
        made = asset_step.upstream
        sources = {source for upstream in made.values() for source in upstream} - made.keys()
        read = {datasets[name].identifier: keys[name] for name in sorted(sources)}
        wholly = sources if asset_step.takes_all else ()
        specs = [self.catalog.spec(name, upstream, wholly) for name, upstream in made.items()]
        deps = dict.fromkeys(dep.asset_key for spec in specs for dep in spec.deps)
        others = [key for key in deps if key not in {*read.values(), *(spec.key for spec in specs)}]
        read.update((identifier(f"/{key.to_user_string()}"), key) for key in others)
        out = dg.Out(dg.Nothing, is_required=False, io_manager_key=KEDRO_IO_MANAGER)
        checks = {
            check_identifier(name): check_spec(datasets[name], keys[name])
            for name in made
            if (check := datasets[name].check) and check.on_save
        }
        op = self._op(
            asset_step.step,
            dict.fromkeys(read, _AFTER),
            {
                **{datasets[name].identifier: out for name in made},
                **dict.fromkeys(checks, dg.Out(dg.Nothing, is_required=False)),
            },
            lambda context, _: body.run_assets(asset_step, context.op_execution_context),
            {KEDRO},
        )
        return dg.AssetsDefinition(
            node_def=op,
            keys_by_input_name=read,
            keys_by_output_name={datasets[name].identifier: keys[name] for name in made},
            specs=specs,
            check_specs_by_output_name=checks,
            can_subset=len(made) > 1 or bool(checks),
            backfill_policy=dg.BackfillPolicy.single_run()
            if asset_step.takes_all
            else self.get_backfill_policy(asset_step),
        )

    def checks(self) -> Iterator[dg.AssetChecksDefinition]:
        """Make the checks of datasets that no step makes, or that it does not check.

        Returns:
            The checks, each of which loads its dataset.
        """
        made = {name for step in self.plan.asset_steps.values() for name in step.upstream}
        for name, dataset in self.plan.datasets.items():
            if dataset.check and not (name in made and dataset.check.on_save):
                yield check_alone(dataset, self.catalog.asset_keys[name], self._body)

    def _op(
        self,
        step: StepPlan,
        ins: Mapping[str, dg.In],
        outs: Mapping[str, dg.Out],
        compute: Callable[[dg.OpExecutionContext, Mapping[str, Any]], Iterator[dg.Output[Any]]],
        resources: set[str],
    ) -> dg.OpDefinition:
        return dg.OpDefinition(
            compute_fn=lambda context, given: keeping_events(
                context.op_execution_context, compute(context, given)
            ),
            name=step.op,
            ins=ins,
            outs=outs,
            description=self.get_description(step),
            config_schema=config_schema(
                step.parameters, self.plan.parameters, self.plan.hidden_parameters
            ),
            required_resource_keys=resources,
            tags={
                **self._asset_priorities.get(step.op, {}),
                **self.get_tags(step),
                **dict(step.settings.tags),
            },
            retry_policy=_retry_policy(step.settings.retry_policy),
            pool=self.get_pool(step),
        )


def _retry_policy(options: RetryOptions | None) -> dg.RetryPolicy | None:
    if options is None:
        return None
    return dg.RetryPolicy(
        max_retries=options.max_retries,
        delay=options.delay,
        backoff=options.backoff and dg.Backoff(options.backoff),
        jitter=options.jitter and dg.Jitter(options.jitter),
    )
