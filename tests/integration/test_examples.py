"""The examples of the documentation with MLflow and with Ibis, by Kedro and on Dagster."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from conftest import Render
from integration.test_mlflow import Tracking
from projects import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def empty(render: Render, tmp_path: Path) -> Project:
    return Project(render(example=False), "my_project").copy(tmp_path / "my-project")


def test_mlflow(empty: Project) -> None:
    project = empty.with_example("mlflow/files")
    project.kedro("run", "--pipelines", "training")
    project.kedro("dagster", "run", "training")
    tracking = Tracking(project)
    recorded = tracking.content(tracking.of_job("training"))
    assert recorded == tracking.content(tracking.of_kedro("training"))
    assert recorded["status"] == "FINISHED"
    assert recorded["params"]["fit.through_origin"] == "False"
    assert recorded["metrics"].keys() == {"error", "worst"}
    assert recorded["artifacts"].keys() == {"line.json"}
    assert "mlflow/run_url" in tracking.tags("training")


def test_ibis_on_one_duckdb_file(empty: Project, tmp_path: Path) -> None:
    project = empty.with_example("ibis-duckdb/files")
    with (project.path / "src" / "my_project" / "settings.py").open("a") as settings:
        settings.write('DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)\n')  # it is installed here
    materialise = ("-m", "dagster", "asset", "materialize", "-m", "my_project.definitions")
    ways = {
        "kedro": ("-m", "kedro", "run"),
        "job": ("-m", "kedro", "dagster", "run", "warehouse"),
        "assets": (*materialise, "--select", "*"),
    }
    made = {}
    for way, command in ways.items():
        one = project.copy(tmp_path / way)
        one.run(*command)
        with duckdb.connect(str(one.path / "data" / "warehouse.duckdb"), read_only=True) as file:
            tables = {
                name: sorted(file.sql(f"from {name}").fetchall())
                for (name,) in file.sql("show tables").fetchall()
            }
        made[way] = tables, (one.path / "data" / "08_reporting" / "report.json").read_text()
    assert made["job"] == made["kedro"]
    assert made["assets"] == made["kedro"]
    assert made["kedro"][0].keys() == {"busy_days", "trips_by_day"}
