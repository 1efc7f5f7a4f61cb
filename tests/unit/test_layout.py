"""The helper's folders are its stages, and each uses only those before it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from projects import HELPER

STAGES = ["doors", "read", "plan", "run", "render", "commands"]
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
    allowed = {
        "read.credentials",  # which are read when a run starts
        "read.dagster_yml",
        "read.partition_entry",
        "read.partition_keys",
        "read.source",  # where the project is
    }
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


ALLOWED = {
    "_replace": "a public method of named tuples",
    "_exit": "a public function of os",
    "_exists": "Kedro's documentation has datasets implement it",
    "_EPHEMERAL": "Kedro's documentation has datasets set it",
    "_SINGLE_PROCESS": "Kedro's documentation has datasets set it",
    "_already_active_mlflow": "kedro-mlflow's, which no door is for",
    "_last_saved_model_uri": "kedro-mlflow's, which no door is for",
    "_active_spark_context": "pyspark's, which no door is for",
}


def is_private(name: str) -> bool:
    """Whether Python's convention keeps a name, or a part of a dotted one, to its owner."""
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_names(tree: ast.Module) -> Iterator[str]:
    """What a module takes of others that is private to them."""
    own = {  # functions, methods and attributes of its own classes
        node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\b(?:dagster|kedro)\w*\._\w+", node.value)
        elif isinstance(node, ast.Attribute) and node.attr not in own | ALLOWED.keys():
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            name = getattr(node.args[1], "value", None)
            if isinstance(name, str) and name not in ALLOWED:
                yield name


@pytest.mark.parametrize(
    "file",
    [file for file in MODULES if file.parent.name != "doors"],
    ids=lambda file: file.relative_to(HELPER).as_posix(),
)
def test_private_names_of_others_are_used_in_doors_only(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert not list(filter(is_private, private_names(tree)))
