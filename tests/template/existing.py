"""Kedro projects as people have them, to which a test adds Dagster."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

REGISTRY = '''\
"""Project pipelines."""

from kedro.pipeline import Pipeline, node


def count(limit):
    return list(range(limit))


def add(numbers):
    return {"sum": sum(numbers)}


def register_pipelines():
    return {
        "__default__": Pipeline(
            [node(count, "params:limit", "numbers"), node(add, "numbers", "total")]
        )
    }
'''
CATALOG = """\
numbers: {type: json.JSONDataset, filepath: data/numbers.json}
total: {type: json.JSONDataset, filepath: data/total.json}
"""


def write_files(path: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")


def write_project(
    path: Path,
    *,
    package: str = "shop",
    source: str = "src",
    conf: str = "conf",
    files: Mapping[str, str] | None = None,
) -> None:
    """Write a Kedro project that knows nothing of Dagster.

    Args:
        path: The project's folder.
        package: The import name of its package.
        source: Its ``source_dir``.
        conf: Its ``CONF_SOURCE``.
        files: More files, by their path; they win.
    """
    folder = (Path(source) / package.replace(".", "/")).as_posix()
    pyproject = f"""\
        [tool.kedro]
        package_name = "{package}"
        project_name = "{path.name}"
        kedro_init_version = "1.0.0"
        source_dir = "{source}"
        """
    write_files(
        path,
        {
            "pyproject.toml": pyproject,
            "README.md": "# Mine\n",
            f"{folder}/__init__.py": "",
            f"{folder}/settings.py": "" if conf == "conf" else f'CONF_SOURCE = "{conf}"\n',
            f"{folder}/pipeline_registry.py": REGISTRY,
            f"{conf}/base/catalog.yml": CATALOG,
            f"{conf}/base/parameters.yml": "limit: 4\n",
            f"{conf}/local/credentials.yml": "",
            **(files or {}),
        },
    )


def kedro_new(folder: Path, name: str, tools: str) -> Path:
    """Let Kedro write an empty project, and give it a pipeline.

    Args:
        folder: The folder in which the project's folder is made.
        name: The project's name.
        tools: The tools to choose, by their short names.

    Returns:
        The project's folder.
    """
    subprocess.run(
        [sys.executable, "-m", "kedro", "new", "--name", name, "--tools", tools, "--example", "n"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
    )
    path = folder / name.lower().replace(" ", "-")
    package = path.name.replace("-", "_")
    write_files(
        path,
        {
            f"src/{package}/pipeline_registry.py": REGISTRY,
            "conf/base/catalog.yml": CATALOG,
            "conf/base/parameters.yml": "limit: 4\n",
        },
    )
    return path


def hashes(path: Path) -> dict[str, str]:
    """Every file below a folder but git's own, with the hash of its content."""
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and ".git" not in file.relative_to(path).parts
    }


def copier(
    folder: Path, command: str, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a Copier command in a folder, without a terminal."""
    process = subprocess.run(
        [sys.executable, "-m", "copier", command, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert process.returncode == 0, process.stderr
    return process
