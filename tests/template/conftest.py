"""Releases of the template, made of the working tree as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import git
from kedro_dagster.commands.diff import MANIFEST, manifest_of

V1, V2, V3 = "1.0.0", "1.1.0", "2.0.0"
FIX = "ARRIVES_WITH_AN_UPDATE = True\n"


@pytest.fixture(scope="session")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with three releases: now, a fix of the helper, and changes everywhere."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    git(template, "clone", "--quiet", "--no-tags", str(template), str(folder))
    git(folder, "tag", V1)
    helper = folder / "template" / "src" / "kedro_dagster"
    with (helper / "utils.py").open("a") as file:
        file.write(FIX)
    errors = (helper / "errors.py").read_text()
    (helper / "errors.py").write_text(f'"""The new first line."""\n{errors.partition(chr(10))[2]}')
    (helper / "arrived.py").write_text(FIX)
    (helper / MANIFEST).write_text(manifest_of(helper))
    release(folder, V2)
    for seed in folder.glob("template/**/*.jinja"):
        if "answers_file" not in seed.name:
            seed.write_text(f"{seed.read_text()}# New in a seed.\n")
    (folder / "template" / "NEW_SEED.md").write_text("New.\n")
    release(folder, V3)
    return folder


def release(repository: Path, version: str) -> None:
    """Commit everything in a repository, and tag it."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", version)
    git(repository, "tag", version)
