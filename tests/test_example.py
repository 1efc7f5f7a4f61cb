"""The template's example makes the same files with Kedro and, in every way, with Dagster."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from projects import REPOSITORY, Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("example")]

Files = Mapping[str, bytes]

# Runs of assets, as the UI launches them: what is not partitioned, then each partition, then what
# is made of them.
MATERIALISE = """\
import dagster as dg
from {package}.definitions import defs

job = defs.resolve_implicit_global_asset_job_def()
graph = defs.resolve_asset_graph()
with dg.DagsterInstance.get() as instance:

    def materialise(*names, partition=None):
        keys = [dg.AssetKey.from_user_string(name) for name in names]
        job.execute_in_process(instance=instance, asset_selection=keys, partition_key=partition)

    late = {{"clean_repairs", "depot_workload", "repairs_checked", "depot_comparison"}}
    names = {{key.to_user_string() for key in graph.materializable_asset_keys}}
    materialise(*names - late)
    for name in ("clean_repairs", "depot_workload"):
        for key in graph.get(dg.AssetKey(name)).partitions_def.get_partition_keys():
            materialise(name, partition=key)
    materialise("repairs_checked", "depot_comparison")
"""


def files(project: Project) -> Files:
    """What the pipelines have made; of a versioned file its latest version."""
    data = project.path / "data"
    made: dict[str, bytes] = {}
    for file in sorted(data.rglob("*")):  # versions sort by time
        if not file.is_file() or file.name == ".gitkeep" or data / "01_raw" in file.parents:
            continue
        versioned = file.parents[1].name == file.name
        path = file.parents[1] if versioned else file
        made[path.relative_to(data).as_posix()] = file.read_bytes()
    return made


def run(project: Project, way: str) -> Files:
    if way == "kedro run":
        project.kedro("run")
    elif way == "materialise":
        project.run("-c", MATERIALISE.format(package=project.package))
    else:
        if way == "in process":
            config = project.path / "conf" / "base" / "dagster.yml"
            text = config.read_text(encoding="utf-8")
            assert "executor: parallel" in text
            text = text.replace("executor: parallel", "executor: sequential")
            config.write_text(text, encoding="utf-8")
        project.execute("everything")
    return files(project)


@pytest.fixture(scope="module")
def by_kedro(rendered_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Files:
    project = rendered_example.copy(tmp_path_factory.mktemp("kedro") / "project")
    return run(project, "kedro run")


def test_kedro_makes_every_kind_of_file(by_kedro: Files) -> None:
    assert set(by_kedro) == {
        *(
            f"02_intermediate/clean_repairs/{district}.csv"
            for district in ("campus", "centre", "green", "harbour", "north")
        ),
        "02_intermediate/clean_trips.csv",
        "03_primary/daily_trips.csv",
        "03_primary/depot_workload/parkway.csv",
        "03_primary/depot_workload/quayside.csv",
        *(
            file
            for rider in ("casual", "member")
            for file in (
                f"06_models/{rider}/model.pkl",
                f"07_model_output/{rider}_forecast.csv",
                f"07_model_output/{rider}_score.json",
            )
        ),
        "08_reporting/depot_comparison.csv",
        "08_reporting/forecast_plot.png",
        "08_reporting/model_comparison.csv",
        "08_reporting/station_ranking.csv",
    }


@pytest.mark.parametrize("way", ["in process", "materialise"])
def test_dagster_makes_the_same_files_byte_for_byte(
    example: Project, by_kedro: Files, way: str
) -> None:
    made = run(example, way)
    assert set(made) == set(by_kedro)
    assert [name for name in made if made[name] != by_kedro[name]] == []


def test_the_demo_makes_the_same_files_and_lists_them(example: Project, by_kedro: Files) -> None:
    printed = example.run(str(REPOSITORY / "tests" / "demo.py")).stdout
    made = files(example)
    assert set(made) == set(by_kedro)
    assert [name for name in made if made[name] != by_kedro[name]] == []
    assert "15 datasets were materialised" in printed
    rows = [line.split()[:-1] for line in printed.splitlines()]
    for district in ("campus", "centre", "green", "harbour", "north"):
        file = f"data/02_intermediate/clean_repairs/{district}.csv"
        assert ["clean_repairs", district, file] in rows
    assert ["repairs_checked"] in rows


def test_the_tests_of_the_example_pass(example: Project) -> None:
    assert " passed" in example.run("-m", "pytest", "-q").stdout
