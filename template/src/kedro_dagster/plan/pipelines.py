"""Which nodes each job runs: registered pipelines, and the filters of ``kedro run``."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..errors import did_you_mean
from ..read.dagster_yml import JobOptions
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.registry import failed_import
from .asset_jobs import check_target


def select_pipelines(project: KedroProject, mistakes: Mistakes) -> dict[str, Pipeline]:
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
