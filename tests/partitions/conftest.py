"""The project of a module, ``original``, in a copy that runs in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from projects import Project


@pytest.fixture(scope="module")
def here(original: Project) -> Iterator[Project]:
    """A copy for the runs in this process."""
    project = original.copy(original.path.parent / "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield project


@pytest.fixture(scope="module")
def definitions(here: Project) -> dg.Definitions:
    return KedroProjectTranslator(here.path).to_definitions()


@pytest.fixture
def clean(here: Project) -> Project:
    """The project without what earlier runs have made."""
    for file in (here.path / "data").rglob("*.json"):
        if file.parent.name != "raw":
            file.unlink()
    (here.path / "trace.jsonl").unlink(missing_ok=True)
    return here
