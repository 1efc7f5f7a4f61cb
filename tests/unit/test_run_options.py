"""The config of the ``kedro`` resource: the options of one run."""

from __future__ import annotations

from typing import Any

import pytest

from kedro_dagster.run.selection import RunOptions


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"resources": None},
        {"resources": {"other": {"config": {"partition_keys": 1}}}},
        {"resources": {"kedro": {}}},
        {"resources": {"kedro": {"config": {"runtime_params": None, "partition_keys": None}}}},
    ],
)
def test_what_is_not_given_or_null_is_empty(config: dict[str, Any]) -> None:
    assert RunOptions.of(config) == RunOptions(
        runtime_params={}, load_versions={}, partition_keys=None
    )


def test_the_options_are_those_of_the_resource() -> None:
    given = {"runtime_params": {"a": {"b": 1}}, "load_versions": {"c": "1"}, "partition_keys": "x"}
    options = RunOptions.of({"resources": {"kedro": {"config": given}}})
    assert options.model_dump() == given
