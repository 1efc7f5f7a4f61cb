"""Plan a project: which nodes each job runs, and what their datasets are.

Planning is made of pure functions, and takes time linear in nodes, datasets and partition keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from kedro.pipeline import Pipeline

from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from .checks import check_loggers, check_mappings, check_references, check_sensors
from .datasets import plan_datasets
from .executors import check_executors, find_executor
from .grouping import cycle_message, find_cycle, group_graph, group_nodes
from .model import AssetStepPlan, JobPlan, ProjectPlan
from .node_options import NodeOptionsResolver
from .parameters import flatten_parameters, hidden_names
from .partitions import job_partitioning
from .references import loggers_of, schedule_of
from .select import select_pipelines
from .steps import StepPlanner


def make_plan(project: KedroProject) -> ProjectPlan:
    """Plan a project, or tell of all mistakes in its configuration."""
    mistakes = Mistakes(project)
    check_executors(project.config, mistakes)
    check_loggers(project.config, mistakes)
    check_references(project.config, mistakes)
    pipelines = select_pipelines(project, mistakes)
    before = len(mistakes)
    datasets = plan_datasets(project, pipelines.values(), mistakes)
    datasets_are_known = len(mistakes) == before
    if datasets_are_known:
        check_mappings(project, pipelines.values(), datasets, mistakes)
    steps = StepPlanner(datasets, _node_options(project), {})
    jobs = _plan_jobs(project, pipelines, steps, mistakes, plans_steps=len(mistakes) == before)
    asset_steps: list[AssetStepPlan] = []
    if datasets_are_known:
        check_sensors(project, datasets, jobs, mistakes)
        asset_steps = steps.asset_steps(pipelines.values(), reserved=jobs)
    for path, message in {**steps.options.mistakes, **steps.mistakes}.items():
        mistakes.add(path, message)
    mistakes.check()
    parameters = flatten_parameters(project.parameters)
    made = {name for asset_step in asset_steps for name in asset_step.upstream}
    return ProjectPlan(
        project=project.source,
        datasets=datasets,
        jobs=jobs,
        asset_steps={asset_step.step.name: asset_step for asset_step in asset_steps},
        external=tuple(
            name for name, dataset in datasets.items() if dataset.persisted and name not in made
        ),
        parameters=parameters,
        hidden_parameters=hidden_names(parameters, project.hidden_parameters),
        sensors=project.config.sensors,
    )


def _plan_jobs(
    project: KedroProject,
    pipelines: Mapping[str, Pipeline],
    planner: StepPlanner,
    mistakes: Mistakes,
    *,
    plans_steps: bool,
) -> dict[str, JobPlan]:
    """Plan the jobs; their steps only where it is known what their datasets are."""
    config, jobs = project.config, {}
    for name, pipeline in pipelines.items():
        options = config.jobs[name]
        groups = group_nodes(options, pipeline, planner.datasets)
        if cycle := find_cycle(group_graph([group for _, group in groups])):
            mistakes.add(("jobs", name, "group_by"), cycle_message(cycle))
        if not plans_steps:
            continue
        try:
            partitioning, fans_out = job_partitioning(options, pipeline, planner.datasets)
            steps = planner.job_steps(name, groups, fans_out)
        except ValueError as error:
            mistakes.add(("jobs", name, "pipeline"), str(error))
            continue
        jobs[name] = JobPlan(
            name=name,
            options=options.pipeline,
            pipeline=pipeline,
            steps=steps,
            partitioning=partitioning,
            executor=found[1] if (found := find_executor(config, name)) else None,
            schedule=schedule_of(config, name),
            loggers=loggers_of(config, options),
            description=options.description,
            tags=options.tags,
        )
    return jobs


def _node_options(project: KedroProject) -> NodeOptionsResolver:
    options = NodeOptionsResolver(project.config.nodes, project.pipelines.values())
    if options.mistakes:  # which are none where a pipeline that no job runs has such nodes
        options = NodeOptionsResolver(project.config.nodes, project.load_all_pipelines().values())
    return options
