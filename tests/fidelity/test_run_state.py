"""What a run is begun with reaches processes that are not forked from the run worker."""

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
    assert (
        "does not reach steps in other processes: dataset 'handle' ("
        in output.stdout + output.stderr
    )
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


SETTINGS = """
    import uuid
    from shop.hooks import ProjectHooks

    HOOKS = (ProjectHooks("first"), ProjectHooks("second"))
    CONFIG_LOADER_ARGS = {
        "base_env": "base",
        "default_run_env": "local",
        "custom_resolvers": {"uuid": lambda: uuid.uuid4().hex, "secret": lambda: "PLANTED" * 2},
    }
"""
STATEFUL_HOOKS = """
    import json, os
    from kedro.framework.hooks import hook_impl

    class ProjectHooks:
        def __init__(self, name):
            self.name = name
            self.seen = []

        @hook_impl
        def after_context_created(self, context):
            self.early = context.params["batch"]

        @hook_impl
        def before_pipeline_run(self, run_params, catalog):
            self.run_id = run_params.get("run_id") or run_params["session_id"]
            self.seen.append(self.name)
            self.catalog = catalog
            self.client = lambda: None
            os.environ["FROM_HOOK"] = "set"

        @hook_impl
        def after_node_run(self, node):
            with open(f"{node.name}.{self.name}.json", "w") as file:
                batch = self.catalog.load("params:batch")
                known = [self.run_id, self.seen, batch, self.early == batch]
                json.dump(known, file)
"""
BATCH_NODES = """
    import os
    def start(batch, secret): return {"batch": batch, "env": os.environ["FROM_HOOK"]}
    def end(started, batch, secret):
        return {"same": started["batch"] == batch, "secret": len(secret)}
"""
BATCH_PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop.nodes import end, start

    def register_pipelines():
        given = ["params:batch", "params:secret"]
        return {
            "__default__": Pipeline([
                node(start, given, "started", name="start"),
                node(end, ["started", *given], "ended", name="end"),
            ])
        }
"""
BATCH_PROJECT = {
    "nodes": BATCH_NODES,
    "pipelines": BATCH_PIPELINES,
    "hooks": STATEFUL_HOOKS,
    "settings": SETTINGS,
    "parameters": "batch: ${uuid:}\nsecret: ${secret:}\n",
    "catalog": """
        _of_this_run: ${uuid:}
        started: {type: json.JSONDataset, filepath: "data/${_of_this_run}/started.json"}
        ended: {type: json.JSONDataset, filepath: data/ended.json}
    """,
}
WAYS = {"a process a step": {"start_method": {"spawn": {}}}}


@pytest.mark.parametrize("way", [*WAYS, "fresh workers", "assets"])
def test_all_processes_go_on_with_one_state(tmp_path: Path, way: str) -> None:
    project = make_project(
        tmp_path / "shop",
        **BATCH_PROJECT,
        dagster={"jobs": {"all": {"pipeline": {}, "executor": {"multiprocess": WAYS.get(way)}}}},
    )
    job = "__ASSET_JOB" if way == "assets" else "all"
    output = project.execute(job, KEDRO_MP_CONTEXT="spawn")
    assert "attribute 'client' of shop.hooks.ProjectHooks (" in output.stdout + output.stderr
    (started,) = project.path.glob("data/*/started.json")
    assert json.loads((project.path / "data" / "ended.json").read_text()) == {
        "same": True,
        "secret": 14,
    }
    batch = json.loads(started.read_text())["batch"]
    (tags,) = tags_of_runs(project)
    for step in ("start", "end"):
        for hook in ("first", "second"):
            known = json.loads((project.path / f"{step}.{hook}.json").read_text())
            assert known == [tags["kedro/run_id"], [hook], batch, True]
    stored = [file for file in project.dagster_home.rglob("*") if file.is_file()]
    assert any(batch.encode() in file.read_bytes() for file in stored)  # in the state of the run
    assert not any(b"PLANTEDPLANTED" in file.read_bytes() for file in stored)
