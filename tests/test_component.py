"""A Kedro project as a component of a ``dg`` project, made and loaded as Dagster's own are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestTranslation as DagstersCases

from kedro_dagster import CatalogTranslator, KedroProjectComponent
from projects import Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def add(value):
    return value + 1


def split(value):
    return value, 10 * value


def register_pipelines():
    training = Pipeline(
        [
            node(add, "raw", "table", name="make", tags="large"),
            node(split, "table", ["model", "report"], name="train"),
            node(add, "model", "score", name="rate"),
        ]
    )
    return {"__default__": training, "training": training}
"""
DATA = ("raw", "model", "report", "score")
CATALOG: dict[str, Any] = {
    name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"} for name in DATA
}
CATALOG["score"]["metadata"] = {
    "dagster": {"pool": "database", "backfill_policy": {"type": "single_run"}}
}
DAGSTER = {"jobs": {"all": {"pipeline": {}, "executor": "in_process"}}}
TYPE = "kedro_dagster.KedroProjectComponent"
DG = "from dagster_dg_cli.cli import main; main()"


def make(folder: Path) -> Project:
    return make_project(
        folder,
        package="kiosk",
        pipelines=PIPELINES,
        catalog=CATALOG,
        dagster=DAGSTER,
        files={
            "data/raw.json": "1",
            "conf/prod/dagster.yml": "jobs: {nightly: {pipeline: {}}}",
            "conf/made/dagster.yml": "jobs: {made: {pipeline: {}, target: assets}}",
            "conf/chosen/dagster.yml": "jobs: {made: {target: assets, select: 'key:score'}}",
        },
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield make(tmp_path_factory.mktemp("component") / "kiosk")


@contextmanager
def sandbox_with(
    *documents: dict[str, Any], kind: type[KedroProjectComponent] = KedroProjectComponent
) -> Iterator[DefsFolderSandbox]:
    """A ``dg`` project with components of some attributes, each in a folder of its own."""
    with create_defs_folder_sandbox() as sandbox:
        for index, attributes in enumerate(documents):
            folder = sandbox.defs_folder_path / f"part{index}"
            folder.mkdir()
            content = {"type": f"{kind.__module__}.{kind.__qualname__}", "attributes": attributes}
            (folder / "defs.yaml").write_text(yaml.safe_dump(content))
        yield sandbox


def load(project: Project, **attributes: Any) -> dg.Definitions:
    said = {"project": str(project.path), **attributes}
    with sandbox_with(said) as sandbox, sandbox.build_all_defs() as definitions:
        return definitions


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): graph.get(key).to_asset_spec() for key in graph.get_all_asset_keys()
    }


class TestTranslation(DagstersCases):
    """Dagster's own cases of what a component's ``translation`` takes."""

    def test_translation(
        self,
        project: Project,
        attributes: dict[str, Any],
        assertion: Callable[[dg.AssetSpec], bool],
        key_modifier: Callable[[dg.AssetKey], dg.AssetKey] | None,
    ) -> None:
        definitions = load(project, translation=attributes)
        key = dg.AssetKey("raw")
        found = specs(definitions)[(key_modifier(key) if key_modifier else key).to_user_string()]
        assert assertion(found)


def test_scaffolding_writes_what_loads_and_runs(project: Project) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            KedroProjectComponent, scaffold_params={"project_path": str(project.path)}
        )
        said = yaml.safe_load((path / "defs.yaml").read_text())["attributes"]
        assert said.keys() == {"project"}
        assert said["project"].startswith("{{ context.project_root }}/../")
        with sandbox.load_component_and_build_defs(path) as (component, definitions):
            assert isinstance(component, KedroProjectComponent)
            assert Path(component.project).resolve() == project.path.resolve()
            assert specs(definitions).keys() == set(DATA)
            names = {sensor.name for sensor in definitions.sensors or ()}
            assert names == {"kedro_on_pipeline_error"}
            for job in (
                definitions.resolve_job_def("all"),
                definitions.resolve_implicit_global_asset_job_def(),
            ):
                assert job.execute_in_process().success
                score = project.path / "data" / "score.json"
                assert json.loads(score.read_text()) == 3
                score.unlink()


def test_environment_and_configuration_are_chosen(project: Project, tmp_path: Path) -> None:
    assert {job.name for job in load(project, env="prod").jobs or ()} == {"nightly"}
    shutil.copytree(project.path / "conf", tmp_path / "conf")
    other = tmp_path / "conf" / "base" / "dagster.yml"
    other.write_text("jobs: {elsewhere: {pipeline: {}}}")
    jobs = load(project, conf_source=str(tmp_path / "conf")).jobs
    assert {job.name for job in jobs or ()} == {"elsewhere"}


def test_translation_knows_the_dataset(project: Project) -> None:
    said = {"group_name": "{{ dataset.name }}_of_{{ dataset.pipelines | first }}"}
    found = specs(load(project, translation=said))
    assert found["score"].group_name == "score_of_training"
    assert found["report"].kinds == {"json"}


def test_what_is_said_of_ops_is_said_of_each(project: Project) -> None:
    definitions = load(
        project,
        op={
            "name": "kiosk_{{ step.name }}",
            "tags": {"team": "sales"},
            "description": "Runs {{ step.nodes | length }}.",
            "pool": "kiosk",
            "backfill_policy": {"type": "multi_run", "max_partitions_per_run": 5},
        },
    )
    graph = definitions.resolve_asset_graph()
    model, score = (graph.get(dg.AssetKey(name)).assets_def for name in ("model", "score"))
    assert (model.op.name, score.op.name) == ("kiosk_make_to_train__assets", "kiosk_rate__assets")
    assert model.op.tags == {"dagster/priority": "0", "large": "", "team": "sales"}
    assert model.op.description == "Runs 2."
    assert (model.op.pool, score.op.pool) == ("kiosk", "database")
    assert model.backfill_policy == dg.BackfillPolicy.multi_run(5)
    assert score.backfill_policy == dg.BackfillPolicy.single_run()
    steps = definitions.resolve_job_def("all").nodes
    assert {step.name for step in steps} == {"kiosk_make", "kiosk_train", "kiosk_rate"}
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    assert run.success


def test_some_assets_are_selected(project: Project) -> None:
    definitions = load(project, select="key:model or tag:nothing")
    found = specs(definitions)
    assert {name: spec.group_name for name, spec in found.items()} == dict.fromkeys(
        ("model", "raw"), "training"
    )
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    made = {event.step_key for event in run.get_step_success_events()}
    assert made == {"make_to_train__assets"}
    assert {job.name for job in definitions.jobs or ()} == {"all"}
    assert specs(load(project, select="key:raw")).keys() == {"raw"}
    definitions = load(project, env="chosen", select="key:score")
    assert definitions.resolve_job_def("made").execute_in_process().success


class ByName(CatalogTranslator):
    def get_group_name(self, dataset: Any) -> str:
        return f"by_{dataset.name}"


class OwnComponent(KedroProjectComponent):
    catalog_translator = ByName


def test_a_derived_component_has_translators_of_its_own(project: Project) -> None:
    said = {"project": str(project.path), "translation": {"owners": ["team:sales"]}}
    with sandbox_with(said, kind=OwnComponent) as sandbox, sandbox.build_all_defs() as definitions:
        score = specs(definitions)["score"]
    assert (score.group_name, score.owners) == ("by_score", ["team:sales"])


MISTAKES = {
    "no project": ({"project": None}, r"defs\.yaml.*project.*Field required"),
    "unknown key": ({"project": None, "projct": "."}, r"projct.*Extra inputs are not permitted"),
    "no Kedro project": ({"project": "."}, r"part0 is not a Kedro project"),
    "syntax": ({"select": "key:"}, r"select: .*key:"),
    "nothing": (
        {"select": "group:none"},
        r"'group:none' selects none of .*: 'model', 'report'",
    ),
    "job of assets": (
        {"env": "made", "select": "key:score"},
        r"'key:score' leaves out what job 'made' makes: model, report\.",
    ),
    "key of translation": ({"translation": {"gruop_name": "a"}}, r"gruop_name.*not permitted"),
    "key of op": ({"op": {"nam": "a"}}, r"nam.*Extra inputs are not permitted"),
    "one name": (
        {"env": None, "op": {"name": "same"}},
        r"two steps of .* 'same': 'make",
    ),
    "variable": ({"translation": {"description": "{{ data.x }}"}}, r"defs\.yaml:\d+.*'data' is un"),
}


@pytest.mark.parametrize(("attributes", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(project: Project, attributes: dict[str, Any], message: str) -> None:
    given = {"project": str(project.path), "env": "prod", **attributes}
    given = {key: value for key, value in given.items() if value is not None}
    assert re.search(message, told(given), re.DOTALL)


def told(*documents: dict[str, Any]) -> str:
    """What a code location fails with, and what that was caused by."""
    lines: list[str] = []
    with (
        sandbox_with(*documents) as sandbox,
        pytest.raises(ComponentTreeException) as caught,
        sandbox.build_all_defs(),
    ):
        pass
    error: BaseException | None = caught.value
    while error is not None:
        lines.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def test_two_projects_in_one_code_location_are_refused(project: Project) -> None:
    said = {"project": str(project.path)}
    assert "A code location has one Kedro project" in told(said, said)


HUB = {
    "pyproject.toml": """\
        [project]
        name = "hub"
        version = "0.1.0"

        [tool.dg]
        directory_type = "project"

        [tool.dg.project]
        root_module = "hub"
        registry_modules = ["kedro_dagster"]
        """,
    "src/hub/__init__.py": "",
    "src/hub/defs/__init__.py": "",
    "src/hub/definitions.py": """\
        from pathlib import Path

        import dagster as dg


        @dg.definitions
        def defs():
            return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
        """,
}


@pytest.mark.slow
def test_dg_scaffolds_checks_lists_and_launches(tmp_path: Path) -> None:
    """In a ``dg`` project of its own, as `create-dagster project` makes it."""
    kiosk, hub = make(tmp_path / "kiosk"), Project(tmp_path / "hub", "hub")
    for name, text in HUB.items():
        file = hub.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    paths = os.pathsep.join(str(one.path / "src") for one in (hub, kiosk))

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return hub.run("-c", DG, *words, PYTHONPATH=paths, **options)

    run("scaffold", "defs", TYPE, "sales", "--project-path", "../kiosk")
    file = hub.path / "src" / "hub" / "defs" / "sales" / "defs.yaml"
    said = yaml.safe_load(file.read_text())
    assert said == {
        "type": TYPE,
        "attributes": {"project": "{{ context.project_root }}/../kiosk"},
    }
    said["attributes"] |= {
        "select": "key:sales/model",
        "translation": {"key_prefix": "sales"},
        "op": {"name": "sales_{{ step.name }}"},
    }
    file.write_text(yaml.safe_dump(said))
    assert "validated successfully" in run("check", "yaml").stdout
    listed = json.loads(run("list", "defs", "--json").stdout)
    assert {one["asset_key"] for one in listed["assets"]} == {"sales/model", "sales/raw"}
    assert [one["name"] for one in listed["jobs"]] == ["all"]
    launched = run("launch", "--assets", "sales/model")
    assert "sales_make_to_train__assets - STEP_SUCCESS" in launched.stderr
    assert "Multiprocess executor" in launched.stderr
    assert json.loads((kiosk.path / "data" / "model.json").read_text()) == 2
    file.write_text(yaml.safe_dump({**said, "attributes": {"projct": "../kiosk"}}))
    refused = run("check", "yaml", check=False)
    assert refused.returncode == 1
    assert "('projct' was unexpected)" in refused.stdout
    assert "'project' is a required property" in refused.stdout
