"""What the documentation tells people to write, to type and to look up."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kedro.io.core import parse_dataset_definition
from packaging.version import Version

from kedro_dagster import KedroProjectComponent
from kedro_dagster.cli import cli
from kedro_dagster.read.dagster_yml import KedroDagsterConfig
from kedro_dagster.read.messages import parse_config
from projects import KEDRO, OMEGACONF, REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SECTIONS = set(KedroDagsterConfig.model_fields)
INSTANCE = {"compute_logs", "concurrency", "python_logs", "run_coordinator", "storage"}
"""Keys of Dagster's own ``dagster.yaml``."""

NOT_INSTALLED = ("ibis.", "spark.", "snowflake.", "kedro_mlflow.", "polars.", "my_project.")


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent, language, body = found.groups()
        lines = (line.removeprefix(indent) for line in body.splitlines())
        name = page.relative_to(REPOSITORY).as_posix()
        yield Block(name, text.count("\n", 0, found.start()) + 1, language, "\n".join(lines))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_what_its_file_takes(block: Block) -> None:
    content = yaml.safe_load(block.text)
    assert isinstance(content, dict), f"{block} holds no keys"
    keys = content.keys()
    if block.text.startswith("# conf/base/parameters.yml"):
        assert all(isinstance(value, dict) for value in content.values())
    elif keys <= SECTIONS:
        told = [path for path, _ in parse_config(content)[1]]
        if OMEGACONF < (2, 4):  # whose ANTLR reads no selections, which each of them tells
            told = [path for path in told if path[-1] != "select"]
        assert told == []
    elif content.get("type", "").endswith("Component"):
        KedroProjectComponent.model().model_validate(content["attributes"])
    elif keys <= {"ops", "resources", "loggers", "execution"}:
        assert content.get("resources", {}).keys() <= {"kedro"}
    elif not keys & INSTANCE and not keys <= {"version", "loggers", "handlers", "formatters"}:
        for name, entry in content.items():
            check_catalog_entry(name, entry)


def check_catalog_entry(name: str, entry: Any) -> None:
    """Check what stands in a block that is of no other file."""
    if name.startswith("_") or isinstance(entry, str):
        return
    kind = entry["type"]
    if not kind.startswith(NOT_INSTALLED):
        parse_dataset_definition({"type": kind})


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_can_be_compiled(block: Block) -> None:
    compile(block.text, str(block), "exec")


def commands() -> list[tuple[str, list[str]]]:
    """Each command of a shell block, with where it stands."""
    lines = (
        (f"{block} {part.strip()[:60]}", shlex.split(part, comments=True))
        for block in blocks("bash", "shell")
        for line in block.text.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
    )
    return [(name, words) for name, words in lines if words]


@pytest.mark.skipif(KEDRO < (1, 7), reason="the documentation names the options of the newest")
@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in commands()])
def test_commands_exist_with_their_options(words: list[str]) -> None:
    program, *rest = [word for word in words if "=" not in word or word.startswith("-")]
    name = program.rpartition("/")[2]
    if name == "kedro" and rest[:1] == ["dagster"]:
        check_click_command(cli, rest)
    elif name == "nox":
        source = (REPOSITORY / "noxfile.py").read_text(encoding="utf-8")
        sessions = (
            [word for word in rest[: rest.index("--")] if word != "-s"] if "--" in rest else rest
        )
        for session in sessions:
            if not session.startswith("-"):
                assert f"def {session}(" in source, f"there is no session {session!r}"
    else:
        known = (
            "python3",
            "pip",
            "copier",
            "kedro",
            "git",
            "cd",
            "dagster",
            "dg",
            "pytest",
            "uv",
            "uvx",
        )
        assert name in (
            *known,
            "cp",
            "dagster-celery",
            "dask",
            "docker",
            "helm",
            "kubectl",
            "mike",
        ), f"what is {name!r}?"


def check_click_command(command: click.Command, words: list[str]) -> None:
    """Find the command that some words call, and each of its options."""
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name, *words = words
        found = command.commands.get(name)
        assert found is not None, f"there is no command {name!r}"
        command = found
    if command.ignore_unknown_options or command.context_settings.get("ignore_unknown_options"):
        return
    options = {text for one in command.params for text in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in {*options, "--help"}, f"there is no option {word!r}"


LINK = re.compile(r"(?<!\!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|srcset=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for groups in LINK.findall(FENCE.sub("", text)):
        target, _, anchor = next(filter(None, groups)).partition("#")
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target} is not there"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target}#{anchor} is not there"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


def test_badges_are_true() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    badges = re.findall(
        r"!\[(\w+) ([\d.]+) to ([\d.]+)\]\(\S+/badge/(\w+)-(\S+?)_to_(\S+?)-", readme
    )
    table = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+ \| [\d.]+) \|$", readme, re.MULTILINE))
    assert len(badges) == 3
    for name, oldest, newest, *again in badges:
        assert again == [name, oldest, newest]
        assert table[name] == f"{oldest} | {newest}"
    for name in ("Kedro", "Dagster", "kedro-datasets"):
        oldest, newest = (Version(one).release for one in table[name].split(" | "))
        assert oldest <= Version(version(name)).release[:2] <= newest, f"{name} in the README"
