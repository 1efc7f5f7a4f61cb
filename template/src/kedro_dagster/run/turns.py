"""Takes turns with other runs: of a job that runs once at a time, and in writing a dataset.

The places are those of Dagster's pools, in the instance's storage: so a turn is kept in whatever
process, and however a run was launched.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from ..plan.model import DatasetKind, JobPlan, Nodes, ProjectPlan, data_outputs
from ..plan.names import ONE_RUN_TAG
from .partitions import Scopes

if TYPE_CHECKING:
    from ..doors.dagster import PlanOrchestrationContext

POLL = 1.0
"""Seconds until a run that waits looks again."""

_WITH_DATA = (DatasetKind.PERSISTED, DatasetKind.PARTITIONED)


@contextmanager
def turn_of_run(plan: ProjectPlan, context: PlanOrchestrationContext) -> Iterator[None]:
    """Let a run of a job wait for the others, or cancel it, as ``when_busy`` says."""
    job = plan.jobs.get(context.job_name)
    if job is None or job.max_concurrent_runs is None:
        yield
        return
    instance, limit = context.instance, job.max_concurrent_runs
    pool = f"kedro/{plan.project.package_name}/job/{job.root}"

    def busy(runs: Collection[str]) -> None:
        message = f"{describe_busy(job)}: {', '.join(sorted(runs))}."
        if job.when_busy == "skip":
            message = f"{message} So this run is cancelled, before its first node."
            context.log.warning(message)
            instance.report_run_canceling(context.dagster_run, message)
            raise dg.DagsterExecutionInterruptedError(message)
        context.log.info(f"{message} This run waits for its turn. {_advice(instance, limit)}")

    with in_turn(instance, context.run_id, "job", {pool: limit}, lambda _, runs: busy(runs)):
        yield


def describe_busy(job: JobPlan) -> str:
    """Say that a job has as many runs as it may have."""
    return f"Job {job.name!r} is busy (max_concurrent_runs: {job.max_concurrent_runs})"


def _advice(instance: dg.DagsterInstance, limit: int) -> str:
    queue = instance.get_concurrency_config().run_queue_config
    limits = queue.tag_concurrency_limits if queue else ()
    if limit > 1 or any(one.get("key") == ONE_RUN_TAG for one in limits):
        return ""
    return (
        f"It has a process meanwhile: dagster.yaml of the instance has no limit for the tag "
        f"{ONE_RUN_TAG}, by which it would stay in Dagster's queue."
    )


def free_turns(plan: ProjectPlan, instance: dg.DagsterInstance, job: JobPlan) -> int | None:
    """How many runs of a job a tick may start; ``None`` where it is not for the tick to say."""
    if job.max_concurrent_runs is None or job.when_busy == "queue":
        return None
    ended = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    statuses = [status for status in dg.DagsterRunStatus if status not in ended]
    names = [name for name, one in plan.jobs.items() if one.root == job.root]  # with its presets
    filters = [dg.RunsFilter(job_name=name, statuses=statuses) for name in names]
    return max(job.max_concurrent_runs - sum(map(instance.get_runs_count, filters)), 0)


@contextmanager
def turn_to_write(
    plan: ProjectPlan, context: dg.OpExecutionContext, nodes: Nodes, scopes: Mapping[str, Scopes]
) -> Iterator[None]:
    """Let a step wait while another one writes what it writes, if ``one_writer`` says so."""
    targets = _written(plan, nodes, scopes) if plan.one_writer else ()
    prefix = f"kedro/{plan.project.package_name}/dataset/"

    def busy(pool: str, runs: Collection[str]) -> None:
        context.log.info(
            f"{pool.removeprefix(prefix)!r} is being written by run {', '.join(sorted(runs))}. "
            "This step waits for its turn."
        )

    pools = dict.fromkeys((f"{prefix}{target}" for target in targets), 1)
    # Dagster frees the places of a step by its key; those of its own pool are no concern of ours
    who = f"{context.get_step_execution_context().step.key} writes"
    with in_turn(context.instance, context.run_id, who, pools, busy):
        yield


def _written(plan: ProjectPlan, nodes: Nodes, scopes: Mapping[str, Scopes]) -> Iterator[str]:
    """What nodes write that others may write too: datasets, or their partitions."""
    for node in nodes:
        for name in data_outputs(node):
            dataset, scope = plan.datasets[name], scopes.get(node.name, {}).get(name)
            if scope:
                yield from (f"{name}/{key}" for key in scope.keys)
            elif dataset.kind in _WITH_DATA and not dataset.versioned:
                yield name


@contextmanager
def in_turn(
    instance: dg.DagsterInstance,
    dagster_run_id: str,
    who: str,
    pools: Mapping[str, int],
    busy: Callable[[str, Collection[str]], None],
) -> Iterator[None]:
    """Hold a place in each of some pools, given with their size.

    ``busy`` is told once of a pool that is full, and by which runs.
    """
    storage = instance.event_log_storage
    if not pools or not storage.supports_global_concurrency_limits:  # there is but this run
        yield
        return

    def claim(pool: str) -> bool:
        with _alone(instance):
            if storage.get_concurrency_info(pool).slot_count != pools[pool]:
                storage.set_concurrency_slots(pool, pools[pool])
            return bool(storage.claim_concurrency_slot(pool, dagster_run_id, who).is_claimed)

    try:
        for pool in sorted(pools):  # in the same order for all: no two wait for each other
            told = False
            while not claim(pool):
                others = _runs_in(instance, pool) - {dagster_run_id}
                if others and not told:
                    told = True
                    busy(pool, others)
                with dg.raise_execution_interrupts():
                    time.sleep(POLL)
        yield
    finally:
        storage.free_concurrency_slot_for_step(dagster_run_id, who)


@contextmanager
def _alone(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let no other process take a place meanwhile, where the database does not see to it.

    On SQLite, Dagster finds a place that is free and takes it in two transactions, and two runs
    that began at the same time were seen to get the same one.
    """
    if "sqlite" not in type(instance.event_log_storage).__module__:
        yield
        return
    folder = Path(instance.storage_directory())
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "kedro_turns.lock", timeout=60)) as lock:
        lock.execute("BEGIN EXCLUSIVE")  # until it is closed, or this process ends
        yield


def _runs_in(instance: dg.DagsterInstance, pool: str) -> set[str]:
    """The runs that have a place in a pool. Who was killed has left it taken: that is freed."""
    storage = instance.event_log_storage
    info = storage.get_concurrency_info(pool)
    found = {slot.run_id for slot in info.claimed_slots}
    found |= {step.run_id for step in info.pending_steps}
    for run_id in tuple(found):
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)
            found.discard(run_id)
    return found
