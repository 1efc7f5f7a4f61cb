"""`copier update`: fixes of the helper arrive, and nothing of the user's is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import run_copy, run_update

from conftest import git
from kedro_dagster.commands.diff import MANIFEST
from template.conftest import FIX, V1, V2, V3
from template.existing import copier, hashes, write_files, write_project

pytestmark = pytest.mark.xdist_group("updates")

ANSWERS = ".copier-answers.yml"
HELPER = "src/kedro_dagster"
MINE = "# Mine.\n"


def copy(releases: Path, project: Path, version: str, answers_file: str | None = None) -> None:
    """Copy a release of the template into a folder, new or not."""
    run_copy(
        *(str(releases), project),
        answers_file=answers_file,
        defaults=True,
        quiet=True,
        vcs_ref=version,
    )


def update(project: Path, version: str | None = None, answers_file: str | None = None) -> None:
    """Update a project to a release of the template, or to the newest."""
    run_update(
        project,
        answers_file=answers_file,
        defaults=True,
        overwrite=True,  # as Copier's command line does
        quiet=True,
        vcs_ref=version,
    )


def commit(project: Path) -> None:
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", "--message=Mine")


def read_answers(project: Path, name: str = ANSWERS) -> dict[str, object]:
    answers = yaml.safe_load((project / name).read_text())
    assert isinstance(answers, dict)
    return answers


class Updated:
    """A project with edits of every kind, then updated from the first to the last release."""

    def __init__(self, path: Path, releases: Path) -> None:
        self.path = path
        copy(releases, path, V1)
        self.answers = read_answers(path)
        for edited in ("README.md", "src/shop/definitions.py", f"{HELPER}/utils.py"):
            self.write(edited, MINE + self.read(edited))
        self.errors = self.read(f"{HELPER}/errors.py").replace('"""The', '"""My', 1)
        self.write(f"{HELPER}/errors.py", self.errors)
        module = f"{HELPER}/run/mlflow_run.py"
        for deleted in ("conf/base/dagster.yml", "tests/test_pipelines.py", module):
            (path / deleted).unlink()
        for added in ("src/shop/mine.py", f"{HELPER}/mine.py"):
            self.write(added, MINE)
        commit(path)
        self.before = hashes(path)
        self.process = copier(path, "update", "--defaults")
        self.after = hashes(path)

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)


@pytest.fixture(scope="module")
def updated(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    return Updated(tmp_path_factory.mktemp("updated") / "shop", releases)


def test_fixes_and_new_files_of_the_helper_arrive(updated: Updated) -> None:
    assert updated.read(f"{HELPER}/utils.py").endswith(FIX)
    assert updated.read(f"{HELPER}/arrived.py") == FIX


def test_edits_inside_the_helper_are_merged(updated: Updated) -> None:
    assert updated.read(f"{HELPER}/utils.py").startswith(MINE)


def test_nothing_but_the_helper_and_the_answers_changes(updated: Updated) -> None:
    changed = {name for name in updated.after if updated.before.get(name) != updated.after[name]}
    assert changed == {
        ANSWERS,
        f"{HELPER}/{MANIFEST}",
        *(f"{HELPER}/{name}.py" for name in ("arrived", "errors", "utils")),
    }


def test_what_was_deleted_stays_deleted_and_the_rest_stays(updated: Updated) -> None:
    assert set(updated.after) - set(updated.before) == {f"{HELPER}/arrived.py"}
    assert set(updated.before) <= set(updated.after)


def test_answers_are_not_asked_again(updated: Updated) -> None:
    assert read_answers(updated.path) == {**updated.answers, "_commit": V3}


def test_overlapping_edits_both_stay_between_conflict_markers(updated: Updated) -> None:
    mine, _, rest = updated.errors.partition("\n")
    assert updated.read(f"{HELPER}/errors.py") == (
        f'<<<<<<< before updating\n{mine}\n=======\n"""The new first line."""\n'
        f">>>>>>> after updating\n{rest}"
    )


def test_git_diff_check_tells_where_conflicts_are(updated: Updated) -> None:
    assert "git diff --check" in updated.process.stderr
    check = subprocess.run(
        ["git", "diff", "--check"],  # noqa: S607
        cwd=updated.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode != 0
    assert check.stdout.splitlines() == [
        f"{HELPER}/errors.py:{line}: leftover conflict marker" for line in (1, 3, 5)
    ]


def test_the_projects_own_tests_tell_where_conflicts_are(updated: Updated) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_dagster.py", "-k", "conflict"],
        cwd=updated.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert (
        "`copier update` left conflicts to solve by hand: "
        "['src/kedro_dagster/errors.py:1', 'src/kedro_dagster/errors.py:5']"
    ) in process.stdout


@pytest.mark.parametrize("kind", ["new", "existing"])
def test_copy_and_update_give_what_a_copy_of_the_newest_gives(
    kind: str, releases: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old" / "shop", tmp_path / "new" / "shop"
    for project, version in {old: V1, new: V2}.items():
        if kind == "existing":
            write_project(project)
        copy(releases, project, version)
    commit(old)
    untouched = hashes(old)
    for _ in range(2):
        update(old, V2)
        assert hashes(old) == hashes(new) != untouched
        commit(old)


def test_check_update_tells_of_a_new_release(releases: Path, tmp_path: Path) -> None:
    copy(releases, tmp_path / "shop", V1)
    assert copier(tmp_path / "shop", "check-update").stdout.splitlines() == [
        "New template version available.",
        f"Current version is {V1}, latest version is {V3}.",
    ]


def test_ci_tells_of_a_new_release_and_goes_on(releases: Path, tmp_path: Path) -> None:
    project = tmp_path / "shop"
    data = {"deployment": True}
    run_copy(str(releases), project, data=data, defaults=True, quiet=True, vcs_ref=V1)
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    (step,) = (
        step for step in workflow["jobs"]["test"]["steps"] if "copier" in step.get("run", "")
    )
    assert step["continue-on-error"]
    assert step["run"].startswith("pipx run copier ")
    command = step["run"].removeprefix("pipx run copier ").split()
    assert copier(project, *command, check=False).returncode == 2
    answers = (project / ANSWERS).read_text()
    (project / ANSWERS).write_text(answers.replace(f"_commit: {V1}", f"_commit: {V3}"))
    assert copier(project, *command).returncode == 0


def test_updates_a_project_in_a_folder_of_a_repository_with_another_answers_file(
    releases: Path, tmp_path: Path
) -> None:
    project, own = tmp_path / "teams" / "shop", ".copier-answers.dagster.yml"
    write_project(project)
    write_files(project, {ANSWERS: "_commit: v3\n_src_path: gh:a/b\n"})
    copy(releases, project, V1, own)
    write_files(project, {f"{HELPER}/render/code_location.py": MINE})
    (project / "dg.toml").unlink()
    commit(tmp_path)
    before = hashes(tmp_path)
    update(project, answers_file=own)
    after = hashes(tmp_path)
    assert {name for name in after if before.get(name) != after[name]} == {
        f"teams/shop/{name}"
        for name in (
            own,
            f"{HELPER}/{MANIFEST}",
            *(f"{HELPER}/{name}.py" for name in ("arrived", "errors", "utils")),
        )
    }
    assert set(before) <= set(after)
    assert read_answers(project, own)["_commit"] == V3


def test_a_second_copy_changes_nothing(releases: Path, tmp_path: Path) -> None:
    for project in (tmp_path / "new", tmp_path / "existing"):
        if project.name == "existing":
            write_project(project)
        copy(releases, project, V3)
        write_files(project, {"README.md": MINE, "dg.toml": MINE})
        before = hashes(project)
        copy(releases, project, V3)
        assert hashes(project) == before


def test_copies_over_an_edited_helper_only_when_told_to(releases: Path, tmp_path: Path) -> None:
    copy(releases, tmp_path / "shop", V3)
    edits = {f"{HELPER}/utils.py": MINE, "README.md": MINE}
    original = hashes(tmp_path / "shop")
    write_files(tmp_path / "shop", edits)
    before = hashes(tmp_path / "shop")
    for command in (["copy", str(releases), "."], ["recopy"]):
        process = copier(tmp_path / "shop", *command, "--defaults", check=False)
        assert process.returncode != 0
        assert "Consider using `--overwrite`" in process.stderr
        assert hashes(tmp_path / "shop") == before
    (tmp_path / "shop" / "dg.toml").unlink()
    copier(tmp_path / "shop", "recopy", "--defaults", "--overwrite")
    after = hashes(tmp_path / "shop")
    assert after == {**original, "README.md": before["README.md"]}
