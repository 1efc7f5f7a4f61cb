"""A plan as text, for ``kedro dagster plan``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .model import JobPlan, ProjectPlan, StepPlan, StepSettings
from .names import schedule_name
from .preflight import preflight
from .side_effects import RUN_THEM, nodes_in_no_asset


def describe(plan: ProjectPlan) -> str:
    """Write a plan for people: its jobs with their steps, and who makes which asset."""
    lines: list[str] = []
    for job in plan.jobs.values():
        steps = () if job.preset else _table(job.steps)
        lines += [f"Job {job.name} ({', '.join(_options(job))})", *steps, ""]
    executor = f" (executor {plan.asset_executor.kind})" if plan.asset_executor else ""
    lines += [
        f"Assets{executor}",
        *_table(asset_step.step for asset_step in plan.asset_steps.values()),
    ]
    if plan.external:
        lines += ["", f"Assets made elsewhere: {', '.join(plan.external)}"]
    if left := nodes_in_no_asset(plan):
        lines += ["", f"Nodes in no asset: {', '.join(left)}", f"  {RUN_THEM}"]
    if warnings := list(preflight(plan)):
        lines += ["", "Warnings", *(f"  {warning}" for warning in warnings)]
    return "\n".join(lines)


def _options(job: JobPlan) -> Iterator[str]:
    if job.preset:
        yield f"preset {job.preset.name} of {job.preset.job}"
    if job.assets:
        yield "target assets"
    if job.select:
        yield f"select {job.select}"
    yield f"pipeline {' + '.join(job.options.names)}"
    yield f"executor {job.executor.kind if job.executor else 'of the code location'}"
    if job.assets and job.partitioning:
        yield "one partition a run"
    if job.whole:
        yield f"all partitions at once: {', '.join(sorted(job.whole))}"
    if job.schedule:
        yield f"schedule {schedule_name(job.name)}"
    if job.after:
        yield f"after {', '.join(map(str, job.after))}"
    if job.max_concurrent_runs:
        yield f"max_concurrent_runs {job.max_concurrent_runs}, when busy {job.when_busy}"
    if job.pattern:
        yield f"from {job.pattern!r}"
    yield f"{len(job.steps)} step{'' if len(job.steps) == 1 else 's'}"


def _settings(settings: StepSettings) -> Iterator[str]:
    if settings.retry_policy:
        yield f"retries {settings.retry_policy.max_retries}"
    if settings.pool:
        yield f"pool {settings.pool}"
    yield from (f"{tag} {value}".rstrip() for tag, value in settings.tags)


def _table(steps: Iterable[StepPlan]) -> Iterator[str]:
    rows = [
        (
            step.name,
            ", ".join(node.name for node in step.nodes),
            f"{', '.join(step.inputs) or '-'} -> {', '.join(step.outputs) or '-'}",
            ", ".join(_settings(step.settings)),
        )
        for step in steps
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
