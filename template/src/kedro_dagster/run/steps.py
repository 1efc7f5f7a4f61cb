"""What an op does: it runs the nodes of its step, and tells Dagster what these have made."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dagster as dg
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner
from kedro.runner.task import Task

from ..doors import kedro as kedro_door
from ..doors.kedro import strip_transcoding
from ..plan.asset_jobs import nodes_in_job
from ..plan.model import (
    AssetStepPlan,
    DatasetKind,
    Nodes,
    ProjectPlan,
    StepPlan,
    data_inputs,
    data_outputs,
)
from ..plan.names import check_identifier
from ..plan.parameters import overrides
from ..plan.partitions import partitions_for_node
from ..plan.runners import is_async, make_runner, runs_in_order
from ..read.credentials import redacted_errors
from . import mlflow_run
from .dask import stop_after_failure, waits_for_skipped
from .data_watch import watching
from .event_log import event_log
from .hooks import in_mlflow_run
from .kedro_run import KedroRun
from .parameters import changed_parameters
from .partitions import Scopes, has_partitions, in_scope, without_data
from .records import Records
from .timeouts import time_limit
from .transient import Transient
from .turns import turn_to_write

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepBody:
    """What the ops of a code location do. By name, it knows the asset keys of datasets."""

    plan: ProjectPlan
    asset_keys: Mapping[str, dg.AssetKey]

    @property
    def _records(self) -> Records:
        return Records(self.plan, self.asset_keys)

    def run_op(
        self, step: StepPlan, context: dg.OpExecutionContext, inputs: Mapping[str, Any]
    ) -> Iterator[dg.Output[Any]]:
        """Run a step of a job."""
        run: KedroRun = context.resources.kedro
        run.job_resources = context.job_def.resource_defs
        stop_after_failure(context)
        if waits_for_skipped(self.plan, context):
            context.log.info("This step is skipped, since what it depends on was.")
            run.step_done(step.name)
            return
        job = self.plan.jobs[context.job_name]
        nodes = run.nodes_to_run(step.nodes, job)
        reason = run.why_skipped(step, job.name, nodes)
        if reason:
            context.log.info(reason)
            run.step_done(step.name)
        elif not step.nodes:
            for name in step.outputs:
                makers = (node for one in job.producers(step, name) for node in one.nodes)
                if run.nodes_to_run(makers, job):
                    context.log_event(dg.AssetMaterialization(self.asset_keys[name]))
            run.step_done(step.name)
        else:
            self._take_inputs(run, nodes, inputs)
            if any(value is Transient.LOST for value in inputs.values()):
                recovered = run.nodes_to_run(self.plan.nodes_to_recover(job, [step]), job)
                nodes = (*recovered, *nodes)
            # A nothing dataset is recorded once, by the step that waits for those of all keys
            kinds = {name: self.plan.datasets[name].kind for name in step.outputs if step.keys}
            nothing = [name for name, kind in kinds.items() if kind is DatasetKind.NOTHING]
            some = bool(run.options.partition_keys) and not step.keys
            planned = {
                name: replace(scope, optional=scope.optional or some)
                for name, scope in step.scopes.items()
            }
            keys = [context.partition_key] if context.has_partition_key else []
            made = self._run_nodes(
                step, context, nodes, keys, nothing, whole=job.whole, planned=planned
            )
            if made is None:
                return
        yield from self._outputs(run, step, () if reason else nodes)

    def _take_inputs(self, run: KedroRun, nodes: Nodes, inputs: Mapping[str, Any]) -> None:
        """Put the values from other processes into the catalog that some nodes read."""
        read = {name for node in nodes for name in data_inputs(node)}
        for identifier, value in inputs.items():
            name = self.plan.by_identifier[identifier].name
            if name in read and not isinstance(value, Transient):
                run.put(name, value)

    def _outputs(self, run: KedroRun, step: StepPlan, nodes: Nodes) -> Iterator[dg.Output[Any]]:
        """Give what a step makes, of which some nodes have run."""
        made = {name for node in nodes for name in data_outputs(node)}
        for name in step.outputs:
            dataset, value = self.plan.datasets[name], None
            if step.nodes and not dataset.persisted and run.single_process:
                value = Transient.IN_CATALOG
            elif name in made and not dataset.persisted:
                value = run.dataset(name).load()
            yield dg.Output(value, dataset.identifier)

    def run_assets(
        self, asset_step: AssetStepPlan, context: dg.OpExecutionContext
    ) -> Iterator[dg.Output[Any]]:
        """Run the part of a step of the asset layer that makes the chosen assets."""
        run: KedroRun = context.resources.kedro
        run.job_resources = context.job_def.resource_defs
        outputs, datasets = set(context.selected_output_names), self.plan.datasets
        selected = [name for name in asset_step.upstream if datasets[name].identifier in outputs]
        checked = [name for name in asset_step.upstream if check_identifier(name) in outputs]
        of_partitions = asset_step.partitioning and has_partitions(context.run.tags)
        keys = context.partition_keys if of_partitions else ()
        job, whole = self.plan.jobs.get(context.job_name), asset_step.whole
        nodes = nodes_in_job(job, asset_step.nodes_for(selected))
        made = self._run_nodes(asset_step.step, context, nodes, keys, selected, whole=whole)
        if made is None:
            return
        for name in selected:
            if output := self._records.output(context, name, keys, made.get(name)):
                yield output
        for name in checked:
            if name not in selected:
                yield from self.run_check(name, context)
            else:
                yield dg.Output(None, check_identifier(name))

    def run_check(self, name: str, context: dg.OpExecutionContext) -> Iterator[dg.Output[Any]]:
        """Check a dataset that is there."""
        run: KedroRun = context.resources.kedro
        run.job_resources = context.job_def.resource_defs
        with redacted_errors(), event_log(context.log, context.instance):
            self._records.check_now(context, name)
        yield dg.Output(None, check_identifier(name))

    def _run_nodes(
        self,
        step: StepPlan,
        context: dg.OpExecutionContext,
        nodes: Nodes,
        keys: Sequence[str],
        recorded: Collection[str],
        *,
        whole: Collection[str],
        planned: Scopes | None = None,
    ) -> dict[str, tuple[str, ...]] | None:
        """Run nodes in order, and record what they save, but for what Dagster itself records.

        They may touch the partitions that are planned, or else those that belong to some keys;
        those that are whole touch any, as in ``kedro run``. Give the partition keys that they make
        of each dataset, or ``None`` where they are skipped because there is no data.
        """
        run: KedroRun = context.resources.kedro
        instance, key = context.instance, context.get_step_execution_context().step.key
        changed = overrides(context.op_config or {}, self.plan.parameters)
        told, in_mlflow = _failure_told(run, key), in_mlflow_run(run, instance, context.run_id)
        timeout = step.settings.timeout
        limit = time_limit(key, timeout) if timeout else nullcontext()
        with (
            redacted_errors(),
            event_log(context.log, instance),
            told,
            in_mlflow,
            ExitStack() as stack,
        ):
            run.facts.forget()  # what an earlier attempt has saved
            scopes = {
                node.name: planned or partitions_for_node(node, self.plan.datasets, keys, instance)
                for node in nodes
                if node.name not in whole
            }
            reasons = (without_data(run, one, scopes.get(one.name, {}), nodes) for one in nodes)
            if reason := next(filter(None, reasons), None):
                context.log.info(f"This step is skipped, with what depends on it alone: {reason}.")
                run.step_done(key)
                return None
            stack.enter_context(turn_to_write(self.plan, context, nodes, scopes))
            stack.enter_context(limit)
            nodes = _prepare(run, key, nodes)
            if not run.single_process:
                self._find_models(context, nodes)
            with changed_parameters(run, nodes, changed), watching(run):
                made = self._run_each(step, context, nodes, scopes, recorded)
            if run.release:
                run.release.at_end(run.catalog)
            run.step_done(key)
        return made

    def _run_each(
        self,
        step: StepPlan,
        context: dg.OpExecutionContext,
        nodes: Nodes,
        scopes: Mapping[str, Scopes],
        recorded: Collection[str],
    ) -> dict[str, tuple[str, ...]]:
        """Run nodes one after the other, or as the job's Kedro runner does."""
        run: KedroRun = context.resources.kedro
        key = context.get_step_execution_context().step.key
        options = run.runner_options(self.plan.jobs.get(context.job_name))
        if options and not runs_in_order(options):
            record = partial(self._records.of_node, context, step, scopes={}, recorded=recorded)
            with self._records.of_failure(context, step):
                _run_by(make_runner(options), run, key, nodes, record)
            return {}
        made: dict[str, tuple[str, ...]] = {}
        for node in nodes:
            own = scopes.get(node.name, {})
            with self._records.of_failure(context, step, own):
                _run_node(run, key, node, own, in_threads=is_async(options))
            made |= self._records.of_node(context, step, node, own, recorded)
        return made

    def _find_models(self, context: dg.OpExecutionContext, nodes: Nodes) -> None:
        run: KedroRun = context.resources.kedro
        run_ids = [one for one in (context.run_id, context.run.parent_run_id) if one]
        for name in {name for node in nodes for name in node.inputs if not is_parameter(name)}:
            key = self.asset_keys.get(strip_transcoding(name))
            if key:
                dataset = kedro_door.unwrap_cached(run.get_dataset(name))
                mlflow_run.find_model(dataset, key, context.instance, run_ids)


@contextmanager
def _failure_told(run: KedroRun, step: str) -> Iterator[None]:
    """Keep what a step fails with for ``on_pipeline_error``, and name the values it was given.

    Some can be pickled and do not work afterwards, such as a table of a database in the memory of
    another process. The error comes from within the node and says nothing of it.
    """
    try:
        yield
    except BaseException as error:
        run.errors[step] = error
        if run.crossed and isinstance(error, Exception):
            logger.error(  # noqa: TRY400  # the traceback is logged by Dagster
                "Step %r failed with values that were made in other processes: %s. If it failed "
                "because of them, keep the nodes together: group_by: memory or an in_process "
                "executor on the job, or a catalog entry for the dataset.",
                step,
                ", ".join(f"{name!r} ({kind})" for name, kind in sorted(run.crossed.items())),
            )
        raise


def _prepare(run: KedroRun, step: str, nodes: Nodes) -> Nodes:
    """Build the datasets of a step, note which to release after it, and import its nodes."""
    read = dict.fromkeys(name for node in nodes for name in node.inputs)
    written = dict.fromkeys(name for node in nodes for name in node.outputs)
    for name in (*read, *written):
        run.get_dataset(name)
    data = {name: strip_transcoding(name) for name in read if not is_parameter(name)}
    run.used.update(written)
    run.used.update(name for name, plain in data.items() if run.plan.datasets[plain].persisted)
    if not run.single_process:
        for name in read:
            kedro_door.pin_version(run.catalog.get(name), run.run_id)
    if run.release:
        run.release.before(step, nodes)
    return tuple(map(run.plan.project.imported_node, nodes))


def _run_node(run: KedroRun, step: str, node: Node, scopes: Scopes, *, in_threads: bool) -> None:
    """Run a node through Kedro's own ``Task``, held to some partitions of its datasets."""
    in_chunks = inspect.isgeneratorfunction(node.func)
    with ExitStack() as stack:
        for variant in dict.fromkeys((*node.inputs, *node.outputs)):
            if scope := scopes.get(strip_transcoding(variant)):
                chunks = in_chunks and variant in node.outputs
                stack.enter_context(in_scope(run, variant, scope, node.name, in_chunks=chunks))
            elif (plan := run.plan.datasets.get(strip_transcoding(variant))) and plan.partitioning:
                kedro_door.unwrap_cached(run.catalog.get(variant)).use_version(run.run_id)
        Task(node, run.catalog, in_threads, run.hook_manager, run_id=run.run_id).execute()
    logger.info("Completed node: %s", node.name)
    _node_done(run, step, node)


def _run_by(
    runner: AbstractRunner,
    run: KedroRun,
    step: str,
    nodes: Nodes,
    record: Callable[[Node], object],
) -> None:
    """Run the nodes of a step by one of Kedro's runners."""
    left = dict.fromkeys(nodes)

    def tell(node: Node) -> None:
        del left[node]
        record(node)
        _node_done(run, step, node)

    kedro_door.tell_of_nodes(runner, tell)
    runner.run(Pipeline(nodes), run.catalog, run.hook_manager, run.run_id)
    for node in tuple(left):  # a runner of the user's own may not tell
        tell(node)


def _node_done(run: KedroRun, step: str, node: Node) -> None:
    run.nodes_done.add((step, node.name))
    run.in_memory.update(map(strip_transcoding, node.outputs))
    if run.release:
        run.release.after(step, node, run.catalog)
