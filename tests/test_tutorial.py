"""The tutorial, followed word by word: its commands print what it says they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Render
from projects import KEDRO, REPOSITORY, Project
from unit.test_docs import Block, blocks_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("example"),
    pytest.mark.skipif(KEDRO < (1, 7), reason="the tutorial shows what the newest prints"),
]

DONE_BY_FIXTURES = ("pip", "copier", "cd")
IN_THE_BROWSER = ["kedro", "dagster", "dev"]  # tests/browser does what the page says and shows

VARIES = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+\.\d seconds|line \d+")


def test_it_says_what_happens(render: Render, tmp_path: Path) -> None:
    answers: dict[str, Any] = {"project_name": "Bike Demand", "package_name": "bike_demand"}
    project = Project(render(**answers), "bike_demand").copy(tmp_path / "bike-demand")
    printed = ""
    shown = 0
    for block in blocks_of(REPOSITORY / "docs" / "tutorial.md"):
        if block.language == "yaml":
            edit(project, block)
        elif block.language == "text":
            shown += 1
            for line in block.text.splitlines():
                assert in_any_folder(line, project) in printed, f"{block}: {line}\n{printed}"
        else:
            for words in commands(block):
                result = project.kedro(*words[1:], check=False, COLUMNS="200")
                printed = in_any_folder(result.stdout + result.stderr, project)
    assert shown == 6


def commands(block: Block) -> Iterator[list[str]]:
    """The commands that are to be run here."""
    for words in map(shlex.split, block.text.splitlines()):
        if words[0] not in DONE_BY_FIXTURES and words != IN_THE_BROWSER:
            assert words[0] == "kedro", f"{block}: what is {words}?"
            yield words


def edit(project: Project, block: Block) -> None:
    """Put what a block shows into the file that its first line names."""
    file = project.path / block.text.splitlines()[0].removeprefix("# ")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(merged(content, yaml.safe_load(block.text))), encoding="utf-8")


def merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


def in_any_folder(text: str, project: Project) -> str:
    """What is printed, without what differs from run to run."""
    text = VARIES.sub("...", text.replace(str(project.path), "/home/me/bike-demand"))
    return re.sub(r" +", " ", text)
