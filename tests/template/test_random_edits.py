"""Whatever somebody did to a project between two releases: an update loses none of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from copier import run_copy, run_update
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from conftest import git
from template.conftest import V1, V2, release
from template.existing import hashes

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("random_edits")]

HELPER = "src/kedro_dagster"
VENDORED = tuple(f"{HELPER}/{name}.py" for name in ("cli", "errors", "utils", "versions"))
SEEDS = ("README.md", "dg.toml")
NEW = ("notes.md", "src/mine/code.py", f"{HELPER}/mine.py", f"{HELPER}/sub/mine.py")


@dataclass(frozen=True)
class Edit:
    """A change of some lines of a file, at a relative place in it."""

    place: float
    removed: int
    added: int

    def apply(self, lines: list[str], label: str) -> list[str]:
        start = round(self.place * len(lines))
        added = [f"{label}, line {number}\n" for number in range(self.added)]
        return [*lines[:start], *added, *lines[start + self.removed :]]


edits = st.lists(
    st.builds(Edit, st.floats(0, 1), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5
)
histories = st.fixed_dictionaries(
    {}, optional={name: st.one_of(st.none(), edits) for name in (*VENDORED, *SEEDS, *NEW)}
)
"""What is done to each file: edits, or its removal."""


@dataclass(frozen=True)
class Project:
    """A project made of the first of two releases, and what the second has for it."""

    path: Path
    newest: Path


def changed(text: str) -> str:
    """The text of a file in the second release: changed in four places."""
    lines = text.splitlines(keepends=True)
    for number, edit in enumerate((Edit(0, 1, 1), Edit(0.3, 2, 1), Edit(0.6, 0, 3), Edit(1, 0, 1))):
        lines = edit.apply(lines, f"# The template's change {number}")
    return "".join(lines)


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small template, which has the working tree's questions and rules."""
    folder = tmp_path_factory.mktemp("random_edits")
    small = folder / "template"
    names = (
        "copier.yml",
        *(file.relative_to(template).as_posix() for file in (template / "includes").iterdir()),
        "template/{{ _copier_conf.answers_file }}.jinja",
        *(f"template/{seed}.jinja" for seed in SEEDS),
        *(f"template/{file}" for file in VENDORED),
    )
    for name in names:
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(template / name, small / name)
    git(folder, "init", "--quiet", str(small))
    release(small, V1)
    run_copy(str(small), folder / "project", defaults=True, quiet=True)
    git(folder / "project", "init", "--quiet")
    for name in (*VENDORED[:3], *(f"{seed}.jinja" for seed in SEEDS)):
        file = small / "template" / name
        file.write_text(changed(file.read_text()))
    (small / "template" / HELPER / "arrived.py").write_text("# New.\n")
    release(small, V2)
    run_copy(
        str(small), folder / "newest", data={"project_name": "Project"}, defaults=True, quiet=True
    )
    return Project(folder / "project", folder / "newest")


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(history=histories)
def test_no_edit_is_lost(project: Project, history: Mapping[str, list[Edit] | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "project"
        shutil.copytree(project.path, path)
        for name, file_edits in history.items():
            do(path / name, file_edits)
        git(path, "add", "--all")
        git(path, "commit", "--quiet", "--message=Mine")
        before = hashes(path)
        mine = {name: (path / name).read_text() for name in VENDORED if (path / name).exists()}
        run_update(path, defaults=True, overwrite=True, quiet=True)
        after = hashes(path)
        outside = before.keys() - set(VENDORED) - {".copier-answers.yml"}
        assert {name: after[name] for name in outside} == {name: before[name] for name in outside}
        assert after.keys() == before.keys() | {f"{HELPER}/arrived.py"}
        for name, text in mine.items():
            expected = merged(text, project.path / name, project.newest / name)
            assert (path / name).read_text() == expected
            event("in conflict" if "<<<<<<<" in expected else "merged or as before")


def do(file: Path, file_edits: list[Edit] | None) -> None:
    if file_edits is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    for number, edit in enumerate(file_edits):
        lines = edit.apply(lines, f"# My edit {number}")
    file.write_text("".join(lines))


def merged(mine: str, base: Path, theirs: Path) -> str:
    """What git makes of two changes of one file."""
    labels = ("before updating", "last update", "after updating")
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(mine)
        file.flush()
        options = ("-p", *(f"-L{label}" for label in labels))
        process = subprocess.run(
            ["git", "merge-file", *options, file.name, str(base), str(theirs)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode >= 0, process.stderr
    return process.stdout
