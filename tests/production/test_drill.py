"""A packaged project in production, whose daemon, run worker and code server end at bad moments."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorType
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    SCHEDULE_NAME_TAG,
    SCHEDULED_EXECUTION_TIME_TAG,
)

from conftest import Render
from live.server import Server, until
from live.shop import runtime_params
from production.deployment import Deployment, deploy
from production.drill import extend, trace
from production.image import Stage, build
from projects import Project

pytestmark = pytest.mark.slow

wait = partial(until, timeout=900)  # which only ends a hang

BACKFILL_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
LOGS_CAPTURED = dg.DagsterEventType.LOGS_CAPTURED
SERVICES = ["code-server", "webserver", "daemon"]
ASSETS = ["clean_repairs", "depot_workload"]
PARTITIONS = ["campus", "centre", "green", "harbour", "north", "parkway", "quayside"]


@pytest.fixture(scope="module")
def source(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The source tree of the project."""
    project = Project(render(deployment=True), "my_project")
    project = project.copy(tmp_path_factory.mktemp("source") / "my-project")
    extend(project)
    return project


@pytest.fixture(scope="module")
def image(source: Project, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """What the Dockerfile makes of it."""
    return build(source.path, tmp_path_factory.mktemp("image") / "stages")


@dataclass
class Drill:
    """What is launched and killed, and where to look for what became of it."""

    deployment: Deployment
    server: Server
    instance: dg.DagsterInstance
    launched: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    gate: Path = Path()

    def carry_out(self) -> None:
        """Launch runs in every way, and end what runs them at bad moments."""
        schedule = self.server.start_schedule("beat_schedule")
        worker = self.launch_held()
        self.launch("beat_in_processes")
        backfill = self.server.backfill(ASSETS, {"execution": {"config": {"in_process": {}}}})
        self.kill_the_process_of_a_run(worker)
        self.kill_the_daemon_twice(backfill)
        self.replace_the_code_server(backfill)
        wait(lambda: len(self.runs(SCHEDULE_NAME_TAG)) >= 2 or None, "two ticks")
        self.server.stop_schedule(schedule)
        wait(lambda: self.status_of(backfill) != "REQUESTED" or None, "the backfill")
        log = self.deployment.log("daemon").read_text()
        assert self.status_of(backfill) == "COMPLETED_SUCCESS", log
        self.wait_for_all()
        self.crash()
        wait(lambda: self.hooks().count("on_pipeline_error") == 2 or None, "the sensor")

    def kill_the_process_of_a_run(self, run: str) -> None:
        self.killed.append(run)
        os.kill(self.worker_of(run), signal.SIGKILL)
        self.gate.touch()

    def kill_the_daemon_twice(self, backfill: str) -> None:
        """Once as it submits the backfill, once as it goes on with it."""
        wait(lambda: self.runs(BACKFILL_ID_TAG) or None, "the backfill to start")
        self.deployment.kill("daemon")
        self.launch("beat")
        self.deployment.start("daemon")
        wait(lambda: self.succeeded(BACKFILL_ID_TAG) >= 2 or None, "the backfill to go on")
        assert self.status_of(backfill) == "REQUESTED"
        self.deployment.kill("daemon")
        self.deployment.start("daemon")

    def replace_the_code_server(self, backfill: str) -> None:
        """Tell it to stop as a run is at work and another one comes; the backfill is looked at."""
        kept = self.launch_held()
        self.worker_of(kept)
        process = self.deployment.processes["code-server"]
        process.send_signal(signal.SIGTERM)
        self.launch("beat")
        wait(self.refused_run, "a run to be refused, and to be queued again")
        self.gate.touch()
        assert process.wait(900) == 0
        looked = self.evaluations
        wait(
            lambda: self.evaluations > looked or self.status_of(backfill) != "REQUESTED" or None,
            "the backfill to be looked at",
        )
        self.deployment.start("code-server")
        self.launched.append(kept)

    def crash(self) -> None:
        """Let all end at once as a run is at work, with no other under way."""
        lost = self.launch_held()
        self.worker_of(lost)
        self.deployment.crash()
        self.killed.append(lost)
        self.gate.touch()
        self.deployment.start("code-server")
        self.deployment.start("webserver", "daemon")
        wait(lambda: len(self.runs(PARENT_RUN_ID_TAG)) == 2 or None, "the run to be started again")
        self.wait_for_all()

    def launch(self, job: str) -> str:
        self.launched.append(self.server.launch(job))
        return self.launched[-1]

    def launch_held(self) -> str:
        """Launch a run that waits in its first node until its gate is open."""
        self.gate = self.folder / f"gate {len(self.instance.get_runs())}"
        return self.server.launch("beat", runtime_params(until=str(self.gate)))

    def worker_of(self, run: str) -> int:
        """Wait until a run is at work in its first node; gives its process."""

        def look() -> int | None:
            identity = self.server.run(run).tags.get("kedro/run_id")
            lines = trace(self.folder)
            found = [line for line in lines if (line["run_id"], line["node"]) == (identity, "take")]
            return found[0]["pid"] if found else None

        return wait(look, "the run to start")

    def wait_for_all(self) -> None:
        """Wait until all runs have ended."""
        wait(lambda: all(run.is_finished for run in self.instance.get_runs()) or None, "all runs")

    @property
    def evaluations(self) -> int:
        """How often the daemon has looked at a backfill."""
        return self.deployment.log("daemon").read_text().count("Evaluating asset backfill")

    @property
    def folder(self) -> Path:
        return self.server.project.path

    def hooks(self, run: str | None = None) -> list[str]:
        """The pipeline hooks and nodes of a run, or of all."""
        identity = self.server.run(run).tags["kedro/run_id"] if run else None
        lines = [line for line in trace(self.folder) if line["run_id"] == identity or not run]
        return [line["node"] or line["hook"] for line in lines]

    def runs(self, tag: str) -> list[dg.DagsterRun]:
        """The runs with a tag, in the order in which they came."""
        return [run for run in reversed(self.instance.get_runs()) if tag in run.tags]

    def succeeded(self, tag: str) -> int:
        return sum(run.status == dg.DagsterRunStatus.SUCCESS for run in self.runs(tag))

    def status_of(self, backfill: str) -> str:
        answer = self.server.query(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]
        status: str = answer["status"]
        return status

    def refused_run(self) -> str | None:
        """A run that was queued more than once."""
        enqueued = dg.DagsterEventType.PIPELINE_ENQUEUED
        for run in self.instance.get_runs():
            if len(self.instance.get_records_for_run(run.run_id, of_type=enqueued).records) > 1:
                return run.run_id
        return None


@pytest.fixture(scope="module")
def drill(source: Project, image: Stage) -> Iterator[Drill]:
    """The drill, carried out on what the compose file starts of the image."""
    compose_file = (source.path / "deployment" / "compose.yaml").read_text()
    source.path.rename(source.path.with_name("elsewhere"))  # the image is all there is
    with deploy(image, compose_file) as deployment, pytest.MonkeyPatch.context() as patch:
        deployment.start("code-server")
        deployment.start("webserver", "daemon")
        for name, value in deployment.environment("daemon").items():
            if name.startswith("POSTGRES_"):
                patch.setenv(name, value)
        server = Server(Project(image.workdir, source.package), deployment.ports["3000"])
        home = str(image.workdir / "dagster_home")
        with dg.DagsterInstance.from_config(home) as instance:
            drill = Drill(deployment, server, instance)
            drill.carry_out()
            yield drill


def test_the_image_has_the_packages_and_no_source_tree_and_no_secret(image: Stage) -> None:
    (packages,) = image.python.glob("lib/python3*/site-packages")
    files = {str(file.relative_to(image.workdir)) for file in image.workdir.rglob("*.*")}
    assert (packages / "kedro_dagster" / "run" / "executor.py").is_file()
    assert not [file for file in files if file.endswith((".py", ".toml"))]
    assert "conf/base/dagster.yml" in files
    assert not list(image.workdir.rglob("credentials*"))


def test_the_definitions_load_in_the_image(drill: Drill) -> None:
    command = ["dagster", "definitions", "validate", "--module-name", "my_project.definitions"]
    process = drill.deployment.run("code-server", *command)
    assert process.returncode == 0, process.stderr


def test_the_code_server_makes_the_tables_and_nobody_else_looks_for_them(drill: Drill) -> None:
    log = drill.deployment.log("code-server").read_text()
    assert log.count("Running migration") == 3  # at each start: twice there is nothing to be done
    for storage in (drill.instance.run_storage, drill.instance.event_log_storage):
        assert storage.should_autocreate_tables is False  # type: ignore[attr-defined]
        current, latest = storage.alembic_version() or (None, None)
        assert current == latest is not None


def test_the_logs_of_steps_are_found_by_other_services(drill: Drill) -> None:
    for run in drill.launched:
        records = drill.instance.get_records_for_run(run, of_type=LOGS_CAPTURED).records
        logs = b""
        for record in records:
            key = drill.instance.compute_log_manager.build_log_key_for_run(
                run, record.event_log_entry.get_dagster_event().logs_captured_data.file_key
            )
            assert drill.instance.compute_log_manager.is_capture_complete(key)
            logs += drill.instance.compute_log_manager.get_log_data(key).stdout or b""
        assert logs.count(b"Running node: take") == logs.count(b"Running node: give") == 1


def test_every_service_says_that_it_is_healthy(drill: Drill) -> None:
    assert [name for name in SERVICES if not drill.deployment.is_healthy(name)] == []


def test_what_was_launched_ran_once(drill: Drill) -> None:
    for run in drill.launched:
        assert drill.server.run(run).status == "SUCCESS"
        assert drill.hooks(run) == ["before_pipeline_run", "take", "give", "after_pipeline_run"]


def test_a_run_that_a_stopping_code_server_refused_ran_after_all(drill: Drill) -> None:
    assert drill.server.run(drill.refused_run() or "").status == "SUCCESS"


def test_each_partition_of_the_backfill_ran_once(drill: Drill) -> None:
    runs = drill.runs(BACKFILL_ID_TAG)
    assert sorted(run.tags[PARTITION_NAME_TAG] for run in runs) == PARTITIONS
    for run in runs:
        assert run.status == dg.DagsterRunStatus.SUCCESS
        hooks = Counter(drill.hooks(run.run_id))
        assert set(hooks.values()) == {1}
        assert {"before_pipeline_run", "after_pipeline_run"} < set(hooks)


def test_each_tick_of_the_schedule_ran_once(drill: Drill) -> None:
    """A tick that falls while the daemon is away is made up for, if it is the last one missed."""
    runs = drill.runs(SCHEDULE_NAME_TAG)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    times = [datetime.fromisoformat(run.tags[SCHEDULED_EXECUTION_TIME_TAG]) for run in runs]
    assert times == sorted({*times})
    (schedule,) = drill.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    ticks = drill.instance.get_ticks(schedule.instigator_origin_id, schedule.selector_id)
    launched = [run for tick in ticks for run in tick.run_ids]
    assert sorted(launched) == sorted(run.run_id for run in runs)


@pytest.mark.parametrize("number", [0, 1], ids=["its process", "the machine"])
def test_a_run_that_was_killed_with_is_retried_once(drill: Drill, number: int) -> None:
    killed = drill.killed[number]
    (retry,) = [run for run in drill.runs(PARENT_RUN_ID_TAG) if run.parent_run_id == killed]
    assert retry.status == dg.DagsterRunStatus.SUCCESS
    assert drill.server.run(killed).status == "FAILURE"
    assert drill.hooks(killed) == ["before_pipeline_run", "take", "on_pipeline_error"]
    assert drill.hooks(retry.run_id) == [
        "before_pipeline_run",
        "take",
        "give",
        "after_pipeline_run",
    ]


def test_every_run_saved_a_version_of_its_own_and_no_other_was_made(drill: Drill) -> None:
    versions = {folder.name for folder in (drill.folder / "data" / "beat.json").iterdir()}
    runs = [run for run in drill.instance.get_runs() if run.job_name.startswith("beat")]
    succeeded = [run for run in runs if run.status == dg.DagsterRunStatus.SUCCESS]
    assert versions == {run.tags["kedro/run_id"] for run in succeeded}
    ticks, retries = drill.runs(SCHEDULE_NAME_TAG), drill.runs(PARENT_RUN_ID_TAG)
    expected = {*drill.launched, *drill.killed}
    assert len(retries) == len(drill.killed)
    expected |= {run.run_id for run in (*ticks, *retries)}
    assert {run.run_id for run in runs} == expected


def test_the_files_of_the_backfill_are_those_of_kedro_run(drill: Drill, source: Project) -> None:
    project = Project(source.path.with_name("elsewhere"), source.package)
    project.kedro("run", "--nodes=clean_repairs,sum_workload")
    folders = ("data/02_intermediate/clean_repairs", "data/03_primary/depot_workload")
    files = [file for folder in folders for file in (project.path / folder).iterdir()]
    assert len(files) == len(PARTITIONS)
    for file in files:
        assert (drill.folder / file.relative_to(project.path)).read_bytes() == file.read_bytes()
