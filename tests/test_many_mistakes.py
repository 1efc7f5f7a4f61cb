"""Thousands of mistakes are told in hardly more time than one."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.io import CatalogConfigResolver, DataCatalog
from kedro.pipeline import Pipeline, node

from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.make import make_plan
from kedro_dagster.read.messages import parse_config
from kedro_dagster.read.project import KedroProject

NAMES = [f"name_{number}" for number in range(3_000)]
JOB = {"jobs": {"all": {"pipeline": {}}}}
FILE = {"type": "pickle.PickleDataset", "filepath": "x"}
SHARDS = {
    "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
    "path": "shards",
    "dataset": "pickle.PickleDataset",
    "partition": {"type": "dagster.StaticPartitionsDefinition", "partition_keys": ["a"]},
}

Files = tuple[dict[str, Any], dict[str, Any]]
"""The content of ``dagster.yml`` and of the catalog."""


def unknown_keys(wrong: Collection[str]) -> Files:
    schedule = {"cron_schedule": "@daily"}
    schedules = {
        name: {**schedule, **({f"x_{name}": 1} if name in wrong else {})} for name in NAMES
    }
    return {**JOB, "schedules": schedules}, {}


def undefined_executors(wrong: Collection[str]) -> Files:
    jobs = {
        name: {"pipeline": {}, "executor": f"{name}_x" if name in wrong else name} for name in NAMES
    }
    return {"executors": dict.fromkeys(NAMES, "in_process"), "jobs": jobs}, {}


def unknown_nodes(wrong: Collection[str]) -> Files:
    return {**JOB, "nodes": {f"{n}_x" if n in wrong else n: {"pool": "a"} for n in NAMES}}, {}


def missing_types(wrong: Collection[str]) -> Files:
    return JOB, {n: {**FILE, "type": "nowhere.Data"} if n in wrong else FILE for n in NAMES}


def unknown_targets(wrong: Collection[str]) -> Files:
    mapping = {"type": "dagster.IdentityPartitionMapping"}
    return JOB, {
        name: {**SHARDS, "partition_mappings": {f"{name}_x": mapping} if name in wrong else {}}
        for name in NAMES
    }


def seconds(folder: Path, files: Files, count: int) -> float:
    """The processor's time for a plan that tells of mistakes."""
    dagster, catalog = files
    for name, content in {"dagster": dagster, "catalog": catalog}.items():
        (folder / f"{name}.yml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
    nodes = [node(lambda: 1, None, n, name=n) for n in NAMES] if len(dagster["jobs"]) == 1 else []
    small = [node(lambda: 1, None, "small", name="small")]
    start = time.process_time()
    config, mistakes = parse_config(dagster)
    project = KedroProject(
        path=folder,
        package_name="shop",
        env=None,
        conf_source="conf",
        pipelines={"__default__": Pipeline([*nodes, *small])},
        import_failures={},
        catalog=CatalogConfigResolver(catalog, None, DataCatalog.default_runtime_patterns),
        parameters={},
        config=config,
        config_files=(folder / "dagster.yml",),
        catalog_files=(folder / "catalog.yml",),
        mistakes=mistakes,
    )
    with pytest.raises(DagsterConfigError) as caught:
        make_plan(project)
    took = time.process_time() - start
    assert len(caught.value.mistakes) == count
    return took


@pytest.mark.parametrize(
    "kind", [unknown_keys, undefined_executors, unknown_nodes, missing_types, unknown_targets]
)
def test_thousands_of_mistakes_take_hardly_more_than_one(
    tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the time of planning as many names: if each took as long, it would be thousands of it."""
    # Else they are looked for in whichever project an earlier test has configured Kedro for
    monkeypatch.setattr(KedroProject, "load_all_pipelines", lambda project: project.pipelines)
    one = seconds(tmp_path, kind(NAMES[:1]), 1)
    assert seconds(tmp_path, kind(NAMES), len(NAMES)) < 20 * one
