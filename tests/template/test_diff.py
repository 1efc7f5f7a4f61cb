"""`kedro dagster diff`: what is edited, what the template has changed, and how to mend it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import git
from projects import Project
from template.conftest import FIX, V1, V3
from template.existing import copier, hashes
from template.test_update import HELPER, MINE, commit, copy

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("updates")]

DELETED, DAMAGED = "run/mlflow_run.py", "run/steps.py"
EDITED = """\
src/kedro_dagster  edited by you?  moved on in the template?
arrived.py         -               added
errors.py          -               changed
mine.py            added           -
run/mlflow_run.py  deleted         -
run/steps.py       changed         -
utils.py           changed         changed
"""
UPDATED = """\
src/kedro_dagster  edited by you?  moved on in the template?
mine.py            added           -
run/mlflow_run.py  deleted         -
run/steps.py       changed         -
utils.py           changed         -
"""


def diff(project: Path, *options: str, code: int) -> tuple[str, str]:
    """What the command prints, and says beside it."""
    out = project.with_suffix(".out")  # Kedro logs to the standard output
    process = Project(project, "shop").kedro(
        "dagster", "diff", "--output", str(out), *options, check=False
    )
    assert process.returncode == code, process.stdout + process.stderr
    return out.read_text(), process.stderr.partition("back as they were: ")[2].strip()


def run(project: Path, command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "copier"
    subprocess.run([sys.executable, "-m", program, *arguments], cwd=project, check=True)


@pytest.fixture
def edited(releases: Path, tmp_path: Path) -> Path:
    """A project of the first release, with edits of every kind."""
    project = tmp_path / "shop"
    copy(releases, project, V1)
    helper = project / HELPER
    text = (helper / DAMAGED).read_text()
    (helper / DAMAGED).write_text(text[: len(text) // 2] + "(")
    (helper / DELETED).unlink()
    (helper / "mine.py").write_text(MINE)
    (helper / "utils.py").write_text(MINE + (helper / "utils.py").read_text())
    (project / "dg.toml").unlink()
    commit(project)
    return project


def test_edits_are_told_before_and_after_an_update_and_can_be_mended(edited: Path) -> None:
    table, mend = diff(edited, code=1)
    assert table == f"The newest release is {V3}, this is {V1}.\n\n{EDITED}"
    offline, told = diff(edited, "--offline", code=1)
    assert "arrived.py" not in offline
    assert "utils.py           changed         ?\n" in offline
    assert told == mend

    copier(edited, "update", "--defaults")
    table, mend = diff(edited, code=1)
    assert table == f"{V3} is the newest release.\n\n{UPDATED}"
    before = hashes(edited)
    run(edited, mend)
    after = hashes(edited)
    mended = {f"{HELPER}/{name}" for name in (DAMAGED, DELETED, "utils.py")}
    assert {name for name in after if before.get(name) != after[name]} == mended
    assert before.keys() <= after.keys()
    assert diff(edited, code=0)[0].splitlines()[2:] == [
        "src/kedro_dagster  edited by you?  moved on in the template?",
        "mine.py            added           -",
    ]


def test_a_patch_has_what_is_yours_and_what_is_the_templates(edited: Path) -> None:
    patch = diff(edited, "--patch", code=1)[0]
    mine, sign, theirs = patch.partition("--- /dev/null\n+++ template/")
    assert "\n+# Mine.\n" in mine
    assert "\\ No newline at end of file\n" in mine
    assert f"+{FIX}" not in mine
    added, changed = (sign + theirs).partition("--- before/")[::2]
    assert added.startswith(f"--- /dev/null\n+++ template/{HELPER}/arrived.py\n")
    assert f"+{FIX}" in changed
    assert MINE not in changed
    (edited / "mine.patch").write_text(mine)
    git(edited, "apply", "--reverse", "mine.patch")
    told, _ = diff(edited, "--offline", code=0)
    assert told.endswith("\nNo file of src/kedro_dagster is edited.\n")
