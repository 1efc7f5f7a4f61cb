"""What the helper says of versions that do not fit, and of the plugin of the same name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from kedro_dagster import versions
from kedro_dagster.errors import UnsupportedVersionError
from kedro_dagster.read.messages import parse_config
from projects import HELPER, REPOSITORY, Project, make_project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(autouse=True)
def unchecked() -> None:
    """Let the installed versions be checked anew."""
    versions.check_installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "found"),
    [("kedro", "0.19.14"), ("kedro", "2.0.0"), ("dagster", "1.11.16"), ("dagster", "2.0")],
)
def test_says_which_installed_version_does_not_fit(
    name: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"kedro": "1.0.0", "dagster": "1.12.0", name: found}
    monkeypatch.setattr(versions, "version", installed.__getitem__)
    with pytest.raises(UnsupportedVersionError) as caught:
        versions.check_installed()
    assert str(caught.value) == (
        f"kedro_dagster {versions.__version__} does not run here: "
        f"{name}{versions.SUPPORTED[name]} is needed, and {name} {found} is installed. "
        'Run `pip install "kedro>=1.0,<2" "dagster>=1.12,<2"`, or get a helper that fits with '
        "`copier update`."
    )


@pytest.mark.parametrize(
    "found", [("1.0.0", "1.12.0"), ("1.99", "1.99"), ("1.8.0rc1", "1.14.0.dev2")]
)
def test_accepts_every_version_in_between(
    found: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        versions, "version", dict(zip(("kedro", "dagster"), found, strict=True)).__getitem__
    )
    versions.check_installed()


def test_versions_are_checked_before_dagster_is_imported(tmp_path: Path) -> None:
    """An old Dagster has not all that the helper imports."""
    write_distribution(tmp_path, "dagster", "1.0.0")
    (tmp_path / "dagster.py").write_text("")
    process = run_helper(tmp_path, "from kedro_dagster import KedroProjectTranslator")
    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].startswith(
        "kedro_dagster.errors.UnsupportedVersionError: kedro_dagster"
    )


@pytest.fixture(params=["unsupported", "missing"])
def project_without_dagster(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A project in an environment whose Dagster cannot be used; what is first on its path."""
    project = make_project(
        tmp_path / "project",
        pipelines="""
            from kedro.pipeline import Pipeline, node


            def register_pipelines():
                return {"__default__": Pipeline([node(lambda: [1], None, "made", name="make")])}
        """,
        catalog="made: {type: json.JSONDataset, filepath: data/made.json}",
    )
    source = project.path / "src"
    (source / "dagster.py").write_text("raise ImportError('no Dagster to use')")
    if request.param == "unsupported":
        write_distribution(source, "dagster", "1.0.0")
    else:
        (source / "sitecustomize.py").write_text(NO_DAGSTER)
    return project


NO_DAGSTER = """
from importlib import metadata

found = metadata.Distribution.from_name

def from_name(name):
    if name == "dagster":
        raise metadata.PackageNotFoundError(name)
    return found(name)

metadata.Distribution.from_name = from_name
"""


@pytest.mark.slow
def test_kedro_run_goes_on_where_dagster_cannot_be_used(project_without_dagster: Project) -> None:
    project_without_dagster.kedro("run")
    assert (project_without_dagster.path / "data" / "made.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["dev", "plan", "run", "check"])
def test_commands_say_what_to_install_where_dagster_cannot_be_used(
    project_without_dagster: Project, command: str
) -> None:
    process = project_without_dagster.kedro("dagster", command, check=False)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    message = process.stderr.splitlines()[-1]
    assert "dagster 1.0.0 is installed" in message or "dagster is not installed" in message
    assert 'Run `pip install "kedro>=1.0,<2" "dagster>=1.12,<2"`' in message


@pytest.mark.parametrize("file", ["pyproject.toml", "template/pyproject.toml.jinja"])
def test_projects_are_given_the_versions_that_the_helper_supports(file: str) -> None:
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    for name, wanted in versions.SUPPORTED.items():
        (declared,) = re.findall(rf'"{name}([<>=~][^"]*)"', text)
        assert SpecifierSet(declared) == SpecifierSet(wanted)


def test_projects_are_given_the_versions_that_are_tested() -> None:
    project = read_toml("template/pyproject.toml.jinja")["project"]
    given = requirements(project["dependencies"] + project["optional-dependencies"]["dev"])
    del given["pytest"]  # of the project's own tests
    assert given
    assert given == {name: declared()[name] for name in given}


def test_copier_asks_for_the_version_of_it_that_is_tested() -> None:
    text = (REPOSITORY / "copier.yml").read_text(encoding="utf-8")
    (asked,) = re.findall('^_min_copier_version: "(.*)"$', text, re.MULTILINE)
    assert Version(asked) == oldest(declared()["copier"])


@pytest.mark.skipif(
    os.environ.get("KEDRO_DAGSTER_VERSIONS") != "oldest",
    reason="session compat(3.10-oldest) installs the oldest versions",
)
def test_the_oldest_versions_that_are_declared_are_installed() -> None:
    installed = {name: Version(version(name)) for name in declared()}
    assert installed == {name: oldest(needed) for name, needed in declared().items()}


def test_warns_of_the_plugin_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_distribution(tmp_path, "kedro-dagster", "0.7.1")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="Two packages are called kedro_dagster") as caught:
        versions.check_installed()
    assert str(caught[0].message) == (
        f"Two packages are called kedro_dagster. The one in {HELPER} is in use, not the plugin "
        f"kedro-dagster 0.7.1, which is installed in {tmp_path}. Remove the plugin with "
        "`pip uninstall kedro-dagster`."
    )


def test_a_command_warns_of_the_plugin_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    write_distribution(tmp_path, "kedro-dagster", "0.7.1")
    code = "from kedro_dagster.cli import check_installed as check; check()"
    process = run_helper(tmp_path, f"{code}; import kedro_dagster.commands.run")
    assert process.returncode == 0, process.stderr
    shown = process.stdout + process.stderr  # Kedro logs warnings
    assert shown.count("Two packages are called kedro_dagster") == 1


def test_warns_of_nothing_where_the_plugin_is_not_installed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        versions.check_installed()


@pytest.mark.parametrize("wanted", [">=0.1", "==0.1.0", ">=0.1,<99"])
def test_dagster_yml_may_say_which_helper_it_is_written_for(wanted: str) -> None:
    config, mistakes = parse_config({"requires_helper": wanted})
    assert (config.requires_helper, mistakes) == (wanted, [])


@pytest.mark.parametrize("wanted", [">=99", "<0.1"])
def test_a_helper_too_old_or_too_new_for_dagster_yml_says_so(wanted: str) -> None:
    _, mistakes = parse_config({"requires_helper": wanted, "jobs": {}})
    message = (
        f"this file is written for kedro_dagster {wanted}, and the one in use is "
        f"{versions.__version__}. Run `copier update`, or correct the range."
    )
    assert mistakes == [(("requires_helper",), message)]


def test_a_range_of_versions_that_is_none_is_a_mistake() -> None:
    _, mistakes = parse_config({"requires_helper": "newest"})
    assert mistakes == [
        (("requires_helper",), "'newest' is no range of versions. Write one like '>=0.1'.")
    ]


def read_toml(file: str) -> dict[str, Any]:
    """Read a TOML file of this repository, with every `{% if %}` true and any name for another."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return tomllib.loads(re.sub(r"\{\{.*?\}\}", "name", re.sub(r"\{%.*?%\}", "", text)))


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {needed.name: needed for needed in map(Requirement, lines)}


def declared() -> dict[str, Requirement]:
    groups = read_toml("pyproject.toml")["dependency-groups"]
    return requirements(groups["copier"] + groups["example"])


def oldest(needed: Requirement) -> Version:
    (bound,) = (part.version for part in needed.specifier if part.operator == ">=")
    return Version(bound)


def write_distribution(folder: Path, name: str, version: str) -> None:
    """Make it look as if a distribution were installed in a folder."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run_helper(first_on_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    paths = [str(first_on_path), str(HELPER.parent)]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
