"""Plan a project: which nodes each job runs, and what their datasets are.

Planning is made of pure functions, and takes time linear in nodes, datasets and partition keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from .checks import check_loggers, check_mappings, check_references, check_sensors
from .datasets import plan_datasets
from .executors import check_executors
from .grouping import cycle_message, find_cycle, group_graph, group_nodes
from .model import JobPlan, ProjectPlan
from .node_options import NodeOptionsResolver
from .partitions import job_partitioning
from .select import select_pipelines
from .steps import plan_asset_steps, plan_job_steps


def make_plan(project: KedroProject) -> ProjectPlan:
    """Plan a project, or tell of all mistakes in its configuration."""
    mistakes = Mistakes(project)
    check_executors(project, mistakes)
    check_loggers(project, mistakes)
    check_references(project, mistakes)
    pipelines = select_pipelines(project, mistakes)
    before = len(mistakes)
    datasets = plan_datasets(project, pipelines.values(), mistakes)
    datasets_are_known = len(mistakes) == before
    if datasets_are_known:
        check_mappings(project, pipelines.values(), datasets, mistakes)
    mappings_fit = len(mistakes) == before
    settings, jobs = _node_settings(project), {}
    for name, pipeline in pipelines.items():
        options = project.config.jobs[name]
        groups = group_nodes(options, pipeline, datasets)
        if cycle := find_cycle(group_graph([group for _, group in groups])):
            mistakes.add(("jobs", name, "group_by"), cycle_message(cycle))
        if not mappings_fit:
            continue  # what a step is depends on what its datasets are
        try:
            partitioning, fans_out = job_partitioning(options, pipeline, datasets)
            found = plan_job_steps(name, groups, datasets, settings, fans_out)
        except ValueError as error:
            mistakes.add(("jobs", name, "pipeline"), str(error))
            continue
        jobs[name] = JobPlan(name, options, pipeline, tuple(found), partitioning)
    if datasets_are_known:
        check_sensors(project, datasets, jobs, mistakes)
    asset_plans = (
        plan_asset_steps(pipelines, datasets, settings, jobs) if datasets_are_known else []
    )
    for path, message in settings.mistakes.items():
        mistakes.add(path, message)
    mistakes.check()
    asset_steps = {plan.step.name: plan for plan in asset_plans}
    made = {name for asset_step in asset_steps.values() for name in asset_step.upstream}
    return ProjectPlan(
        project=project,
        datasets=datasets,
        jobs=jobs,
        asset_steps=asset_steps,
        external=tuple(
            name for name, dataset in datasets.items() if dataset.persisted and name not in made
        ),
        parameters=flatten_parameters(project.parameters),
    )


def _node_settings(project: KedroProject) -> NodeOptionsResolver:
    settings = NodeOptionsResolver(project.config.nodes, project.pipelines.values())
    if settings.mistakes:  # which are none where a pipeline that no job runs has such nodes
        settings = NodeOptionsResolver(project.config.nodes, project.load_all_pipelines().values())
    return settings


def flatten_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Name each parameter, at every depth, as node inputs do."""
    flat: dict[str, Any] = {"parameters": parameters}

    def add(path: str, value: Any) -> None:
        flat[f"params:{path}"] = value
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{path}.{key}", inner)

    for key, value in parameters.items():
        add(str(key), value)
    return flat
