"""Kedro nodes as Dagster ops, and as the multi-assets that their persisted outputs are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.execution.stats import StepEventStatus
from kedro.pipeline.node import Node

from ..plan.model import (
    AssetStepPlan,
    DatasetKind,
    Nodes,
    ProjectPlan,
    StepPlan,
    data_inputs,
    data_outputs,
)
from ..plan.names import IO_MANAGER, KEDRO, KEDRO_IO_MANAGER, TRANSIENT_IO_MANAGER
from ..plan.partitions import partitions_for_node
from ..read.dagster_yml import RetryOptions
from ..read.partition_keys import PartitionScope
from ..run import parameters
from ..run.event_log import event_log
from ..run.hooks import in_mlflow_run
from ..run.kedro_run import KedroRun
from ..run.nodes import run_nodes
from ..run.transient import Transient
from .assets import CatalogTranslator


class NodeTranslator:
    """Makes the op of each step, and the multi-asset of each step of the asset layer.

    Args:
        plan: The project's plan.
        catalog: Makes the specs of the assets.
    """

    def __init__(self, plan: ProjectPlan, catalog: CatalogTranslator) -> None:
        self.plan = plan
        self.catalog = catalog

    def get_tags(self, nodes: Sequence[Any]) -> dict[str, str]:
        """The Dagster tags of an op: the tags of its nodes."""
        tags = sorted({tag for node in nodes for tag in node.tags})
        return {re.sub(r"[^A-Za-z0-9_.-]", "_", tag)[:63]: "" for tag in tags}

    def get_description(self, nodes: Sequence[Any]) -> str:
        """The description of an op: what each of its nodes runs, as Kedro writes it."""
        return "\n\n".join(f"`{node}`" for node in nodes)

    def op(self, step: StepPlan) -> dg.OpDefinition:
        """Make the op of a job's step.

        Persisted datasets are passed by the catalog, so their inputs and outputs only order the
        steps; transient ones are passed by an IO manager.

        Args:
            step: The step.

        Returns:
            The op, with its parameters as config.
        """
        ins, outs = {}, {}
        for name in step.inputs:
            dataset = self.plan.datasets[name]
            ins[dataset.identifier] = (
                dg.In(dg.Nothing)
                if dataset.persisted
                else dg.In(dg.Any, default_value=Transient.IN_CATALOG)
            )
        for name in step.outputs:
            dataset = self.plan.datasets[name]
            outs[dataset.identifier] = (
                dg.Out(dg.Nothing)
                if dataset.persisted
                else dg.Out(dg.Any, io_manager_key=TRANSIENT_IO_MANAGER)
            )
        passes_values = not all(
            self.plan.datasets[name].persisted for name in (*step.inputs, *step.outputs)
        )
        return self._op(
            step,
            ins,
            outs,
            lambda context, inputs: self._run_op(step, context, inputs),
            {KEDRO, IO_MANAGER} if passes_values else {KEDRO},
        )

    def assets(self, asset_step: AssetStepPlan) -> dg.AssetsDefinition:
        """Make the multi-asset of a step of the asset layer; any part of it can be made.

        Args:
            asset_step: The step.

        Returns:
            The assets.
        """
        step, datasets = asset_step.step, self.plan.datasets
        sources = dict.fromkeys(
            source
            for upstream in asset_step.upstream.values()
            for source in upstream
            if source not in asset_step.upstream
        )
        op = self._op(
            step,
            {datasets[name].identifier: dg.In(dg.Nothing) for name in sources},
            {
                datasets[name].identifier: dg.Out(
                    dg.Nothing, is_required=False, io_manager_key=KEDRO_IO_MANAGER
                )
                for name in asset_step.upstream
            },
            lambda context, _: self._run_assets(asset_step, context.op_execution_context),
            {KEDRO},
        )
        key = self.catalog.get_asset_key
        in_one_run = any(
            datasets[name].metadata.get("backfill_policy") == "single_run"
            for name in asset_step.upstream
        )
        return dg.AssetsDefinition(
            node_def=op,
            keys_by_input_name={datasets[name].identifier: key(datasets[name]) for name in sources},
            keys_by_output_name={
                datasets[name].identifier: key(datasets[name]) for name in asset_step.upstream
            },
            specs=[
                self.catalog.get_asset_spec(datasets[name], upstream)
                for name, upstream in asset_step.upstream.items()
            ],
            can_subset=len(asset_step.upstream) > 1,
            backfill_policy=dg.BackfillPolicy.single_run() if in_one_run else None,
        )

    def _op(
        self,
        step: StepPlan,
        ins: Mapping[str, dg.In],
        outs: Mapping[str, dg.Out],
        compute: Callable[[dg.OpExecutionContext, Mapping[str, Any]], Iterator[dg.Output[Any]]],
        resources: set[str],
    ) -> dg.OpDefinition:
        return dg.OpDefinition(
            compute_fn=compute,
            name=step.op,
            ins=ins,
            outs=outs,
            description=self.get_description(step.nodes),
            config_schema=parameters.config_schema(step.parameters, self.plan.parameters),
            required_resource_keys=resources,
            tags={**self.get_tags(step.nodes), **dict(step.settings.tags)},
            retry_policy=_retry_policy(step.settings.retry_policy),
            pool=step.settings.pool,
        )

    def _run_op(
        self, step: StepPlan, context: dg.OpExecutionContext, inputs: Mapping[str, Any]
    ) -> Iterator[dg.Output[Any]]:
        run: KedroRun = context.resources.kedro
        _stop_after_failure(context)
        if run.skips(step, context.job_name):
            context.log.info("The partitions of this step are not among those of the run.")
            yield from (
                dg.Output(None, self.plan.datasets[name].identifier) for name in step.outputs
            )
            run.step_done(step.name)
            return
        if not step.nodes:
            for name in step.outputs:
                dataset = self.plan.datasets[name]
                context.log_event(dg.AssetMaterialization(self.catalog.get_asset_key(dataset)))
                yield dg.Output(None, dataset.identifier)
            run.step_done(step.name)
            return
        nodes = step.nodes
        for identifier, value in inputs.items():
            if value is Transient.LOST:
                job = self.plan.jobs[context.job_name]
                nodes = (*self.plan.nodes_to_recover(job, [step]), *step.nodes)
            elif value is not Transient.IN_CATALOG:
                run.put(self.plan.by_identifier[identifier].name, value)
        gathered = step.outputs if step.keys else ()  # with all other keys, where it is nothing
        nothing = (one for one in gathered if self.plan.datasets[one].kind is DatasetKind.NOTHING)
        scopes = self._op_scopes(step, context)
        self._run_nodes(run, nodes, context, scopes, frozenset(nothing))
        for name in step.outputs:
            dataset = self.plan.datasets[name]
            if dataset.persisted:
                yield dg.Output(None, dataset.identifier)
            else:
                value = Transient.IN_CATALOG if run.single_process else run.get(name)
                yield dg.Output(value, dataset.identifier)

    def _run_assets(
        self, asset_step: AssetStepPlan, context: dg.OpExecutionContext
    ) -> Iterator[dg.Output[Any]]:
        run: KedroRun = context.resources.kedro
        wanted = {self.plan.by_identifier[name].name for name in context.selected_output_names}
        selected = [name for name in asset_step.upstream if name in wanted]
        keys = context.partition_keys if asset_step.partitioning else ()
        nodes = asset_step.nodes_for(selected)
        self._run_nodes(run, nodes, context, self._scopes(context, keys), frozenset(selected))
        for name in selected:
            key = keys[0] if len(keys) == 1 else None
            metadata = run.location(name, key)
            yield dg.Output(None, self.plan.datasets[name].identifier, metadata=metadata)

    def _run_nodes(
        self,
        run: KedroRun,
        nodes: Nodes,
        context: dg.OpExecutionContext,
        scopes: Callable[[Node], Mapping[str, PartitionScope]],
        recorded: frozenset[str] = frozenset(),
    ) -> None:
        """Run nodes, and record what they save, but for what Dagster itself records."""

        def record(node: Node, found: Mapping[str, PartitionScope]) -> None:
            for name in data_outputs(node):
                dataset = self.plan.datasets[name]
                if not dataset.persisted or name in recorded:
                    continue
                asset = self.catalog.get_asset_key(dataset)
                for key in found[name].keys if name in found else (None,):
                    metadata = run.location(name, key)
                    context.log_event(
                        dg.AssetMaterialization(asset, metadata=metadata, partition=key)
                    )

        step_key = context.get_step_execution_context().step.key
        changed = parameters.overrides(context.op_config or {}, self.plan.parameters)
        in_mlflow = in_mlflow_run(run, context.instance, context.run_id)
        with _errors_kept(run, step_key), event_log(context.log, context.instance), in_mlflow:
            run_nodes(run, step_key, nodes, changed=changed, scopes=scopes, done=record)
            run.step_done(step_key)

    def _op_scopes(
        self, step: StepPlan, context: dg.OpExecutionContext
    ) -> Callable[[Node], Mapping[str, PartitionScope]]:
        """Find the partitions of a job's step: planned, or those of the run."""
        if not step.scopes:
            keys = [context.partition_key] if context.has_partition_key else []
            return self._scopes(context, keys)
        run: KedroRun = context.resources.kedro
        some = bool(run.options.partition_keys) and not step.keys

        def planned(node: Node) -> Mapping[str, PartitionScope]:
            names = {*data_inputs(node), *data_outputs(node)}
            return {
                name: replace(scope, optional=scope.optional or some)
                for name, scope in step.scopes.items()
                if name in names
            }

        return planned

    def _scopes(
        self, context: dg.OpExecutionContext, keys: Sequence[str]
    ) -> Callable[[Node], Mapping[str, PartitionScope]]:
        """Find the partitions of a step out of those of the run."""
        return lambda node: partitions_for_node(node, self.plan.datasets, keys, context.instance)


def _retry_policy(options: RetryOptions | None) -> dg.RetryPolicy | None:
    if options is None:
        return None
    return dg.RetryPolicy(
        max_retries=options.max_retries,
        delay=options.delay,
        backoff=dg.Backoff(options.backoff) if options.backoff else None,
        jitter=dg.Jitter(options.jitter) if options.jitter else None,
    )


def _stop_after_failure(context: dg.OpExecutionContext) -> None:
    """Fail a step that waits for one that has failed: on Dask, Dagster runs it all the same."""
    if context.job_def.executor_def.name != "dask":
        return
    step = context.get_step_execution_context().step
    upstream = [key for one in step.step_inputs for key in one.dependency_keys]
    stats = context.instance.get_run_step_stats(context.run_id, upstream) if upstream else ()
    failed = [one.step_key for one in stats if one.status is StepEventStatus.FAILURE]
    if failed:
        raise dg.Failure(f"This step waits for one that has failed: {', '.join(failed)}.")


@contextmanager
def _errors_kept(run: KedroRun, step_key: str) -> Iterator[None]:
    """Keep the exception of a step, for ``on_pipeline_error`` in the same process."""
    try:
        yield
    except BaseException as error:
        run.errors[step_key] = error
        raise
