"""Registries that want the project's hooks, and what is told of pipelines that fail on import."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.framework.project import LOGGING
from kedro.framework.project import pipelines as kedro_pipelines

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError, PipelineLoadError
from projects import Project, make_project

JOB = "jobs: {all: {pipeline: {}}}"
STATE = "STATE = {}\n"
HOOKS = """\
from kedro.framework.hooks import hook_impl

from shop.state import STATE


class ProjectHooks:
    @hook_impl
    def after_context_created(self, context):
        STATE["countries"] = context.config_loader["parameters"]["countries"]
"""
REGISTRY = """\
from kedro.pipeline import Pipeline, node

from shop.state import STATE


def register_pipelines():
    nodes = [node(lambda: 1, None, f"out_{c}", name=f"make_{c}") for c in STATE["countries"]]
    return {"__default__": Pipeline(nodes)}
"""
FIND = """\
from kedro.framework.project import find_pipelines


def register_pipelines():
    pipelines = find_pipelines()
    pipelines["__default__"] = sum(pipelines.values())
    return pipelines
"""
PIPELINE = """\
from kedro.pipeline import Pipeline, node

from shop.state import STATE

COUNTRIES = STATE["countries"]


def create_pipeline():
    return Pipeline([node(lambda: 1, None, f"out_{c}", name=f"make_{c}") for c in COUNTRIES])
"""


@pytest.fixture(autouse=True)
def kedro_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what Kedro does to this process when it finds a project."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    LOGGING.set_project_logging("shop")  # now: it takes away the handlers of pytest
    yield
    kedro_pipelines.configure(None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def project_of(folder: Path, registry: str, hooks: str = HOOKS, **modules: str) -> Project:
    """A project whose modules of pipelines are given by name."""
    packages = {
        f"src/shop/pipelines/{name}/__init__.py": text for name, text in modules.items() if text
    }
    return make_project(
        folder / "project",
        pipelines=registry,
        hooks=hooks,
        parameters="countries: [fr, de]",
        dagster=JOB,
        files={"src/shop/state.py": STATE, "src/shop/pipelines/__init__.py": "", **packages},
    )


def nodes(project: Project) -> list[str]:
    plan = KedroProjectTranslator(project.path).plan
    return [node.name for node in plan.jobs["all"].pipeline.nodes]


def cause(project: Project) -> str:
    with pytest.raises(PipelineLoadError) as caught:
        KedroProjectTranslator(project.path)
    return str(caught.value).replace(f"{project.path}/src/shop/", "")


@pytest.mark.filterwarnings("ignore:An error occurred while importing")
@pytest.mark.parametrize(
    ("registry", "modules"), [(REGISTRY, {}), (FIND, {"sales": PIPELINE})], ids=["own", "found"]
)
def test_a_registry_that_wants_the_hooks_is_loaded_as_kedro_run_does_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, registry: str, modules: dict[str, str]
) -> None:
    project = project_of(tmp_path, registry, **modules)
    with caplog.at_level(logging.WARNING, "kedro_dagster"):
        assert nodes(project) == ["make_de", "make_fr"]
    (record,) = (one for one in caplog.records if one.name.startswith("kedro_dagster"))
    assert "KeyError: 'countries'" in record.getMessage()
    assert "So the project's hooks are called" in record.getMessage()


def test_hooks_are_not_called_where_the_registry_does_not_want_them(tmp_path: Path) -> None:
    project = project_of(
        tmp_path,
        FIND,
        hooks=HOOKS.replace("STATE[", "raise ValueError(STATE)  #"),
        sales=PIPELINE.replace('STATE["countries"]', "['it']"),
        broken="import no_such_package",
    )
    with pytest.warns(UserWarning, match="No module named 'no_such_package'"):
        assert nodes(project) == ["make_it"]


def test_a_registry_that_fails_with_the_hooks_too_is_told_so(tmp_path: Path) -> None:
    project = project_of(tmp_path, REGISTRY.replace('["countries"]', '["cities"]'))
    assert cause(project) == (
        "The pipelines of 'shop' cannot be loaded, with the project's hooks called before: "
        "KeyError: 'cities' (pipeline_registry.py, line 7)"
    )


def test_a_hook_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    hooks = HOOKS.replace('context.config_loader["parameters"]', "int('many')")
    assert cause(project_of(tmp_path, REGISTRY, hooks)) == (
        "The pipelines of 'shop' cannot be loaded, with the project's hooks called before: "
        "ValueError: invalid literal for int() with base 10: 'many' (hooks.py, line 9)"
    )


def test_the_line_is_the_users_and_not_one_of_the_standard_library(tmp_path: Path) -> None:
    registry = "import json\n\n\ndef register_pipelines():\n    return json.loads('nothing')\n"
    assert cause(project_of(tmp_path, registry, hooks="")) == (
        "The pipelines of 'shop' cannot be loaded: JSONDecodeError: Expecting value: line 1 column "
        "1 (char 0) (pipeline_registry.py, line 5)"
    )


def test_the_line_is_the_users_where_the_project_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = "def register_pipelines():\n    return {}['nothing']\n"
    project = project_of(tmp_path, registry, hooks="")
    installed = tmp_path / "site-packages"
    (project.path / "src").rename(installed)
    (project.path / "pyproject.toml").unlink()
    monkeypatch.syspath_prepend(installed)
    monkeypatch.chdir(project.path)
    with pytest.raises(PipelineLoadError, match=r"site-packages/shop/pipeline_registry.py, line 2"):
        KedroProjectTranslator(package_name="shop")


NO_PLOTS = "No module named 'no_such_plots'"


@pytest.mark.filterwarnings("ignore:An error occurred while importing")
def test_the_cause_is_told_where_the_registry_wants_what_was_not_found(tmp_path: Path) -> None:
    registry = FIND.replace("sum(pipelines.values())", 'pipelines["sales"]')
    project = project_of(tmp_path, registry, hooks="", sales="\nimport no_such_plots\n")
    assert cause(project) == (
        "The pipelines of 'shop' cannot be loaded: KeyError: 'sales' (pipeline_registry.py, line "
        "6); module shop.pipelines.sales fails on import: ModuleNotFoundError: "
        f"{NO_PLOTS} (pipelines/sales/__init__.py, line 2)"
    )


def test_the_cause_is_told_where_the_registry_raises_errors(tmp_path: Path) -> None:
    registry = FIND.replace("find_pipelines()", "find_pipelines(raise_errors=True)")
    project = project_of(tmp_path, registry, hooks="", sales="\nimport no_such_plots\n")
    message = cause(project)
    assert message.startswith(
        "The pipelines of 'shop' cannot be loaded: ImportError: An error occurred while importing "
        "the 'shop.pipelines.sales' module, because of ModuleNotFoundError: "
        f"{NO_PLOTS} (pipelines/sales/__init__.py, line 2)"
    )


@pytest.mark.filterwarnings("ignore")
def test_why_a_pipeline_is_missing_does_not_depend_on_the_words_of_kedro(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedro.framework.project.IMPORT_ERROR_MESSAGE", "{module}? Oh no.")
    project = project_of(tmp_path, FIND, hooks="", sales="\nimport no_such_plots\n")
    (project.path / "conf/base/dagster.yml").write_text(
        "jobs: {all: {pipeline: {pipeline_name: sales}}}"
    )
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(project.path)
    (mistake,) = caught.value.mistakes
    assert f"module shop.pipelines.sales fails on import: ModuleNotFoundError: {NO_PLOTS}" in str(
        mistake
    )
