"""The names of executors, and environment variables in their options."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.read.dagster_yml import ExecutorOptions
from kedro_dagster.render.jobs import configured_executor
from projects import make_project

PIPELINES = """
    from kedro.pipeline import Pipeline, node


    def register_pipelines():
        return {"__default__": Pipeline([node(list, None, "nothing", name="only")])}
"""
DAGSTER = """
    jobs:
      right: {pipeline: {}, executor: {celery: {broker: {env: THIS_IS_NOT_SET}}}}
      key: {pipeline: {}, executor: {celery: {broker: {evn: NAME}}}}
      kind: {pipeline: {}, executor: {multiprocess: {max_concurrent: {env: NAME}}}}
      value: {pipeline: {}, executor: {dask: {cluster: {existing: {address: {env: 3}}}}}}
"""


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("in_process", "in_process"),
        ("multiprocess", "multiprocess"),
        ("dask", "dask"),
        ("celery", "celery"),
        ("docker", "docker"),
        ("k8s", "k8s"),
        ("k8s_job", "k8s"),
        ("celery_docker", "celery-docker"),
        ("celery_k8s", "celery-k8s"),
        ("celery_k8s_job", "celery-k8s"),
    ],
)
def test_an_executor_has_a_name_with_and_without_executor_behind_it(
    name: str, definition: str
) -> None:
    for written in (name, f"{name}_executor"):
        assert configured_executor(ExecutorOptions.model_validate(written)).name == definition


def test_an_executor_is_found_by_its_dotted_path() -> None:
    options = ExecutorOptions.model_validate("dagster_celery.executor.celery_executor")
    assert configured_executor(options).name == "celery"


def test_a_project_is_told_where_a_variable_cannot_stand_and_not_that_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    project = make_project(tmp_path / "project", pipelines=PIPELINES)
    (project.path / "conf" / "base" / "dagster.yml").write_text(DAGSTER, encoding="utf-8")
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(project.path)
    place, wrong_type = "conf/base/dagster.yml: jobs", "is not valid: its type must be"
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        f"{place}.key.executor.celery.broker.evn: unknown key. Did you mean 'env'?",
        f"{place}.kind.executor.multiprocess.max_concurrent: {{'env': 'NAME'}} {wrong_type} Int.",
        f"{place}.value.executor.dask.cluster.existing.address.env: 3 {wrong_type} String.",
    ]
