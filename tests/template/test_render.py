"""What a copy writes for a new project, and which answers it takes."""

from __future__ import annotations

import ast
import keyword
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from projects import HELPER, REPOSITORY, Project

Render = Callable[..., Path]
FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"\\|?*\x00-\x1f]')
RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
PIPELINES = {"data_processing", "training", "reporting"}


def paths_below(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*"))]


def pipeline_folders(project: Path) -> set[str]:
    folders = (project / "src" / "my_project" / "pipelines").iterdir()
    return {folder.name for folder in folders if folder.is_dir()}


def test_the_helper_is_rendered_byte_for_byte(render: Render) -> None:
    project = render()
    for file in HELPER.rglob("*.py"):
        rendered = project / "src" / "kedro_dagster" / file.relative_to(HELPER)
        assert rendered.read_bytes() == file.read_bytes(), file


def test_no_jinja_is_left_in_a_new_project(render: Render) -> None:
    project = render()
    written = [path for path in paths_below(project) if path.parts[:2] != ("src", "kedro_dagster")]
    assert not [path for path in written if "{{" in str(path) or path.suffix == ".jinja"]
    for path in written:
        if path.suffix == ".py":
            text = (project / path).read_text(encoding="utf-8")
            ast.parse(text)
            assert "{{" not in text, path


def test_the_example_has_its_pipelines_and_an_empty_project_has_none(render: Render) -> None:
    assert pipeline_folders(render()) >= PIPELINES
    empty = render(example=False)
    assert pipeline_folders(empty) == set()
    assert [path.name for path in (empty / "data" / "01_raw").iterdir()] == [".gitkeep"]
    assert "jobs: {}" in (empty / "conf" / "base" / "dagster.yml").read_text()


@pytest.mark.slow
def test_an_empty_project_passes_its_own_tests(render: Render, tmp_path: Path) -> None:
    project = Project(render(example=False), "my_project").copy(tmp_path / "my-project")
    project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.parametrize(
    "name",
    ["1st", "_first", "first_", "two words", "a-b", "a.b", "ü!", "class", "None", "json", "kedro",
     "kedro_dagster", "dagster", "con", "tests", ""],
)  # fmt: skip
def test_a_bad_package_name_is_refused_with_advice(
    name: str, template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    with pytest.raises(ValueError, match=r"(?s)'package_name': .*Please \w+"):
        run_copy(str(template), project, data={"package_name": name}, defaults=True, quiet=True)
    assert not project.exists()


@pytest.mark.parametrize("name", ['Say "hi"', "back\\slash", " ", "-x", "line\nbreak"])
def test_a_bad_project_name_is_refused_with_advice(
    name: str, template: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"'project_name': Please start with a letter"):
        run_copy(str(template), tmp_path / "p", data={"project_name": name}, defaults=True)


@pytest.mark.parametrize(
    ("folder", "package"),
    [("Bike Demand", "bike_demand"), ("2024-sales", "sales"), ("json", "json_project"),
     ("---", "my_project"), ("tests", "tests_project")],
)  # fmt: skip
def test_the_folder_names_the_package(
    folder: str, package: str, template: Path, tmp_path: Path
) -> None:
    run_copy(str(template), tmp_path / folder, defaults=True, quiet=True)
    assert (tmp_path / folder / "src" / package / "definitions.py").is_file()


def test_every_word_and_module_of_python_is_refused() -> None:
    questions = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    assert set(keyword.kwlist) <= set(questions["python_words"]["default"].split())
    modules = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert not modules - set(questions["python_modules"]["default"].split())


def test_every_path_is_allowed_on_windows(template: Path, render: Render) -> None:
    for folder, longest in ((template / "template", 120), (render(), 100)):
        paths = paths_below(folder)
        assert len(paths) > 20
        for path in paths:
            assert len(str(path)) <= longest, path
            for part in path.parts:
                assert not FORBIDDEN_ON_WINDOWS.search(part), path
                assert not RESERVED_ON_WINDOWS.fullmatch(part), path
                assert part == part.rstrip(". "), path
        assert len({str(path).lower() for path in paths}) == len(paths)


def test_every_excluded_pattern_stands_alone() -> None:
    # Before Copier 9.18 a text of several patterns excluded nothing: seeds came back on update.
    questions = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    assert not [pattern for pattern in questions["_exclude"] if "\n" in pattern]


def test_nothing_needs_trust() -> None:
    questions = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(questions)


def test_the_message_says_how_to_install_and_run(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_copy(str(template), tmp_path / "bikes", defaults=True)
    message = capsys.readouterr().err
    for command in ("uv venv && uv pip install", "kedro run", "kedro dagster dev", "copier update"):
        assert command in message
