"""One project and one server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live.server import Server, serve
from live.shop import make_shop


@pytest.fixture(scope="session")
def server(
    isolated_environment: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A `dagster dev` of the shop, which notes all calls of its hooks."""
    project = make_shop(tmp_path_factory.mktemp("live") / "shop")
    with serve(project, TRACE=str(project.path / "trace.jsonl")) as server:
        yield server
