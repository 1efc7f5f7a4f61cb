"""Pipelines that no job names are not imported, where Kedro can load the others alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kedro.framework.project import pipelines as kedro_pipelines

from kedro_dagster.config import parse_config
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.planner import make_plan
from kedro_dagster.project import KedroProject, read_project
from projects import make_project

FOUND = """
    from kedro.framework.project import find_pipelines

    def register_pipelines():
        pipelines = find_pipelines(raise_errors={raise_errors})
        pipelines["__default__"] = sum(pipelines.values())
        {more}
        return pipelines
"""
PIPELINE = """
    from kedro.pipeline import Pipeline, node

    def create_pipeline() -> Pipeline:
        return Pipeline([node(lambda: 1, None, "{name}_made", name="make_{name}")])
"""

pytestmark = pytest.mark.skipif(
    not hasattr(kedro_pipelines, "set_requested"), reason="this Kedro loads all pipelines"
)


@pytest.fixture(autouse=True)
def forgotten_shop() -> Iterator[None]:
    yield
    kedro_pipelines.configure(None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def load(folder: Path, *jobs: str, more: str = "", raise_errors: bool = False) -> KedroProject:
    project = make_project(
        folder / "shop",
        pipelines=FOUND.format(more=more, raise_errors=raise_errors),
        dagster={"jobs": {f"run_{job}": {"pipeline": {"pipeline_name": job}} for job in jobs}},
        files={
            "src/shop/pipelines/__init__.py": "",
            **{
                f"src/shop/pipelines/{name}/__init__.py": PIPELINE.format(name=name)
                for name in ("cook", "serve", "wash")
            },
        },
    )
    return read_project(project.path)


def imported() -> set[str]:
    return {name.rpartition(".")[2] for name in sys.modules if name.startswith("shop.pipelines.")}


def nodes(project: KedroProject, pipeline: str) -> list[str]:
    return [node.name for node in project.pipelines[pipeline].nodes]


def test_only_pipelines_of_jobs_are_imported(tmp_path: Path) -> None:
    project = load(tmp_path, "cook", "wash")
    assert imported() == {"cook", "wash"}
    assert nodes(project, "cook") == ["make_cook"]


def test_the_default_pipeline_is_all_of_them(tmp_path: Path) -> None:
    project = load(tmp_path, "cook", "__default__")
    assert nodes(project, "__default__") == ["make_cook", "make_serve", "make_wash"]


@pytest.mark.parametrize("raise_errors", [False, True])
@pytest.mark.parametrize(
    "made", ['pipelines["cook"] + pipelines["serve"]', 'sum(map(pipelines.get, ["cook", "serve"]))']
)
def test_a_pipeline_made_of_others_has_all_its_nodes(
    tmp_path: Path, made: str, *, raise_errors: bool
) -> None:
    more = f'pipelines["dine"] = {made}'
    project = load(tmp_path, "dine", "wash", more=more, raise_errors=raise_errors)
    assert nodes(project, "dine") == ["make_cook", "make_serve"]


def test_settings_may_be_those_of_nodes_that_no_job_runs(tmp_path: Path) -> None:
    project = load(tmp_path, "cook")
    jobs = {"run_cook": {"pipeline": {"pipeline_name": "cook"}}}
    config, _ = parse_config({"jobs": jobs, "nodes": {"make_wash": {"pool": "sink"}}})
    assert make_plan(replace(project, config=config)).jobs.keys() == {"run_cook"}
    config, _ = parse_config({"jobs": jobs, "nodes": {"make_wsh": {"pool": "sink"}}})
    with pytest.raises(DagsterConfigError, match="Did you mean 'make_wash'"):
        make_plan(replace(project, config=config))


def test_a_pipeline_that_is_not_registered_is_told_with_all_that_are(tmp_path: Path) -> None:
    with pytest.raises(DagsterConfigError, match="Did you mean 'serve'"):
        make_plan(load(tmp_path, "cook", "serv"))
