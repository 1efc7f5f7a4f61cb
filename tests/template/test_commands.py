"""Dagster's own commands in a source tree that is not installed, as Kedro's usually are.

They do what the message at the end of a copy says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from live.server import serve
from projects import Project
from template.existing import copier, kedro_new, write_files, write_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]

BIN = Path(sys.executable).parent
NOT_INSTALLED = {"PYTHONPATH": ""}
LOADED = "All code locations passed validation"
SETUP_PY = """\
from setuptools import find_packages, setup

setup(name="shop", version="0.1", packages=find_packages())
"""
BUILD = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"


def add_dagster(template: Path, path: Path) -> str:
    """Add Dagster to a Kedro project, and return what is said at the end."""
    return copier(path, "copy", "--defaults", str(template), ".").stderr


def run(
    project: Project, command: str, environment: Mapping[str, str], python: Path | None = None
) -> str:
    """Run a command that is on the PATH, in the project's folder, and return what it prints."""
    program, *arguments = command.split()
    project.create_dagster_home()
    process = subprocess.run(
        [python or sys.executable, BIN / program, *arguments],
        cwd=project.path,
        env={**project.environment(**environment), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}"
    return process.stdout


def total(project: Project) -> object:
    """What the default pipeline has made; it is removed."""
    file = project.path / "data" / "total.json"
    made = json.loads(file.read_text())
    file.unlink()
    return made


@pytest.fixture(scope="module")
def starter(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of `kedro new`, to which Dagster was added."""
    project = Project(kedro_new(tmp_path_factory.mktemp("starter"), "Shop", "none"), "shop")
    message = add_dagster(template, project.path)
    for said in (
        "`dagster dev`, `dg dev` and `dg check defs` work as they are;",
        "`dg list defs`, `dg launch` and `dagster job execute -m shop.definitions` once the",
        "project is installed: pip install -e . or, where it cannot be, with PYTHONPATH=src",
    ):
        assert said in " ".join(message.split())
    return project


def test_those_that_start_a_code_server_work_as_they_are(starter: Project) -> None:
    assert LOADED in run(starter, "dagster definitions validate", NOT_INSTALLED)
    assert "All definitions loaded" in run(starter, "dg check defs", NOT_INSTALLED)
    assert "Job: default" in run(starter, "dagster job list", NOT_INSTALLED)


@pytest.mark.parametrize("command", ["dagster", "dg"])
def test_dev_works_as_it_is(command: str, starter: Project) -> None:
    config = starter.path / "conf" / "base" / "dagster.yml"
    config.write_text(config.read_text().replace("executor: sequential", "executor: parallel"))
    with serve(starter, str(BIN / command), "dev", **NOT_INSTALLED) as server:
        assert server.ended(server.launch("default")).status == "SUCCESS"
    assert total(starter) == {"sum": 6}


def check_importing(
    command: str, project: Project, environment: Mapping[str, str], python: Path | None = None
) -> None:
    """Check a command that imports the project in its own process."""
    assert "default" in run(project, command, environment, python)
    assert "job" not in command or total(project) == {"sum": 6}


IMPORTING = (
    "dg list defs",
    "dg launch --job default",
    "dagster job execute -m shop.definitions -j default",
)


@pytest.mark.parametrize("command", IMPORTING)
def test_those_that_import_the_project_work_with_its_folder_on_the_path(
    command: str, starter: Project
) -> None:
    check_importing(command, starter, {"PYTHONPATH": "src"})


def install(folder: Path, path: Path) -> Path:
    """Do as `pip install -e` does with a folder, and return the Python that has it."""
    venv.create(path, symlinks=True)
    scheme = sysconfig.get_path("purelib", vars={"base": str(path)})
    (Path(scheme) / "tests.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run([path / "bin" / "python", "-c", BUILD, path], cwd=folder, check=True)
    (wheel,) = path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scheme)
    return path / "bin" / "python"


def test_those_that_import_the_project_work_once_it_is_installed(
    starter: Project, tmp_path: Path
) -> None:
    python = install(starter.path, tmp_path / "venv")
    for command in IMPORTING:
        check_importing(command, starter, NOT_INSTALLED, python)


def test_a_project_with_its_setup_py_in_src_is_installed_from_there(
    template: Path, tmp_path: Path
) -> None:
    project = Project(tmp_path / "shop", "shop")
    write_project(project.path)
    write_files(project.path, {"src/setup.py": SETUP_PY})
    assert "\n    pip install -e ./src\n" in add_dagster(template, project.path)
    python = install(project.path / "src", tmp_path / "venv")
    check_importing("dg launch --job default", project, NOT_INSTALLED, python)


@pytest.mark.parametrize(
    ("source", "package"), [("src", "company.shop"), ("code", "shop"), (".", "shop")]
)
def test_other_layouts_work_in_the_same_way(
    source: str, package: str, template: Path, tmp_path: Path
) -> None:
    project = Project(tmp_path, package)
    write_project(project.path, source=source, package=package)
    assert f"PYTHONPATH={source}" in add_dagster(template, project.path)
    assert LOADED in run(project, "dagster definitions validate", NOT_INSTALLED)
    on_path = {"PYTHONPATH": source}
    for_dg = NOT_INSTALLED if source == "src" else on_path
    assert "All definitions loaded" in run(project, "dg check defs", for_dg)
    check_importing("dg launch --job default", project, on_path)
