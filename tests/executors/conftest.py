"""The template's example with hooks that write down their calls, and a `kedro run` of it."""

from __future__ import annotations

from textwrap import dedent

import pytest

from executors.packaged import Image, build_image
from fidelity.rich_project import HOOKS, Outcome
from projects import Project

SETTINGS = """

from .hooks import TerseHooks, TraceHooks

HOOKS = (TraceHooks(), TerseHooks())
"""


@pytest.fixture(scope="session")
def traced_example(rendered_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The template's example, whose hooks write to the file in TRACE; it must not be changed."""
    project = rendered_example.copy(tmp_path_factory.mktemp("traced") / "project")
    source = project.path / "src" / project.package
    (source / "hooks.py").write_text(dedent(HOOKS), encoding="utf-8")
    with (source / "settings.py").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)
    return project


@pytest.fixture(scope="session")
def by_kedro(traced_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A `kedro run` of the example."""
    project = traced_example.copy(tmp_path_factory.mktemp("kedro") / "project")
    project.kedro("run", TRACE=str(project.path / "trace.jsonl"))
    return Outcome(project)


@pytest.fixture(scope="session")
def image(traced_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image of the traced example."""
    return build_image(traced_example, tmp_path_factory.mktemp("image"))
