"""What Kedro's command line has bootstrapped for its command is not bootstrapped again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from kedro.framework.startup import bootstrap_project

from kedro_dagster.read import project as module
from projects import make_project

PIPELINES = """
    from kedro.pipeline import Pipeline, node

    def register_pipelines():
        return {"__default__": Pipeline([node(len, "params:words", "count", name="count")])}
"""


def refuse(_: Any) -> NoReturn:
    raise AssertionError("it was bootstrapped")


def test_the_project_of_a_command_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster = {"jobs": {"count": {"pipeline": {}}}}
    shop, other = (
        make_project(tmp_path / name, package=name, pipelines=PIPELINES, dagster=dagster).path
        for name in ("of_the_command", "other")
    )
    metadata = bootstrap_project(shop)
    monkeypatch.setattr(module, "bootstrap_project", refuse)
    with click.Context(click.Command("plan"), obj=metadata):
        read = module.read_project(shop)
        assert [node.name for node in read.pipelines["__default__"].nodes] == ["count"]
        with pytest.raises(AssertionError, match="it was bootstrapped"):
            module.read_project(other)
    with pytest.raises(AssertionError, match="it was bootstrapped"):
        module.read_project(shop)
    bootstrap_project(other)
    with (
        click.Context(click.Command("plan"), obj=metadata),
        pytest.raises(AssertionError, match="it was bootstrapped"),
    ):
        module.read_project(shop)
