"""A project whose datasets are JSON files, for tests that load it in their own process too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from projects import Project, make_project


class MakeProject(Protocol):
    """Writes a project with datasets of some names; the rest is as for ``make_project``."""

    def __call__(self, *datasets: str, **parts: Any) -> Project: ...


@pytest.fixture(scope="module")
def json_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeProject]:
    def make(*datasets: str, **parts: Any) -> Project:
        catalog = {
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"} for name in datasets
        }
        return make_project(tmp_path_factory.mktemp("json") / "project", catalog=catalog, **parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield make
