"""The sensor that calls ``on_pipeline_error`` when nobody else is left to do so."""

from __future__ import annotations

import dagster as dg

from .executors import step_error
from .plan import ProjectPlan
from .run import (
    KedroRun,
    RunOptions,
    close_hooks,
    hooks_are_open,
    identity_of,
    planned_steps,
    scope_of,
)


def pipeline_error_sensor(plan: ProjectPlan) -> dg.SensorDefinition:
    """Make the sensor for runs whose worker was killed between its first and last hook.

    Dagster notices such a run when run monitoring is on, and marks it as failed.

    Args:
        plan: The project's plan.

    Returns:
        The sensor; it is on by default.
    """

    @dg.run_failure_sensor(
        name="kedro_on_pipeline_error",
        description="Calls Kedro's on_pipeline_error for runs whose worker was killed.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def kedro_on_pipeline_error(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        instance, run_id = context.instance, context.dagster_run.run_id
        dagster_run = instance.get_run_by_id(run_id) or context.dagster_run
        steps = planned_steps(instance, dagster_run)
        scope = scope_of(plan, dagster_run.job_name, "killed", steps)
        identity = identity_of(instance, run_id)
        if scope is None or identity is None or not hooks_are_open(dagster_run.tags, run_id):
            return dg.SkipReason("The run has called all of its pipeline hooks.")
        options = RunOptions.of(dagster_run.run_config)
        run = KedroRun(plan, identity, options, scope.pipeline_names, tags=dagster_run.tags)
        run.join(instance, run_id)
        run.fail(scope, step_error(context.failure_event))
        close_hooks(instance, run_id)
        return None

    return kedro_on_pipeline_error
