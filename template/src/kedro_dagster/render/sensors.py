"""The sensors: for runs whose worker was killed, and for new files of partitioned datasets."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

from ..doors import kedro as kedro_door
from ..plan.model import ProjectPlan
from ..plan.names import FAILURE_SENSOR
from ..read.credentials import redacted_errors, remember_credentials
from ..read.dagster_yml import SensorOptions
from ..read.partition_entry import all_keys
from ..run.executor import step_error
from ..run.hooks import PipelineHooks, join_mlflow
from ..run.identity import close_hooks, identity_of, state_of_hooks
from ..run.kedro_run import KedroRun
from ..run.selection import RunOptions, planned_steps, select_nodes
from ..run.turns import describe_busy, free_turns


def pipeline_error_sensor(plan: ProjectPlan) -> dg.SensorDefinition:
    """Make the sensor for runs whose worker was killed between its first and last hook.

    Dagster notices such a run when run monitoring is on, and marks it as failed.
    """

    @dg.run_failure_sensor(
        name=FAILURE_SENSOR,
        description="Calls Kedro's on_pipeline_error for runs whose worker was killed.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def kedro_on_pipeline_error(context: dg.RunFailureSensorContext) -> None:
        instance, run_id = context.instance, context.dagster_run.run_id
        dagster_run = instance.get_run_by_id(run_id) or context.dagster_run
        steps = planned_steps(instance, dagster_run)
        selection = select_nodes(plan, dagster_run.job_name, "killed", steps)
        identity = identity_of(dagster_run.tags, run_id)
        are_open = state_of_hooks(dagster_run.tags, run_id) == "open"
        if selection is None or identity is None or not are_open:
            return  # no SkipReason: it would end the tick, with other runs still to be seen
        options = RunOptions.of(dagster_run.run_config, selection.job)
        run = KedroRun(plan, identity, options, selection.pipeline_names, tags=dagster_run.tags)
        with redacted_errors():
            join_mlflow(run, instance, run_id)
            PipelineHooks(run, selection).on_pipeline_error(step_error(context.failure_event))
        close_hooks(instance, run_id)

    return kedro_on_pipeline_error


def new_partitions_sensor(
    plan: ProjectPlan, name: str, options: SensorOptions
) -> dg.SensorDefinition:
    """Make a sensor that runs a job once for each new file of a dataset.

    What is new is what is no partition yet; Dagster keeps the partitions, so a file is not run
    again after a restart.
    """
    watched = plan.datasets[options.dataset]
    definition = watched.partitioning and watched.partitioning.definition
    assert isinstance(definition, dg.DynamicPartitionsDefinition)

    @cache  # a hook may register a resolver, which it can do once in a process
    def find_dataset() -> Any:
        context = plan.project.context()
        remember_credentials(context.config_loader)
        catalog = kedro_door.catalog_outside_of_runs(context)
        return kedro_door.unwrap_cached(catalog.get(watched.variants[0]))

    @dg.sensor(
        name=name,
        job_name=options.job,
        minimum_interval_seconds=options.minimum_interval_seconds,
        description=options.description,
        default_status=dg.DefaultSensorStatus[options.default_status],
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        job = plan.jobs[options.job]
        free = free_turns(plan, context.instance, job)
        if free == 0:
            return dg.SkipReason(f"{describe_busy(job)}.")
        known = set(all_keys(definition, context.instance))
        try:
            with redacted_errors():
                new = [key for key in find_dataset().stored_keys() if key not in known][:free]
        except Exception:
            find_dataset.cache_clear()  # its credentials may have expired
            raise
        return dg.SensorResult(
            # Without run keys: Dagster would not start a second run of a partition that was deleted
            run_requests=[dg.RunRequest(partition_key=key) for key in new],
            dynamic_partitions_requests=[definition.build_add_request(new)] if new else [],
        )

    return sensor
