"""A new project: what is rendered, what the example does, and which names are refused."""

from __future__ import annotations

import ast
import fnmatch
import keyword
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy
from copier._template import load_template_config

from conftest import Render, git
from projects import HELPER, REPOSITORY, Project
from template.existing import hashes

WINDOWS_FORBIDS = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[ .](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)', re.IGNORECASE
)
PIPELINES = {"data_processing", "training", "reporting"}


@pytest.fixture(scope="module")
def questions() -> dict[str, Any]:
    """The template's configuration, with what it includes."""
    return load_template_config(REPOSITORY / "copier.yml")


def not_for_windows(names: Iterable[str]) -> list[str]:
    return [name for name in names if WINDOWS_FORBIDS.search(name)]


def paths_below(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*"))]


def pipeline_folders(project: Path) -> set[str]:
    folders = (project / "src" / "my_project" / "pipelines").iterdir()
    return {folder.name for folder in folders if folder.is_dir()}


@pytest.mark.parametrize("example", [True, False])
def test_the_helper_is_vendored_byte_for_byte(render: Render, example: bool) -> None:
    source = {name: text for name, text in hashes(HELPER).items() if "__pycache__" not in name}
    assert hashes(render(example=example) / "src" / "kedro_dagster") == source


def test_every_path_is_one_that_windows_allows(template: Path, render: Render) -> None:
    assert not_for_windows(["a/NUL.txt", "a?", "b./c", "LPT1", "ok/name.py"]) == [
        "a/NUL.txt",
        "a?",
        "b./c",
        "LPT1",
    ]
    tracked = git(REPOSITORY, "ls-files", "-z").rstrip("\0").split("\0")
    assert not_for_windows(tracked) == []
    for folder, longest in ((template / "template", 120), (render(), 100)):
        paths = [path.as_posix() for path in paths_below(folder)]
        assert len(paths) > 20
        assert not_for_windows(paths) == []
        assert [path for path in paths if len(path) > longest] == []
        assert len({path.lower() for path in paths}) == len(paths)


def test_no_jinja_is_left_in_what_is_rendered(render: Render) -> None:
    for project in (render(), render(example=False)):
        written = [
            path for path in paths_below(project) if path.parts[:2] != ("src", "kedro_dagster")
        ]
        assert not [path for path in written if "{{" in str(path) or path.suffix == ".jinja"]
        files = [project / path for path in written if (project / path).is_file()]
        assert not [file for file in files if re.search(rb"\{[{%]-? ", file.read_bytes())]
        for file in files:
            if file.suffix == ".py":
                text = file.read_text(encoding="utf-8")
                ast.parse(text)
                assert "{{" not in text, file


def test_the_example_has_its_pipelines_and_an_empty_project_has_none(render: Render) -> None:
    assert pipeline_folders(render()) >= PIPELINES
    empty = render(example=False)
    assert pipeline_folders(empty) == set()
    extra = set(hashes(render())) - set(hashes(empty))
    assert {name.split("/")[0] for name in extra} == {"data", "src", "tests"}
    assert "tests/test_pipelines.py" in extra
    left = set(hashes(empty))
    assert not [name for name in left if name.endswith(".csv")]
    assert [name for name in left if "/pipelines/" in name] == [
        "src/my_project/pipelines/__init__.py"
    ]
    assert [path.name for path in (empty / "data" / "01_raw").iterdir()] == [".gitkeep"]
    assert "jobs: {}" in (empty / "conf" / "base" / "dagster.yml").read_text()


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


@pytest.mark.slow
@pytest.mark.parametrize("command", [("run",), ("dagster", "plan")])
def test_the_example_causes_no_warning(command: tuple[str, ...], example: Project) -> None:
    process = example.kedro(*command, COLUMNS="2000")  # else Kedro breaks its messages into lines
    lines = (process.stdout + process.stderr).splitlines()
    warnings = [line for line in lines if re.search(r"\bWARNING\b|\bERROR\b|Warning:", line)]
    of_others = "register_new_resolver() is deprecated"  # what Kedro calls OmegaConf by
    assert [line for line in warnings if of_others not in line] == []


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
        ("Bike Demand", "bike_demand"),
        ("Fahrräder & Co", "fahrr_der_co"),
        ("2024_sales", "sales"),
        ("2024-sales", "sales"),
        ("_", "my_project"),
        ("---", "my_project"),
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
    worker = run_copy(str(template), tmp_path / folder, defaults=True, quiet=True)
    assert worker.answers.combined["package_name"] == package
    assert (tmp_path / folder / "src" / package / "definitions.py").is_file()


def refusal(template: Path, folder: Path, **answers: object) -> str:
    """Why the template does not accept an answer; nothing is written then."""
    with pytest.raises(ValueError, match="Validation error") as caught:
        run_copy(str(template), folder / "project", data=answers, defaults=True, quiet=True)
    assert not (folder / "project").exists()
    return str(caught.value)


NOT_IMPORTED = "is not a name that Python can import"
WORD = "is a word of the Python language"
MODULE = "is a module of Python itself"
USED = "is already the name of a package or folder"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bike-demand", NOT_IMPORTED),
        ("a-b", NOT_IMPORTED),
        ("2bikes", NOT_IMPORTED),
        ("1st", NOT_IMPORTED),
        ("bikes_", NOT_IMPORTED),
        ("first_", NOT_IMPORTED),
        ("_first", NOT_IMPORTED),
        ("two words", NOT_IMPORTED),
        ("räder", NOT_IMPORTED),
        ("ü!", NOT_IMPORTED),
        ("a.b", NOT_IMPORTED),
        ("../bikes", NOT_IMPORTED),
        ("bikes\n", NOT_IMPORTED),
        ("", NOT_IMPORTED),
        ("lambda", WORD),
        ("class", WORD),
        ("None", WORD),
        ("statistics", MODULE),
        ("json", MODULE),
        ("kedro_dagster", USED),
        ("kedro", USED),
        ("dagster", USED),
        ("tests", USED),
        ("con", "not allowed as one"),
        ("CON", "not allowed as one"),
    ],
)
def test_refuses_a_package_name_with_advice(
    name: str, why: str, template: Path, tmp_path: Path
) -> None:
    message = refusal(template, tmp_path, package_name=name)
    assert why in message
    assert re.search(r"(?s)'package_name': .*Please \w+", message)


def test_refuses_every_word_and_module_of_python(questions: dict[str, Any]) -> None:
    assert set(keyword.kwlist) <= set(questions["python_words"]["default"].split())
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert public <= set(questions["python_modules"]["default"].split())


@pytest.mark.parametrize("name", ["!", 'Say "hi"', "back\\slash", " ", "-x", "line\nbreak"])
def test_refuses_a_project_name_with_advice(name: str, template: Path, tmp_path: Path) -> None:
    message = refusal(template, tmp_path, project_name=name)
    assert "'project_name': Please start with a letter or a digit" in message


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"existing_project": True, "source_dir": "../x"}, "a folder inside the project"),
        ({"existing_project": True, "source_dir": "a\\b"}, "with forward slashes"),
        ({"existing_project": True, "source_dir": "/x"}, "a folder inside the project"),
        ({"existing_project": True, "package_name": "a-b"}, NOT_IMPORTED),
        (
            {"existing_project": True, "package_name": "a", "conf_source": "/etc"},
            "a folder inside the project",
        ),
        (
            {"existing_project": True, "package_name": "a", "dagster_env": "a/b"},
            "the name of one folder",
        ),
        (
            {"existing_project": True, "package_name": "a", "dagster_env": ".."},
            "the name of one folder",
        ),
    ],
)
def test_refuses_other_answers_and_says_why(
    answers: dict[str, object], why: str, template: Path, tmp_path: Path
) -> None:
    assert why in refusal(template, tmp_path, **answers)


def test_needs_no_trust(questions: dict[str, Any]) -> None:
    """Copier runs no code of a template without it, but has to be told that it may."""
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & questions.keys()


def test_every_excluded_pattern_stands_alone(questions: dict[str, Any]) -> None:
    # Before Copier 9.18 a text of several patterns excluded nothing: seeds came back on update.
    assert "*" in "".join(questions["_exclude"])
    assert not [pattern for pattern in questions["_exclude"] if "\n" in pattern]


def test_no_text_of_a_pattern_names_the_helper(questions: dict[str, Any]) -> None:
    # Copier 9.8 leaves what the unrendered texts match out of the user's edits that it merges.
    files = ["src/kedro_dagster/cli.py", "src/kedro_dagster/run/steps.py"]
    for text in questions["_skip_if_exists"]:
        assert not fnmatch.filter(files, text), text


def test_the_questions_fit_on_a_few_pages() -> None:
    assert len((REPOSITORY / "copier.yml").read_text(encoding="utf-8").splitlines()) < 200


def test_the_message_says_how_to_install_and_run(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_copy(str(template), tmp_path / "bikes", defaults=True)
    message = capsys.readouterr().err
    for command in ("uv venv && uv pip install", "kedro run", "kedro dagster dev", "copier update"):
        assert command in message
