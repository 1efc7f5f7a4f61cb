"""The reference is that of the source, and every key of dagster.yml says what it is."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import yaml

import kedro_dagster
from kedro_dagster.read.dagster_yml import KedroDagsterConfig
from projects import REPOSITORY

DESCRIPTIONS = REPOSITORY / "helpers" / "descriptions.yml"
NOT_WRITTEN = {("ExecutorOptions", key) for key in ("kind", "options")} | {
    ("RunnerOptions", "arguments")  # these are what the model makes of what is written
}


def keys() -> set[tuple[str, str]]:
    schema = KedroDagsterConfig.model_json_schema()
    models: list[Any] = [schema, *schema["$defs"].values()]
    return {(model["title"], key) for model in models for key in model["properties"]}


def test_each_key_is_described_and_no_other() -> None:
    texts = yaml.safe_load(DESCRIPTIONS.read_text(encoding="utf-8"))
    described = {(model, key) for model, entries in texts.items() for key in entries}
    assert described == keys() - NOT_WRITTEN, f"say it in {DESCRIPTIONS.name}; nox -s schema"
    assert all(isinstance(text, str) for entries in texts.values() for text in entries.values())


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "helpers" / "reference.py"))


def test_the_page_is_up_to_date(reference: dict[str, Any]) -> None:
    page = REPOSITORY / "docs" / "reference.md"
    assert page.read_text(encoding="utf-8") == reference["reference"](), "run nox -s schema"


def test_it_has_all_that_is_public(reference: dict[str, Any]) -> None:
    shown = {*reference["TRANSLATORS"], *reference["DATASETS"]}
    assert set(kedro_dagster.__all__) - {"NOTHING_OUTPUT", "__version__"} <= shown
