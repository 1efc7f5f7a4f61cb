"""Which nodes a job runs: its pipelines, summed up and filtered as ``kedro run`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..errors import KeyPath
from ..read.dagster_yml import PipelineOptions
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.registry import failed_import


def select_pipelines(project: KedroProject, mistakes: Mistakes) -> dict[str, Pipeline]:
    """The pipelines of all jobs, without those of which something is wrong."""
    selected = {}
    for job, options in project.config.jobs.items():
        place, before = ("jobs", job, "pipeline"), len(mistakes)
        _check_names(project, place, options.pipeline, mistakes)
        if len(mistakes) == before:
            pipeline = _sum(project, options.pipeline.names)
            filters = {key: value for key, value in options.pipeline.filters.items() if value}
            _check_filters(pipeline, filters, place, mistakes)
            if len(mistakes) == before:
                try:
                    selected[job] = _filter(pipeline, filters, options.pipeline)
                except ValueError as error:
                    mistakes.add(place, f"selects no node: {error}")
    return selected


def _check_names(
    project: KedroProject, place: KeyPath, options: PipelineOptions, mistakes: Mistakes
) -> None:
    key = "pipeline_names" if options.pipeline_names else "pipeline_name"
    for name in options.names:
        if name in project.pipelines:
            continue
        message = f"pipeline {name!r} is not registered"
        if failure := failed_import(name, project.import_failures):
            mistakes.add((*place, key), f"{message}: {failure}")
        else:
            mistakes.add((*place, key), f"{message}.", name, project.pipelines)


def _check_filters(
    pipeline: Pipeline, filters: Mapping[str, list[str]], place: KeyPath, mistakes: Mistakes
) -> None:
    for key, values in filters.items():
        allowed = _allowed_values(pipeline, key)
        for value in values:
            if value not in allowed:
                mistakes.add((*place, key), f"{value!r} is not in the pipeline.", value, allowed)


def _sum(project: KedroProject, names: Sequence[str]) -> Pipeline:
    pipelines = [project.pipelines[name] for name in names]
    return sum(pipelines, Pipeline([])) if len(pipelines) > 1 else pipelines[0]


def _filter(pipeline: Pipeline, filters: Mapping[str, Any], options: PipelineOptions) -> Pipeline:
    if filters:
        pipeline = pipeline.filter(**filters)
    if not pipeline.nodes:
        raise ValueError(f"pipeline {' + '.join(options.names)} is empty.")
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
