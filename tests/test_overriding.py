"""The examples of docs/overriding.md do what the page says, and names of ops can be chosen."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator, NodeTranslator
from kedro_dagster.errors import KedroDagsterError
from projects import REPOSITORY, Project, make_project

PAGE = (REPOSITORY / "docs" / "overriding.md").read_text(encoding="utf-8")
BY_LAYER, ON_KUBERNETES, PARTS = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def add(value):
    return value + 1


def register_pipelines():
    training = Pipeline(
        [
            node(add, "raw", "table", name="make"),
            node(add, "table", "model", name="train", tags="large"),
        ]
    )
    return {"__default__": training, "training": training}
"""
CATALOG = """\
raw:
  type: json.JSONDataset
  filepath: data/01_raw/raw.json
  metadata: {dagster: {owners: [me@example.com]}}
model: {type: json.JSONDataset, filepath: data/06_models/model.json}
"""
PROCESSES = {"multiprocess": {"max_concurrent": 2}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield make_project(
            tmp_path_factory.mktemp("overriding") / "project",
            package="my_project",
            pipelines=PIPELINES,
            catalog=CATALOG,
            dagster={
                "jobs": {
                    "training": {"pipeline": {}, "executor": PROCESSES},
                    "unused": {"pipeline": {"pipeline_name": "training"}},
                },
                "nodes": {"train": {"timeout": 60}},
            },
            files={"data/01_raw/raw.json": "1"},
        )


def example(project: Project, code: str, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.syspath_prepend(str(project.path / "src"))
    found: dict[str, Any] = {}
    exec(compile(code, "definitions.py", "exec"), found)  # noqa: S102
    definitions: dg.Definitions = found["defs"]
    return definitions


def test_assets_are_in_an_order_of_ones_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = example(project, BY_LAYER, monkeypatch)
    shown = {
        spec.key.to_user_string(): (spec.group_name, list(spec.owners))
        for spec in definitions.resolve_all_asset_specs()
    }
    assert shown == {"raw": ("01_raw", ["me@example.com"]), "model": ("06_models", ["team:data"])}


def test_ops_have_names_and_tags_of_ones_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = example(project, ON_KUBERNETES, monkeypatch)
    model = definitions.resolve_asset_graph().get(dg.AssetKey("model")).assets_def
    assert model.op.name == "make_to_train_data"
    tags = {
        node.name: node.definition.tags for node in definitions.resolve_job_def("training").nodes
    }
    assert "dagster-k8s/config" in tags["train"]
    assert "dagster-k8s/config" not in tags["make"]
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    assert run.success
    assert run.get_asset_materialization_events()[0].step_key == "make_to_train_data"


def test_parts_are_taken_singly(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = example(project, PARTS, monkeypatch)
    assert {job.name for job in definitions.jobs or ()} == {"training", "announce"}
    assert definitions.resolve_job_def("training").execute_in_process().success
    repository = definitions.get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "after_training",
        "kedro_on_pipeline_error",
    }
    assert repository.get_job("announce").execute_in_process().success


OWN_NAMES = """\
from kedro_dagster import KedroProjectTranslator, NodeTranslator


class OwnNames(NodeTranslator):
    def get_op_name(self, step):
        return f"own_{step.name}"


defs = KedroProjectTranslator(
    package_name="my_project", node_translator=OwnNames
).to_definitions()
"""


@pytest.mark.slow
def test_steps_of_other_names_run_in_processes(project: Project, tmp_path: Any) -> None:
    copy = project.copy(tmp_path / "project")
    (copy.path / "src" / "my_project" / "definitions.py").write_text(OWN_NAMES)
    process = copy.execute("training")
    assert "own_train - STEP_SUCCESS" in process.stderr
    assert json.loads((copy.path / "data" / "06_models" / "model.json").read_text()) == 3
    module = ("-m", "my_project.definitions")
    process = copy.run("-m", "dagster", "asset", "materialize", "--select", "model", *module)
    assert "own_make_to_train__assets - STEP_SUCCESS" in process.stderr
    shown = copy.kedro("dagster", "plan").stdout
    assert "  own_train  " in shown
    assert "  own_make_to_train__assets  " in shown


class OneName(NodeTranslator):
    def get_op_name(self, step: Any) -> str:
        return str(type(step).__name__)


def test_two_steps_of_one_name_are_refused(project: Project) -> None:
    with pytest.raises(KedroDagsterError, match=r"job 'training' 'StepPlan': 'make' and 'train'"):
        KedroProjectTranslator(project.path, node_translator=OneName)


def test_each_part_has_a_name(project: Project) -> None:
    kedro = KedroProjectTranslator(project.path)
    names: Sequence[set[str]] = [
        set(one) for one in (kedro.jobs, kedro.assets, kedro.schedules, kedro.sensors)
    ]
    assert names == [
        {"training", "unused"},
        {"raw", "model"},
        set(),
        {"kedro_on_pipeline_error"},
    ]
    assert kedro.jobs["training"] is kedro.jobs["training"]
    (job,) = (one for one in kedro.to_definitions().jobs or () if one.name == "training")
    assert job is kedro.jobs["training"]
