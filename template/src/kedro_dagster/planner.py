"""Plan a project: which nodes each job runs, and what their datasets are.

Planning is made of pure functions, and takes time linear in nodes, datasets and partition keys.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
from kedro.io import CachedDataset, DatasetError, MemoryDataset, SharedMemoryDataset
from kedro.pipeline import Pipeline

from . import kedro_internals
from .config import KeyPath, PipelineOptions
from .errors import DagsterConfigError, Mistake, did_you_mean
from .grouping import cycle_message, find_cycle, group_graph, group_nodes
from .kedro_internals import strip_transcoding
from .node_settings import NodeSettings
from .partitions import check_mapping, read_partitioning
from .plan import (
    DatasetKind,
    DatasetPlan,
    JobPlan,
    ProjectPlan,
    StepPlan,
    data_inputs,
    data_outputs,
    is_parameter,
    partitioned_in,
)
from .project import KedroProject, failed_import
from .scopes import job_partitioning
from .steps import Steps, plan_asset_steps, plan_job_steps
from .utils import format_dataset_name, unique_names


def make_plan(project: KedroProject, mistakes: Iterable[Mistake] = ()) -> ProjectPlan:
    """Plan a project.

    Args:
        project: The project, with its pipelines and its ``dagster.yml``.
        mistakes: What else is known to be wrong, to be told with all the rest.

    Returns:
        The plan.

    Raises:
        DagsterConfigError: With every mistake in ``dagster.yml`` and in the catalog entries of
            the datasets it leads to.
    """
    mistakes = [*project.mistakes, *mistakes, *_undefined_names(project)]
    pipelines: dict[str, Pipeline] = {}
    for name, options in project.config.jobs.items():
        selection = _select(project, name, options.pipeline)
        if isinstance(selection, Pipeline):
            pipelines[name] = selection
        else:
            mistakes += selection
    datasets, faults = _plan_datasets(project, pipelines.values())
    mistakes += faults
    misfits = [] if faults else list(_faulty_mappings(project, pipelines.values(), datasets))
    mistakes += misfits
    settings = _node_settings(project)
    steps, jobs = Steps(settings), {}
    for name, pipeline in pipelines.items():
        options = project.config.jobs[name]
        groups = group_nodes(options, pipeline, datasets)
        if cycle := find_cycle(group_graph(groups)):
            mistakes.append(project.mistake(("jobs", name, "group_by"), cycle_message(cycle)))
        if faults or misfits:
            continue  # what a step is depends on what its datasets are
        try:
            partitioning, fans_out = job_partitioning(options, pipeline, datasets)
            found = plan_job_steps(name, groups, datasets, steps, fans_out)
        except ValueError as error:
            mistakes.append(project.mistake(("jobs", name, "pipeline"), str(error)))
            continue
        jobs[name] = JobPlan(name, options, pipeline, tuple(found), partitioning)
    if not faults:
        mistakes += _faulty_sensors(project, datasets, jobs)
    asset_plans = [] if faults else plan_asset_steps(pipelines, datasets, steps)
    mistakes += (project.mistake(*mistake) for mistake in settings.mistakes.items())
    if mistakes:
        raise DagsterConfigError(mistakes)

    names = steps.names(reserved=jobs)

    def named(step: StepPlan) -> StepPlan:
        return replace(step, name=names[step.name])

    jobs = {name: replace(job, steps=tuple(map(named, job.steps))) for name, job in jobs.items()}
    asset_steps = {
        names[plan.step.name]: replace(plan, step=named(plan.step)) for plan in asset_plans
    }
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


def _node_settings(project: KedroProject) -> NodeSettings:
    settings = NodeSettings(project.config.nodes, project.pipelines.values())
    if settings.mistakes:  # which are none where a pipeline that no job runs has such nodes
        settings = NodeSettings(project.config.nodes, project.all_pipelines().values())
    return settings


def flatten_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Name each parameter, at every depth, as node inputs do.

    Args:
        parameters: The parameters as ``parameters.yml`` gives them.

    Returns:
        The value of ``parameters`` and of each ``params:`` name.
    """
    flat: dict[str, Any] = {"parameters": parameters}

    def add(path: str, value: Any) -> None:
        flat[f"params:{path}"] = value
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{path}.{key}", inner)

    for key, value in parameters.items():
        add(str(key), value)
    return flat


def _faulty_mappings(
    project: KedroProject, pipelines: Iterable[Pipeline], datasets: Mapping[str, DatasetPlan]
) -> Iterator[Mistake]:
    """Find the partition mappings to datasets that are not there, or that do not fit."""
    pairs = {
        (read, written): None
        for pipeline in pipelines
        for node in pipeline.nodes
        for read in partitioned_in(data_inputs(node), datasets)
        for written in partitioned_in(data_outputs(node), datasets)
    }
    partitioned = partitioned_in(datasets, datasets)
    for name, partitioning in partitioned.items():
        for target in partitioning.mappings:
            if "{" in target:
                continue
            if target in partitioned:
                pairs[name, target] = None
                continue
            place, variant = ("partition_mappings", target), datasets[name].variants[0]
            if target in datasets:
                message = f"{target!r} is not partitioned."
                yield project.catalog_mistake(variant, place, message)
            elif target not in project.catalog.config:
                message = f"there is no dataset {target!r}. {did_you_mean(target, datasets)}"
                yield project.catalog_mistake(variant, place, message)
    for name, target in pairs:
        try:
            check_mapping(partitioned[name], partitioned[target], target)
        except ValueError as error:
            variant = datasets[name].variants[0]
            yield project.catalog_mistake(variant, ("partition_mappings",), str(error))


def _faulty_sensors(
    project: KedroProject, datasets: Mapping[str, DatasetPlan], jobs: Mapping[str, JobPlan]
) -> Iterator[Mistake]:
    """Find the sensors whose dataset or job does not take new partitions."""
    for name, options in project.config.sensors.items():
        partitioning = partitioned_in({options.dataset} & datasets.keys(), datasets)
        definition = partitioning[options.dataset].definition if partitioning else None
        job = jobs.get(options.job)
        if options.job not in project.config.jobs:
            message = f"{options.job!r} is not defined in 'jobs'."
            hint = did_you_mean(options.job, project.config.jobs)
            yield project.mistake(("sensors", name, "job"), f"{message} {hint}")
        if not isinstance(definition, dg.DynamicPartitionsDefinition):
            dynamic = [
                other
                for other, one in partitioned_in(datasets, datasets).items()
                if isinstance(one.definition, dg.DynamicPartitionsDefinition)
            ]
            message = f"{options.dataset!r} is no dataset of a job with dynamic partitions."
            hint = did_you_mean(options.dataset, dynamic)
            yield project.mistake(("sensors", name, "dataset"), f"{message} {hint}")
        elif job and (job.partitioning is None or job.partitioning.definition != definition):
            message = f"job {options.job!r} does not run one partition of {options.dataset!r}."
            yield project.mistake(("sensors", name, "job"), message)


def _undefined_names(project: KedroProject) -> Iterator[Mistake]:
    """Find the executors, schedules and loggers that jobs name and nobody defines."""
    config = project.config
    for job, options in config.jobs.items():
        references: list[tuple[str, str, Any, Mapping[str, Any]]] = [
            ("executor", "executors", options.executor, config.executors),
            ("schedule", "schedules", options.schedule, config.schedules),
            *(("loggers", "loggers", logger, config.loggers) for logger in options.loggers),
        ]
        for key, section, reference, defined in references:
            faulty = any(m.path[:2] == (section, reference) for m in project.mistakes)
            if isinstance(reference, str) and reference not in defined and not faulty:
                message = f"{reference!r} is not defined in '{section}'."
                yield project.mistake(
                    ("jobs", job, key), f"{message} {did_you_mean(reference, defined)}"
                )


def _select(project: KedroProject, job: str, options: PipelineOptions) -> Pipeline | list[Mistake]:
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


def _plan_datasets(
    project: KedroProject, pipelines: Iterable[Pipeline]
) -> tuple[dict[str, DatasetPlan], list[Mistake]]:
    """Look every dataset up in the catalog's configuration; import each class once."""
    variants: dict[str, set[str]] = defaultdict(set)
    for pipeline in pipelines:
        for name in pipeline.datasets():
            if not is_parameter(name):
                variants[strip_transcoding(name)].add(name)
    identifiers = unique_names(variants, format_dataset_name)
    kind_of = functools.lru_cache(maxsize=None)(_kind_of_type)
    plans, mistakes = {}, []
    for name in sorted(variants):
        entries = {
            variant: dict(project.catalog.resolve_pattern(variant))
            for variant in sorted(variants[name])
        }
        try:
            kinds = {variant: _kind(entry, kind_of) for variant, entry in entries.items()}
            variant, *others = sorted(entries, key=lambda v: kinds[v] is DatasetKind.TRANSIENT)
            partitioning = None
            if kinds[variant] is DatasetKind.PARTITIONED:
                partitioning = read_partitioning(_uncached(entries[variant]))
        except DatasetError as error:
            message = _type_fault(entries[min(entries)].get("type"), error)
            mistakes.append(project.catalog_mistake(min(entries), ("type",), message))
            continue
        except ValueError as error:
            place, _, message = str(error).partition(": ")
            mistakes.append(project.catalog_mistake(min(entries), (place,), message))
            continue
        entry = entries[variant]
        mistakes += [
            project.catalog_mistake(variant, ("metadata", *keys), message)
            for keys, message in _metadata_faults(entry.get("metadata"))
        ]
        plans[name] = DatasetPlan(
            name=name,
            identifier=identifiers[name],
            kind=kinds[variant],
            variants=(variant, *others),
            type=str(entry.get("type")),
            versioned=bool(entry.get("versioned")),
            metadata=metadata if isinstance(metadata := entry.get("metadata"), Mapping) else {},
            partitioning=partitioning,
        )
    return plans, mistakes


def _type_fault(name: Any, error: DatasetError) -> str:
    if name is None:
        return "this key is required."
    return f"{name!r} cannot be imported: {str(error).splitlines()[0].rstrip(':')}"


_GROUP_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")


def _metadata_faults(metadata: Any) -> Iterator[tuple[KeyPath, str]]:
    """Find what Dagster would refuse in the ``metadata`` of a catalog entry."""
    if not isinstance(metadata, Mapping):
        if metadata is not None:
            yield (), f"{metadata!r} is not valid here. Write keys with values."
        return
    description, group = metadata.get("description"), metadata.get("group_name")
    if description is not None and not isinstance(description, str):
        yield ("description",), f"{description!r} is no text. Write it in quotes."
    if group is not None and not (isinstance(group, str) and _GROUP_NAME.fullmatch(group)):
        yield ("group_name",), f"{group!r} is no group name: use letters, digits and underscores."


def _kind(entry: Mapping[str, Any], kind_of: Callable[[str], DatasetKind | None]) -> DatasetKind:
    name = entry.get("type")
    if isinstance(name, type):
        name = f"{name.__module__}.{name.__qualname__}"
    kind = kind_of(str(name))
    if kind is None:  # a CachedDataset is what it wraps
        wrapped = entry.get("dataset")
        return _kind(wrapped if isinstance(wrapped, dict) else {"type": wrapped}, kind_of)
    return kind


def _uncached(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of a partitioned dataset, where it stands inside that of a CachedDataset."""
    wrapped = entry.get("dataset")
    return wrapped if isinstance(wrapped, Mapping) and "partition" in wrapped else entry


def _kind_of_type(type_name: str) -> DatasetKind | None:
    dataset_class = kedro_internals.dataset_class(type_name)
    if issubclass(dataset_class, CachedDataset):
        return None
    if issubclass(dataset_class, (MemoryDataset, SharedMemoryDataset)):
        return DatasetKind.TRANSIENT
    return DatasetKind(getattr(dataset_class, "dagster_kind", "persisted"))
