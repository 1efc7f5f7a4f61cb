"""The examples of the documentation make the same with Kedro and on Dagster.

Those that need more packages are in `integration` and `executors`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from conftest import Render
from kedro_dagster import KedroProjectTranslator
from projects import EXAMPLES, Project

pytestmark = pytest.mark.slow


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def tick(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> list[str]:
    """Let the sensor look, and give the partitions that it asks to run."""
    with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
        result = repository.get_sensor_def("new_orders")(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    return [str(request.partition_key) for request in result.run_requests or []]


def test_partitions_with_a_sensor(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(render(example=False), "my_project").copy(tmp_path / "by_dagster")
    project.with_example("partitions/files").create_dagster_home()
    by_kedro = project.copy(tmp_path / "by_kedro")
    late = by_kedro.path / "data/01_raw/orders/wednesday.json"
    late.write_text('[{"item": "pump", "price": 20}]')
    by_kedro.kedro("run")

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    repository = KedroProjectTranslator(project.path).to_definitions().get_repository_def()
    job = repository.get_job("count_orders")
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        first = tick(repository, instance)
        assert first == ["monday", "tuesday"]
        for key in first:
            assert job.execute_in_process(instance=instance, partition_key=key).success
        assert tick(repository, instance) == []
        (project.path / "data/01_raw/orders" / late.name).write_text(late.read_text())
        assert tick(repository, instance) == ["wednesday"]
        project.kedro("dagster", "run", "count_orders", "--partition", "wednesday")
        made = instance.get_materialized_partitions(dg.AssetKey("order_totals"))
        assert made == {"monday", "tuesday", "wednesday"}
    totals = "data/03_primary/order_totals"
    assert texts(project.path / totals) == texts(by_kedro.path / totals)
    assert len(texts(project.path / totals)) == 3


def test_two_projects_in_one_workspace(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(folder: str, package: str) -> Project:
        project = Project(render(example=False, package_name=package), package)
        copy = project.copy(tmp_path / folder / package)
        return copy.with_example(f"two-projects/files/{package}")

    jobs = {"shop": "sales", "planning": "purchases"}
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    for package, job in jobs.items():
        put("by_kedro", package).kedro("run")
        put("by_dagster", package).execute(job, DAGSTER_HOME=str(home))
        report = f"{package}/data/08_reporting"
        made = texts(tmp_path / "by_dagster" / report)
        assert made.keys() == {"report.json", ".gitkeep"}
        assert made == texts(tmp_path / "by_kedro" / report)

    monkeypatch.chdir(tmp_path / "by_dagster")  # by which its paths are
    target = WorkspaceFileTarget([str(EXAMPLES / "two-projects/files/workspace.yaml")])
    shop, planning = dg.AssetKey(["shop", "report"]), dg.AssetKey(["planning", "report"])
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        context = process.create_request_context()
        assert set(context.code_location_names) == jobs.keys()
        graph = context.asset_graph
        assert graph.get_all_asset_keys() == {dg.AssetKey(["shop", "orders"]), shop, planning}
        assert graph.get(planning).parent_keys == {shop}
        assert instance.get_latest_materialization_event(planning)
