"""What `nox -s release` checks before it makes the tag that users get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import git
from projects import HELPER, REPOSITORY

DAY = "2026-12-01"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that can be released as 0.2.0, after 0.1.0."""
    helper = tmp_path / HELPER.relative_to(REPOSITORY)
    helper.mkdir(parents=True)
    (tmp_path / "helpers").mkdir()
    script = (REPOSITORY / "helpers" / "release.py").read_text()
    (tmp_path / "helpers" / "release.py").write_text(script)
    (helper / "steps.py").write_text("")
    git(tmp_path, "init", "--quiet")
    for version in ("0.1.0", "0.2.0"):
        (helper / "versions.py").write_text(f'__version__ = "{version}"\n')
        (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{version}] - {DAY}\n")
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", version)
        if version == "0.1.0":
            git(tmp_path, "tag", version)
    return tmp_path


def release(repository: Path, version: str) -> subprocess.CompletedProcess[str]:
    script = repository / "helpers" / "release.py"
    return subprocess.run(
        [sys.executable, str(script), version], check=False, capture_output=True, text=True
    )


def tags(repository: Path) -> list[str]:
    return [file.name for file in (repository / ".git" / "refs" / "tags").iterdir()]


def test_what_agrees_is_tagged(repository: Path) -> None:
    done = release(repository, "0.2.0")
    assert done.returncode == 0, done.stderr
    assert "git push --follow-tags" in done.stdout
    assert sorted(tags(repository)) == ["0.1.0", "0.2.0"]


def refused(repository: Path, version: str) -> str:
    done = release(repository, version)
    assert done.returncode == 1
    assert version not in set(tags(repository)) - {"0.1.0"}
    return done.stderr


def test_a_version_that_is_written_nowhere(repository: Path) -> None:
    message = refused(repository, "0.3.0")
    assert "versions.py is of another version" in message
    assert "CHANGELOG.md has no section '## [0.3.0] - <date>'" in message


@pytest.mark.parametrize("version", ["v0.2.0", "0.2", "next"])
def test_a_tag_that_copier_would_sort_wrongly(repository: Path, version: str) -> None:
    message = refused(repository, version)
    assert "PEP 440" in message or "CHANGELOG.md has no section" in message


def test_a_version_that_is_not_higher(repository: Path) -> None:
    assert "must be higher" in refused(repository, "0.1.0")


def test_changes_that_are_not_committed(repository: Path) -> None:
    (repository / "new.txt").write_text("")
    assert "not committed" in refused(repository, "0.2.0")


def test_a_file_that_an_update_would_remove(repository: Path) -> None:
    helper = repository / HELPER.relative_to(REPOSITORY)
    (helper / "steps.py").unlink()
    git(repository, "commit", "--quiet", "--all", "--message", "gone")
    assert "steps.py was in 0.1.0" in refused(repository, "0.2.0")
