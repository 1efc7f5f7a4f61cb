"""What a Dagster run is asked to run, in Kedro's terms."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import Field

from ..doors.dagster import outputs_to_make
from ..plan.asset_jobs import nodes_in_job
from ..plan.model import JobPlan, ProjectPlan, data_outputs
from ..plan.names import KEDRO
from .launched import check_load_versions, check_runtime_params

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSelection:
    """What a Dagster run really runs: the nodes, and each of them with the step that it is in.

    Where assets are materialised outside of jobs, there is no job.
    """

    pipeline: Pipeline
    tasks: tuple[tuple[str, Node], ...]
    job: JobPlan | None
    executor: str
    assets: tuple[str, ...] = ()

    @property
    def pipeline_names(self) -> list[str]:
        """The registered pipelines the run is of; ``__default__`` for assets outside of jobs."""
        return self.job.options.names if self.job else ["__default__"]

    def only(self, pipeline: Pipeline) -> RunSelection:
        """The same run of a part of its pipeline."""
        names = {node.name for node in pipeline.nodes}
        tasks = tuple(task for task in self.tasks if task[1].name in names)
        return replace(self, pipeline=pipeline, tasks=tasks)


class RunOptions(dg.Config):
    """The config of the ``kedro`` resource: options of ``kedro run``, and partition keys."""

    runtime_params: dict[str, Any] = Field(
        default={}, description="Parameters of this run, as 'kedro run --params' takes them."
    )
    # Any, not str: as a text, Dagster would take {env: NAME}, and errors would show its value
    load_versions: dict[str, Any] = Field(
        default={},
        description="Versions of datasets to load, as 'kedro run --load-versions' takes them.",
    )
    partition_keys: Any = Field(
        default=None,
        description="The only partitions to run, of a job that runs all: keys, or {start, end}.",
    )
    only_missing_outputs: bool | None = Field(
        default=None,
        description="Run the nodes whose outputs are missing, as 'kedro run' with this option.",
    )

    runner: Any = Field(
        default=None,
        description="SequentialRunner, or {type: SequentialRunner, is_async: true}, as 'kedro run "
        "--runner' with --runner-params; a job that groups nodes may take ThreadRunner.",
    )

    @classmethod
    def of(cls, run_config: Mapping[str, Any], job: JobPlan | None = None) -> RunOptions:
        """Find the options in the config of a run, which Dagster keeps without its defaults."""
        resource = (run_config.get("resources") or {}).get(KEDRO)
        if resource is None and job and job.preset:
            return cls.of_resource(job.preset.run_options)
        return cls.of_resource((resource or {}).get("config") or {})

    @classmethod
    def of_resource(cls, config: Mapping[str, Any]) -> RunOptions:
        """Read the config of the resource; an option may be null."""
        options = cls(**{name: value for name, value in config.items() if value is not None})
        check_runtime_params(options.runtime_params)
        check_load_versions(options.load_versions)
        return options

    def misses_only(self, job: JobPlan | None) -> bool:
        """Whether a run is to make missing outputs only: what it says itself, or else its job."""
        if self.only_missing_outputs is None:
            return job is not None and job.only_missing_outputs
        return self.only_missing_outputs


def select_nodes(
    plan: ProjectPlan,
    job_name: str,
    executor: str,
    steps: Mapping[str, Iterable[str]],
    lost: bool = False,
) -> RunSelection | None:
    """Find the nodes that a Dagster run really runs; ``None`` where it runs none."""
    job, assets = plan.jobs.get(job_name), list[str]()
    if job and not job.assets:
        chosen = [step for step in job.steps if step.name in steps]
        tasks = [(step.name, node) for step in chosen for node in step.nodes]
        if len(chosen) == len(job.steps):
            return RunSelection(job.pipeline, tuple(tasks), job, executor)
        if lost:
            tasks += [("", node) for node in plan.nodes_to_recover(job, chosen)]
    else:
        tasks = []
        for step in filter(plan.asset_steps.__contains__, steps):
            outputs = filter(plan.by_identifier.__contains__, steps[step])  # and no checks
            made = [plan.by_identifier[output].name for output in outputs]
            nodes = nodes_in_job(job, plan.asset_steps[step].nodes_for(made))
            tasks += [(step, node) for node in nodes]
            assets += made
    if not tasks:
        return None
    if job and assets and set(assets) == set(job.assets):
        return RunSelection(job.pipeline, tuple(tasks), job, executor, tuple(assets))
    return RunSelection(_as_one_pipeline(tasks), tuple(tasks), job, executor, tuple(assets))


def _as_one_pipeline(tasks: Iterable[tuple[str, Node]]) -> Pipeline:
    """Put the nodes of steps into one pipeline, for hooks to look at.

    Assets may be made in one run by nodes of several registered pipelines, of which two have one
    name or make one dataset. There is no Kedro pipeline that holds both: hooks see the first.
    """
    kept: dict[Node, None] = {}
    taken: set[str] = set()
    for step, group in groupby(tasks, key=itemgetter(0)):
        new = {node: None for _, node in group if node not in kept}
        claims = {f"node {node.name}" for node in new}.union(*map(data_outputs, new))
        if taken.isdisjoint(claims):
            kept |= new
            taken |= claims
        else:
            logger.warning(
                "Step %r runs, but is not in the pipeline that Kedro's hooks are given: another "
                "step of this run has a node of the same name, or makes the same dataset.",
                step,
            )
    return Pipeline(list(kept))


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
