"""A packaged project in production, whose daemon, run worker and code server end at bad moments."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
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

BACKFILL_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
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
    """What was done, and where to look for what became of it."""

    deployment: Deployment
    server: Server
    instance: dg.DagsterInstance
    launched: list[str]
    killed: list[str]
    kept: str

    @property
    def folder(self) -> Path:
        return self.server.project.path

    def hooks(self, run: str) -> list[str]:
        """The pipeline hooks and nodes of a run."""
        identity = self.server.run(run).tags["kedro/run_id"]
        lines = [line for line in trace(self.folder) if line["run_id"] == identity]
        return [line["node"] or line["hook"] for line in lines]

    def runs(self, tag: str) -> list[dg.DagsterRun]:
        """The runs with a tag, in the order in which they came."""
        runs = self.instance.get_runs()
        return [run for run in reversed(runs) if tag in run.tags]


@pytest.fixture(scope="module")
def drill(source: Project, image: Stage) -> Iterator[Drill]:
    """The drill: everything is launched, and what is to be killed is killed."""
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
            yield run_drill(deployment, server, instance)


def run_drill(deployment: Deployment, server: Server, instance: dg.DagsterInstance) -> Drill:
    gate = server.project.path / "gate"
    held = runtime_params(until=str(gate))

    def worker_of(run: str) -> int | None:
        """The process of a run that waits at the gate."""
        identity = server.run(run).tags.get("kedro/run_id")
        lines = trace(server.project.path)
        found = [line for line in lines if line["run_id"] == identity and line["node"] == "take"]
        return found[0]["pid"] if found else None

    def ended_runs_of(backfill: str) -> int:
        runs = [server.run(run) for run in server.runs(dagster__backfill=backfill)]
        return sum(run.status == "SUCCESS" for run in runs)

    def retry_of(run: str) -> bool | None:
        return any(retry.parent_run_id == run for retry in instance.get_runs()) or None

    def errors() -> int:
        return sum(line["hook"] == "on_pipeline_error" for line in trace(server.project.path))

    schedule = server.start_schedule("minutely")
    killed = server.launch("beat", held)
    launched = [server.launch("beat"), server.launch("beat_in_processes")]
    backfill = server.backfill(ASSETS, {"execution": {"config": {"in_process": {}}}})

    # The run worker is killed, and comes back
    os.kill(until(lambda: worker_of(killed), "the run to start"), signal.SIGKILL)
    gate.touch()

    # The daemon is killed as it submits the backfill, and again as it goes on with it
    until(lambda: server.runs(dagster__backfill=backfill) or None, "the backfill to start")
    deployment.kill("daemon")
    launched += [server.launch("beat"), server.launch("beat")]
    deployment.start("daemon")
    until(lambda: ended_runs_of(backfill) >= 2 or None, "the backfill to go on")
    deployment.kill("daemon")
    deployment.start("daemon")
    until(lambda: len(server.runs(dagster__schedule_name="minutely")) >= 2 or None, "two ticks")
    server.stop_schedule(schedule)

    def completed() -> bool | None:
        status = server.query(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]["status"]
        return status == "COMPLETED_SUCCESS" or None

    until(completed, "the backfill to end", 600)

    # The code server is replaced as a run is at work
    gate.unlink()
    kept = server.launch("beat", held)
    until(lambda: worker_of(kept), "the run to start")
    process = deployment.processes["code-server"]
    process.send_signal(signal.SIGTERM)
    launched.append(server.launch("beat"))
    gate.touch()
    process.wait(120)
    deployment.start("code-server")

    # All goes down at once as a run is at work, with no other under way
    until(lambda: all(run.is_finished for run in instance.get_runs()) or None, "all runs to end")
    gate.unlink()
    lost = server.launch("beat", held)
    until(lambda: worker_of(lost), "the run to start")
    deployment.crash()
    gate.touch()
    deployment.start("code-server")
    deployment.start("webserver", "daemon")
    until(lambda: retry_of(lost), "the run to be started again")
    until(lambda: all(run.is_finished for run in instance.get_runs()) or None, "all runs to end")
    until(lambda: errors() == 2 or None, "the sensor to have seen the killed runs")
    return Drill(deployment, server, instance, launched, [killed, lost], kept)


def test_the_image_has_the_packages_and_no_source_tree_and_no_secret(image: Stage) -> None:
    (packages,) = image.python.glob("lib/python3*/site-packages")
    files = {str(file.relative_to(image.workdir)) for file in image.workdir.rglob("*.*")}
    assert (packages / "kedro_dagster" / "run.py").is_file()
    assert not [file for file in files if file.endswith((".py", ".toml"))]
    assert "conf/base/dagster.yml" in files
    assert not list(image.workdir.rglob("credentials*"))


def test_the_definitions_load_in_the_image(drill: Drill) -> None:
    command = ["dagster", "definitions", "validate", "--module-name", "my_project.definitions"]
    process = drill.deployment.run("code-server", *command)
    assert process.returncode == 0, process.stderr


def test_what_was_launched_ran_once(drill: Drill) -> None:
    for run in drill.launched:
        assert drill.server.run(run).status == "SUCCESS"
        assert drill.hooks(run) == ["before_pipeline_run", "take", "give", "after_pipeline_run"]


def test_each_partition_of_the_backfill_ran_once(drill: Drill) -> None:
    runs = drill.runs(BACKFILL_ID_TAG)
    assert sorted(run.tags[PARTITION_NAME_TAG] for run in runs) == PARTITIONS
    for run in runs:
        assert run.status == dg.DagsterRunStatus.SUCCESS
        hooks = Counter(drill.hooks(run.run_id))
        assert set(hooks.values()) == {1}
        assert {"before_pipeline_run", "after_pipeline_run"} < set(hooks)


def test_each_minute_of_the_schedule_ran_once(drill: Drill) -> None:
    runs = drill.runs(SCHEDULE_NAME_TAG)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    times = [datetime.fromisoformat(run.tags[SCHEDULED_EXECUTION_TIME_TAG]) for run in runs]
    assert times == [times[0] + timedelta(minutes=number) for number in range(len(times))]


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


def test_a_code_server_that_is_told_to_stop_lets_its_runs_end(drill: Drill) -> None:
    assert drill.server.run(drill.kept).status == "SUCCESS"
    assert drill.hooks(drill.kept) == ["before_pipeline_run", "take", "give", "after_pipeline_run"]


def test_every_run_saved_a_version_of_its_own_and_no_other_was_made(drill: Drill) -> None:
    versions = {folder.name for folder in (drill.folder / "data" / "beat.json").iterdir()}
    runs = [run for run in drill.instance.get_runs() if run.job_name.startswith("beat")]
    succeeded = [run for run in runs if run.status == dg.DagsterRunStatus.SUCCESS]
    assert versions == {run.tags["kedro/run_id"] for run in succeeded}
    ticks, retries = drill.runs(SCHEDULE_NAME_TAG), drill.runs(PARENT_RUN_ID_TAG)
    expected = {*drill.launched, *drill.killed, drill.kept}
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
