"""Plan a project: which nodes each job runs, and what their datasets are.

Planning takes time linear in nodes, datasets and partition keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..errors import KeyPath
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.step_words import StepWords
from .checks import (
    check_after,
    check_asset_steps,
    check_loggers,
    check_mappings,
    check_references,
    check_sensors,
)
from .datasets import plan_datasets
from .executors import check_executors, find_executor
from .jobs import JobPlanner
from .model import AssetStepPlan, DatasetPlan, Datasets, ProjectPlan
from .names import node_labels
from .node_options import NodeOptionsResolver
from .parameters import flatten_parameters, hidden_names
from .partitions import spread_missing
from .pipelines import select_pipelines
from .presets import check_presets
from .side_effects import plan_side_effects
from .steps import StepPlanner


def make_plan(project: KedroProject) -> ProjectPlan:
    """Plan a project, or tell of all mistakes in its configuration."""
    config, mistakes = project.config, Mistakes(project)
    check_executors(config, mistakes)
    check_loggers(config, mistakes)
    check_references(config, mistakes)
    pipelines = select_pipelines(project, mistakes)
    before = len(mistakes)
    datasets = plan_datasets(project, pipelines.values(), mistakes)
    are_known = len(mistakes) == before
    words = {name: one.step_words for name, one in datasets.items() if one.step_words}
    options = _node_options(project, words)
    whole = _whole_nodes(project, pipelines, options)
    if are_known:
        check_mappings(project, _nodes_by_key(pipelines, whole), datasets, mistakes)
        datasets = spread_missing(datasets, _nodes(pipelines))
    steps = _step_planner(project, pipelines, datasets, options, are_known=are_known)
    plans_steps, asset_steps = len(mistakes) == before, list[AssetStepPlan]()
    if are_known:
        names_of_jobs = {*pipelines, *config.preset_jobs}
        asset_steps = steps.asset_steps(pipelines.values(), reserved=names_of_jobs)
        check_asset_steps(asset_steps, steps.datasets, mistakes)
    planner = JobPlanner(project, steps, asset_steps, whole, mistakes)
    jobs = planner.plan(pipelines, datasets_are_known=plans_steps)
    check_after(config, jobs, mistakes)
    check_presets(project, jobs, mistakes)
    if are_known:
        check_sensors(project, datasets, jobs, mistakes)
    _tell(mistakes, {**options.mistakes, **steps.mistakes}, words)
    mistakes.check()
    parameters = flatten_parameters(project.parameters)
    made = {name for asset_step in asset_steps for name in asset_step.upstream}
    executor = find_executor(config, ("assets", "executor"), config.assets.executor)
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
        sensors=config.sensors,
        one_writer=config.one_writer,
        key_prefix=tuple(config.assets.key_prefix),
        asset_executor=executor[1] if executor else None,
        facts=config.assets.facts,
        side_effects=steps.side_effects,
    )


def _node_options(project: KedroProject, words: Mapping[str, StepWords]) -> NodeOptionsResolver:
    options = NodeOptionsResolver(project.config.nodes, project.pipelines.values(), words)
    if not options.mistakes:
        return options
    # A key may mean nodes of pipelines that no job runs
    pipelines_of_all = project.load_all_pipelines()
    return NodeOptionsResolver(project.config.nodes, pipelines_of_all.values(), words)


def _whole_nodes(
    project: KedroProject, pipelines: Mapping[str, Pipeline], options: NodeOptionsResolver
) -> dict[str, frozenset[str]]:
    """By job, the names of its nodes that run once, with all partitions."""
    return {
        job: frozenset(node.name for node in pipeline.nodes)
        if project.config.jobs[job].partitions == "all"
        else options.whole_nodes(pipeline.nodes)
        for job, pipeline in pipelines.items()
    }


def _nodes(pipelines: Mapping[str, Pipeline]) -> list[Node]:
    return list(chain.from_iterable(pipeline.nodes for pipeline in pipelines.values()))


def _nodes_by_key(
    pipelines: Mapping[str, Pipeline], whole: Mapping[str, Collection[str]]
) -> list[Node]:
    """The nodes that run for one partition at a time."""
    jobs = pipelines.items()
    return [node for job, one in jobs for node in one.nodes if node.name not in whole[job]]


def _step_planner(
    project: KedroProject,
    pipelines: Mapping[str, Pipeline],
    datasets: Datasets,
    options: NodeOptionsResolver,
    *,
    are_known: bool,
) -> StepPlanner:
    every = _nodes(pipelines)
    labels, side_effects = node_labels(every), dict[Node, DatasetPlan]()
    if are_known and project.config.assets.side_effects:
        run_once = options.whole_nodes(every)
        side_effects = plan_side_effects(project, pipelines.values(), datasets, labels, run_once)
    return StepPlanner(
        {**datasets, **{one.name: one for one in side_effects.values()}},
        options,
        labels,
        {node: one.name for node, one in side_effects.items()},
    )


def _tell(mistakes: Mistakes, found: Mapping[KeyPath, str], words: Collection[str]) -> None:
    """Tell of the settings of nodes, where they stand: in ``dagster.yml`` or in the catalog."""
    for path, message in found.items():
        _, key, *rest = path
        name = key.removeprefix("dataset:")
        if name != key and name in words:
            mistakes.add_in_catalog((name, "metadata", "dagster", *rest), message)
        else:
            mistakes.add(path, message)
