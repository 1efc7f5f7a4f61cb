"""Names, pipelines and parameters that real projects have, each a trap for a translation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from projects import KEDRO, Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hazards")]

typed = pytest.mark.skipif(KEDRO < (1, 3), reason="Kedro types parameters since 1.3")

CHAIN = [
    "input",
    "output",
    "context",
    "config",
    "self",
    "class",
    "reversed",
    "with-hyphen",
    "with space",
    "ümlaut",
    "a.b",
    "a__b",
    "a-b",
    "result",
]
"""Datasets of one chain of nodes; the odd ones are files, the even ones are in memory."""

NODES = """
    from pydantic import BaseModel


    class Model(BaseModel):
        depth: int
        name: str = "tree"


    def start():
        return ["start"]


    def grow(value):
        return [*value, len(value)]


    def one(value):
        return [*value, "one"]


    def two(value):
        return [*value, "two"]


    def keep(value):
        return value


    def drop(value):
        assert value


    def typed(model: Model):
        return [type(model).__name__, dict(model)]


    def show(value):
        return repr(value)
"""

PIPELINES = f"""
    from kedro.pipeline import Pipeline, node, pipeline

    from shop import nodes

    CHAIN = {CHAIN!r}


    def register_pipelines():
        names = {{"self": "output", "config": "names", "a-b": "a.b"}}
        chain = [
            node(nodes.grow, before, after, name=names.get(after))
            for before, after in zip(CHAIN, CHAIN[1:])
        ]
        years = [
            pipeline(
                [
                    node(nodes.grow, "raw", "clean", name="clean"),
                    node(lambda value: value * 2, "clean", "final"),
                ],
                namespace=f"{{year}}.preprocessing",
                inputs={{"raw": "shared"}},
            )
            for year in (2014, 2015)
        ]
        first = Pipeline(
            [
                node(nodes.start, None, "seed", name="start"),
                node(nodes.one, "seed", "between", name="same"),
                node(nodes.keep, "between", "shared", name="first_shared"),
                node(nodes.keep, "between", "first_result", name="first_end"),
            ]
        )
        second = Pipeline(
            [
                node(nodes.start, None, "seed", name="start"),
                node(nodes.two, "seed", "between", name="same"),
                node(nodes.keep, "between", "shared", name="second_shared"),
                node(nodes.keep, "between", "second_result", name="second_end"),
            ]
        )
        return {{
            "names": Pipeline([node(nodes.start, None, "input"), *chain]),
            "first": first,
            "second": second,
            "years": years[0] + years[1],
            "middle": Pipeline(
                [
                    node(nodes.keep, "shared", "x"),
                    node(nodes.drop, "x", None),
                    node(nodes.grow, "x", "y"),
                ]
            ),
            "there": Pipeline([node(nodes.keep, "shared", "p"), node(nodes.keep, "p", "q")]),
            "back": Pipeline([node(nodes.grow, "q", "p")]),
            "tags": Pipeline(
                [
                    node(
                        nodes.keep,
                        "shared",
                        f"tagged_{{index}}",
                        tags=f"tag.{{index % 97}}",
                    )
                    for index in range(100)
                ]
            ),
            "parameters": Pipeline(
                [
                    node(nodes.typed, "params:model", "changed", name="changed"),
                    node(nodes.typed, "params:model", "unchanged", name="unchanged"),
                    node(nodes.show, "params:model.depth", "depth", name="depth"),
                    node(nodes.show, "params:odd.no identifier!", "odd", name="odd"),
                    node(nodes.show, "params:when", "when", name="when"),
                    node(nodes.show, "params:ints", "ints", name="ints"),
                    node(nodes.show, "params:none", "none", name="none"),
                    node(nodes.show, "params:space.limit", "limit", name="limit"),
                    node(lambda all: sorted(map(str, all)), "parameters", "whole", name="whole"),
                ]
            ),
        }}
"""

PARAMETERS = """
    model: {depth: 3}
    odd: {"no identifier!": 1.5e-5}
    when: 2024-02-29
    ints: {1: one, 2: [null, {a: 12345678901234567890123}]}
    none: null
    space: {limit: .inf}
"""

RECORDED = """
    from kedro.framework.hooks import hook_impl


    class ProjectHooks:
        calls = []

        @hook_impl
        def before_pipeline_run(self, pipeline):
            self.calls.append(("before", sorted(node.name for node in pipeline.nodes)))

        @hook_impl
        def after_pipeline_run(self, run_result):
            self.calls.append(("after", sorted(run_result)))

        @hook_impl
        def on_pipeline_error(self, error):
            self.calls.append(("error", str(error)))
"""

RUN_IN_KEDRO = """
    import sys
    from pathlib import Path

    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path.cwd())
    for name in sys.argv[1:]:
        with KedroSession.create(Path.cwd()) as session:
            session.run(name)
"""

RUN_IN_DAGSTER = """
    import json
    import sys

    import dagster as dg

    from shop.definitions import defs
    from shop.hooks import ProjectHooks

    report = {}
    with dg.DagsterInstance.get() as instance:
        for task in json.loads(sys.argv[1]):
            ProjectHooks.calls.clear()
            options = {
                "instance": instance,
                "run_config": {"ops": task.get("ops", {})},
                "raise_on_error": False,
            }
            if "assets" in task:
                keys = [dg.AssetKey(name) for name in task["assets"]]
                result = dg.materialize(
                    defs.assets, selection=keys, resources=defs.resources, **options
                )
            else:
                result = defs.resolve_job_def(task["job"]).execute_in_process(**options)
            failures = [event for event in result.all_events if event.is_failure]
            report[task["name"]] = {
                "success": result.success,
                "errors": [str(event.event_specific_data) for event in failures],
                "calls": list(ProjectHooks.calls),
            }
    with open("report.json", "w") as file:
        json.dump(report, file)
"""

JOBS = ["names", "first", "second", "years", "middle", "there", "back", "tags", "parameters"]

CHANGED = {
    "changed": {"config": {"params:model": {"depth": "5", "name": "bush"}}},
    "depth": {"config": {"params:model.depth": 9}},
    "odd": {"config": {"params:odd.no identifier!": 2}},
    "when": {"config": {"params:when": "2025-01-01"}},
    "ints": {"config": {"params:ints": {"1": "uno", "3": None}}},
    "none": {"config": {"params:none": ["now", {"a": "list"}]}},
    "limit": {"config": {"params:space.limit": "-inf"}},
    "whole": {"config": {"parameters": {"only": "this"}}},
}


def make(path: Path) -> Project:
    files = [name for index, name in enumerate(CHAIN) if index % 2]
    return make_project(
        path,
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=RECORDED,
        parameters=PARAMETERS,
        catalog={
            **{
                name: {"type": "json.JSONDataset", "filepath": f"data/chain/{name}.json"}
                for name in files
            },
            **{name: {"type": "MemoryDataset"} for name in CHAIN if name not in files},
            "between": {"type": "MemoryDataset"},
            "x": {"type": "MemoryDataset"},
            "{name}": {"type": "json.JSONDataset", "filepath": "data/{name}.json"},
        },
        dagster={"jobs": {name: {"pipeline": {"pipeline_name": name}} for name in JOBS}},
        files={
            "data/seed.json": '["start"]',
            "run_in_kedro.py": RUN_IN_KEDRO,
            "run_in_dagster.py": RUN_IN_DAGSTER,
        },
    )


def files_of(project: Project) -> dict[str, bytes]:
    data = project.path / "data"
    return {
        str(file.relative_to(data)): file.read_bytes()
        for file in sorted(data.rglob("*"))
        if file.is_file()
    }


def run_in_dagster(project: Project, *tasks: dict[str, Any]) -> dict[str, Any]:
    project.run("run_in_dagster.py", json.dumps(tasks))
    report: dict[str, Any] = json.loads((project.path / "report.json").read_text())
    return report


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make(tmp_path_factory.mktemp("hazards") / "project")


@pytest.fixture(scope="module")
def in_kedro(project: Project) -> dict[str, bytes]:
    copy = project.copy(project.path.parent / "kedro")
    copy.run("run_in_kedro.py", *JOBS)
    return files_of(copy)


@pytest.fixture(scope="module")
def jobs(project: Project) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Each job run, one after the other as in Kedro."""
    copy = project.copy(project.path.parent / "jobs")
    report = run_in_dagster(copy, *({"name": name, "job": name} for name in JOBS))
    return report, files_of(copy)


@pytest.fixture(scope="module")
def others(project: Project) -> tuple[dict[str, Any], Project]:
    """Assets that two pipelines make, and parameters changed in run config."""
    copy = project.copy(project.path.parent / "others")
    report = run_in_dagster(
        copy,
        {"name": "both", "assets": ["first_result", "second_result"]},
        {
            "name": "invalid",
            "job": "parameters",
            "ops": {"changed": {"config": {"params:model": {"depth": "deep"}}}},
        },
        {"name": "changed", "job": "parameters", "ops": CHANGED},
    )
    return report, copy


@pytest.mark.parametrize("job", JOBS)
def test_every_pipeline_runs_as_a_job(
    job: str, jobs: tuple[dict[str, Any], dict[str, bytes]]
) -> None:
    report, _ = jobs
    assert report[job]["errors"] == []
    assert [hook for hook, _ in report[job]["calls"]] == ["before", "after"]


def test_all_files_are_those_of_kedro(
    jobs: tuple[dict[str, Any], dict[str, bytes]], in_kedro: dict[str, bytes]
) -> None:
    _, files = jobs
    assert files == in_kedro
    assert {f"chain/{name}.json" for name in CHAIN[1::2]} <= files.keys()


def test_two_assets_made_from_one_transient_name_in_two_pipelines(
    others: tuple[dict[str, Any], Project],
) -> None:
    report, project = others
    assert report["both"]["success"]
    assert json.loads((project.path / "data/first_result.json").read_text()) == ["start", "one"]
    assert json.loads((project.path / "data/second_result.json").read_text()) == ["start", "two"]
    assert [hook for hook, _ in report["both"]["calls"]] == ["before", "after"]


@pytest.mark.parametrize(
    ("dataset", "value"),
    [
        pytest.param("changed", ["Model", {"depth": 5, "name": "bush"}], marks=typed),
        pytest.param("unchanged", ["Model", {"depth": 3, "name": "tree"}], marks=typed),
        ("depth", "9"),
        ("odd", "2"),
        ("when", "'2025-01-01'"),
        ("ints", "{1: 'uno', '3': None}"),
        ("none", "['now', {'a': 'list'}]"),
        ("limit", "-inf"),
        ("whole", ["only"]),
    ],
)
def test_a_changed_parameter_reaches_its_node_typed_and_no_other_node(
    dataset: str, value: object, others: tuple[dict[str, Any], Project]
) -> None:
    report, project = others
    assert report["changed"]["errors"] == []
    assert json.loads((project.path / f"data/{dataset}.json").read_text()) == value


@typed
def test_a_parameter_that_its_model_refuses_fails_the_run_with_the_model_s_message(
    others: tuple[dict[str, Any], Project],
) -> None:
    report, _ = others
    assert not report["invalid"]["success"]
    (message,) = [detail for hook, detail in report["invalid"]["calls"] if hook == "error"]
    assert "valid integer" in message
    assert "model" in message
