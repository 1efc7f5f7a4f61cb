"""``dagster.yml`` as models: what may be written how, and what is kept beside a mistake."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kedro_dagster.errors import did_you_mean
from kedro_dagster.read.dagster_yml import ExecutorOptions, KedroDagsterConfig, PipelineOptions
from kedro_dagster.read.messages import parse_config

DOCUMENTED = """\
dev:
  log_level: info
  log_format: colored
  host: 127.0.0.1
  port: "3000"
  live_data_poll_rate: "2000"
schedules:
  my_job_schedule:
    cron_schedule: "0 0 * * *"
executors:
  my_executor:
    multiprocess:
      max_concurrent: 2
jobs:
  my_job:
    pipeline:
      pipeline_name: __default__
      node_namespace: my_namespace
    executor: my_executor
    schedule: my_job_schedule
"""


def parse(text: str) -> KedroDagsterConfig:
    config, mistakes = parse_config(yaml.safe_load(text))
    assert not mistakes
    return config


def test_the_documented_file_is_read() -> None:
    config = parse(DOCUMENTED)
    assert config.dev.port == 3000
    assert config.executors["my_executor"].options == {"max_concurrent": 2}
    assert config.jobs["my_job"].pipeline.filters["node_namespaces"] == ["my_namespace"]
    assert config.jobs["my_job"].executor == "my_executor"


def test_empty_sections_are_as_good_as_none() -> None:
    assert parse("jobs:\nexecutors:\ndev:\n") == KedroDagsterConfig()


@pytest.mark.parametrize(
    ("written", "kind", "options"),
    [
        ("in_process", "in_process", {}),
        ({"in_process": None}, "in_process", {}),
        ({"multiprocess": {"max_concurrent": 2}}, "multiprocess", {"max_concurrent": 2}),
        ({"my.module.executor": {}}, "my.module.executor", {}),
    ],
)
def test_an_executor_is_a_name_with_or_without_options(
    written: Any, kind: str, options: dict[str, Any]
) -> None:
    executor = ExecutorOptions.model_validate(written)
    assert (executor.kind, executor.options) == (kind, options)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ({}, ["__default__"]),
        ({"pipeline_name": "a"}, ["a"]),
        ({"pipeline_names": ["a", "b"]}, ["a", "b"]),
        ({"pipeline_names": "a"}, ["a"]),
    ],
)
def test_a_job_names_one_pipeline_several_or_the_default(
    written: dict[str, Any], names: list[str]
) -> None:
    assert PipelineOptions.model_validate(written).names == names


def test_numbers_are_names_too() -> None:
    config = parse("jobs: {2024: {pipeline: {tags: 7}, tags: {priority: 1}}}")
    assert config.jobs["2024"].pipeline.tags == ["7"]
    assert config.jobs["2024"].tags == {"priority": "1"}


def test_a_mistake_under_a_number_is_found_once() -> None:
    _, mistakes = parse_config({"jobs": {1: {"pipeline": {"x": 1}}}})
    assert [path for path, _ in mistakes] == [("jobs", "1", "pipeline", "x")]


def test_sound_entries_are_kept_beside_faulty_ones() -> None:
    config, mistakes = parse_config(
        yaml.safe_load(
            """
            dev: {port: high}
            executors: {fast: in_process, slow: [1]}
            jobs: {good: {pipeline: {}}, bad: {pipeline: {x: 1}}}
            """
        )
    )
    assert [path for path, _ in mistakes] == [
        ("dev", "port"),
        ("executors", "slow"),
        ("jobs", "bad", "pipeline", "x"),
    ]
    assert config.dev.port == 3000
    assert set(config.executors) == {"fast"}
    assert set(config.jobs) == {"good"}


@pytest.mark.parametrize(
    ("word", "allowed", "sentence"),
    [
        ("trian", ["train", "rain", "score"], "Did you mean 'train' or 'rain'?"),
        ("x", ["train", "score"], "Allowed: 'score', 'train'."),
        ("x", [], "There is none to choose from."),
        ("x", [f"n{i:02}" for i in range(22)], "and 2 more."),
    ],
)
def test_the_closest_names_are_offered_else_all(
    word: str, allowed: list[str], sentence: str
) -> None:
    assert did_you_mean(word, allowed).endswith(sentence)
