"""Pipelines that no job names are not imported, where Kedro can load the others alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from dagster import MetadataValue
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.repository_definition import RepositoryLoadData
from kedro.framework.project import pipelines as kedro_pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from kedro_dagster.errors import DagsterConfigError, PipelineLoadError
from kedro_dagster.plan.make import make_plan
from kedro_dagster.read.messages import parse_config
from kedro_dagster.read.project import KedroProject, read_project
from kedro_dagster.read.source import dump
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
    forget_shop()


def forget_shop() -> None:
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


def outline_of(project: KedroProject) -> str:
    """What a code server hands to runs of two jobs."""
    return dump({name: project.pipelines[name] for name in ("cook", "wash")})


def load_in_run(folder: Path, text: str | None) -> KedroProject:
    """Load a project as a process of a run does, to which its code server has given outlines."""
    forget_shop()
    metadata = (
        {"kedro_dagster/shop": MetadataValue.code_location_reconstruction(text)} if text else {}
    )
    context = DefinitionsLoadContext(
        DefinitionsLoadType.RECONSTRUCTION, RepositoryLoadData(reconstruction_metadata=metadata)
    )
    with DefinitionsLoadContext.scoped(context):
        return read_project(folder / "shop")


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


def steps_of(project: KedroProject) -> dict[str, list[str]]:
    return {
        name: [f"{step.name}: {step.nodes[0]}" for step in job.steps]
        for name, job in make_plan(project).jobs.items()
    }


def test_a_run_plans_the_same_of_outlines_and_imports_just_its_pipelines(tmp_path: Path) -> None:
    served = load(tmp_path, "cook", "wash")
    text = outline_of(served)

    project = load_in_run(tmp_path, text)

    assert imported() == set()
    assert steps_of(project) == steps_of(served)
    project.source.import_pipelines(["cook"])
    assert imported() == {"cook"}
    assert project.source.imported(project.pipelines["cook"]).nodes[0].func() == 1
    with pytest.raises(RuntimeError, match="not imported"):
        project.pipelines["wash"].nodes[0].func()
    project.source.import_pipelines(["__default__"])  # a run of assets
    assert imported() == {"cook", "wash"}


def test_a_run_that_is_given_no_outlines_imports_the_pipelines(tmp_path: Path) -> None:
    load(tmp_path, "cook", "wash")
    load_in_run(tmp_path, None)
    assert imported() == {"cook", "wash"}


def test_a_job_that_the_code_server_does_not_know_yet_is_found(tmp_path: Path) -> None:
    text = outline_of(load(tmp_path, "cook", "wash"))
    file = tmp_path / "shop" / "conf" / "base" / "dagster.yml"
    file.write_text(file.read_text().replace("pipeline_name: wash", "pipeline_name: serve"))

    assert nodes(load_in_run(tmp_path, text), "serve") == ["make_serve"]


def test_a_node_that_is_gone_since_the_code_server_loaded_is_told(tmp_path: Path) -> None:
    text = outline_of(load(tmp_path, "cook", "wash"))
    file = tmp_path / "shop" / "src" / "shop" / "pipelines" / "cook" / "__init__.py"
    file.write_text(file.read_text().replace("make_cook", "prepare_cook"))

    project = load_in_run(tmp_path, text)

    with pytest.raises(PipelineLoadError, match=r"'make_cook' any more: .+ Reload the code"):
        project.source.import_pipelines(["cook"])


def test_a_pipeline_that_fails_on_import_in_a_run_is_told_with_the_cause(tmp_path: Path) -> None:
    text = outline_of(load(tmp_path, "cook", "wash"))
    file = tmp_path / "shop" / "src" / "shop" / "pipelines" / "cook" / "__init__.py"
    file.write_text("import no_such_package")

    project = load_in_run(tmp_path, text)

    with pytest.raises(PipelineLoadError, match=r"shop.pipelines.cook fails on import: Module"):
        project.source.import_pipelines(["cook"])


MORE = """
    from functools import partial
    from kedro.pipeline import Node, Pipeline

    class OwnNode(Node):
        pass

    def pick(value):
        return value

    def mix(*, salt, pepper):
        return {"left": salt, "right": pepper}

    def create_pipeline() -> Pipeline:
        return Pipeline([
            OwnNode(lambda: 2, None, "salt", name="own"),
            Node(partial(pick, 3), None, "pepper"),
            Node(mix, {"pepper": "pepper", "salt": "salt"}, {"right": "a", "left": "b"}),
        ])
"""


def test_a_node_runs_as_the_one_that_is_imported(tmp_path: Path) -> None:
    load(tmp_path, "cook", "wash")
    file = tmp_path / "shop" / "src" / "shop" / "pipelines" / "cook" / "__init__.py"
    file.write_text(dedent(MORE))
    forget_shop()
    served = read_project(tmp_path / "shop")
    text = outline_of(served)

    project = load_in_run(tmp_path, text)

    outline = project.pipelines["cook"]
    assert [str(node) for node in outline.nodes] == [
        str(node) for node in served.pipelines["cook"].nodes
    ]
    assert nodes(project, "cook") == nodes(served, "cook")
    assert steps_of(project) == steps_of(served)
    project.source.import_pipelines(["cook"])
    own, pepper, mixed = project.source.imported(outline).nodes
    assert type(own).__name__ == "OwnNode"
    assert {**own.run({}), **pepper.run({})} == {"salt": 2, "pepper": 3}
    assert mixed.run({"salt": 1, "pepper": 2}) == {"a": 2, "b": 1}


def test_functions_that_differ_in_a_default_are_two_in_an_outline() -> None:
    def add(more: int) -> Pipeline:
        return Pipeline([Node(lambda value, more=more: value + more, "a", "b", name="add")])

    outline = json.loads(dump({"one": add(1), "two": add(2)}))
    assert outline["pipelines"] == {"one": [0], "two": [1]}
