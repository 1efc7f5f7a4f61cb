"""Looks, before any run, for values that would go from process to process in memory."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from kedro.pipeline.node import Node

from ..doors.kedro_session import unused_methods
from ..read.dagster_yml import ExecutorOptions, GroupBy
from .executors import import_executor
from .model import Datasets, JobPlan, ProjectPlan, StepPlan, data_outputs
from .node_options import NodeOptionsResolver
from .steps import StepPlanner, cycle_of_groups, group_nodes

SHOWN = 10
"""How many values a warning names."""

_GROUPINGS: tuple[GroupBy, ...] = ("memory", "namespace", "tag")

_STAYS: Mapping[str, frozenset[str]] = {
    package: frozenset(names.split())
    for package, names in {
        "builtins": "generator",
        "collections": "AsyncGenerator AsyncIterator Generator Iterator",
        "duckdb": "DuckDBPyConnection DuckDBPyRelation",
        "ibis": "BaseBackend Expr Table",
        "io": "BufferedReader BufferedWriter FileIO TextIOWrapper",
        "pandas": "TextFileReader",
        "pyspark": "DataFrame RDD SparkContext SparkSession",
        "snowflake": "DataFrame Session",
        "socket": "socket",
        "sqlalchemy": "Connection Engine Session",
        "sqlite3": "Connection Cursor",
        "thread": "RLock allocate_lock lock",
        "threading": "Condition Event Lock RLock Semaphore Thread",
    }.items()
}
"""The classes, by their package, whose objects cannot be pickled or do not work afterwards."""


def preflight(plan: ProjectPlan) -> Iterator[str]:
    """Warn of each job whose steps pass values in memory, and run in processes of their own."""
    for method in unused_methods():
        yield (
            f"SESSION_CLASS of settings.py: {method} is not called, since Dagster runs the nodes. "
            "What it does before and after them belongs into hooks."
        )
    planner = StepPlanner(plan.datasets, NodeOptionsResolver({}, (), {}))
    for job in plan.jobs.values():
        if job.preset:  # its job says it
            continue
        crossing = _crossing(job.steps, plan.datasets)
        if crossing and not _in_one_process(job.executor):
            kept = [one for one in _GROUPINGS if _keeps_together(one, job, planner)]
            yield _warning(job, crossing, kept or ["pipeline"], plan.datasets)


def _crossing(steps: Iterable[StepPlan], datasets: Datasets) -> list[str]:
    """The transient datasets that are produced in one step and consumed in another."""
    steps = list(steps)
    read = {name for step in steps for name in step.inputs if not datasets[name].persisted}
    return list(dict.fromkeys(name for step in steps for name in step.outputs if name in read))


def _in_one_process(executor: ExecutorOptions | None) -> bool:
    if executor is None:
        return False
    return "in_process" in (import_executor(executor.kind).name, *executor.options)


def _keeps_together(group_by: GroupBy, job: JobPlan, planner: StepPlanner) -> bool:
    """Whether a grouping leaves no value to cross from one step to another."""
    groups = group_nodes(group_by, job.pipeline, planner.datasets, planner.labels)
    if cycle_of_groups([group for _, group in groups]):
        return False
    fans_out = any(step.keys for step in job.steps)
    try:
        steps = planner.job_steps(job.name, groups, fans_out, job.whole)
    except ValueError:  # with partitions, not every grouping can be
        return False
    return not _crossing(steps, planner.datasets)


def _warning(job: JobPlan, crossing: list[str], kept: Iterable[str], datasets: Datasets) -> str:
    hints = {name: kind for node in job.pipeline.nodes for name, kind in _hints(node)}
    lost = {name: datasets[name].stays or _kept_type(hints.get(name)) for name in crossing}
    names = sorted(crossing, key=lambda name: not lost[name])  # what fails comes first
    shown = [
        f"{name!r} ({lost[name]} does not survive it)" if lost[name] else repr(name)
        for name in names[:SHOWN]
    ]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"Job {job.name!r}: ephemeral datasets are produced in one step and consumed in another, "
        f"which may be in another process: {', '.join(shown)}{more}. To keep each in one step: "
        f"group_by: {' or '.join(kept)}; in one process: an in_process executor; or give it a "
        "catalog entry."
    )


def _hints(node: Node) -> Iterator[tuple[str, Any]]:
    """The outputs of a node, each with its type, where the function says it."""
    try:
        hint = inspect.signature(node.func, eval_str=True).return_annotation
    except Exception:  # noqa: BLE001  # a hint may name what only type checkers import
        return
    names, inner = list(data_outputs(node)), get_args(hint)
    if inspect.isgeneratorfunction(node.func):  # Kedro saves its chunks one by one
        hint = inner[0] if inner else None
        inner = get_args(hint)
    if len(names) > 1 and get_origin(hint) is tuple and len(inner) == len(names):
        yield from zip(names, inner, strict=True)
    else:
        yield from ((name, hint) for name in names)


def _kept_type(hint: Any) -> str:
    """The name of a type in a hint whose objects do not work in another process."""
    kind = get_origin(hint) or hint
    for part in (kind, *getattr(kind, "__mro__", ())):
        package = str(getattr(part, "__module__", "")).partition(".")[0].lstrip("_")
        name = getattr(part, "__name__", "")
        own = part is kind or package != "collections"  # a class may make its iterators so
        if own and name in _STAYS.get(package, ()):
            return f"{package}.{name}"
    return next(filter(None, map(_kept_type, get_args(hint))), "")
