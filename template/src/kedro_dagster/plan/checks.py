"""Mistakes that show when the entries of ``dagster.yml`` and of the catalog meet."""

from __future__ import annotations

import logging.config
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from kedro.pipeline import Pipeline

from ..errors import Mistake, did_you_mean
from ..read.dagster_yml import KeyPath, LoggerOptions
from ..read.project import KedroProject
from .model import DatasetPlan, JobPlan, data_inputs, data_outputs, partitioned_in
from .partitions import check_mapping


def mapping_mistakes(
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


def sensor_mistakes(
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


def undefined_names(project: KedroProject) -> Iterator[Mistake]:
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


def check_loggers(project: KedroProject) -> list[Mistake]:
    """Look for loggers whose handlers are not there, or name what is not there."""
    loggers: dict[KeyPath, LoggerOptions] = {
        ("loggers", name): options for name, options in project.config.loggers.items()
    }
    for name, job in project.config.jobs.items():
        for index, options in enumerate(job.loggers):
            if isinstance(options, LoggerOptions):
                loggers["jobs", name, "loggers", str(index)] = options
    return [
        project.mistake((*path, "handlers", *keys), message)
        for path, options in loggers.items()
        for keys, message in _handler_mistakes(options)
    ]


def _handler_mistakes(options: LoggerOptions) -> Iterator[tuple[KeyPath, str]]:
    for name, handler in options.handlers.items():
        factory = "()" if "()" in handler else "class"
        try:
            logging.config.BaseConfigurator({}).resolve(str(handler.get(factory, "")))
        except ValueError as error:
            cause = error.__cause__ or error
            message = f"{handler.get(factory)!r} cannot be imported: {cause}."
            yield (name, factory), f"{message} Write one like 'logging.StreamHandler'."
        formatter = handler.get("formatter")
        if formatter is not None and formatter not in options.formatters:
            message = f"{formatter!r} is not defined in 'formatters'."
            yield (name, "formatter"), f"{message} {did_you_mean(formatter, options.formatters)}"
        for key in handler.get("filters", ()):
            if key not in options.filters:
                message = f"{key!r} is not defined in 'filters'."
                yield (name, "filters"), f"{message} {did_you_mean(key, options.filters)}"
