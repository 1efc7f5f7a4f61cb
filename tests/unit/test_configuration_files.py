"""Configuration as Kedro finds it: without environments, hidden, archived, by other loaders."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.doors import kedro as kedro_door
from kedro_dagster.errors import CatalogConfigError, DagsterConfigError, KedroDagsterError
from kedro_dagster.plan.model import ProjectPlan
from projects import Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    return {"__default__": Pipeline([node(print, ["raw", "params:known"], None, name="show")])}
"""
CATALOG = "raw: {type: json.JSONDataset, filepath: data/raw.json}\n"
PARAMETERS = "known: 1\n"
JOB = "jobs: {all: {pipeline: {}}}\n"
OWN_LOADER = """\
from pathlib import Path

import yaml
from kedro.config import AbstractConfigLoader, MissingConfigException


class PlainLoader(AbstractConfigLoader):
    def __init__(self, conf_source, env=None, runtime_params=None, **kwargs):
        super().__init__(conf_source=conf_source, env=env, runtime_params=runtime_params)

    def __getitem__(self, key):
        {first}
        file = Path(self.conf_source) / "base" / f"{{key}}.yml"
        if not file.is_file():
            raise MissingConfigException(key)
        return yaml.safe_load(file.read_text())
"""


@pytest.fixture(autouse=True)
def kedro_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what Kedro does to this process when it finds a project."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def project_of(folder: Path, *, settings: str = "", **files: str) -> Project:
    """A project whose files in ``conf`` are given by their path, with ``__`` for a slash."""
    project = make_project(folder / "project", pipelines=PIPELINES, settings=settings)
    shutil.rmtree(project.path / "conf")
    texts = {
        "base__catalog": CATALOG,
        "base__parameters": PARAMETERS,
        "base__dagster": JOB,
        **files,
    }
    for name, text in texts.items():
        if text is not None:
            write(project, f"conf/{name.replace('__', '/')}.yml", text)
    (project.path / "conf/local").mkdir(exist_ok=True)
    return project


def write(project: Project, name: str, text: str) -> None:
    file = project.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def plan(project: Project, env: str | None = None) -> ProjectPlan:
    return KedroProjectTranslator(project.path, env=env).plan


def mistake(project: Project) -> str:
    with pytest.raises(DagsterConfigError) as caught:
        plan(project)
    (found,) = caught.value.mistakes
    return str(found)


def test_configuration_without_environments_is_read(tmp_path: Path) -> None:
    project = project_of(
        tmp_path, settings='CONFIG_LOADER_ARGS = {"base_env": "", "default_run_env": ""}'
    )
    shutil.rmtree(project.path / "conf")
    for name, text in {"catalog": CATALOG, "parameters": PARAMETERS, "dagster": JOB}.items():
        write(project, f"conf/{name}.yml", text)
    assert plan(project).jobs.keys() == {"all"}

    write(project, "conf/dagster.yml", "jobs: {all: {pipeline: {}, group_by: nodes}}")
    assert mistake(project).startswith("conf/dagster.yml: jobs.all.group_by: 'nodes' is not allow")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_archived_configuration_is_read(tmp_path: Path, ending: str) -> None:
    project = project_of(tmp_path, settings=f'CONF_SOURCE = "conf{ending}"')
    if ending == ".zip":
        with zipfile.ZipFile(project.path / "conf.zip", "w") as archive:
            for path in sorted((project.path / "conf").rglob("*")):
                archive.write(path, path.relative_to(project.path))
    else:
        shutil.make_archive(str(project.path / "conf"), "gztar", project.path, "conf")
    shutil.rmtree(project.path / "conf")
    assert plan(project).jobs.keys() == {"all"}


@pytest.mark.parametrize(
    ("form", "value", "told"),
    [("gztar", "nodes", "'nodes' is not allowed."), ("tar", "${no}", "Interpolation key 'no' not")],
)
def test_a_mistake_in_archived_configuration_is_told_with_the_archive(
    tmp_path: Path, form: str, value: str, told: str
) -> None:
    dagster = f"jobs: {{all: {{pipeline: {{}}, group_by: '{value}'}}}}"
    ending = {"gztar": "tar.gz"}.get(form, form)
    project = project_of(tmp_path, settings=f'CONF_SOURCE = "conf.{ending}"', base__dagster=dagster)
    shutil.make_archive(str(project.path / "conf"), form, project.path, "conf")
    assert mistake(project).startswith(f"conf.{ending}: jobs.all.group_by: {told}")


@pytest.mark.parametrize("written", ["jobs: [not, {yaml", "jobs: {all: {pipeline: {x: 1}}}"])
def test_hidden_files_are_left_out_in_messages_too(tmp_path: Path, written: str) -> None:
    settings = 'CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}'
    project = project_of(
        tmp_path,
        settings=settings,
        base__dagster="jobs: {all: {pipeline: {}, executor: fast}}",
        **{"local__.ipynb_checkpoints__dagster-checkpoint": written},
    )
    assert mistake(project).startswith("conf/base/dagster.yml: jobs.all.executor: 'fast' is not de")
    write(project, "conf/base/dagster.yml", JOB)
    assert plan(project).jobs.keys() == {"all"}


def test_files_may_have_names_of_the_projects_own(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        settings="""
            CONFIG_LOADER_ARGS = {
                "base_env": "base",
                "default_run_env": "local",
                "config_patterns": {"dagster": ["orchestration*"], "catalog": ["data_*"]},
            }
        """,
        base__orchestration=JOB,
        base__dagster="jobs: {other: {pipeline: {}}}",
        base__data_sets="raw: {type: json.JSONDatset, filepath: x}",
    )
    assert mistake(project).startswith(
        "conf/base/data_sets.yml: raw.type: 'json.JSONDatset' cannot"
    )
    write(project, "conf/base/data_sets.yml", CATALOG)
    assert plan(project).jobs.keys() == {"all"}
    write(project, "conf/base/orchestration.yml", "jobs: {all: {}}")
    assert (
        mistake(project) == "conf/base/orchestration.yml: jobs.all.pipeline: this key is required."
    )


def with_own_loader(folder: Path, first: str = "", **files: str) -> Project:
    project = project_of(
        folder,
        settings="""
            from shop.loader import PlainLoader

            CONFIG_LOADER_CLASS = PlainLoader
            CONFIG_LOADER_ARGS = {}
        """,
        **files,
    )
    write(project, "src/shop/loader.py", OWN_LOADER.format(first=first))
    return project


def test_a_loader_of_the_projects_own_reads_dagster_yml(tmp_path: Path) -> None:
    project = with_own_loader(tmp_path)
    assert plan(project).jobs.keys() == {"all"}
    write(project, "conf/base/dagster.yml", "jobs: {all: {}}")
    assert mistake(project) == "conf/base/dagster.yml: jobs.all.pipeline: this key is required."


def test_what_such_a_loader_does_not_know_is_read_from_the_folders(tmp_path: Path) -> None:
    first = "if key == 'dagster': raise KeyError(key)"
    project = with_own_loader(
        tmp_path, first, base__dagster=f"{JOB}dev: {{port: 1}}\n", local__dagster="dev: {port: 2}"
    )
    translator = KedroProjectTranslator(project.path)
    assert translator.plan.jobs.keys() == {"all"}
    assert translator.project.config.dev.port == 2
    write(project, "conf/local/dagster.yml", "dev: {port: many}")
    assert mistake(project).startswith("conf/local/dagster.yml: dev.port: 'many' is not valid")
    write(project, "conf/local/dagster.yml", "dev: [\n")
    assert mistake(project).startswith("conf/local/dagster.yml: line 2, column 1: ")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("dagster", "  - dagster.yml: PlainLoader wants to be asked nicely"),
        ("catalog", "The catalog configuration cannot be read: PlainLoader wants to be asked nic"),
    ],
)
def test_a_loader_that_fails_is_told_by_its_name(tmp_path: Path, key: str, message: str) -> None:
    error = "raise RuntimeError(f'{type(self).__name__} wants to be asked nicely')"
    project = with_own_loader(tmp_path, f"if key == {key!r}: {error}")
    with pytest.raises(KedroDagsterError) as caught:
        plan(project)
    assert str(caught.value).splitlines()[-1].startswith(message)


def test_a_loader_that_cannot_be_made_is_told_by_its_name(tmp_path: Path) -> None:
    settings = "CONFIG_LOADER_ARGS = {'base_envv': 'base'}"
    with pytest.raises(CatalogConfigError) as caught:
        plan(project_of(tmp_path, settings=settings))
    message = str(caught.value)
    assert message.startswith("OmegaConfigLoader, the CONFIG_LOADER_CLASS of settings.py, cannot")
    assert "'base_envv'" in message
    assert "Planning" not in message


def test_the_folder_of_an_environment_that_is_missing_is_told(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    (project.path / "conf/local").rmdir()
    assert mistake(project) == (
        "conf/local: there is no such folder, and Kedro reads the environment 'local' from it. "
        "Create it, or choose another environment with --env or KEDRO_ENV."
    )


def test_a_dagster_yml_of_other_environments_is_told_with_the_way_to_choose_it(
    tmp_path: Path,
) -> None:
    project = project_of(tmp_path, prod__dagster=JOB, test__dagster=JOB)
    (project.path / "conf/base/dagster.yml").unlink()
    assert mistake(project) == (
        "dagster.yml: there is none. There is one in environment 'prod' and 'test': choose it with "
        "--env prod or KEDRO_ENV=prod. Or write conf/base/dagster.yml or conf/local/dagster.yml, "
        "with at least 'jobs: {default: {pipeline: {pipeline_name: __default__}}}'."
    )
    assert plan(project, env="prod").jobs.keys() == {"all"}


RESOLVERS = """\
import os

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {"variable": lambda name: os.environ[name], "upper": str.upper},
}
"""


def test_a_value_that_only_a_run_can_resolve_has_its_text(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        settings=RESOLVERS,
        base__parameters="""\
known: ${upper:yes}
unset: ${variable:NOT_SET_ANYWHERE}
nested: [a, {b: "x/${variable:NOT_SET_ANYWHERE}/${upper:c}"}]
of_a_hook: ${hooked:${upper:a}}
of_the_run: ${runtime_params:day}
of_the_run_or: ${runtime_params:day, monday}
nowhere: ${not_there}
another: ${unset}
""",
        base__catalog="""\
raw: {type: json.JSONDataset, filepath: "data/${variable:NOT_SET_ANYWHERE}.json"}
"{name}_out": {type: json.JSONDataset, filepath: "data/${hooked:x}/{name}.json"}
""",
    )
    translator = KedroProjectTranslator(project.path)
    assert translator.project.parameters == {
        "known": "YES",
        "unset": "<variable:NOT_SET_ANYWHERE>",
        "nested": ["a", {"b": "x/<variable:NOT_SET_ANYWHERE>/<upper:c>"}],
        "of_a_hook": "<hooked:<upper:a>>",
        "of_the_run": "<runtime_params:day>",
        "of_the_run_or": "monday",
        "nowhere": "<not_there>",
        "another": "<variable:NOT_SET_ANYWHERE>",
    }
    resolve = translator.project.catalog.resolve_pattern
    assert resolve("raw")["filepath"] == "data/<variable:NOT_SET_ANYWHERE>.json"
    assert resolve("a_out")["filepath"] == "data/<hooked:x>/a.json"


def test_dagster_yml_has_to_be_resolved_before_a_run(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        settings=RESOLVERS,
        base__dagster="jobs: {all: {pipeline: {}, description: '${variable:NOT_SET_ANYWHERE}'}}",
    )
    assert mistake(project) == (
        "conf/base/dagster.yml: jobs.all.description: KeyError raised while resolving "
        "interpolation: 'NOT_SET_ANYWHERE'"
    )
    write(
        project, "conf/base/dagster.yml", "jobs: {all: {pipeline: {}, description: '${hooked:}'}}"
    )
    assert mistake(project) == (
        "conf/base/dagster.yml: jobs.all.description: Unsupported interpolation type hooked. Give "
        "the resolver to Kedro in CONFIG_LOADER_ARGS of settings.py: no hook has been called when "
        "this file is read."
    )


def test_with_another_kedro_what_cannot_be_resolved_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(tmp_path, base__parameters="known: 1\nnowhere: ${not_there}\n")
    module: Any = kedro_door.omegaconf_config
    monkeypatch.setattr(kedro_door, "omegaconf_config", type(module)("renamed"))
    with pytest.raises(CatalogConfigError, match="Interpolation key 'not_there' not found"):
        plan(project)


def test_a_package_needs_no_init_file(tmp_path: Path) -> None:
    project = make_project(
        tmp_path / "project",
        package="bare",
        pipelines=PIPELINES,
        catalog=CATALOG,
        parameters=PARAMETERS,
        dagster=JOB,
    )
    (project.path / "src/bare/__init__.py").unlink()
    assert plan(project).jobs.keys() == {"all"}
    assert KedroProjectTranslator(package_name="bare").project.path == project.path
