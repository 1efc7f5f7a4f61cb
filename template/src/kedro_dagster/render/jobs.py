"""Kedro pipelines as Dagster jobs, with their executors, schedules and loggers."""

from __future__ import annotations

import logging.config
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import dagster as dg

from ..plan.executors import UNRESOLVED, import_executor, option_errors
from ..plan.model import JobPlan, ProjectPlan, StepPlan
from ..plan.names import KEDRO, schedule_name
from ..plan.presets import merged
from ..read.dagster_yml import ExecutorOptions, LoggerOptions
from ..run.executor import with_kedro_hooks
from ..run.turns import describe_busy, free_turns
from .ops import NodeTranslator

if TYPE_CHECKING:
    from ..doors.dagster import UnresolvedAssetJobDefinition


class PipelineTranslator:
    """Makes the jobs of ``dagster.yml`` and their schedules; derive from it to make others."""

    def __init__(self, plan: ProjectPlan, nodes: NodeTranslator) -> None:
        self.plan = plan
        self.nodes = nodes
        self._ops: dict[str, dg.OpDefinition] = {}  # which presets share with their job

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
            node_defs=[self._op(step) for step in job.steps],
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
            # One that dagster.yml chooses for materialisations is for these alone
            executor_def=executor_definition(job.executor, self.plan)
            if job.executor or self.plan.asset_executor
            else None,
            tags=job.tags,
            logger_defs={
                name: logger_definition(f"{job.name}.{name}", options)
                for name, options in job.loggers.items()
            },
            config=_run_config(job) or None,
            partitions_def=job.partitioning.definition if job.partitioning else None,
        )

    def asset_job(self, job: JobPlan) -> UnresolvedAssetJobDefinition:
        """Make a job of assets, which Dagster plans as materialisations, with their checks.

        Args:
            job: The job, with ``target: assets`` in ``dagster.yml``.

        Returns:
            The job, with its executor.
        """
        keys = self.nodes.catalog.asset_keys
        return dg.define_asset_job(
            job.name,
            selection=dg.AssetSelection.assets(*(keys[name] for name in job.assets)),
            description=job.description or _description(job),
            config=_run_config(job) or None,
            tags=job.tags,
            executor_def=executor_definition(job.executor, self.plan) if job.executor else None,
        )

    def schedule(self, job: JobPlan) -> dg.ScheduleDefinition:
        """Make the schedule of a job.

        Args:
            job: The job, which has one.

        Returns:
            The schedule.
        """
        options = job.schedule
        assert options is not None
        run_config = _run_config(job, options.runtime_params)
        definition = job.partitioning.definition if job.partitioning else None
        plain = definition is None and job.when_busy == "queue"

        def requests(
            context: dg.ScheduleEvaluationContext,
        ) -> Iterator[dg.RunRequest | dg.SkipReason]:
            if free_turns(self.plan, context.instance, job) == 0:
                yield dg.SkipReason(f"{describe_busy(job)}.")
                return
            if definition is None:
                yield dg.RunRequest(run_config=run_config)
                return
            for key in _due_keys(definition, context):
                run_key = f"{context.scheduled_execution_time.isoformat()} {key}"
                yield dg.RunRequest(run_key, run_config=run_config, partition_key=key)

        return dg.ScheduleDefinition(
            name=schedule_name(job.name),
            job_name=job.name,
            cron_schedule=options.cron_schedule,
            execution_timezone=options.execution_timezone,
            description=options.description,
            metadata=options.metadata,
            default_status=dg.DefaultScheduleStatus[options.default_status],
            run_config=run_config if plain else None,
            execution_fn=None if plain else requests,
        )

    def _op(self, step: StepPlan) -> dg.OpDefinition:
        if step.op not in self._ops:
            self._ops[step.op] = self.nodes.op(step)
        return self._ops[step.op]

    def _dependencies(self, job: JobPlan, step: StepPlan) -> dict[str, dg.IDependencyDefinition]:
        found: dict[str, dg.IDependencyDefinition] = {}
        for name in step.inputs:
            output = self.plan.datasets[name].identifier
            sources = [
                dg.DependencyDefinition(producer.name, output)
                for producer in job.producers(step, name)
            ]
            if sources:
                several = len(sources) > 1
                found[output] = dg.MultiDependencyDefinition(sources) if several else sources[0]
        return found


def _run_config(job: JobPlan, runtime_params: Any = None) -> dict[str, Any]:
    """The config that a run has unless it is given another: that of its preset, and loggers."""
    config: dict[str, Any] = {}
    if job.loggers:
        config["loggers"] = {name: {} for name in job.loggers}
    given = {"runtime_params": runtime_params} if runtime_params else {}
    if options := merged(job.preset.run_options if job.preset else {}, given):
        config["resources"] = {KEDRO: {"config": options}}
    return config


def _description(job: JobPlan) -> str:
    """What the UI says of a job that has no description: which nodes it runs."""
    given = job.options.filters.items()
    filters = [f"{key}: {', '.join(values)}" for key, values in given if values]
    if job.preset:
        filters.append(f"preset {job.preset.name} of job {job.preset.job}")
    if job.select:
        filters.append(f"select: {job.select}")
    return "; ".join((f"Kedro pipeline {' + '.join(job.options.names)}", *filters))


def _due_keys(
    definition: dg.PartitionsDefinition[str], context: dg.ScheduleEvaluationContext
) -> Sequence[str]:
    """The partitions that a tick of a schedule runs: the latest window, or all that have none.

    That is Dagster's own rule. Windows are not listed: an hourly one has 100,000 in eleven years.
    """

    def due(one: dg.PartitionsDefinition[str]) -> Sequence[str]:
        if isinstance(one, dg.TimeWindowPartitionsDefinition):
            latest = one.get_last_partition_key()
            return [latest] if latest else []
        return one.get_partition_keys(dynamic_partitions_store=context.instance)

    with dg.partition_loading_context(context.scheduled_execution_time, context.instance):
        if not isinstance(definition, dg.MultiPartitionsDefinition):
            return due(definition)
        dimensions = [
            [(dimension.name, key) for key in due(dimension.partitions_def)]
            for dimension in definition.partitions_defs
        ]
    return [dg.MultiPartitionKey(dict(parts)) for parts in product(*dimensions)]


def executor_definition(
    options: ExecutorOptions | None, plan: ProjectPlan
) -> dg.ExecutorDefinition:
    """Make an executor of ``dagster.yml``, or Dagster's default, with Kedro's hooks around it."""
    if options is None:
        return with_kedro_hooks(dg.multi_or_in_process_executor, plan)
    max_steps = options.max_steps_per_worker or float("inf")
    return with_kedro_hooks(configured_executor(options), plan, max_steps)


def configured_executor(options: ExecutorOptions) -> dg.ExecutorDefinition:
    """Find an executor of ``dagster.yml`` and give it its options."""
    definition = import_executor(options.kind)

    def options_of_run(_: Any) -> Mapping[str, Any]:
        """Give the options as they are written: Dagster reads ``{env: NAME}`` when a run starts."""
        missing = [
            f"Option {'.'.join((options.kind, *error.stack.levels[1:]))} of dagster.yml: "
            f"{error.error_data.message.partition('Error: ')[2].strip()}"
            for error in option_errors(definition.config_schema, options.options)
            if error.reason.name == UNRESOLVED
        ]
        if missing:
            raise dg.DagsterInvariantViolationError("\n".join(missing))
        return options.options

    return definition.configured(options_of_run, name=definition.name)


def logger_definition(name: str, options: LoggerOptions) -> dg.LoggerDefinition:
    """Make a Dagster logger of the words of :func:`logging.config.dictConfig`."""

    def create(_: dg.InitLoggerContext) -> logging.Logger:
        # dictConfig itself would close the handlers of all other loggers of the process
        configurator = logging.config.DictConfigurator({"version": 1})
        parts = configurator.config
        for kind, given in (("formatter", options.formatters), ("filter", options.filters)):
            make = getattr(configurator, f"configure_{kind}")
            parts[f"{kind}s"] = {key: make(dict(value)) for key, value in given.items()}
        logger = logging.Logger(f"dagster.{name}", options.level)
        for value in options.handlers.values():
            logger.addHandler(configurator.configure_handler(dict(value)))
        if not options.handlers:
            logger.addHandler(logging.StreamHandler())
        return logger

    return dg.LoggerDefinition(create, description=f"Logger {name!r} of dagster.yml.")
