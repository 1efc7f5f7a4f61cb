"""Kedro projects, written to disk for a test or a benchmark and run in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from packaging.version import Version

from processes import run_python

REPOSITORY = Path(__file__).resolve().parents[1]
HELPER = REPOSITORY / "template" / "src" / "kedro_dagster"
EXAMPLES = REPOSITORY / "docs" / "examples"

KEDRO, OMEGACONF = (Version(version(name)).release for name in ("kedro", "omegaconf"))
"""The installed versions; the oldest that are supported lack some of what tests compare."""

Config = Mapping[str, Any] | str
"""The content of a configuration file: a mapping, or YAML as it would be written by hand."""

DEFINITIONS = '''\
"""The Dagster code location of this project."""

from kedro_dagster import KedroProjectTranslator

defs = KedroProjectTranslator(package_name="{package}").to_definitions()
'''

CLI = '''\
"""The commands of this project."""

from kedro_dagster.cli import cli, run

__all__ = ["cli", "run"]
'''

DAGSTER_YAML = """\
telemetry: {enabled: false}
# Dagster's own loses now and then what a step prints last (its issue 23336).
compute_logs: {module: kedro_dagster.compute_logs, class: KedroComputeLogManager}
"""

HOOK_SETTINGS = """\
from {package}.hooks import ProjectHooks

HOOKS = (ProjectHooks(),)
"""


@dataclass(frozen=True)
class Project:
    """A Kedro project on disk."""

    path: Path
    package: str

    @property
    def dagster_home(self) -> Path:
        """The folder of the Dagster instance that the project's commands use."""
        return self.path / ".dagster"

    def environment(self, **overrides: str) -> dict[str, str]:
        """The environment variables of a process of this project, cut off from the user's own."""
        return {
            **{name: value for name, value in os.environ.items() if name != "KEDRO_ENV"},
            "DAGSTER_HOME": str(self.dagster_home),
            "DO_NOT_TRACK": "1",
            "KEDRO_DISABLE_TELEMETRY": "1",
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(self.path / "src"),
            **overrides,
        }

    def run(
        self, *command: str, check: bool = True, timeout: float = 900, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python`` with arguments in the project's folder, in a process of its own.

        Args:
            *command: The interpreter's arguments.
            check: Whether a non-zero exit status is an error.
            timeout: Seconds after which the process is ended.
            **environment: Environment variables to set.

        Returns:
            The finished process, with what it printed.

        Raises:
            AssertionError: If the process fails and ``check`` is set; carries what it printed.
        """
        self.create_dagster_home()
        process = run_python(command, self.path, self.environment(**environment), timeout)
        if check and process.returncode != 0:
            raise AssertionError(
                f"`python {' '.join(command)}` exited with {process.returncode}\n"
                f"--- stdout\n{process.stdout}\n--- stderr\n{process.stderr}"
            )
        return process

    def kedro(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a ``kedro`` command; options are those of `run`."""
        return self.run("-m", "kedro", *arguments, **options)

    def execute(
        self, job: str, *arguments: str, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a job with ``dagster job execute``; options are those of `run`."""
        return self.run(
            *("-m", "dagster", "job", "execute"),
            *("-m", f"{self.package}.definitions", "-j", job),
            *arguments,
            **options,
        )

    def copy(self, path: Path) -> Project:
        """Copy the project to a folder that does not exist yet."""
        shutil.copytree(self.path, path, symlinks=True)
        return Project(path, self.package)

    def with_example(self, files: str) -> Project:
        """Put the files of an example of the documentation over the project's own."""
        shutil.copytree(EXAMPLES / files, self.path, dirs_exist_ok=True)
        return self

    def create_dagster_home(self) -> None:
        """Make the folder of the Dagster instance, unless it is there."""
        self.dagster_home.mkdir(exist_ok=True)
        settings = self.dagster_home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(DAGSTER_YAML, encoding="utf-8")


def make_project(
    path: Path,
    *,
    pipelines: str,
    nodes: str = "",
    catalog: Config = "",
    parameters: Config = "",
    dagster: Config = "",
    settings: str = "",
    hooks: str = "",
    files: Mapping[str, str] | None = None,
    package: str = "shop",
) -> Project:
    """Write a Kedro project that has the helper vendored into it.

    Code is given as text and may be indented as a whole.

    Args:
        path: The project's folder; it must be empty or absent.
        pipelines: The code of ``pipeline_registry.py``.
        nodes: The code of ``nodes.py``.
        catalog: The content of ``conf/base/catalog.yml``.
        parameters: The content of ``conf/base/parameters.yml``.
        dagster: The content of ``conf/base/dagster.yml``.
        settings: The code of ``settings.py``. With hooks and without settings, an instance
            of ``ProjectHooks`` is registered.
        hooks: The code of ``hooks.py``.
        files: More files, by their path relative to the project's folder; they win.
        package: The name of the project's package.

    Returns:
        The project.
    """
    if hooks and not settings:
        settings = HOOK_SETTINGS.format(package=package)
    source = f"src/{package}"
    texts = {
        "pyproject.toml": _pyproject(package),
        "conf/base/catalog.yml": _yaml(catalog),
        "conf/base/parameters.yml": _yaml(parameters),
        "conf/base/dagster.yml": _yaml(dagster),
        "conf/local/.gitkeep": "",
        f"{source}/__init__.py": "",
        f"{source}/cli.py": CLI,
        f"{source}/definitions.py": DEFINITIONS.format(package=package),
        f"{source}/hooks.py": hooks,
        f"{source}/nodes.py": nodes,
        f"{source}/pipeline_registry.py": pipelines,
        f"{source}/settings.py": settings,
        **(files or {}),
    }
    for name, text in texts.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    shutil.copytree(HELPER, path / "src" / HELPER.name)  # compiled
    return Project(path, package)


def _yaml(config: Config) -> str:
    return config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)


def _pyproject(package: str) -> str:
    return dedent(
        f"""\
        [project]
        name = "{package.replace("_", "-")}"
        version = "0.1.0"

        [tool.kedro]
        package_name = "{package}"
        project_name = "{package}"
        kedro_init_version = "1.0.0"
        source_dir = "src"
        """
    )
