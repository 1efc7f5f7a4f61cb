"""Jobs that come of others: those of factories, presets, and those that start after others."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.plan.describe import describe
from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("related_jobs")]

PIPELINES = """\
    from kedro.pipeline import Pipeline, node


    def make(size):
        return list(range(size))


    def add(rows):
        return sum(rows)


    def join(*totals):
        return {"total": sum(totals)}


    def copy(parts):
        return {key: load() for key, load in parts.items()}


    def register_pipelines():
        region = Pipeline(
            [
                node(make, "params:size", "rows", name="make"),
                node(add, "rows", "total", name="add", tags="sums"),
            ]
        )
        regions = [
            Pipeline(region, namespace=name, parameters={"params:size": "params:size"})
            for name in ("eu", "us", "us.west")
        ]
        totals = ["eu.total", "us.total"]
        report = Pipeline([node(join, totals, "report", name="join", tags="sums")])
        ingest = sum(regions, Pipeline([]))
        return {
            "__default__": ingest + report,
            "ingest": ingest,
            "report": report,
            "copying": Pipeline([node(copy, "parts", "copies", name="copy")]),
        }
"""
CATALOG = """\
    "{region}.total": {type: json.JSONDataset, filepath: "data/{region}/total.json"}
    report: {type: json.JSONDataset, filepath: data/report.json}
    parts: &parts
      type: kedro_dagster.datasets.DagsterPartitionedDataset
      path: parts
      filename_suffix: .json
      dataset: {type: json.JSONDataset}
      partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [a, b, c]}
    copies: {<<: *parts, path: copies}
"""
DAGSTER = """\
    executors:
      two: {multiprocess: {max_concurrent: 2}}
      spawned: {multiprocess: {start_method: {spawn: {}}}}
    jobs:
      "{namespace}_job":
        pipeline: {pipeline_name: __default__, node_namespaces: ["{namespace}"]}
        executor: two
        description: What {namespace} makes.
      "us_{part}":
        pipeline: {node_namespaces: "us.{part}"}
        executor: in_process
        tags: {part: "{part}"}
      "{pipeline}": {pipeline: {pipeline_name: "{pipeline}"}, executor: in_process}
      "of_{pipeline}_{tag}": {pipeline: {pipeline_names: ["re{pipeline}"], tags: ["{tag}"]}}
      report: {pipeline: {pipeline_name: report}, description: written out}
      joined:
        pipeline: {pipeline_name: report}
        executor: in_process
        after: [us_job, eu_job, copied]
      sized:
        pipeline: {pipeline_name: ingest, node_namespaces: eu}
        executor: spawned
        max_concurrent_runs: 1
        when_busy: skip
        presets:
          small: {runtime_params: {size: 2}}
          big:
            runtime_params: {size: 9, model: {depth: 5}}
            schedule: {cron_schedule: "@daily", runtime_params: {model: {rate: 1}}}
            description: All of it.
      made:
        target: assets
        pipeline: {pipeline_name: ingest, node_namespaces: eu}
        executor: two
        presets: {small: {runtime_params: {size: 2}}}
      fan:
        pipeline: {pipeline_name: copying}
        executor: in_process
        presets: {b: {partition_keys: [b]}}
      fetched: {pipeline: {pipeline_name: copying}, partitions: per_run, executor: in_process}
      copied:
        pipeline: {pipeline_name: copying}
        partitions: per_run
        executor: in_process
        after: fetched
        max_concurrent_runs: 2
        when_busy: skip
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("related") / "related",
        package="related",
        pipelines=PIPELINES,
        catalog=CATALOG,
        parameters={"size": 4, "model": {"depth": 1, "rate": 0.1}},
        dagster=DAGSTER,
        files={f"parts/{key}.json": json.dumps(key) for key in "abc"},
    )


@pytest.fixture(scope="module")
def translator(project: Project) -> Iterator[KedroProjectTranslator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield KedroProjectTranslator(project.path)


@pytest.fixture(scope="module")
def repository(translator: KedroProjectTranslator) -> dg.RepositoryDefinition:
    return translator.to_definitions().get_repository_def()


def data(project: Project) -> dict[str, object]:
    """What runs have saved, which is taken away."""
    files = sorted((project.path / "data").rglob("*.json"))
    found = {file.relative_to(project.path / "data").as_posix(): file for file in files}
    saved = {name: json.loads(file.read_text()) for name, file in found.items()}
    for file in files:
        file.unlink()
    return saved


def test_a_factory_gives_a_job_for_each_namespace_pipeline_and_tag(
    translator: KedroProjectTranslator,
) -> None:
    jobs = translator.plan.jobs
    assert {name: job.pattern for name, job in jobs.items()} == {
        "report": None,  # which is there by name
        **dict.fromkeys(("joined", "sized", "fan", "fetched", "copied")),
        **dict.fromkeys(("sized_small", "sized_big", "fan_b", "made", "made_small")),
        "eu_job": "{namespace}_job",
        "us_job": "{namespace}_job",
        "us_west": "us_{part}",
        "ingest": "{pipeline}",
        "copying": "{pipeline}",
        "of_port_sums": "of_{pipeline}_{tag}",
    }
    nodes = {name: {node.name for node in job.pipeline.nodes} for name, job in jobs.items()}
    assert nodes["eu_job"] == {"eu.make", "eu.add"}
    assert nodes["us_job"] == {"us.make", "us.add", "us.west.make", "us.west.add"}
    assert nodes["us_west"] == {"us.west.make", "us.west.add"}
    assert nodes["of_port_sums"] == {"join"}
    assert jobs["eu_job"].description == "What eu makes."
    assert jobs["us_west"].tags == {"part": "west"}
    shown = describe(translator.plan)
    assert (
        "Job eu_job (pipeline __default__, executor multiprocess, from '{namespace}_job'" in shown
    )
    assert "Job report (pipeline report, executor of the code location, 1 step)" in shown


@pytest.mark.parametrize("job", ["us_job", "us_west"])
def test_a_job_of_a_factory_makes_what_kedro_run_makes(project: Project, job: str) -> None:
    data(project)  # of other tests
    namespaces = {"us_job": "us", "us_west": "us.west"}
    project.kedro("run", "--namespaces", namespaces[job])
    expected = data(project)
    assert len(expected) == {"us_job": 2, "us_west": 1}[job]
    project.kedro("dagster", "run", job)
    assert data(project) == expected
    project.kedro("dagster", "run", job, "--nodes", "us.west.make,us.west.add")
    assert data(project).keys() == {"us.west/total.json"}


@pytest.fixture
def instance(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.chdir(project.path)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@dataclass(frozen=True)
class Daemon:
    """Runs jobs, and looks at sensors as Dagster's daemon does when one has succeeded."""

    repository: dg.RepositoryDefinition
    instance: dg.DagsterInstance

    def run(self, job: str, key: str | None = None) -> dg.ExecuteInProcessResult:
        return self.repository.get_job(job).execute_in_process(
            instance=self.instance, partition_key=key
        )

    def look(self, sensor: str, ended: dg.ExecuteInProcessResult) -> Any:
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor,
            dagster_event=ended.get_run_success_event(),
            dagster_instance=self.instance,
            dagster_run=ended.dagster_run,
            partition_key=ended.dagster_run.tags.get("dagster/partition"),
        )
        return self.repository.get_sensor_def(sensor)(context)


@pytest.fixture
def daemon(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(repository, instance)


def test_a_job_starts_when_all_others_have_succeeded_since_its_last_run(daemon: Daemon) -> None:
    sensor = daemon.repository.get_sensor_def("joined_sensor")
    assert [one.job_name for one in sensor.targets] == ["joined"]
    assert sensor.default_status.value == "RUNNING"
    copied = daemon.run("copied", "a")
    eu = daemon.run("eu_job")
    waits = daemon.look("joined_sensor", eu)
    assert waits.skip_message == "Since the last run of 'joined', none succeeded of: us_job."
    us = daemon.run("us_job")
    for ended in (eu, us):  # as when both end before the daemon looks
        (request,) = daemon.look("joined_sensor", ended)
        assert request.run_key == f"{us.run_id},{eu.run_id},{copied.run_id}"
        assert request.partition_key is None
    time.sleep(1)  # SQLite keeps whole seconds of when a run was made
    assert daemon.run("joined").success
    assert daemon.look("joined_sensor", us) is None
    waits = daemon.look("joined_sensor", daemon.run("us_job"))
    assert waits.skip_message.endswith("none succeeded of: eu_job, copied.")


def test_a_job_takes_the_partition_of_the_one_before(daemon: Daemon) -> None:
    first = daemon.run("fetched", "b")
    (request,) = daemon.look("copied_sensor", first)
    assert (request.partition_key, request.run_key) == ("b", first.run_id)
    time.sleep(1)
    assert daemon.run("copied", "b").success
    assert daemon.look("copied_sensor", first) is None
    runs = [daemon.run("fetched", key) for key in "cab"]  # as a backfill does
    requests = daemon.look("copied_sensor", runs[0])
    assert {one.partition_key: one.run_key for one in requests} == {
        "c": runs[0].run_id,  # two, since max_concurrent_runs says so
        "b": runs[2].run_id,
    }


def test_a_preset_is_a_job_with_the_same_ops_and_a_config_of_its_own(
    repository: dg.RepositoryDefinition, translator: KedroProjectTranslator, tmp_path: Path
) -> None:
    sized, small, big = (repository.get_job(name) for name in ("sized", "sized_small", "sized_big"))
    assert {id(one) for one in small.all_node_defs} - {id(small.graph)} == {
        id(one) for one in sized.all_node_defs
    } - {id(sized.graph)}
    assert sized.run_config is None
    assert small.run_config == options_of(runtime_params={"size": 2})
    assert repository.get_job("fan_b").run_config == options_of(partition_keys=["b"])
    assert small.description == (
        "Kedro pipeline ingest; node_namespaces: eu; preset small of job sized"
    )
    assert big.description == "All of it."
    schedule = repository.get_schedule_def("sized_big_schedule")
    assert schedule.job_name == "sized_big"
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for job, skipped in ((None, False), ("sized_small", True)):  # which takes the only turn
            if job:
                instance.create_run_for_job(
                    repository.get_job(job), status=dg.DagsterRunStatus.STARTED
                )
            context = dg.build_schedule_context(instance, repository_def=repository)
            tick = schedule.evaluate_tick(context)
            assert bool(tick.skip_message) is skipped
            for request in tick.run_requests or ():
                params = {"size": 9, "model": {"depth": 5, "rate": 1}}
                assert request.run_config == options_of(runtime_params=params)
    shown = describe(translator.plan)
    assert "Job sized_small (preset small of sized, pipeline ingest, executor multi" in shown


def options_of(**options: Any) -> dict[str, Any]:
    """The config of a run with options of `kedro run`."""
    return {"resources": {"kedro": {"config": options}}}


def test_a_preset_runs_as_kedro_run_with_its_parameters(project: Project) -> None:
    data(project)  # of other tests
    project.kedro("run", "--namespaces", "eu", "--params", "size=2")
    expected = data(project)
    assert expected == {"eu/total.json": 1}
    project.kedro("dagster", "run", "sized", "--preset", "small", "--executor", "two")
    assert data(project) == expected
    for job in ("sized_small", "made_small"):
        project.execute(job)  # with what stands in the launchpad
        assert data(project) == expected
    project.kedro(
        *("dagster", "run", "sized_small", "--executor", "in_process"), *("--params", "other=1")
    )
    assert data(project) == expected
    refused = project.kedro("dagster", "run", "sized", "--preset", "smal", check=False)
    assert "--preset: job 'sized' has no preset 'smal'. Did you mean 'small'?" in refused.stderr


def test_a_preset_runs_its_partitions(daemon: Daemon, project: Project) -> None:
    copies = project.path / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    assert daemon.run("fan_b").success
    assert {file.name for file in copies.iterdir()} == {"b.json"}
