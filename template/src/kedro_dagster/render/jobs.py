"""Kedro pipelines as Dagster jobs, with their executors, schedules and loggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import dagster as dg
from dagster._check import not_none

from ..plan.model import JobPlan, ProjectPlan, StepPlan
from ..plan.names import KEDRO
from ..read.dagster_yml import ExecutorOptions, LoggerOptions, ScheduleOptions
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
        self._config = plan.project.config

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
            description=job.options.description or _description(job),
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
        loggers = self._loggers(job)
        return graph.to_job(
            executor_def=self._executor(job),
            tags=job.options.tags,
            logger_defs={
                name: logger_definition(f"{job.name}.{name}", options)
                for name, options in loggers.items()
            },
            config=self._run_config(job) or None,
            partitions_def=job.partitioning.definition if job.partitioning else None,
        )

    def schedules(self) -> list[dg.ScheduleDefinition]:
        """The schedules of all jobs that have one."""
        named: dict[str, int] = {}
        for job in self.plan.jobs.values():
            if isinstance(job.options.schedule, str):
                named[job.options.schedule] = named.get(job.options.schedule, 0) + 1
        schedules = []
        taken = {*self._config.schedules, *self._config.sensors}

        def named_after(job: JobPlan, name: str) -> str:
            name = f"{job.name}_{name}"
            while name in taken:
                name += "_"
            taken.add(name)
            return name

        for job in self.plan.jobs.values():
            reference = job.options.schedule
            if isinstance(reference, str):
                name = reference if named[reference] == 1 else named_after(job, reference)
                schedules.append(self.schedule(job, name, self._config.schedules[reference]))
            elif reference is not None:
                schedules.append(self.schedule(job, named_after(job, "schedule"), reference))
        return schedules

    def schedule(self, job: JobPlan, name: str, options: ScheduleOptions) -> dg.ScheduleDefinition:
        """Make a schedule.

        Args:
            job: The job it starts.
            name: Its name; a schedule of several jobs is one for each, named after both.
            options: What ``dagster.yml`` says of it.

        Returns:
            The schedule.
        """
        run_config = self._run_config(job, options.runtime_params)
        definition = job.partitioning.definition if job.partitioning else None

        def requests(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
            for key in _due_keys(not_none(definition), context):
                run_key = f"{context.scheduled_execution_time.isoformat()} {key}"
                yield dg.RunRequest(run_key, run_config=run_config, partition_key=key)

        return dg.ScheduleDefinition(
            name=name,
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

    def _executor(self, job: JobPlan) -> dg.ExecutorDefinition | None:
        options = job.options.executor
        if options is None:
            return None  # the code location's
        if not isinstance(options, ExecutorOptions):
            options = self._config.executors[options]
        return with_kedro_hooks(executor_definition(options), self.plan)

    def _loggers(self, job: JobPlan) -> dict[str, LoggerOptions]:
        return {
            reference if isinstance(reference, str) else f"logger_{index}": (
                self._config.loggers[reference] if isinstance(reference, str) else reference
            )
            for index, reference in enumerate(job.options.loggers)
        }

    def _run_config(self, job: JobPlan, runtime_params: Any = None) -> dict[str, Any]:
        """The config that a run has unless it is given another: its loggers are on."""
        config: dict[str, Any] = {}
        if job.options.loggers:
            config["loggers"] = {name: {} for name in self._loggers(job)}
        if runtime_params:
            config["resources"] = {KEDRO: {"config": {"runtime_params": runtime_params}}}
        return config


def _description(job: JobPlan) -> str:
    """What the UI says of a job that has no description: which nodes it runs."""
    options = job.options.pipeline
    filters = [f"{key}: {', '.join(values)}" for key, values in options.filters.items() if values]
    return "; ".join((f"Kedro pipeline {' + '.join(options.names)}", *filters))


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
