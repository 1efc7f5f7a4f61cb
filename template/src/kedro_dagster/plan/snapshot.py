"""A plan for programs and for pictures: ``kedro dagster plan --json`` and ``--mermaid``.

The words are those of Kedro's inspection snapshot (``kedro.inspection``) and of its grouped nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from kedro import __version__ as kedro_version
from kedro.pipeline.node import Node

from .model import AssetStepPlan, DatasetPlan, JobPlan, ProjectPlan, StepPlan
from .names import schedule_name
from .preflight import preflight
from .side_effects import nodes_in_no_asset

VERSION = 1
"""Of the form of the snapshot: another one has a key removed, or its meaning changed."""


def snapshot(plan: ProjectPlan, keys: Mapping[str, dg.AssetKey]) -> dict[str, Any]:
    """Write a plan as data that JSON has. It holds names, and no values of parameters."""
    nodes = {node.name: node for job in plan.jobs.values() for node in job.pipeline.nodes}
    names = (name.removeprefix("params:").partition(".")[0] for name in plan.parameters)
    return {
        "version": VERSION,
        "metadata": {
            "package_name": plan.project.package_name,
            "env": plan.project.env,
            "kedro_version": kedro_version,
        },
        "jobs": [_job(job) for job in plan.jobs.values()],
        "assets": [one for step in plan.asset_steps.values() for one in _assets(plan, keys, step)],
        "nodes_in_no_asset": nodes_in_no_asset(plan),
        "nodes": [_node(node) for node in nodes.values()],
        "datasets": {
            name: _dataset(dataset)
            for name, dataset in sorted(plan.datasets.items())
            if dataset.variants
        },
        "parameters": sorted({*names} - {"parameters"}),
        "warnings": list(map(str, preflight(plan))),
    }


def _job(job: JobPlan) -> dict[str, Any]:
    filters = {key: values for key, values in job.options.filters.items() if values}
    return {
        "name": job.name,
        "factory": job.pattern,
        "preset_of": job.preset and job.preset.job,
        "target": "assets" if job.assets else "ops",
        "select": job.select,
        "assets": list(job.assets),
        "pipeline_names": job.options.names,
        "filters": filters,
        "inputs": sorted(job.pipeline.inputs()),
        "outputs": sorted(job.pipeline.outputs()),
        "executor": job.executor.kind if job.executor else None,
        "runner": job.runner.type if job.runner else None,
        "schedule": schedule_name(job.name) if job.schedule else None,
        "after": [one.model_dump() for one in job.after],
        "one_partition_a_run": job.partitioning is not None,
        "groups": [
            {**_group(step), "dependencies": [one.name for one in _sources(job, step)]}
            for step in job.steps
        ],
    }


def _group(step: StepPlan) -> dict[str, Any]:
    settings = step.settings
    return {
        "name": step.name,
        "nodes": [node.name for node in step.nodes],
        "inputs": list(step.inputs),
        "outputs": list(step.outputs),
        "partition_keys": list(step.keys),
        "retries": settings.retry_policy.max_retries if settings.retry_policy else 0,
        "pool": settings.pool,
        "timeout": settings.timeout,
        "tags": dict(settings.tags),
    }


def _sources(job: JobPlan, step: StepPlan) -> list[StepPlan]:
    """The steps that a step waits for."""
    found = (one for name in step.inputs for one in job.producers(step, name))
    return list({one.name: one for one in found}.values())


def _assets(
    plan: ProjectPlan, keys: Mapping[str, dg.AssetKey], asset_step: AssetStepPlan
) -> Iterator[dict[str, Any]]:
    for name, upstream in asset_step.upstream.items():
        yield {
            "key": list(keys[name].path),
            "dataset": name if plan.datasets[name].variants else None,
            "group": asset_step.step.name,
            "nodes": [node.name for node in asset_step.nodes_for([name])],
            "dependencies": list(upstream),
        }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "namespace": node.namespace,
        "tags": sorted(node.tags),
        "inputs": node.inputs,
        "outputs": node.outputs,
    }


def _dataset(dataset: DatasetPlan) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "type": dataset.type,
        "kind": dataset.kind.value,
        "versioned": dataset.versioned,
        "names": list(dataset.variants),
    }


def mermaid(jobs: Iterable[JobPlan]) -> str:
    """Draw jobs for Mermaid: their steps, and the datasets that pass between them."""
    lines = ["flowchart LR"]
    for place, job in enumerate(one for one in jobs if not one.preset):
        lines += [
            f"  subgraph job{place} [{_quoted(job.name)}]",
            *_drawn(job, f"job{place}"),
            "  end",
        ]
    return "\n".join(lines)


def _drawn(job: JobPlan, prefix: str) -> Iterator[str]:
    names = {id(step): f"{prefix}_step{index}" for index, step in enumerate(job.steps)}
    outside: dict[str, str] = {}
    for step in job.steps:
        yield f"    {names[id(step)]}[{_quoted(step.name)}]"
    for step in job.steps:
        for name in step.inputs:
            sources = job.producers(step, name)
            for one in sources:
                yield f"    {names[id(one)]} -->|{_quoted(name)}| {names[id(step)]}"
            if sources:
                continue
            if name not in outside:
                outside[name] = f"{prefix}_data{len(outside)}"
                yield f"    {outside[name]}[({_quoted(name)})]"
            yield f"    {outside[name]} --> {names[id(step)]}"


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), "#quot;")}"'
