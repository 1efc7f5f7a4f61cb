"""A run imports the pipelines that it runs, and no others; the code server has imported all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.framework.project import pipelines as kedro_pipelines

from live.server import Server, serve
from projects import make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("live"),
    pytest.mark.skipif(
        not hasattr(kedro_pipelines, "set_requested"), reason="this Kedro loads all pipelines"
    ),
]

PIPELINE = """\
from functools import partial
from pathlib import Path

from kedro.pipeline import Pipeline, node

with Path("imports.log").open("a") as log:
    log.write("{name}\\n")


def join(first, second):
    return f"{name}: {{first}} {{second}}"


def join_all(*parts, end):
    return " ".join(parts) + end


def create_pipeline() -> Pipeline:
    nodes = [
        node(join, {{"second": "params:second", "first": "params:first"}}, "joined", tags="a"),
        node(lambda text: text.upper(), "joined", "loud", name="shout"),
        node(partial(join_all, end="!"), ["loud", "params:first"], "out", name="end"),
    ]
    return Pipeline(nodes, namespace="{name}", parameters={{"params:first", "params:second"}})
"""
HOOKS = """\
import inspect

from kedro.framework.hooks import hook_impl


class ProjectHooks:
    @hook_impl
    def before_pipeline_run(self, pipeline):
        for node in pipeline.nodes:
            with open("functions.log", "a") as log:
                log.write(f"{node.name} {inspect.signature(node.func)}\\n")
"""
NAMES = ("cook", "serve", "wash")


@pytest.fixture(scope="module")
def server(
    isolated_environment: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    project = make_project(
        tmp_path_factory.mktemp("imports") / "shop",
        pipelines="""
            from kedro.framework.project import find_pipelines

            def register_pipelines():
                return find_pipelines(raise_errors=True)
        """,
        catalog={
            "{namespace}.out": {
                "type": "json.JSONDataset",
                "filepath": "data/{namespace}.json",
            }
        },
        parameters={"first": "one", "second": "two"},
        hooks=HOOKS,
        dagster={
            "executors": {
                "alone": {"in_process": {}},
                "parallel": {"multiprocess": {"max_concurrent": 2}},
            },
            "jobs": {
                "serve": {"pipeline": {"pipeline_name": "serve"}, "executor": "parallel"},
                "wash_up": {
                    "pipeline": {"pipeline_names": ["cook", "wash"]},
                    "executor": "alone",
                },
            },
        },
        files={
            "src/shop/pipelines/__init__.py": "",
            **{
                f"src/shop/pipelines/{name}/__init__.py": PIPELINE.format(name=name)
                for name in NAMES
            },
        },
    )
    with serve(project) as server:
        assert set(_lines(project.path / "imports.log")) == set(NAMES)
        yield server


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize(
    ("job", "imported"),
    [("serve", {"serve"}), ("wash_up", {"cook", "wash"})],
)
def test_a_run_of_a_job_imports_its_pipelines(server: Server, job: str, imported: set[str]) -> None:
    folder = server.project.path
    for file in (folder / "imports.log", folder / "functions.log"):
        file.unlink(missing_ok=True)

    run = server.ended(server.launch(job))

    assert run.status == "SUCCESS"
    assert set(_lines(folder / "imports.log")) == imported
    for name in imported:
        text = json.loads((folder / "data" / f"{name}.json").read_text())
        assert text == f"{name.upper()}: ONE TWO one!"
    signatures = {"(first, second)", "(text)", "(*parts, end='!')"}
    assert {line.partition(" ")[2] for line in _lines(folder / "functions.log")} == signatures


def test_a_run_of_an_asset_finds_its_functions(server: Server) -> None:
    file = server.project.path / "data" / "wash.json"
    file.unlink(missing_ok=True)

    run = server.ended(server.materialise(["wash.out"]))

    assert run.status == "SUCCESS"
    assert json.loads(file.read_text()) == "WASH: ONE TWO one!"
