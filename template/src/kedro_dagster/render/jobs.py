"""Kedro pipelines as Dagster jobs, with their executors, schedules and loggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import dagster as dg

from ..plan.model import JobPlan, ProjectPlan, StepPlan
from ..plan.names import KEDRO
from ..read.dagster_yml import ExecutorOptions
from ..run.executor import with_kedro_hooks
from .executors import executor_definition
from .loggers import logger_definition
from .ops import NodeTranslator


class PipelineTranslator:
    """Makes the jobs of ``dagster.yml`` and their schedules.

    Args:
        plan: The project's plan.
        nodes: Makes the ops.
    """

    def __init__(self, plan: ProjectPlan, nodes: NodeTranslator) -> None:
        self.plan = plan
        self.nodes = nodes

    def jobs(self) -> list[dg.JobDefinition]:
        """All jobs."""
        return [self.job(plan) for plan in self.plan.jobs.values()]

    def job(self, job: JobPlan) -> dg.JobDefinition:
        """Make a job: a graph of ops, tied by the datasets that they pass on.

        Args:
            job: The job.

        Returns:
            The job, with its executor and loggers.
        """
        graph = dg.GraphDefinition(
            name=job.name,
            description=job.description or _description(job),
            node_defs=[self.nodes.op(step) for step in job.steps],
            # Of the steps that can run, Dagster takes the one that comes first in Kedro's order
            dependencies={
                dg.NodeInvocation(
                    step.op,
                    alias=step.name,
                    tags={"dagster/priority": str(-index), **dict(step.settings.tags)},
                ): self._dependencies(job, step)
                for index, step in enumerate(job.steps)
            },
        )
        return graph.to_job(
            executor_def=self._executor(job.executor) if job.executor else None,
            tags=job.tags,
            logger_defs={
                name: logger_definition(f"{job.name}.{name}", options)
                for name, options in job.loggers.items()
            },
            config=_run_config(job) or None,
            partitions_def=job.partitioning.definition if job.partitioning else None,
        )

    def _executor(self, options: ExecutorOptions) -> dg.ExecutorDefinition:
        max_steps = options.max_steps_per_worker or float("inf")
        return with_kedro_hooks(executor_definition(options), self.plan, max_steps)

    def schedules(self) -> list[dg.ScheduleDefinition]:
        """The schedules of all jobs that have one."""
        return [self.schedule(job) for job in self.plan.jobs.values() if job.schedule]

    def schedule(self, job: JobPlan) -> dg.ScheduleDefinition:
        """Make the schedule of a job.

        Args:
            job: The job, which has one.

        Returns:
            The schedule.
        """
        schedule = job.schedule
        assert schedule is not None
        options = schedule.options
        run_config = _run_config(job, options.runtime_params)
        definition = job.partitioning.definition if job.partitioning else None

        def requests(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
            assert definition is not None
            for key in _due_keys(definition, context):
                run_key = f"{context.scheduled_execution_time.isoformat()} {key}"
                yield dg.RunRequest(run_key, run_config=run_config, partition_key=key)

        return dg.ScheduleDefinition(
            name=schedule.name,
            job_name=job.name,
            cron_schedule=options.cron_schedule,
            execution_timezone=options.execution_timezone,
            description=options.description,
            metadata=options.metadata,
            default_status=dg.DefaultScheduleStatus[options.default_status],
            run_config=None if definition else run_config,
            execution_fn=requests if definition else None,
        )

    def _dependencies(self, job: JobPlan, step: StepPlan) -> dict[str, dg.IDependencyDefinition]:
        found: dict[str, dg.IDependencyDefinition] = {}
        for name in step.inputs:
            identifier = self.plan.datasets[name].identifier
            sources = [
                dg.DependencyDefinition(producer.name, identifier)
                for producer in job.producers(step, name)
            ]
            if len(sources) > 1:
                found[identifier] = dg.MultiDependencyDefinition(sources)
            elif sources:
                found[identifier] = sources[0]
        return found


def _run_config(job: JobPlan, runtime_params: Any = None) -> dict[str, Any]:
    """The config that a run has unless it is given another: its loggers are on."""
    config: dict[str, Any] = {}
    if job.loggers:
        config["loggers"] = {name: {} for name in job.loggers}
    if runtime_params:
        config["resources"] = {KEDRO: {"config": {"runtime_params": runtime_params}}}
    return config


def _description(job: JobPlan) -> str:
    """What the UI says of a job that has no description: which nodes it runs."""
    given = job.options.filters.items()
    filters = [f"{key}: {', '.join(values)}" for key, values in given if values]
    return "; ".join((f"Kedro pipeline {' + '.join(job.options.names)}", *filters))


def _due_keys(
    definition: dg.PartitionsDefinition[str], context: dg.ScheduleEvaluationContext
) -> Sequence[str]:
    """The partitions that a tick of a schedule runs: the latest window, or all that have none.

    That is Dagster's own rule. Windows are not listed: an hourly one has 100,000 in eleven years.
    """
    with dg.partition_loading_context(context.scheduled_execution_time, context.instance):
        if not isinstance(definition, dg.MultiPartitionsDefinition):
            return _latest_or_all(definition, context.instance)
        dimensions = [
            [(one.name, key) for key in _latest_or_all(one.partitions_def, context.instance)]
            for one in definition.partitions_defs
        ]
    return [dg.MultiPartitionKey(dict(parts)) for parts in product(*dimensions)]


def _latest_or_all(
    definition: dg.PartitionsDefinition[str], instance: dg.DagsterInstance
) -> Sequence[str]:
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        latest = definition.get_last_partition_key()
        return [latest] if latest else []
    return definition.get_partition_keys(dynamic_partitions_store=instance)
