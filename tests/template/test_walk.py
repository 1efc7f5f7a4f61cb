"""Copies of three releases, between which files of the helper moved, arrive at the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import git
from kedro_dagster.commands.diff import MANIFEST, difference, manifest_of
from template.conftest import FIX, release
from template.existing import copier, hashes
from template.test_update import ANSWERS, HELPER, MINE, commit, copy

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("updates")]

MOVED = {"previews.py": "run/previews.py", "turns.py": "run/turns.py"}
"""Files by where they stood in the first release; one moves in the second, one in the third."""

STUB = '"""It has moved: a file that was released stays."""\n\nfrom .{module} import *\n'
NEWEST = "1.3.0"


@pytest.fixture(scope="module")
def history(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with four releases, the last of which is the working tree with a fix."""
    folder = tmp_path_factory.mktemp("history") / "template"
    git(template, "clone", "--quiet", "--no-tags", str(template), str(folder))
    helper = folder / "template" / HELPER

    def tag(version: str) -> None:
        (helper / MANIFEST).write_text(manifest_of(helper))
        release(folder, version)

    for old, new in MOVED.items():
        (helper / new).rename(helper / old)
    tag("1.0.0")
    for number, (old, new) in enumerate(MOVED.items(), 1):
        (helper / old).rename(helper / new)
        module = new.removesuffix(".py").replace("/", ".")
        (helper / old).write_text(STUB.format(module=module))
        tag(f"1.{number}.0")
    with (helper / "utils.py").open("a") as file:
        file.write(FIX)
    tag(NEWEST)
    return folder


@pytest.fixture(scope="module")
def newest(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("newest") / "shop"
    copy(history, project, NEWEST)
    return project


@pytest.mark.parametrize(
    ("version", "edits"),
    [
        ("1.0.0", ["turns.py", "utils.py"]),
        ("1.1.0", ["run/previews.py", "utils.py"]),
        ("1.2.0", []),
    ],
)
def test_a_copy_arrives_at_the_newest_with_its_edits(
    version: str, edits: list[str], history: Path, newest: Path, tmp_path: Path
) -> None:
    project = tmp_path / "shop"
    copy(history, project, version)
    for name in edits:
        file = project / HELPER / name
        file.write_text(MINE + file.read_text())
    commit(project)

    renovate = ("--skip-answered", "--defaults", "--answers-file", ANSWERS, "--vcs-ref", NEWEST)
    copier(project, "update", *renovate)

    after, fresh = hashes(project), hashes(newest)
    assert after.keys() == fresh.keys()
    changed = {name for name in after if after[name] != fresh[name]}
    assert changed == {f"{HELPER}/{name}" for name in edits}
    found = difference(project, offline=True, patch=False, helper=project / HELPER)
    assert found.edited == edits
    for name in edits:
        text = (project / HELPER / name).read_text()
        if name in MOVED:  # the edit is of code that is elsewhere now: it is not lost
            assert text.startswith(f"<<<<<<< before updating\n{MINE}")
        else:
            assert text == MINE + (newest / HELPER / name).read_text()
