"""Runs that take turns: of a job with ``max_concurrent_runs``, and in writing one dataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.describe import describe
from kedro_dagster.read.partition_keys import PartitionScope
from kedro_dagster.run import turns
from projects import Project, make_project

pytestmark = pytest.mark.xdist_group("turns")

PIPELINES = """\
import json
import time

from kedro.pipeline import Pipeline, node


def note(what):
    with open("times.jsonl", "a") as file:
        file.write(json.dumps([what, time.time()]) + "\\n")


def slow():
    note("start")
    time.sleep(3)
    note("end")
    return 1, 2


def keys():
    from kedro_dagster.datasets import partition_ids

    slow()
    return {key: key for key in partition_ids("parts")}


def register_pipelines():
    return {
        "__default__": Pipeline([node(slow, None, ["one", "two"], name="slow")]),
        "parts": Pipeline([node(keys, None, "parts", name="keys")]),
    }
"""
HOOKS = """\
from kedro.framework.hooks import hook_impl

from shop.pipeline_registry import note


class ProjectHooks:
    @hook_impl
    def before_pipeline_run(self):
        note("hook")
"""
JSON = {"type": "json.JSONDataset"}
CATALOG = {
    "one": {**JSON, "filepath": "data/one.json"},
    "two": {**JSON, "filepath": "data/two.json"},
    "parts": {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": "data/parts",
        "filename_suffix": ".json",
        "dataset": JSON,
        "partition": {"type": "dagster.DynamicPartitionsDefinition", "name": "parts"},
    },
}
DAGSTER = """\
one_writer: true
jobs:
  queue: {pipeline: {}, executor: {multiprocess: {max_concurrent: 1}}, max_concurrent_runs: 1}
  skip:
    pipeline: {}
    executor: in_process
    max_concurrent_runs: 1
    when_busy: skip
    schedule: {cron_schedule: "@daily"}
  writes: {pipeline: {}, executor: {multiprocess: {max_concurrent: 1}}}
  writes_too: {pipeline: {}, executor: in_process}
  parts:
    pipeline: {pipeline_name: parts}
    max_concurrent_runs: 2
    when_busy: skip
    executor: in_process
sensors:
  files: {dataset: parts, job: parts}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        project = make_project(
            tmp_path_factory.mktemp("turns") / "project",
            pipelines=PIPELINES,
            catalog=CATALOG,
            dagster=DAGSTER,
            hooks=HOOKS,
            files={f"data/parts/{key}.json": "1" for key in "abc"},
        )
        project.create_dagster_home()
        yield project


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        instance.get_runs(limit=1)  # its tables are made by now
        yield instance


def at_once(project: Project, *jobs: str) -> tuple[list[str], str]:
    """What happens, in order, when jobs are executed at the same time; and what they print."""
    times = project.path / "times.jsonl"
    times.unlink(missing_ok=True)
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda job: project.execute(job, check=False), jobs))
    events = [json.loads(line) for line in times.read_text().splitlines()]
    printed = " ".join(" ".join(run.stdout + run.stderr for run in runs).split())
    return [what for what, _ in sorted(events, key=lambda event: event[1])], printed


def statuses(instance: dg.DagsterInstance, job: str) -> list[str]:
    return sorted(run.status.value for run in instance.get_runs(dg.RunsFilter(job_name=job)))


@pytest.mark.slow
def test_the_second_run_of_a_job_waits_before_its_hooks(
    project: Project, instance: dg.DagsterInstance
) -> None:
    events, printed = at_once(project, "queue", "queue")
    assert events == ["hook", "start", "end"] * 2
    assert statuses(instance, "queue") == ["SUCCESS"] * 2
    assert printed.count("Job 'queue' is busy (max_concurrent_runs: 1)") == 1
    assert "This run waits for its turn. It has a process meanwhile" in printed


@pytest.mark.slow
def test_the_second_run_is_cancelled_before_its_hooks(
    project: Project, instance: dg.DagsterInstance
) -> None:
    events, printed = at_once(project, "skip", "skip")
    assert events == ["hook", "start", "end"]
    assert statuses(instance, "skip") == ["CANCELED", "SUCCESS"]
    assert "So this run is cancelled, before its first node." in printed


@pytest.mark.slow
def test_two_jobs_that_write_the_same_datasets_do_so_one_after_the_other(
    project: Project, instance: dg.DagsterInstance
) -> None:
    events, printed = at_once(project, "writes", "writes_too")
    assert [event for event in events if event != "hook"] == ["start", "end"] * 2
    assert events.count("hook") == 2
    assert statuses(instance, "writes") == statuses(instance, "writes_too") == ["SUCCESS"]
    assert "'one' is being written by run" in printed


@pytest.fixture(scope="module")
def kedro(project: Project) -> KedroProjectTranslator:
    return KedroProjectTranslator(project.path)


@pytest.fixture(scope="module")
def definitions(kedro: KedroProjectTranslator) -> dg.Definitions:
    return kedro.to_definitions()


def start(instance: dg.DagsterInstance, definitions: dg.Definitions, job: str) -> dg.DagsterRun:
    run = instance.create_run_for_job(definitions.resolve_job_def(job))
    instance.report_run_canceling(run)  # in progress until it has ended
    return run


def test_a_place_of_a_run_that_was_killed_is_free(
    instance: dg.DagsterInstance, definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "POLL", 0.05)
    run, storage = start(instance, definitions, "skip"), instance.event_log_storage
    told: list[Any] = []
    looks = iter(range(5))

    def cancel(_: float) -> None:
        assert next(looks, None) is not None, "it waits for ever"
        instance.report_run_canceled(run)

    monkeypatch.setattr(turns.time, "sleep", cancel)
    storage.set_concurrency_slots("pool", 1)
    assert storage.claim_concurrency_slot("pool", run.run_id, "killed").is_claimed
    with turns.in_turn(instance, "other", "job", {"pool": 1}, lambda *all_: told.append(all_)):
        (slot,) = storage.get_concurrency_info("pool").claimed_slots
        assert slot.run_id == "other"
    assert told == [("pool", {run.run_id})]
    assert not storage.get_concurrency_info("pool").claimed_slots


def test_a_tick_of_a_schedule_that_finds_the_job_busy_is_skipped(
    instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    schedule = definitions.resolve_schedule_def("skip_schedule")
    context = dg.build_schedule_context(instance)
    assert len(schedule.evaluate_tick(context).run_requests or ()) == 1
    run = start(instance, definitions, "skip")
    tick = schedule.evaluate_tick(context)
    assert (tick.run_requests, tick.skip_message) == (
        [],
        "Job 'skip' is busy (max_concurrent_runs: 1).",
    )
    instance.report_run_canceled(run)


def test_a_sensor_starts_as_many_runs_as_may_go_on(
    instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    def tick() -> Any:
        with dg.build_sensor_context(instance, definitions=definitions) as context:
            return definitions.resolve_sensor_def("files")(context)

    assert len(tick().run_requests) == 2
    runs = [start(instance, definitions, "parts")]
    assert len(tick().run_requests) == 1
    runs.append(start(instance, definitions, "parts"))
    assert tick().skip_message == "Job 'parts' is busy (max_concurrent_runs: 2)."
    for run in runs:
        instance.report_run_canceled(run)


def test_partitions_are_written_by_one_at_a_time_each(kedro: KedroProjectTranslator) -> None:
    (slow,), (parts,) = (kedro.plan.jobs[job].pipeline.nodes for job in ("skip", "parts"))
    assert list(turns._written(kedro.plan, (slow,), {})) == ["one", "two"]
    scopes = {"keys": {"parts": PartitionScope(("a", "b"))}}
    assert list(turns._written(kedro.plan, (parts,), scopes)) == ["parts/a", "parts/b"]
    assert list(turns._written(kedro.plan, (parts,), {})) == ["parts"]  # partitions: all


def test_dagsters_queue_is_told_of_runs_that_wait(kedro: KedroProjectTranslator) -> None:
    def tags(job: str) -> Mapping[str, str]:
        return kedro.plan.jobs[job].tags

    assert tags("queue") == {"kedro/one_run_of": "queue"}
    assert tags("skip") == tags("parts") == tags("writes") == {}
    assert "max_concurrent_runs 2, when busy skip, 1 step)" in describe(kedro.plan)


def test_when_busy_without_a_number_is_a_mistake(project: Project) -> None:
    file = project.path / "conf/mistake/dagster.yml"
    file.parent.mkdir()
    file.write_text("jobs: {a: {pipeline: {}, when_busy: skip}}")
    with pytest.raises(
        DagsterConfigError, match=r"jobs\.a: when_busy: give max_concurrent_runs too"
    ):
        KedroProjectTranslator(project.path, env="mistake")
