"""With kedro-viz: what Dagster ran stands where `kedro viz` looks, as `kedro run` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from projects import Project, make_project

pytest.importorskip("kedro_viz.integrations.kedro.run_hooks")
pytestmark = pytest.mark.slow

NODES = """
    from pathlib import Path

    def make(size):
        return list(range(size))

    def grow(made):
        return [*made, "grown"]

    def maybe_fail(grown):
        if Path("broken").exists():
            raise RuntimeError("the disk is full")
        return grown

    def copy_parts(parts):
        return {key: load() for key, load in parts.items()}
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        whole = Pipeline([
            node(nodes.make, "params:size", "made", name="make"),
            node(nodes.grow, "made", "grown", name="grow"),
            node(nodes.maybe_fail, "grown", "end", name="maybe_fail"),
        ])
        parts = Pipeline([node(nodes.copy_parts, "parts", "copies", name="copy_parts")])
        return {"__default__": whole, "parts": parts}
"""
PARTS = {
    name: {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": f"data/{name}",
        "filename_suffix": ".json",
        "dataset": {"type": "json.JSONDataset"},
        "partition": {"type": "dagster.StaticPartitionsDefinition", "partition_keys": ["a", "b"]},
    }
    for name in ("parts", "copies")
}
DAGSTER = """
    jobs:
      in_process: {pipeline: {}, executor: in_process}
      multiprocess: {pipeline: {}, executor: {multiprocess: {max_concurrent: 2}}}
      a_process_a_step: {pipeline: {}, executor: {multiprocess: {start_method: {spawn: {}}}}}
      a_part: {pipeline: {to_nodes: [grow]}, executor: in_process}
      fan: {pipeline: {pipeline_name: parts}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("viz") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        catalog={
            **{
                name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
                for name in ("made", "end")
            },
            **PARTS,
        },
        parameters={"size": 3},
        dagster=DAGSTER,
        settings='DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")\n',
    )
    for key in "ab":
        file = project.path / "data" / "parts" / f"{key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    return project


def events_of(project: Project) -> list[dict[str, Any]]:
    """What the last run has written; it is removed."""
    file = Path(project.path / ".viz" / "kedro_pipeline_events.json")
    events: list[dict[str, Any]] = json.loads(file.read_text())
    file.unlink()
    return events


def comparable(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = ("timestamp", "duration", "traceback")
    return [{key: one[key] for key in one if key not in times} for one in events]


@pytest.fixture(scope="module")
def oracle(project: Project) -> list[dict[str, Any]]:
    project.kedro("run")
    return events_of(project)


@pytest.mark.parametrize("job", ["in_process", "multiprocess", "a_process_a_step"])
def test_the_events_of_a_run_are_those_of_kedro_run(
    project: Project, oracle: list[dict[str, Any]], job: str
) -> None:
    output = project.execute(job)
    events = events_of(project)
    assert comparable(events) == comparable(oracle)
    assert all(one["duration"] > 0 for one in events if one["event"] == "after_node_run")
    assert "Workflow tracking is disabled" not in output.stdout + output.stderr


@pytest.mark.parametrize("job", ["in_process", "multiprocess"])
def test_a_run_that_fails_is_shown_with_its_node_and_error(project: Project, job: str) -> None:
    (project.path / "broken").touch()
    try:
        project.kedro("run", check=False)
        oracle = events_of(project)
        project.execute(job, check=False)
        events = events_of(project)
    finally:
        (project.path / "broken").unlink()
    told = ("on_node_error", "on_pipeline_error")
    failures = [one for one in events if one["event"] in told]
    assert comparable(failures) == comparable([one for one in oracle if one["event"] in told])
    assert all("the disk is full" in one["traceback"] for one in failures)


def test_what_is_left_out_is_not_shown(project: Project) -> None:
    (project.path / "data" / "end.json").unlink(missing_ok=True)
    (project.path / "data" / "made.json").write_text("[0]")
    project.kedro("dagster", "run", "multiprocess", "--only-missing-outputs")
    nodes = [one["node"] for one in events_of(project) if one["event"] == "after_node_run"]
    assert nodes == ["grow", "maybe_fail"]


def test_a_part_of_a_pipeline_is_shown(project: Project, oracle: list[dict[str, Any]]) -> None:
    project.execute("a_part")
    nodes = [one for one in comparable(events_of(project)) if one["event"] == "after_node_run"]
    assert nodes == [one for one in comparable(oracle) if one.get("node") in ("make", "grow")]


@pytest.mark.parametrize("options", [(), ("--partition", "a")])
def test_a_node_with_a_step_for_each_partition_has_run_once(
    project: Project, options: tuple[str, ...]
) -> None:
    project.kedro("dagster", "run", "fan", *options)
    events = [one["event"] for one in events_of(project)]
    assert events == [
        "before_pipeline_run",
        "after_dataset_loaded",
        "after_node_run",
        "after_dataset_saved",
        "after_pipeline_run",
    ]
