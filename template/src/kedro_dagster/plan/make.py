"""Plan a project: which nodes each job runs, and what their datasets are.

Planning takes time linear in nodes, datasets and partition keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.kedro import strip_transcoding
from ..errors import KeyPath, did_you_mean
from ..read.dagster_yml import (
    ExecutorOptions,
    JobOptions,
    KedroDagsterConfig,
    LoggerOptions,
    ScheduleOptions,
)
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.registry import failed_import
from .asset_jobs import assets_of, check_assets, check_drivers, check_target, with_assets
from .checks import check_loggers, check_mappings, check_references, check_sensors
from .datasets import plan_datasets
from .executors import check_executors, find_executor
from .model import AssetStepPlan, DatasetPlan, Datasets, JobPlan, ProjectPlan
from .names import ONE_RUN_TAG, node_labels, schedule_name
from .node_options import NodeOptionsResolver
from .parameters import flatten_parameters, hidden_names
from .partitions import job_partitioning, spread_missing
from .presets import check_presets, preset_job
from .runners import NOT_FOR_PARTITIONS, check_runner
from .side_effects import plan_side_effects
from .starts import SchedulePlan, after_of, check_after
from .steps import StepPlanner, cycle_of_groups, group_nodes


def make_plan(project: KedroProject) -> ProjectPlan:
    """Plan a project, or tell of all mistakes in its configuration."""
    mistakes = Mistakes(project)
    check_executors(project.config, mistakes)
    check_loggers(project.config, mistakes)
    check_references(project.config, mistakes)
    pipelines = _select_pipelines(project, mistakes)
    before = len(mistakes)
    datasets = plan_datasets(project, pipelines.values(), mistakes)
    datasets_are_known = len(mistakes) == before
    words = {name: one.step_words for name, one in datasets.items() if one.step_words}
    options = NodeOptionsResolver(project.config.nodes, project.pipelines.values(), words)
    if options.mistakes:  # a key may mean nodes of pipelines that no job runs
        pipelines_of_all = project.load_all_pipelines()
        options = NodeOptionsResolver(project.config.nodes, pipelines_of_all.values(), words)
    whole = {
        job: frozenset(node.name for node in pipeline.nodes)
        if project.config.jobs[job].partitions == "all"
        else options.whole_nodes(pipeline.nodes)
        for job, pipeline in pipelines.items()
    }
    every = [node for pipeline in pipelines.values() for node in pipeline.nodes]
    if datasets_are_known:
        by_key = [
            node
            for job, pipeline in pipelines.items()
            for node in pipeline.nodes
            if node.name not in whole[job]
        ]
        check_mappings(project, by_key, datasets, mistakes)
        datasets = spread_missing(datasets, every)
    labels, side_effects = node_labels(every), dict[Node, DatasetPlan]()
    if datasets_are_known and project.config.assets.side_effects:
        run_once = options.whole_nodes(every)
        side_effects = plan_side_effects(project, pipelines.values(), datasets, labels, run_once)
    steps = StepPlanner(
        {**datasets, **{one.name: one for one in side_effects.values()}},
        options,
        labels,
        {node: one.name for node, one in side_effects.items()},
    )
    plans_steps = len(mistakes) == before
    asset_steps: list[AssetStepPlan] = []
    if datasets_are_known:
        asset_steps = steps.asset_steps(
            pipelines.values(), reserved={*pipelines, *project.config.preset_jobs}
        )
    jobs = _plan_jobs(
        project,
        pipelines,
        whole,
        steps,
        mistakes,
        asset_steps=asset_steps,
        plans_steps=plans_steps,
    )
    check_after(project.config, jobs, mistakes)
    check_presets(project, jobs, mistakes)
    if datasets_are_known:
        check_sensors(project, datasets, jobs, mistakes)
    for path, message in {**options.mistakes, **steps.mistakes}.items():
        _, key, *rest = path
        name = key.removeprefix("dataset:")
        if name != key and name in words:
            mistakes.add_in_catalog((name, "metadata", "dagster", *rest), message)
        else:
            mistakes.add(path, message)
    mistakes.check()
    parameters = flatten_parameters(project.parameters)
    made = {name for asset_step in asset_steps for name in asset_step.upstream}
    return ProjectPlan(
        project=project.source,
        datasets=steps.datasets,
        jobs=jobs,
        asset_steps={asset_step.step.name: asset_step for asset_step in asset_steps},
        external=tuple(
            name for name, dataset in datasets.items() if dataset.persisted and name not in made
        ),
        parameters=parameters,
        hidden_parameters=hidden_names(parameters, project.hidden_parameters),
        sensors=project.config.sensors,
        one_writer=project.config.one_writer,
        key_prefix=tuple(project.config.assets.key_prefix),
        asset_executor=_executor_of(
            project.config, ("assets", "executor"), project.config.assets.executor
        ),
        facts=project.config.assets.facts,
        side_effects=steps.side_effects,
    )


def _select_pipelines(project: KedroProject, mistakes: Mistakes) -> dict[str, Pipeline]:
    """The filtered pipelines of all jobs but those with a mistake."""
    selected = {}
    for job, options in project.config.jobs.items():
        before, names = len(mistakes), options.pipeline.names
        check_target(job, options, mistakes)
        key = "pipeline_names" if options.pipeline.pipeline_names else "pipeline_name"
        place = ("jobs", job, "pipeline")
        for name in names:
            if name in project.pipelines:
                continue
            message = f"pipeline {name!r} is not registered"
            if failure := failed_import(name, project.import_failures):
                mistakes.add((*place, key), f"{message}: {failure}")
            elif name == "__default__" and project.pipelines:
                there = sorted(project.pipelines)[:20]
                advice = f"Write pipeline_name: {there[0]}"
                if len(there) > 1:
                    advice += f", or pipeline_names: [{', '.join(there)}] for several in one job"
                allowed = did_you_mean(name, project.pipelines)
                mistakes.add((*place, key), f"{message}. {allowed} {advice}.")
            else:
                mistakes.add((*place, key), f"{message}.", name, project.pipelines)
        if len(mistakes) == before:
            first, *others = (project.pipelines[name] for name in names)
            pipeline = _filter(job, options, sum(others, first), mistakes)
            if len(mistakes) == before:
                selected[job] = pipeline
    return selected


def _filter(job: str, options: JobOptions, pipeline: Pipeline, mistakes: Mistakes) -> Pipeline:
    """Filter a pipeline as ``kedro run`` does."""
    place, before = ("jobs", job, "pipeline"), len(mistakes)
    filters = {key: values for key, values in options.pipeline.filters.items() if values}
    for key, values in filters.items():
        allowed = _allowed_values(pipeline, key)
        for value in values:
            if value not in allowed:
                mistakes.add((*place, key), f"{value!r} is not in the pipeline.", value, allowed)
    if len(mistakes) == before:
        try:
            pipeline = pipeline.filter(**filters) if filters else pipeline
        except ValueError as error:
            mistakes.add(place, f"selects no node: {error}")
        else:
            if not pipeline.nodes:
                names = " + ".join(options.pipeline.names)
                mistakes.add(place, f"selects no node: pipeline {names} is empty.")
    return pipeline


def _allowed_values(pipeline: Pipeline, key: str) -> set[str]:
    """What a filter of a pipeline may name."""
    nodes = pipeline.nodes
    if key == "tags":
        return {tag for node in nodes for tag in node.tags}
    if key == "node_namespaces":
        return {prefix for node in nodes for prefix in node.namespace_prefixes if prefix}
    if key in ("from_inputs", "to_outputs"):
        return pipeline.datasets() | set(map(strip_transcoding, pipeline.datasets()))
    return {node.name for node in nodes}


def _plan_jobs(
    project: KedroProject,
    pipelines: Mapping[str, Pipeline],
    whole: Mapping[str, frozenset[str]],
    planner: StepPlanner,
    mistakes: Mistakes,
    *,
    asset_steps: list[AssetStepPlan],
    plans_steps: bool,
) -> dict[str, JobPlan]:
    """Plan the jobs; their steps only where it is known what their datasets are."""
    config, jobs = project.config, {}
    for name, pipeline in pipelines.items():
        options = config.jobs[name]
        groups = group_nodes(options.group_by, pipeline, planner.datasets, planner.labels)
        if cycle := cycle_of_groups([group for _, group in groups]):
            path = " -> ".join("+".join(node.name for node in group) for group in cycle)
            message = f"this grouping makes steps wait for each other: {path}."
            advice = "Group by 'pipeline', or leave group_by out."
            mistakes.add(("jobs", name, "group_by"), f"{message} {advice}")
        if not plans_steps:
            continue
        try:
            if options.target == "ops":
                partitioning, fans_out = job_partitioning(
                    options, pipeline, planner.datasets, whole[name]
                )
                steps = planner.job_steps(name, groups, fans_out, whole[name])
            else:
                partitioning, steps = None, ()  # those of its assets, see below
                check_drivers(pipeline, planner.datasets, whole[name])
        except ValueError as error:
            mistakes.add(("jobs", name, "pipeline"), str(error))
            continue
        if partitioning and options.only_missing_outputs:
            mistakes.add(("jobs", name, "only_missing_outputs"), NOT_FOR_PARTITIONS)
        check_runner(name, options, pipeline, planner.datasets, mistakes)
        job = JobPlan(
            name=name,
            options=options.pipeline,
            pipeline=pipeline,
            steps=steps,
            select=options.select,
            partitioning=partitioning,
            whole=whole[name],
            executor=_executor_of(config, ("jobs", name, "executor"), options.executor),
            runner=options.runner,
            only_missing_outputs=options.only_missing_outputs,
            schedule=_schedule_of(config, name, options.schedule),
            after=after_of(name, options),
            loggers=_loggers_of(config, options),
            description=options.description,
            tags={**options.tags, **_queue_tag(name, options)},
            max_concurrent_runs=options.max_concurrent_runs,
            when_busy=options.when_busy,
            pattern=project.job_patterns.get(name),
        )
        if options.target == "assets":
            job = _let_make_assets(job, options, asset_steps, planner.datasets, mistakes)
        jobs[name] = job
        for preset, given in options.presets.items():
            schedule = _schedule_of(config, f"{name}_{preset}", given.schedule)
            made = preset_job(jobs[name], preset, given, schedule)
            jobs.setdefault(made.name, made)
    return jobs


def _let_make_assets(
    job: JobPlan,
    options: JobOptions,
    asset_steps: list[AssetStepPlan],
    datasets: Datasets,
    mistakes: Mistakes,
) -> JobPlan:
    """Let a job make the assets of its pipeline; what it selects of them, their specs tell."""
    if options.names_pipeline:
        names = assets_of(job.pipeline, asset_steps)
    else:
        names = [name for step in asset_steps for name in step.upstream]
    job = with_assets(job, names, asset_steps, datasets)
    if not job.assets:
        mistakes.add(
            ("jobs", job.name, "target"),
            "its nodes make no asset. Give what they make a catalog entry, or leave out 'target'.",
        )
    elif job.select is None:
        by_name = {one.step.name: one for one in asset_steps}
        check_assets(job, job.pipeline, by_name, datasets, mistakes)
    return job


def _executor_of(
    config: KedroDagsterConfig, path: KeyPath, executor: str | ExecutorOptions | None
) -> ExecutorOptions | None:
    found = find_executor(config, path, executor)
    return found[1] if found else None


def _queue_tag(job: str, options: JobOptions) -> Mapping[str, str]:
    """The tag by which Dagster's queue starts one run at a time, where the instance limits it."""
    waits = options.max_concurrent_runs == 1 and options.when_busy == "queue"
    return {ONE_RUN_TAG: job} if waits else {}


def _schedule_of(
    config: KedroDagsterConfig, job: str, schedule: str | ScheduleOptions | None
) -> SchedulePlan | None:
    options = config.schedules.get(schedule) if isinstance(schedule, str) else schedule
    return SchedulePlan(schedule_name(job), options) if options else None


def _loggers_of(config: KedroDagsterConfig, options: JobOptions) -> Mapping[str, LoggerOptions]:
    """The loggers of a job by name; one that is written in the job is named by its position."""
    found = {}
    for index, logger in enumerate(options.loggers):
        if isinstance(logger, LoggerOptions):
            found[f"logger_{index}"] = logger
        elif logger in config.loggers:
            found[logger] = config.loggers[logger]
    return found
