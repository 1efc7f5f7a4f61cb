"""Nodes that no asset needs: the plan lists them, and so does a run that makes all assets."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.plan.describe import RUN_THEM, describe
from projects import OMEGACONF, Project, make_project

pytestmark = pytest.mark.xdist_group("nodes_in_no_asset")

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def one():
    return 1


def same(value):
    return value


def register_pipelines():
    kept = Pipeline([
        node(one, None, "passed", name="begin"),
        node(same, "passed", "first", name="keep"),
        node(same, "first", "second", name="second"),
    ])
    lost = Pipeline([
        node(one, None, "in_memory", name="forgotten"),
        node(same, "in_memory", "nowhere", name="lost"),
        node(print, "first", None, name="show"),
    ])
    begin = kept.only_nodes("begin")
    return {"__default__": kept + lost, "begin": begin, "lost": lost.only_nodes("lost")}
"""
LEFT = "forgotten, lost, show"
WARNING = f"This run makes all assets. Nodes in no asset do not run: {LEFT}. {RUN_THEM}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield make_project(
            tmp_path_factory.mktemp("no_asset") / "project",
            pipelines=PIPELINES,
            catalog={
                name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
                for name in ("first", "second")
            },
            dagster={
                "executors": {"one": {"in_process": {}}},
                "jobs": {
                    "all": {"pipeline": {}},
                    "begin": {"pipeline": {"pipeline_name": "begin"}},
                    "lost": {"pipeline": {"pipeline_name": "lost"}},
                },
            },
            files={"conf/one/dagster.yml": "assets: {executor: one}\n"},
        )


def test_the_plan_lists_them(project: Project) -> None:
    """Not those whose values an asset has through memory, also where another job has them alone."""
    plan = KedroProjectTranslator(project.path).plan
    assert sorted(plan.nodes_in_no_asset) == LEFT.split(", ")
    assert f"\n\nNodes in no asset: {', '.join(plan.nodes_in_no_asset)}\n" in describe(plan)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["base", "one"])
def test_a_run_of_all_assets_says_it_once(project: Project, env: str) -> None:
    job = ("-j", "__ASSET_JOB", "-m", "shop.definitions")
    run = project.run("-m", "dagster", "job", "execute", *job, KEDRO_ENV=env)
    shown = [line for line in run.stderr.splitlines() if "Nodes in no asset" in line]
    told = [line for line in shown if " - WARNING - " in line and line.endswith(WARNING)]
    assert len(told) == 1, run.stderr


@pytest.mark.slow
@pytest.mark.skipif(OMEGACONF < (2, 4), reason="its ANTLR cannot read Dagster's selections")
def test_runs_of_some_assets_or_of_jobs_do_not(project: Project) -> None:
    module = ("-m", "shop.definitions")
    some = project.run("-m", "dagster", "asset", "materialize", "--select", "first", *module)
    job = project.run("-m", "dagster", "job", "execute", "-j", "all", *module)
    assert "Nodes in no asset" not in some.stderr + job.stderr
