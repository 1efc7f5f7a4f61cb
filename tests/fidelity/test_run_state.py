"""What before_pipeline_run puts into the catalog reaches processes that are not forked from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects import Project, make_project

pytestmark = pytest.mark.slow

HOOKS = """
    import os
    from kedro.framework.hooks import hook_impl
    from kedro.io import MemoryDataset

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self, catalog):
            catalog.exists("raw")
            if os.environ.get("PUT"):
                catalog["given"] = MemoryDataset([index / 7 for index in range(200_000)])
                catalog["handle"] = MemoryDataset(lambda: 1)
"""
NODES = """
    def measure(raw, given): return {"raw": raw, "count": len(given), "last": given[-1]}
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop.nodes import measure

    def register_pipelines():
        return {"__default__": Pipeline([node(measure, ["raw", "given"], "out", name="measure")])}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("state") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={
            "raw": {"type": "json.JSONDataset", "filepath": "data/raw.json"},
            "given": {"type": "MemoryDataset"},
            "handle": {"type": "MemoryDataset"},
            "out": {"type": "json.JSONDataset", "filepath": "data/out.json"},
        },
        dagster={
            "jobs": {
                "spawned": {
                    "pipeline": {"pipeline_name": "__default__"},
                    "executor": {"multiprocess": {"start_method": {"spawn": {}}}},
                }
            }
        },
    )
    (project.path / "data").mkdir()
    (project.path / "data" / "raw.json").write_text('"here"')
    return project


def tags_of_runs(project: Project) -> list[dict[str, str]]:
    script = (
        "import json, dagster as dg\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    print(json.dumps([run.tags for run in instance.get_runs()]))"
    )
    tags: list[dict[str, str]] = json.loads(project.run("-c", script).stdout.splitlines()[-1])
    return tags


def test_a_large_value_of_a_hook_is_what_it_is_in_kedro_run(
    project: Project, tmp_path: Path
) -> None:
    oracle, spawned = project.copy(tmp_path / "oracle"), project.copy(tmp_path / "spawned")
    oracle.kedro("run", PUT="1")
    output = spawned.execute("spawned", PUT="1")
    made = [(one.path / "data" / "out.json").read_bytes() for one in (oracle, spawned)]
    assert made[0] == made[1]
    assert "do not reach steps in other processes: 'handle' (" in output.stdout + output.stderr
    (tags,) = tags_of_runs(spawned)
    assert "kedro/run_state" in tags
    assert max(map(len, tags.values())) < 1_000


def test_what_a_hook_only_looks_at_is_not_its_to_hand_over(
    project: Project, tmp_path: Path
) -> None:
    copy = project.copy(tmp_path / "shop")
    copy.execute("spawned", check=False)  # nobody has put `given`
    (tags,) = tags_of_runs(copy)
    assert "kedro/run_state" not in tags
