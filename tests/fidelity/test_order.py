"""In one process, nodes that do not need each other run in the order of `kedro run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from projects import make_project

pytestmark = pytest.mark.slow

NODES = """
    def note(name):
        def run(*values):
            with open("order", "a") as file:
                file.write(name)
            return name
        return run
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop.nodes import note

    EDGES = {"z": "raw", "m": "raw", "a": "raw", "y": "m", "b": "z", "c": "a", "k": "ybc"}

    def register_pipelines():
        nodes = [
            node(
                note(name),
                "raw" if inputs == "raw" else [f"of_{one}" for one in inputs],
                f"of_{name}",
                name=name,
            )
            for name, inputs in EDGES.items()
        ]
        return {"__default__": Pipeline(nodes)}
"""


def test_nodes_run_in_the_order_of_kedro_run(tmp_path: Path) -> None:
    job = {"pipeline": {}, "executor": {"in_process": {}}}
    project = make_project(
        tmp_path / "project",
        nodes=NODES,
        pipelines=PIPELINES,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("raw", *(f"of_{name}" for name in "zmaybck"))
        },
        dagster={"jobs": {"ops": job, "assets": {**job, "target": "assets"}}},
        files={"data/raw.json": "1"},
    )

    def order() -> str:
        file = project.path / "order"
        noted = file.read_text()
        file.unlink()
        return noted

    project.kedro("run")
    expected = order()
    assert sorted(expected) == sorted("zmaybck")
    for name in ("ops", "assets"):
        project.execute(name)
        assert order() == expected, name
