"""A vendored file that was released stays: Copier deletes what is gone, with the user's edits."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import git
from projects import REPOSITORY
from template.conftest import V1, V2, V3, release

HELPER = "template/src/kedro_dagster"


def gone(repository: Path, tag: str) -> set[str]:
    """The vendored files of a release that are there no more."""
    released = git(repository, "ls-tree", "-r", "--name-only", tag, f"{HELPER}/").split()
    assert released, f"{tag} has no {HELPER}"
    return {name for name in released if not (repository / name).is_file()}


def test_no_released_file_is_gone() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[([\d.]+)\] - \d", changelog, re.MULTILINE)
    tags = git(REPOSITORY, "tag", "--list").split()
    assert sorted(tag.removeprefix("v") for tag in tags) == sorted(released), (
        "The tags are not the releases of CHANGELOG.md: run `git fetch --tags`."
    )
    assert {tag: gone(REPOSITORY, tag) for tag in tags} == {tag: set() for tag in tags}


def test_a_file_that_is_gone_is_found(releases: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(releases), "clone")
    clone = tmp_path / "clone"
    assert [gone(clone, tag) for tag in (V1, V2, V3)] == [set(), set(), set()]
    (clone / HELPER / "arrived.py").rename(clone / HELPER / "renamed.py")
    release(clone, "3.0.0")
    assert [gone(clone, tag) for tag in (V1, V2, V3)] == [
        set(),
        {f"{HELPER}/arrived.py"},
        {f"{HELPER}/arrived.py"},
    ]
