"""The config of the ``kedro`` resource: the options of one run."""

from __future__ import annotations

from typing import Any

import pytest
from kedro.pipeline import Pipeline

from kedro_dagster.plan.model import JobPlan
from kedro_dagster.read.dagster_yml import PipelineOptions
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
    given = {
        "runtime_params": {"a": {"b": 1}},
        "load_versions": {"c": "1"},
        "partition_keys": "x",
        "only_missing_outputs": False,
        "runner": "SequentialRunner",
    }
    options = RunOptions.of({"resources": {"kedro": {"config": given}}})
    assert options.model_dump() == given


def job(*, only_missing_outputs: bool) -> JobPlan:
    pipeline = PipelineOptions()
    return JobPlan("all", pipeline, Pipeline([]), (), only_missing_outputs=only_missing_outputs)


@pytest.mark.parametrize(
    ("of_run", "of_job", "expected"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_what_a_run_says_of_missing_outputs_wins(
    of_run: bool | None, of_job: bool, expected: bool
) -> None:
    options = RunOptions(only_missing_outputs=of_run)
    assert options.misses_only(job(only_missing_outputs=of_job)) is expected
    assert options.misses_only(None) is bool(of_run)
