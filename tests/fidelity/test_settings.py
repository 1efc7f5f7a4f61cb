"""What settings.py and installed plugins change in Kedro, they change in Dagster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from kedro.framework.project import settings

from projects import Project, make_project

SESSIONS = hasattr(type(settings), "_SESSION_CLASS")
"""Whether this Kedro has a SESSION_CLASS in settings.py."""

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
from kedro.framework.session import KedroSession
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


class Session(KedroSession):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        note("session")

    @classmethod
    def create(cls, *arguments, **options):
        note("session is created")
        return super().create(*arguments, **options)

    def load_context(self):
        note("session loads")
        return super().load_context()

    def close(self):
        note("session closes")
        super().close()


class Catalog(DataCatalog):
    def save(self, name, data):
        note(f"catalog saves {name}")
        super().save(name, data)
"""
SETTINGS = """\
from shop.classes import Catalog, Context, Loader, Session

CONFIG_LOADER_CLASS = Loader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
CONTEXT_CLASS = Context
DATA_CATALOG_CLASS = Catalog
SESSION_CLASS = Session
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
    sessions = sorted(line for line in kedro if line.startswith("session"))
    if SESSIONS:
        assert sessions == ["session", "session closes", "session is created", "session loads"]
    others = [line for line in kedro if line not in sessions]
    assert others == ["catalog saves out", "context", "loud before write"]
    out = project.path / "data" / "out.json"
    assert json.loads(out.read_text()) == "from the loader"
    out.unlink()
    dagster = ("-m", "dagster", "job", "execute", "-m", "shop.definitions", "-j", job)
    assert notes_of(project, *dagster) == kedro
    assert json.loads(out.read_text()) == "from the loader"


@pytest.mark.skipif(not SESSIONS, reason="this Kedro has no SESSION_CLASS")
@pytest.mark.parametrize(
    ("session", "message"),
    [
        (
            "from kedro.framework.session import KedroServiceSession as Session\n",
            "KedroServiceSession is not derived from KedroSession, and cannot carry the identity",
        ),
        (
            """\
from kedro.framework.session import KedroSession

class Session(KedroSession):
    def __init__(self, session_id, **options):
        super().__init__(session_id="mine", **options)
""",
            "Session makes a session with an identity of its own, 'mine', and cannot carry that",
        ),
    ],
)
def test_a_session_that_cannot_be_that_of_a_run_is_refused(
    project: Project, tmp_path: Path, session: str, message: str
) -> None:
    own = project.copy(tmp_path / "project")
    (own.path / "data/out.json").unlink(missing_ok=True)
    (own.path / "src/shop/settings.py").write_text(f"{session}\nSESSION_CLASS = Session\n")
    run = own.execute("in_process", check=False, COLUMNS="900")
    assert run.returncode
    assert f"SESSION_CLASS of settings.py: {message}" in run.stdout + run.stderr
    assert not (own.path / "data/out.json").exists()


@pytest.mark.skipif(not SESSIONS, reason="this Kedro has no SESSION_CLASS")
def test_what_of_a_session_is_not_called_is_said(project: Project, tmp_path: Path) -> None:
    own = project.copy(tmp_path / "project")
    with (own.path / "src/shop/classes.py").open("a") as file:
        file.write("\n\nSession.run = lambda self, **options: None\n")
    run = own.kedro("dagster", "plan", NOTES=str(tmp_path / "notes.txt"), COLUMNS="400")
    assert "SESSION_CLASS of settings.py: Session.run is not called" in run.stdout + run.stderr
