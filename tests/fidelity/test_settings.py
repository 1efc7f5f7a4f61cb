"""What settings.py and installed plugins change in Kedro, they change in Dagster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("settings")]

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    return {"__default__": Pipeline([node(lambda text: text, "params:text", "out", name="write")])}
"""
CLASSES = """\
import json
import os

from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog


def note(what):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(what + "\\n")


class Loader(OmegaConfigLoader):
    def __getitem__(self, key):
        content = super().__getitem__(key)
        return {**content, "text": "from the loader"} if key == "parameters" else content


class Context(KedroContext):
    def _get_parameters(self):
        note("context")
        return super()._get_parameters()


class Catalog(DataCatalog):
    def save(self, name, data):
        note(f"catalog saves {name}")
        super().save(name, data)
"""
SETTINGS = """\
from shop.classes import Catalog, Context, Loader

CONFIG_LOADER_CLASS = Loader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
CONTEXT_CLASS = Context
DATA_CATALOG_CLASS = Catalog
DISABLE_HOOKS_FOR_PLUGINS = ("quiet-plugin",)
"""
PLUGIN = """\
import os

from kedro.framework.hooks import hook_impl


class Hooks:
    def __init__(self, name):
        self.name = name

    @hook_impl
    def before_node_run(self, node):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(f"{self.name} before {node.name}\\n")


loud, quiet = Hooks("loud"), Hooks("quiet")
"""


def install_plugin(site: Path, name: str) -> None:
    """Make a distribution with an entry point for Kedro's hooks, as pip would leave it."""
    folder = site / f"{name}_plugin-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[kedro.hooks]\n{name} = noisy_plugins:{name}\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("settings") / "project",
        pipelines=PIPELINES,
        catalog={"out": {"type": "json.JSONDataset", "filepath": "data/out.json"}},
        parameters={"text": "from the file"},
        dagster={
            "jobs": {
                name: {"pipeline": {}, "executor": {name: {}}}
                for name in ("in_process", "multiprocess")
            }
        },
        settings=SETTINGS,
        files={"src/shop/classes.py": CLASSES, "src/noisy_plugins.py": PLUGIN},
    )
    for name in ("loud", "quiet"):
        install_plugin(project.path / "src", name)
    return project


def notes_of(project: Project, *command: str) -> list[str]:
    notes = project.path / "notes.txt"
    notes.unlink(missing_ok=True)
    run: subprocess.CompletedProcess[str] = project.run(*command, NOTES=str(notes))
    assert run.returncode == 0
    return sorted(notes.read_text().splitlines())


@pytest.mark.parametrize("job", ["in_process", "multiprocess"])
def test_own_classes_and_plugins_work_as_under_kedro_run(project: Project, job: str) -> None:
    kedro = notes_of(project, "-m", "kedro", "run", "--nodes", "write")
    assert kedro == ["catalog saves out", "context", "loud before write"]
    out = project.path / "data" / "out.json"
    assert json.loads(out.read_text()) == "from the loader"
    out.unlink()
    dagster = ("-m", "dagster", "job", "execute", "-m", "shop.definitions", "-j", job)
    assert notes_of(project, *dagster) == kedro
    assert json.loads(out.read_text()) == "from the loader"
