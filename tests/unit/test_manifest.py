"""The digests of the vendored files, and what is told by them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kedro_dagster.commands import diff
from kedro_dagster.commands.diff import MANIFEST, difference, manifest_of, mend
from kedro_dagster.errors import KedroDagsterError
from projects import HELPER, REPOSITORY

ANSWERS = "copier_template: kedro-dagster\n_commit: 1.0.0\n_src_path: {}\n"


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """The helper in a project."""
    return shutil.copytree(HELPER, tmp_path / "src" / "kedro_dagster")


def yours(helper: Path) -> dict[str, str]:
    found = difference(helper.parents[1], offline=True, patch=False, helper=helper)
    assert found.theirs is None
    return dict(found.yours)


def test_the_manifest_is_that_of_the_files() -> None:
    vendored = (HELPER / MANIFEST).read_text(encoding="utf-8")
    assert vendored == manifest_of(HELPER), "Write it anew: nox -s manifest"


def test_line_ends_and_what_others_write_are_no_edits(helper: Path) -> None:
    text = (helper / "cli.py").read_bytes()
    (helper / "cli.py").write_bytes(text.replace(b"\n", b"\r\n"))
    (helper / "cli.pyc").touch()
    (helper / ".DS_Store").touch()
    assert yours(helper) == {}
    (helper / "cli.py").write_bytes(text + b"\n")
    (helper / "run" / "steps.py").unlink()
    (helper / "mine.py").touch()
    assert yours(helper) == {"cli.py": "changed", "mine.py": "added", "run/steps.py": "deleted"}


@pytest.mark.parametrize("damage", ["<<<<<<< before updating\n", b"\xff", None])
def test_a_manifest_that_cannot_be_read_is_told(helper: Path, damage: str | bytes | None) -> None:
    if damage is None:
        (helper / MANIFEST).unlink()
    elif isinstance(damage, bytes):
        (helper / MANIFEST).write_bytes(damage)
    else:
        (helper / MANIFEST).write_text(damage + manifest_of(helper))
    with pytest.raises(KedroDagsterError, match=r"manifest.sha256, .* To have it again: copier re"):
        yours(helper)


def title(helper: Path) -> str:
    """What is told of a template that cannot be asked."""
    found = difference(helper.parents[1], offline=False, patch=True, helper=helper)
    assert (found.yours, found.theirs, found.patch) == ({}, None, "")
    return found.title


def test_a_template_that_cannot_be_asked_is_told(
    helper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = helper.parents[1]
    (project / ".copier-answers.yml").write_text("_src_path: gh:a/b\n_commit: 1.0.0\n")
    assert title(helper) == "No .copier-answers*.yml says of which template this project is."
    own = project / ".copier-answers.own.yml"
    own.write_text(ANSWERS.format("https://me:secret@127.0.0.1:9/template.git"))
    assert "--answers-file=.copier-answers.own.yml" in mend(project, ["cli.py"])
    told = title(helper)
    assert told.startswith("The template cannot be asked: ")
    assert "127.0.0.1" in told or "Unknown switch" in told  # of a Copier without check-update
    assert "secret" not in told
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert title(helper).endswith("Copier is not here (pip install copier).")


def test_answers_that_cannot_be_read_are_told(helper: Path) -> None:
    file = helper.parents[1] / ".copier-answers.yml"
    file.write_text(f"<<<<<<< before updating\n{ANSWERS}=======\n{ANSWERS}>>>>>>> after\n")
    told = r"^\.copier-answers\.yml cannot be read: .* line 2,.*\. If git has left markers in it, "
    assert re.match(told, title(helper))
    with pytest.raises(KedroDagsterError, match=told):
        mend(helper.parents[1], ["cli.py"])


def test_a_copier_that_ends_without_a_word_is_told(
    helper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (helper.parents[1] / ".copier-answers.yml").write_text(ANSWERS.format("."))
    monkeypatch.setattr(diff, "_copier_command", lambda: ["false"])
    assert title(helper) == "The template cannot be asked: Copier ended with exit code 1."


def test_the_documentation_has_the_command_for_all_files(tmp_path: Path) -> None:
    command = mend(tmp_path, ["**"]).replace(" --answers-file=.copier-answers.yml", "")
    assert command in (REPOSITORY / "docs" / "updating.md").read_text(encoding="utf-8")


def test_dagster_is_not_needed() -> None:
    code = f"import sys, {diff.__name__}; sys.exit('dagster' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(HELPER.parent)}, check=True)
