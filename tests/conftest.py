"""Fixtures shared by all tests: renders of the template, and an environment of their own."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import copier
import pytest
import yaml

from projects import HELPER, REPOSITORY, Project

SNAPSHOT_TAG = "0.1.0"


class Render(Protocol):
    """Renders the template; equal answers give the same folder, which must not be changed."""

    def __call__(self, **answers: object) -> Path: ...


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Dagster, git, Copier and Kedro away from what is the user's."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster").mkdir()
    (home / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (home / "copier.yml").write_text("{}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KEDRO_ENV", raising=False)
        patch.setenv("COPIER_CACHE_DIR", str(home / "copier"))
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Tests")
            patch.setenv(f"GIT_{role}_EMAIL", "tests@example.com")
        patch.setenv("KEDRO_DISABLE_TELEMETRY", "1")
        patch.setenv("MPLBACKEND", "Agg")
        yield


@pytest.fixture(scope="module", autouse=True)
def forgotten_projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no project that a test has loaded stand in the way of another one of the same name."""
    yield
    base = tmp_path_factory.getbasetemp()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(base):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def no_instance_of_another_test() -> Iterator[None]:
    """Let Dagster not look into an instance that is closed.

    It keeps the last one that was opened, and finds one again that was closed where a fixture's
    ends after it. The oldest versions keep none.
    """
    try:
        from dagster._core.storage.defs_state.base import set_defs_state_storage  # noqa: PLC0415
    except ImportError:
        yield
    else:
        with set_defs_state_storage(None):
            yield


def git(repository: Path, *arguments: str) -> str:
    """Run git in a repository and return what it prints."""
    process = subprocess.run(
        ["git", *arguments],  # noqa: S607
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    return process.stdout


@pytest.fixture(scope="session", autouse=True)
def compiled_helper() -> None:
    """Compile the helper once, not in each project into which tests copy it."""
    compileall.compile_dir(HELPER, quiet=2)


@pytest.fixture(scope="session")
def template(
    isolated_environment: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A git repository with one tagged commit: this repository's working tree as it is now."""
    snapshot = tmp_path_factory.mktemp("template")
    listed = git(REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, snapshot / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    git(snapshot, "init", "--quiet", "--initial-branch=main")
    git(snapshot, "add", "--all")
    git(snapshot, "commit", "--quiet", "--message=Snapshot of the working tree")
    git(snapshot, "tag", SNAPSHOT_TAG)
    return snapshot


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render the template with its defaults and the given answers."""
    rendered: dict[str, Path] = {}

    def render(**answers: object) -> Path:
        key = yaml.safe_dump(answers)
        if key not in rendered:
            destination = tmp_path_factory.mktemp("render") / "my-project"
            copier.run_copy(str(template), destination, data=answers, defaults=True, quiet=True)
            rendered[key] = destination
        return rendered[key]

    return render


@pytest.fixture(scope="session")
def rendered_example(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The template's example project, compiled; it must not be changed."""
    path = render()
    answers = yaml.safe_load((path / ".copier-answers.yml").read_text(encoding="utf-8"))
    copied = Project(path, answers["package_name"]).copy(tmp_path_factory.mktemp("e") / path.name)
    compileall.compile_dir(copied.path / "src", quiet=2)
    return copied


@pytest.fixture
def example(rendered_example: Project, tmp_path: Path) -> Project:
    """A copy of the template's example project."""
    return rendered_example.copy(tmp_path / rendered_example.path.name)
