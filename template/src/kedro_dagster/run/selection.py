"""What a Dagster run is asked to run, in Kedro's terms."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..plan.model import JobPlan, ProjectPlan, data_outputs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSelection:
    """What a Dagster run really runs.

    Args:
        pipeline: The nodes.
        tasks: Each step that runs them, with each of its nodes.
        job: The job they are of; ``None`` for assets.
        executor: The name of the executor.
    """

    pipeline: Pipeline
    tasks: tuple[tuple[str, Node], ...]
    job: JobPlan | None
    executor: str

    @property
    def pipeline_names(self) -> list[str]:
        """The registered pipelines the run is of; ``__default__`` for assets."""
        return self.job.options.names if self.job else ["__default__"]


@dataclass(frozen=True)
class RunOptions:
    """The config of the ``kedro`` resource.

    Args:
        runtime_params: What ``kedro run --params`` takes.
        load_versions: What ``kedro run --load-versions`` takes: versions by dataset.
        partition_keys: In a job that fans out, the only partitions to run: keys, or the
            ``start`` and ``end`` of a range.
    """

    runtime_params: Mapping[str, Any] = field(default_factory=dict)
    load_versions: Mapping[str, str] = field(default_factory=dict)
    partition_keys: Any = None

    @classmethod
    def of(cls, run_config: Mapping[str, Any]) -> RunOptions:
        """Find the options in the config of a run."""
        resource = (run_config.get("resources") or {}).get("kedro") or {}
        return cls(**(resource.get("config") or {}))


def select_nodes(
    plan: ProjectPlan,
    job_name: str,
    executor: str,
    steps: Mapping[str, Iterable[str]],
    lost: bool = False,
) -> RunSelection | None:
    """Find the nodes that a Dagster run really runs."""
    job = plan.jobs.get(job_name)
    if job:
        chosen = [step for step in job.steps if step.name in steps]
        tasks = [(step.name, node) for step in chosen for node in step.nodes]
        if len(chosen) == len(job.steps):
            return RunSelection(job.pipeline, tuple(tasks), job, executor)
        if lost:
            tasks += [("", node) for node in plan.nodes_to_recover(job, chosen)]
    else:
        tasks = [
            (step, node)
            for step, outputs in steps.items()
            if step in plan.asset_steps
            for node in plan.asset_steps[step].nodes_for(
                plan.by_identifier[output].name for output in outputs
            )
        ]
    return RunSelection(_as_one_pipeline(tasks), tuple(tasks), job, executor) if tasks else None


def _as_one_pipeline(tasks: Iterable[tuple[str, Node]]) -> Pipeline:
    """Put the nodes of steps into one pipeline, for hooks to look at.

    Assets may be made in one run by nodes of several registered pipelines, of which two have one
    name or make one dataset. There is no Kedro pipeline that holds both: hooks see the first.
    """
    steps: dict[str, dict[Node, None]] = {}
    for step, node in tasks:
        steps.setdefault(step, {})[node] = None
    kept: dict[Node, None] = {}
    taken: set[str] = set()
    for step, nodes in steps.items():
        new = [node for node in nodes if node not in kept]
        claims = {f"node {node.name}" for node in new} | {
            name for node in new for name in data_outputs(node)
        }
        if taken.isdisjoint(claims):
            kept.update(dict.fromkeys(new))
            taken |= claims
        else:
            logger.warning(
                "Step %r runs, but is not in the pipeline that Kedro's hooks are given: another "
                "step of this run has a node of the same name, or makes the same dataset.",
                step,
            )
    return Pipeline(list(kept))


def outputs_to_make(outputs: Iterable[Any]) -> list[str]:
    """Of the outputs of a step, those that a Dagster run is to make: of a multi-asset, some."""
    return [
        output.name
        for output in outputs
        if not output.properties.is_asset or output.properties.asset_key
    ]


def planned_steps(
    instance: dg.DagsterInstance, dagster_run: dg.DagsterRun
) -> Mapping[str, list[str]]:
    """The outputs that a Dagster run is to make, by the key of the step."""
    snapshot = instance.get_execution_plan_snapshot(str(dagster_run.execution_plan_snapshot_id))
    return {
        step.key: outputs_to_make(step.outputs)
        for step in snapshot.steps
        if step.key in snapshot.step_keys_to_execute
    }
