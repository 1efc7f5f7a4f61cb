"""A new project: what is rendered, and which names are refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from copier import run_copy

from conftest import Render, git
from projects import HELPER, REPOSITORY
from template.existing import hashes

WINDOWS_FORBIDS = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[ .](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)', re.IGNORECASE
)


def not_for_windows(names: Iterable[str]) -> list[str]:
    return [name for name in names if WINDOWS_FORBIDS.search(name)]


@pytest.mark.parametrize("example", [True, False])
def test_the_helper_is_vendored_byte_for_byte(render: Render, example: bool) -> None:
    source = {name: text for name, text in hashes(HELPER).items() if "__pycache__" not in name}
    assert hashes(render(example=example) / "src" / "kedro_dagster") == source


def test_every_path_is_one_that_windows_allows(render: Render) -> None:
    assert not_for_windows(["a/NUL.txt", "a?", "b./c", "LPT1", "ok/name.py"]) == [
        "a/NUL.txt",
        "a?",
        "b./c",
        "LPT1",
    ]
    tracked = git(REPOSITORY, "ls-files", "-z").rstrip("\0").split("\0")
    assert not_for_windows(tracked) == []
    assert not_for_windows(hashes(render())) == []


def test_no_jinja_is_left_in_what_is_rendered(render: Render) -> None:
    for project in (render(), render(example=False)):
        files = [file for file in project.rglob("*") if file.is_file()]
        assert not [file for file in files if "{{" in file.name or file.suffix == ".jinja"]
        written = [file for file in files if "kedro_dagster" not in file.parts]
        assert not [file for file in written if re.search(rb"\{[{%]-? ", file.read_bytes())]


def test_an_empty_project_has_no_pipelines_and_no_data(render: Render) -> None:
    extra = set(hashes(render())) - set(hashes(render(example=False)))
    assert {name.split("/")[0] for name in extra} == {"data", "src", "tests"}
    assert "tests/test_pipelines.py" in extra
    left = set(hashes(render(example=False)))
    assert not [name for name in left if name.endswith(".csv")]
    assert [name for name in left if "/pipelines/" in name] == [
        "src/my_project/pipelines/__init__.py"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("example", [True, False])
def test_the_rendered_projects_own_tests_pass(
    example: bool, render: Render, tmp_path: Path
) -> None:
    shutil.copytree(render(example=example), tmp_path / "project")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_clone_without_symbolic_links_renders_the_same(
    template: Path, render: Render, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "-c", "core.symlinks=false", str(template), str(clone))
    assert not (clone / "helpers" / "kedro_dagster").is_symlink()
    run_copy(str(clone), tmp_path / "my-project", defaults=True, quiet=True)
    rendered, expected = hashes(tmp_path / "my-project"), hashes(render())
    assert rendered.keys() == expected.keys()
    differing = {name for name in expected if rendered[name] != expected[name]}
    assert differing == {".copier-answers.yml"}  # it says where the template is


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("bike-demand", "bike_demand"),
        ("Fahrräder & Co", "fahrr_der_co"),
        ("2024_sales", "sales"),
        ("_", "my_project"),
        ("json", "json_project"),
        ("class", "class_project"),
        ("kedro-dagster", "kedro_dagster_project"),
        ("tests", "tests_project"),
        ("aux", "aux_project"),
    ],
)
def test_the_package_is_named_after_the_folder(
    folder: str, package: str, template: Path, tmp_path: Path
) -> None:
    worker = run_copy(str(template), tmp_path / folder, defaults=True, quiet=True, pretend=True)
    assert worker.answers.combined["package_name"] == package


def refusal(template: Path, folder: Path, **answers: object) -> str:
    """Why the template does not accept an answer; nothing is written then."""
    with pytest.raises(ValueError, match="Validation error") as caught:
        run_copy(str(template), folder / "project", data=answers, defaults=True, quiet=True)
    assert not (folder / "project").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bike-demand", "is not a name that Python can import"),
        ("2bikes", "is not a name that Python can import"),
        ("bikes_", "is not a name that Python can import"),
        ("räder", "is not a name that Python can import"),
        ("a.b", "is not a name that Python can import"),
        ("../bikes", "is not a name that Python can import"),
        ("bikes\n", "is not a name that Python can import"),
        ("", "is not a name that Python can import"),
        ("lambda", "is a word of the Python language"),
        ("statistics", "is a module of Python itself"),
        ("kedro_dagster", "is already the name of a package or folder"),
        ("CON", "not allowed as one"),
    ],
)
def test_refuses_a_package_name_and_says_why(
    name: str, why: str, template: Path, tmp_path: Path
) -> None:
    assert why in refusal(template, tmp_path, package_name=name)


def test_refuses_the_name_of_every_module_of_python(template: Path) -> None:
    text = (template / "copier.yml").read_text()
    listed = set(
        re.sub(r"[\s\S]*?\npython_modules:[\s\S]*?default: >-\n", "", text).split("\n\n")[0].split()
    )
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert public <= listed


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"project_name": "!"}, "start with a letter or a digit"),
        ({"existing_project": True, "source_dir": "../x"}, "a folder inside the project"),
        ({"existing_project": True, "source_dir": "a\\b"}, "with forward slashes"),
        ({"existing_project": True, "source_dir": "/x"}, "a folder inside the project"),
        ({"existing_project": True, "package_name": "a-b"}, "is not a name that Python can import"),
        (
            {"existing_project": True, "package_name": "a", "conf_source": "/etc"},
            "a folder inside the project",
        ),
        (
            {"existing_project": True, "package_name": "a", "dagster_env": "a/b"},
            "the name of one folder",
        ),
    ],
)
def test_refuses_other_answers_and_says_why(
    answers: dict[str, object], why: str, template: Path, tmp_path: Path
) -> None:
    assert why in refusal(template, tmp_path, **answers)


def test_needs_no_trust(template: Path) -> None:
    """Copier runs no code of a template without it, but has to be told that it may."""
    settings = re.findall(r"^(_\w+):", (template / "copier.yml").read_text(), re.MULTILINE)
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(settings)
