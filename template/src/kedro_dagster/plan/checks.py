"""Finds entries of ``dagster.yml`` and of the catalog that do not fit to each other."""

from __future__ import annotations

import logging.config
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import dagster as dg
from kedro.pipeline.node import Node

from ..errors import KeyPath
from ..read.dagster_yml import KedroDagsterConfig, LoggerOptions
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from .executors import EXECUTORS, executors_used, find_executor
from .model import AssetStepPlan, Datasets, JobPlan, data_inputs, data_outputs, partitioned_in
from .names import FAILURE_SENSOR, schedule_name, sensor_name
from .partitions import check_mapping, mapping_of_asset


def check_mappings(
    project: KedroProject, nodes: Iterable[Node], datasets: Datasets, mistakes: Mistakes
) -> None:
    """Look for partition mappings to datasets that are not there, or that do not fit.

    The nodes are those that run for a partition at a time.
    """
    pairs = {
        (read, written): None
        for node in nodes
        for read in partitioned_in(data_inputs(node), datasets)
        for written in partitioned_in(data_outputs(node), datasets)
    }
    partitioned = partitioned_in(datasets, datasets)
    for name, partitioning in partitioned.items():
        for target in partitioning.mappings:
            place = (datasets[name].variants[0], "partition_mappings", target)
            if "{" in target:
                continue
            fits_plain = partitioning.mapping_to_plain(target) is not None
            if target in partitioned or (target in datasets and fits_plain):
                pairs[name, target] = None
            elif target in datasets:
                message = f"{target!r} is not partitioned. Take dagster.AllPartitionMapping,"
                advice = "LastPartitionMapping or SpecificPartitionsPartitionMapping."
                mistakes.add_in_catalog(place, f"{message} {advice}")
            elif target not in project.catalog.config:
                message = f"there is no dataset {target!r}."
                mistakes.add_in_catalog(place, message, target, datasets)
    for name, target in pairs:
        try:
            check_mapping(partitioned[name], partitioned.get(target), target)
        except ValueError as error:
            variant = datasets[name].variants[0]
            mistakes.add_in_catalog((variant, "partition_mappings"), str(error))


def check_asset_steps(
    steps: Iterable[AssetStepPlan], datasets: Datasets, mistakes: Mistakes
) -> None:
    """Look for assets of one step that are made from another one by different mappings."""
    for step in (one for one in steps if len(one.upstream) > 1):
        found: dict[str, tuple[str, dg.PartitionMapping]] = {}
        for name, sources in step.upstream.items():
            target = datasets[name].partitioning
            for source, partitioning in partitioned_in(sources, datasets).items():
                mapping = mapping_of_asset(partitioning, target, name, wholly=step.takes_all)
                if mapping is None:
                    continue
                other, first = found.setdefault(source, (name, mapping))
                if mapping != first:
                    place = (datasets[source].variants[0], "partition_mappings", name)
                    message = f"{other!r} is made in the same step, and Dagster takes one mapping"
                    advice = (
                        "for all assets of a step. Give both the same one, or let two nodes make "
                        "them, between which nothing passes in memory."
                    )
                    mistakes.add_in_catalog(place, f"{message} {advice}")


def check_after(
    config: KedroDagsterConfig, jobs: Mapping[str, JobPlan], mistakes: Mistakes
) -> None:
    """Look for jobs that start after one that is not there, after each other, or for no key."""
    own = {
        name: [one.job for one in given.starts_after if not one.location]
        for name, given in config.jobs.items()
    }
    known = {*own, *config.preset_jobs}
    for name, others in own.items():
        place = ("jobs", name, "after")
        for other in others:
            if other == name:
                mistakes.add(place, "a job cannot start after itself.")
            elif other not in known:
                mistakes.add(place, f"{other!r} is not defined in 'jobs'.", other, known)
            elif name in jobs and other in jobs and not _same_keys(jobs[name], jobs[other]):
                message = f"a run of {name!r} takes one partition, and {other!r} has not the same"
                advice = "to pass on. Give it 'partitions: all', or a schedule."
                mistakes.add(place, f"{message} {advice}")
    graph = {name: [one for one in others if one != name] for name, others in own.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = error.args[1]
        message = f"these jobs would start each other for ever: {' -> '.join(cycle)}."
        mistakes.add(("jobs", cycle[-1], "after"), message)


def _same_keys(job: JobPlan, other: JobPlan) -> bool:
    if job.partitioning is None:
        return True
    return bool(other.partitioning and other.partitioning.definition == job.partitioning.definition)


def check_sensors(
    project: KedroProject, datasets: Datasets, jobs: Mapping[str, JobPlan], mistakes: Mistakes
) -> None:
    """Look for sensors whose dataset or job does not take new partitions."""
    dynamic = {
        name: partitioning.definition
        for name, partitioning in partitioned_in(datasets, datasets).items()
        if isinstance(partitioning.definition, dg.DynamicPartitionsDefinition)
    }
    taken = {FAILURE_SENSOR: "sensor that calls hooks for runs that were killed"}
    taken |= {
        schedule_name(name): f"schedule of job {name!r}" for name in jobs if jobs[name].schedule
    }
    taken |= {sensor_name(name): f"sensor of job {name!r}" for name in jobs if jobs[name].after}
    for name, options in project.config.sensors.items():
        place, job = ("sensors", name), jobs.get(options.job)
        if name in taken:
            mistakes.add(place, f"the {taken[name]} has this name. Choose another one.")
        known = {*project.config.jobs, *project.config.preset_jobs}
        if options.job not in known:
            message = f"{options.job!r} is not defined in 'jobs'."
            mistakes.add((*place, "job"), message, options.job, known)
        if options.dataset not in dynamic:
            message = f"{options.dataset!r} is no dataset of a job with dynamic partitions."
            mistakes.add((*place, "dataset"), message, options.dataset, dynamic)
            continue
        entry = project.catalog.resolve_pattern(datasets[options.dataset].variants[0])
        if parameter := re.search("<(runtime_params:[^>]*)>", str(entry)):  # the placeholder
            message = f"the catalog entry of {options.dataset!r} depends on ${{{parameter[1]}}},"
            advice = "which no run has that a sensor starts. Give it a default there."
            mistakes.add((*place, "dataset"), f"{message} {advice}")
        if job and (
            job.partitioning is None or job.partitioning.definition != dynamic[options.dataset]
        ):
            message = f"job {options.job!r} does not run one partition of {options.dataset!r}."
            mistakes.add((*place, "job"), message)


def check_references(config: KedroDagsterConfig, mistakes: Mistakes) -> None:
    """Look for executors, schedules and loggers that are named and nobody defines."""
    faulty = {mistake.path[:2] for mistake in mistakes}
    references: list[tuple[KeyPath, str, Any, Mapping[str, Any]]] = [
        (path, "executors", executor, {**config.executors, **EXECUTORS})
        for path, executor in executors_used(config)
        if not find_executor(config, path, executor)
    ]
    for job, options in config.jobs.items():
        schedules: dict[KeyPath, Any] = {("schedule",): options.schedule}
        for preset, given in options.presets.items():
            schedules["presets", preset, "schedule"] = given.schedule
        references += [
            *(
                (("jobs", job, *keys), "schedules", schedules[keys], config.schedules)
                for keys in schedules
            ),
            *(
                (("jobs", job, "loggers"), "loggers", one, config.loggers)
                for one in options.loggers
            ),
        ]
    for path, section, name, defined in references:
        if isinstance(name, str) and name not in defined and (section, name) not in faulty:
            message = f"{name!r} is not defined in {section!r}."
            mistakes.add(path, message, name, defined)


def check_loggers(config: KedroDagsterConfig, mistakes: Mistakes) -> None:
    """Look for handlers that cannot be imported, or that name what is not defined."""
    loggers: dict[KeyPath, LoggerOptions] = {
        ("loggers", name): options for name, options in config.loggers.items()
    }
    for name, job in config.jobs.items():
        for index, options in enumerate(job.loggers):
            if isinstance(options, LoggerOptions):
                loggers["jobs", name, "loggers", str(index)] = options
    for path, options in loggers.items():
        for name, handler in options.handlers.items():
            _check_handler((*path, "handlers", name), handler, options, mistakes)


def _check_handler(
    path: KeyPath, handler: Mapping[str, Any], options: LoggerOptions, mistakes: Mistakes
) -> None:
    factory = "()" if "()" in handler else "class"
    try:
        logging.config.BaseConfigurator({}).resolve(str(handler.get(factory, "")))
    except Exception as error:  # noqa: BLE001  # an import of a user's module
        message = f"{handler.get(factory)!r} cannot be imported: {error.__cause__ or error}."
        mistakes.add((*path, factory), f"{message} Write one like 'logging.StreamHandler'.")
    formatter = handler.get("formatter")
    if formatter is not None and formatter not in options.formatters:
        message = f"{formatter!r} is not defined in 'formatters'."
        mistakes.add((*path, "formatter"), message, formatter, options.formatters)
    for name in handler.get("filters") or ():
        if name not in options.filters:
            message = f"{name!r} is not defined in 'filters'."
            mistakes.add((*path, "filters"), message, name, options.filters)
