"""What an op does: it runs the nodes of its step, and tells Dagster what these have made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
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
from ..plan.parameters import overrides
from ..plan.partitions import partitions_for_node
from ..read.credentials import redacted_errors
from .event_log import event_log
from .hooks import in_mlflow_run
from .kedro_run import KedroRun
from .nodes import Scopes, run_nodes
from .timeouts import time_limit
from .transient import Transient


@dataclass(frozen=True)
class StepBody:
    """The bodies of the ops of a code location.

    Args:
        plan: The project's plan.
        asset_keys: The key of the asset of each persisted dataset.
    """

    plan: ProjectPlan
    asset_keys: Mapping[str, dg.AssetKey]

    def run_op(
        self, step: StepPlan, context: dg.OpExecutionContext, inputs: Mapping[str, Any]
    ) -> Iterator[dg.Output[Any]]:
        """Run a step of a job."""
        run: KedroRun = context.resources.kedro
        _stop_after_failure(context)
        if run.skips(step, context.job_name):
            context.log.info("The partitions of this step are not among those of the run.")
            yield from self._nothing(step.outputs)
            run.step_done(step.name)
        elif not step.nodes:
            for name in step.outputs:
                context.log_event(dg.AssetMaterialization(self.asset_keys[name]))
            yield from self._nothing(step.outputs)
            run.step_done(step.name)
        else:
            nodes = (*self._take(run, step, context.job_name, inputs), *step.nodes)
            gathered = step.outputs if step.keys else ()  # with all other keys, if it is nothing
            nothing = frozenset(
                name for name in gathered if self.plan.datasets[name].kind is DatasetKind.NOTHING
            )
            self._run_nodes(step, nodes, context, self._scopes_of_step(step, context), nothing)
            for name in step.outputs:
                dataset = self.plan.datasets[name]
                value = None
                if not dataset.persisted:
                    value = Transient.IN_CATALOG if run.single_process else run.get(name)
                yield dg.Output(value, dataset.identifier)

    def run_assets(
        self, asset_step: AssetStepPlan, context: dg.OpExecutionContext
    ) -> Iterator[dg.Output[Any]]:
        """Run the part of a step of the asset layer that makes the chosen assets."""
        run: KedroRun = context.resources.kedro
        wanted = {self.plan.by_identifier[name].name for name in context.selected_output_names}
        selected = [name for name in asset_step.upstream if name in wanted]
        keys = context.partition_keys if asset_step.partitioning else ()
        nodes = asset_step.nodes_for(selected)
        scopes = self._scopes(context, keys)
        self._run_nodes(asset_step.step, nodes, context, scopes, frozenset(selected))
        for name in selected:
            metadata = run.location(name, keys[0] if len(keys) == 1 else None)
            yield dg.Output(None, self.plan.datasets[name].identifier, metadata=metadata)

    def _nothing(self, names: Iterable[str]) -> Iterator[dg.Output[Any]]:
        return (dg.Output(None, self.plan.datasets[name].identifier) for name in names)

    def _take(
        self, run: KedroRun, step: StepPlan, job_name: str, inputs: Mapping[str, Any]
    ) -> Nodes:
        """Put the values of other steps into the catalog; give the nodes to make those lost."""
        lost = any(value is Transient.LOST for value in inputs.values())
        for identifier, value in inputs.items():
            if not isinstance(value, Transient):
                run.put(self.plan.by_identifier[identifier].name, value)
        return self.plan.nodes_to_recover(self.plan.jobs[job_name], [step]) if lost else ()

    def _run_nodes(
        self,
        step: StepPlan,
        nodes: Nodes,
        context: dg.OpExecutionContext,
        scopes: Callable[[Node], Scopes],
        recorded: frozenset[str],
    ) -> None:
        """Run nodes, and record what they save, but for what Dagster itself records."""
        run: KedroRun = context.resources.kedro

        def record(node: Node, found: Scopes) -> None:
            for name in data_outputs(node):
                if not self.plan.datasets[name].persisted or name in recorded:
                    continue
                for key in found[name].keys if name in found else (None,):
                    context.log_event(
                        dg.AssetMaterialization(
                            self.asset_keys[name], metadata=run.location(name, key), partition=key
                        )
                    )

        step_key = context.get_step_execution_context().step.key
        changed = overrides(context.op_config or {}, self.plan.parameters)
        in_mlflow = in_mlflow_run(run, context.instance, context.run_id)
        kept = _errors_kept(run, step_key)
        timeout = step.settings.timeout
        limit = time_limit(step_key, timeout) if timeout else nullcontext()
        with redacted_errors(), kept, event_log(context.log, context.instance), in_mlflow, limit:
            run_nodes(run, step_key, nodes, changed=changed, scopes=scopes, done=record)
            run.step_done(step_key)

    def _scopes_of_step(
        self, step: StepPlan, context: dg.OpExecutionContext
    ) -> Callable[[Node], Scopes]:
        """Find the partitions of a job's step: planned, or those of the run."""
        if not step.scopes:
            keys = [context.partition_key] if context.has_partition_key else []
            return self._scopes(context, keys)
        run: KedroRun = context.resources.kedro
        some = bool(run.options.partition_keys) and not step.keys

        def planned(node: Node) -> Scopes:
            names = {*data_inputs(node), *data_outputs(node)}
            return {
                name: replace(scope, optional=scope.optional or some)
                for name, scope in step.scopes.items()
                if name in names
            }

        return planned

    def _scopes(
        self, context: dg.OpExecutionContext, keys: Sequence[str]
    ) -> Callable[[Node], Scopes]:
        """Find the partitions of a step out of those of the run."""
        return lambda node: partitions_for_node(node, self.plan.datasets, keys, context.instance)


def _stop_after_failure(context: dg.OpExecutionContext) -> None:
    """Fail a step that waits for one that has failed: on Dask, Dagster runs it all the same."""
    if context.job_def.executor_def.name != "dask":
        return
    step = context.get_step_execution_context().step
    upstream = [key for one in step.step_inputs for key in one.dependency_keys]
    stats = context.instance.get_run_step_stats(context.run_id, upstream) if upstream else ()
    failed = [one.step_key for one in stats if one.status and one.status.value == "FAILURE"]
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
