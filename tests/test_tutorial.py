"""The tutorial, followed word by word: its commands print what it says they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from projects import KEDRO, REPOSITORY, Project
from unit.test_docs import Block, blocks_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("example"),
    pytest.mark.skipif(KEDRO < (1, 7), reason="the tutorial shows what the newest prints"),
]

INSTALLED = ["pip"]  # is what the tests run in
IN_THE_BROWSER = ["kedro", "dagster", "dev"]  # tests/browser does what the page says and shows

# Of two steps at a time, either may be done first.
VARIES = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+\.\d seconds|line \d+|(?<=\[)\d+(?=/\d+\])"
)


def test_it_says_what_happens(template: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "bike-demand", "bike_demand")
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
            commands = [shlex.split(line) for line in block.text.splitlines()]
            outputs = [run(words, project, template) for words in commands]
            printed = in_any_folder("".join(outputs), project)
    assert shown == 7


def run(words: list[str], project: Project, template: Path) -> str:
    """Run a command, and give what it prints."""
    if words[:1] == INSTALLED or words == IN_THE_BROWSER:
        return ""
    if words[0] == "cd":
        assert project.path.name == words[1]
        return ""
    if words[0] == "kedro":
        result = project.kedro(*words[1:], check=False, COLUMNS="200")
    else:
        assert words[0] == "copier", f"what is {words}?"
        *options, _, folder = words  # whatever address the tutorial has
        result = subprocess.run(
            [sys.executable, "-m", *options, str(template), folder],
            cwd=project.path.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    return result.stdout + result.stderr


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
    text = re.sub(r"\x1b\[\d+m", "", text)
    text = VARIES.sub("...", text.replace(str(project.path), "/home/me/bike-demand"))
    return re.sub(r" +", " ", text)
