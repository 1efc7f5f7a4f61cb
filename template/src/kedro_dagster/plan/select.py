"""Which nodes a job runs: its pipelines, summed up and filtered as ``kedro run`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..errors import Mistake, did_you_mean
from ..read.dagster_yml import PipelineOptions
from ..read.project import KedroProject
from ..read.registry import failed_import


def select_pipeline(
    project: KedroProject, job: str, options: PipelineOptions
) -> Pipeline | list[Mistake]:
    """Sum and filter a job's pipelines as ``KedroSession.run`` does."""
    key = "pipeline_names" if options.pipeline_names else "pipeline_name"
    unknown = [
        project.mistake(("jobs", job, "pipeline", key), _unknown_pipeline(project, name))
        for name in options.names
        if name not in project.pipelines
    ]
    if unknown:
        return unknown
    pipeline = project.pipelines[options.names[0]]
    if len(options.names) > 1:
        pipeline = sum((project.pipelines[name] for name in options.names), Pipeline([]))
    filters = {key: value for key, value in options.filters.items() if value}
    mistakes = [
        project.mistake(("jobs", job, "pipeline", key), f"{value!r} is not in the pipeline. {hint}")
        for key, values in filters.items()
        for value, hint in _unknown_values(pipeline, key, values)
    ]
    if mistakes:
        return mistakes
    if filters:
        try:
            pipeline = pipeline.filter(**filters)
        except ValueError as error:
            return [project.mistake(("jobs", job, "pipeline"), f"selects no node: {error}")]
    if not pipeline.nodes:
        message = f"selects no node: pipeline {' + '.join(options.names)} is empty."
        return [project.mistake(("jobs", job, "pipeline"), message)]
    return pipeline


def _unknown_pipeline(project: KedroProject, name: str) -> str:
    if failure := failed_import(name, project.import_failures):
        return f"pipeline {name!r} is not registered: {failure}"
    return f"pipeline {name!r} is not registered. {did_you_mean(name, project.pipelines)}"


def _unknown_values(
    pipeline: Pipeline, key: str, values: Iterable[str]
) -> Iterator[tuple[str, str]]:
    def datasets() -> set[str]:
        return pipeline.datasets() | set(map(strip_transcoding, pipeline.datasets()))

    known: dict[str, Callable[[], Iterable[str]]] = {
        "tags": lambda: {tag for node in pipeline.nodes for tag in node.tags},
        "node_namespaces": lambda: {
            prefix for node in pipeline.nodes for prefix in node.namespace_prefixes if prefix
        },
        "from_inputs": datasets,
        "to_outputs": datasets,
    }
    allowed = set(known.get(key, lambda: [node.name for node in pipeline.nodes])())
    for value in values:
        if value not in allowed:
            yield value, did_you_mean(value, allowed)
