"""The helper's folders are its stages, and each uses only those before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from projects import HELPER

STAGES = ["doors", "read", "plan", "run", "render"]
MODULES = sorted(HELPER.rglob("*.py"))


def imported_stages(file: Path) -> Iterator[str]:
    """The folders of the helper that a module imports from, wherever the import stands."""
    depth = len(file.relative_to(HELPER).parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from (node.module or alias.name for alias in node.names)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_uses_only_those_before_it(stage: str) -> None:
    later = STAGES[STAGES.index(stage) + 1 :]
    files = list((HELPER / stage).glob("*.py"))
    used = {name.split(".")[0] for file in files for name in imported_stages(file)}
    assert len(files) > 1
    assert used.isdisjoint(later)


@pytest.mark.parametrize("stage", ["run", "render"])
def test_a_run_reads_no_configuration(stage: str) -> None:
    """The plan is complete: but for the code location, nobody after it asks the project."""
    files = [file for file in (HELPER / stage).glob("*.py") if file.name != "code_location.py"]
    used = {name for file in files for name in imported_stages(file) if name.startswith("read")}
    allowed = {"read.dagster_yml", "read.partition_entry", "read.partition_keys"}
    assert used <= allowed


def test_each_folder_is_a_stage() -> None:
    folders = {file.parent.name for file in MODULES if file.parent != HELPER}
    assert folders == set(STAGES)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(HELPER).as_posix())
def test_imports_within_the_helper_are_relative(file: Path) -> None:
    """So that the package works under whatever folder it is vendored into."""
    names = [
        name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    ]
    assert not [name for name in names if name.split(".")[0] == "kedro_dagster"]
