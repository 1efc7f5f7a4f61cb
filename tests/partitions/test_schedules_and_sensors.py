"""Schedules run the partitions that are due, and a sensor runs each new file once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from projects import Project, make_project

pytestmark = pytest.mark.xdist_group("partition_ticks")

DATASET = """\
{name}:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/{name}
  filename_suffix: .json
  dataset: {{type: json.JSONDataset}}
  partition: {partition}
"""
KINDS = {
    "days": '{type: dagster.DailyPartitionsDefinition, start_date: "2024-01-01"}',
    "regions": "{type: dagster.StaticPartitionsDefinition, partition_keys: [eu, us]}",
    "inbox": "{type: dagster.DynamicPartitionsDefinition, name: files}",
    "both": """
    type: dagster.MultiPartitionsDefinition
    partitions_defs:
      region: {type: dagster.StaticPartitionsDefinition, partition_keys: [eu, us]}
      day: {type: dagster.DailyPartitionsDefinition, start_date: "2024-01-01"}""",
}
PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    def make():
        return {}

    def copy(files):
        return {key: load() for key, load in files.items()}

    names = ("days", "regions", "both")
    made = {name: Pipeline([node(make, None, name, name=name)]) for name in names}
    return {**made, "inbox": Pipeline([node(copy, "inbox", "outbox", name="copy")])}
"""
FIFTH_OF_JANUARY = datetime(2024, 1, 5, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    jobs = {
        name: {
            "pipeline": {"pipeline_name": name},
            "partitions": "per_run",
            "schedule": {"cron_schedule": "@daily", "runtime_params": {"from": "schedule"}},
        }
        for name in ("days", "regions", "both")
    }
    jobs["inbox"] = {"pipeline": {"pipeline_name": "inbox"}, "executor": {"in_process": {}}}
    catalog = "".join(DATASET.format(name=name, partition=kind) for name, kind in KINDS.items())
    return make_project(
        tmp_path_factory.mktemp("ticks") / "project",
        pipelines=PIPELINES,
        catalog=catalog + DATASET.format(name="outbox", partition=KINDS["inbox"]),
        dagster={"jobs": jobs, "sensors": {"watch": {"dataset": "inbox", "job": "inbox"}}},
    )


@pytest.fixture(scope="module")
def repository(project: Project) -> Iterator[dg.RepositoryDefinition]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield KedroProjectTranslator(project.path).to_definitions().get_repository_def()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    ("job", "due"),
    [
        ("days", {"2024-01-04"}),
        ("regions", {"eu", "us"}),
        ("both", {"2024-01-04|eu", "2024-01-04|us"}),
    ],
)
def test_a_tick_runs_the_latest_window_or_else_all_partitions(
    repository: dg.RepositoryDefinition, home: Path, job: str, due: set[str]
) -> None:
    instance = dg.DagsterInstance.local_temp(str(home))
    with dg.build_schedule_context(
        instance=instance,
        repository_def=repository,
        scheduled_execution_time=FIFTH_OF_JANUARY,
    ) as context:
        tick = repository.get_schedule_def(f"{job}_schedule").evaluate_tick(context)
    requests = tick.run_requests or []
    assert {request.partition_key for request in requests} == due
    params = [request.run_config["resources"]["kedro"]["config"] for request in requests]
    assert params == [{"runtime_params": {"from": "schedule"}}] * len(due)


@pytest.mark.parametrize("job", ["days", "both"])
def test_a_tick_does_not_list_all_windows_since_the_first(
    repository: dg.RepositoryDefinition, home: Path, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise AssertionError("all windows are listed")

    for kind in (dg.TimeWindowPartitionsDefinition, dg.MultiPartitionsDefinition):
        monkeypatch.setattr(kind, "get_partition_keys", refuse)
    due = {"days": {"2024-01-04"}, "both": {"2024-01-04|eu", "2024-01-04|us"}}[job]
    test_a_tick_runs_the_latest_window_or_else_all_partitions(repository, home, job, due)


def look(repository: dg.RepositoryDefinition, home: Path) -> list[str | None]:
    """Let the sensor look, as after a restart, and do what it asks for."""
    instance = dg.DagsterInstance.local_temp(str(home))
    with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
        result = repository.get_sensor_def("watch")(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    job = repository.get_job("inbox")
    for request in result.run_requests or []:
        assert job.execute_in_process(
            instance=instance, partition_key=request.partition_key
        ).success
    return [request.partition_key for request in result.run_requests or []]


def test_each_new_file_is_run_once_also_after_a_restart(
    repository: dg.RepositoryDefinition, project: Project, home: Path
) -> None:
    inbox, outbox = project.path / "data" / "inbox", project.path / "data" / "outbox"
    inbox.mkdir(parents=True)
    (inbox / "a.json").write_text("1")
    (inbox / "b.json").write_text("2")
    assert look(repository, home) == ["a", "b"]
    assert look(repository, home) == []
    (inbox / "c.json").write_text("3")
    assert look(repository, home) == ["c"]
    assert {file.name: file.read_text() for file in outbox.iterdir()} == {
        "a.json": "1",
        "b.json": "2",
        "c.json": "3",
    }


HOOKS = """\
from kedro.framework.hooks import hook_impl
from omegaconf import OmegaConf


class ProjectHooks:
    @hook_impl
    def after_context_created(self, context):
        OmegaConf.register_new_resolver("bucket", lambda name: f"data/bucket/{name}")
        context.config_loader["credentials"] = {"inbox": {"token": "a token"}}
"""
WATCHED = """\
files:
  type: CachedDataset
  dataset:
    type: kedro_dagster.datasets.DagsterPartitionedDataset
    path: ${bucket:files}
    credentials: inbox
    filename_suffix: .json
    dataset: {type: json.JSONDataset}
    partition: {type: dagster.DynamicPartitionsDefinition, name: files}
of_a_run: {type: json.JSONDataset, filepath: "data/${runtime_params:stage}/x.json"}
"""


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield make_project(
            tmp_path / "watching",
            package="watching",
            pipelines="""\
                from kedro.pipeline import Pipeline, node

                def register_pipelines():
                    return {"__default__": Pipeline([node(print, "files", None, name="show")])}
            """,
            hooks=HOOKS,
            catalog=WATCHED,
            parameters="stage: ${runtime_params:stage}",
            dagster={
                "jobs": {"show": {"pipeline": {}}},
                "sensors": {"watch": {"dataset": "files", "job": "show"}},
            },
        )


def test_a_sensor_looks_as_a_run_does_where_hooks_give_resolvers_and_credentials(
    watching: Project, home: Path
) -> None:
    repository = KedroProjectTranslator(watching.path).to_definitions().get_repository_def()
    sensor, instance = repository.get_sensor_def("watch"), dg.DagsterInstance.local_temp(str(home))
    folder = watching.path / "data/bucket/files"
    folder.mkdir(parents=True)

    def new() -> list[tuple[str | None, str | None]]:
        with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        requests = result.run_requests or []
        keys = [str(request.partition_key) for request in requests]
        instance.add_dynamic_partitions("files", keys)
        return [(request.partition_key, request.run_key) for request in requests]

    (folder / "a.json").write_text("1")
    first = new()
    (folder / "b.json").write_text("1")
    assert [key for key, _ in first + new() + new()] == ["a", "b"]
    instance.delete_dynamic_partition("files", "a")
    again = new()
    assert [key for key, _ in again] == ["a"]
    # Dagster starts no second run for a key that it has seen
    assert again[0][1] is None or again[0][1] != first[0][1]


def test_a_sensor_whose_dataset_depends_on_a_run_is_told(watching: Project) -> None:
    catalog = watching.path / "conf/base/catalog.yml"
    catalog.write_text(WATCHED.replace("${bucket:files}", "data/${runtime_params:stage}/files"))
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(watching.path)
    (mistake,) = caught.value.mistakes
    assert str(mistake) == (
        "conf/base/dagster.yml: sensors.watch.dataset: the catalog entry of 'files' depends on "
        "${runtime_params:stage}, which no run has that a sensor starts. Give it a default there."
    )
