"""The JSON schema of dagster.yml takes what the models take, and refuses what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from conftest import Render
from kedro_dagster.read.messages import parse_config
from projects import EXAMPLES, HELPER
from unit.test_docs import SECTIONS, Block, blocks

SCHEMA = json.loads((HELPER / "dagster.schema.json").read_text(encoding="utf-8"))
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def files() -> list[Block]:
    """What the documentation shows of dagster.yml."""
    return [block for block in blocks("yaml") if yaml.safe_load(block.text).keys() <= SECTIONS]


def mistakes(content: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in CHECK.iter_errors(content)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("block", files(), ids=str)
def test_it_takes_what_the_documentation_shows(block: Block) -> None:
    assert mistakes(yaml.safe_load(block.text)) == []


@pytest.mark.parametrize("answers", [{}, {"example": False}, {"existing_project": True}])
def test_it_takes_what_the_template_writes(render: Render, answers: dict[str, object]) -> None:
    if "existing_project" in answers:
        answers |= {"package_name": "shop", "source_dir": "src"}
    project = render(**answers)
    file = project / "conf" / "base" / "dagster.yml"
    text = file.read_text(encoding="utf-8")
    assert mistakes(yaml.safe_load(text)) == []
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == schema_in(project)


@pytest.mark.parametrize("file", EXAMPLES.rglob("dagster.yml"), ids=str)
def test_it_takes_the_examples(file: Path) -> None:
    assert mistakes(yaml.safe_load(file.read_text(encoding="utf-8"))) == []


def schema_in(project: Path) -> Path:
    return (project / "src" / "kedro_dagster" / "dagster.schema.json").resolve(strict=True)


TAKEN = {
    "empty section": {"jobs": None},
    "interpolation": {"dev": {"port": "${globals:port}"}},
    "any case": {"nodes": {"a": {"retry_policy": {"delay": 1, "backoff": "linear"}}}},
    "duration": {"nodes": {"a": {"timeout": "1h 30m"}}},
    "one name for a list": {"jobs": {"a": {"pipeline": {"tags": "nightly"}}}},
    "executor by name": {"jobs": {"a": {"pipeline": {}, "executor": "in_process"}}},
    "executor without options": {"executors": {"a": {"in_process": None}}},
    "executor of the project's own": {"executors": {"a": {"shop.executors.mine": {"size": 1}}}},
    "variable": {"executors": {"a": {"docker": {"image": {"env": "IMAGE"}}}}},
    "hidden key": {"_shared": {"x": 1}},
}

REFUSED = {
    "unknown section": {"job": {}},
    "unknown key": {"jobs": {"a": {"pipeline": {}, "pipelin": {}}}},
    "missing key": {"jobs": {"a": {}}},
    "unknown option": {"executors": {"a": {"multiprocess": {"max_concurent": 2}}}},
    "type of an option": {"executors": {"a": {"multiprocess": {"max_concurrent": "many"}}}},
    "two executors": {"executors": {"a": {"in_process": {}, "multiprocess": {}}}},
    "level": {"loggers": {"a": {"level": "LOUD"}}},
    "word": {"jobs": {"a": {"pipeline": {}, "group_by": "size"}}},
    "number": {"nodes": {"a": {"retry_policy": {"max_retries": -1}}}},
}


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_it_takes_other_ways_to_write_a_value(content: dict[str, Any]) -> None:
    assert mistakes(content) == []


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_it_refuses_mistakes(content: dict[str, Any]) -> None:
    assert mistakes(content) != []


@pytest.mark.parametrize("name", sorted(TAKEN.keys() - {"interpolation", "hidden key"}))
def test_the_models_take_it_too(name: str) -> None:
    assert parse_config(TAKEN[name])[1] == []
