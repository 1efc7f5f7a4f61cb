"""What ``run_result`` of ``after_pipeline_run`` holds, where the steps ran in other processes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from .kedro_run import KedroRun
from .selection import RunSelection

if TYPE_CHECKING:
    from ..doors.dagster import PlanOrchestrationContext


def find_results(
    plan_context: PlanOrchestrationContext, run: KedroRun, selection: RunSelection
) -> None:
    """Let ``run_result`` hold what steps in other processes gave to the ``io_manager``."""
    if run.single_process or selection.job is None:
        return
    done = plan_context.execution_plan.step_keys_to_execute
    steps = {name: step.name for step in selection.job.steps for name in step.outputs}
    for name in selection.pipeline.outputs():
        dataset = run.plan.datasets[name]
        if not dataset.persisted and steps.get(name) in done:
            load = partial(_load_output, plan_context, steps[name], dataset.identifier)
            run.find(name, load)


def _load_output(plan_context: PlanOrchestrationContext, step: str, output: str) -> Any:
    definitions = plan_context.job.get_definition().resource_defs
    keys = _with_required("io_manager", definitions)
    config: Mapping[str, Any] = plan_context.run_config.get("resources") or {}  # type: ignore[assignment]
    with dg.build_resources(
        {key: definitions[key] for key in keys},
        plan_context.instance,
        {key: value for key, value in config.items() if key in keys},
        plan_context.dagster_run,
    ) as resources:
        upstream = dg.build_output_context(step, output, run_id=plan_context.run_id)
        return resources.io_manager.load_input(dg.build_input_context(upstream_output=upstream))


def _with_required(key: str, definitions: Mapping[str, dg.ResourceDefinition]) -> set[str]:
    """A resource, and those that it requires, and those that these require in turn."""
    found, left = set[str](), {key}
    while left:
        found |= left
        left = {need for one in left for need in definitions[one].required_resource_keys} - found
    return found
