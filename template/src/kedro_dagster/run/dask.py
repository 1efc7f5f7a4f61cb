"""On Dask, Dagster also runs steps that wait for one that has failed, or that was skipped."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ..plan.model import ProjectPlan


def on_dask(job: dg.JobDefinition) -> bool:
    """Whether the steps of a job run on Dask."""
    return job.executor_def.name == "dask"


def stop_after_failure(context: dg.OpExecutionContext) -> None:
    """Fail a step that waits for one that has failed."""
    if not on_dask(context.job_def):
        return
    step = context.get_step_execution_context().step
    upstream = [key for one in step.step_inputs for key in one.dependency_keys]
    stats = context.instance.get_run_step_stats(context.run_id, upstream) if upstream else ()
    failed = [one.step_key for one in stats if one.status and one.status.value == "FAILURE"]
    if failed:
        raise dg.Failure(f"This step waits for one that has failed: {', '.join(failed)}.")


def waits_for_skipped(plan: ProjectPlan, context: dg.OpExecutionContext) -> bool:
    """Whether a step has all it would get for one of its inputs from steps that were skipped."""
    if not (on_dask(context.job_def) and _skips(plan)):
        return False
    ran, made = context.run.step_keys_to_execute, {*_outputs_made(context.instance, context.run_id)}
    for one in context.get_step_execution_context().step.step_inputs:
        given = [
            (got.step_key, got.output_name) for got in one.get_step_output_handle_dependencies()
        ]
        here = [output for output in given if ran is None or output[0] in ran]
        if given and given == here and made.isdisjoint(given):
            return True
    return False


def is_not_made(
    plan: ProjectPlan,
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    upstream: dg.OutputContext,
) -> bool:
    """Whether an output is not there, since the step that gives it was skipped."""
    if not (on_dask(job) and _skips(plan)):
        return False
    return (upstream.step_key, upstream.name) not in _outputs_made(instance, upstream.run_id)


def _skips(plan: ProjectPlan) -> bool:
    found = (dataset.partitioning for dataset in plan.datasets.values())
    return any(one is not None and one.skips_missing for one in found)


def _outputs_made(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[str, str]]:
    for log in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        handle = log.get_dagster_event().step_output_data.step_output_handle
        yield handle.step_key, handle.output_name
