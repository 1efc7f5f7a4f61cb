"""A Dagster-native asset takes Kedro datasets as its inputs, by their IO manager."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from projects import Project, make_project

pytestmark = pytest.mark.xdist_group("native_assets")

REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])
PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    def total(orders):
        return sum(load() for load in orders.values())

    def copy(orders):
        return {key: load() for key, load in orders.items()}

    return {
        "__default__": Pipeline([
            node(total, "raw.orders", "total", name="total"),
            node(copy, "raw.orders", "kept", name="copy"),
        ])
    }
"""
CATALOG = """\
raw.orders:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/orders
  filename_suffix: .json
  dataset: {type: json.JSONDataset}
  partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [eu, us]}
kept:
  type: CachedDataset
  dataset:
    type: kedro_dagster.datasets.DagsterPartitionedDataset
    path: data/kept
    filename_suffix: .json
    dataset: {type: json.JSONDataset}
    partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [eu, us]}
total: {type: json.JSONDataset, filepath: data/total.json}
"""


@dg.asset
def doubled(total: int) -> int:
    return 2 * total


@dg.asset(partitions_def=REGIONS, ins={"orders": dg.AssetIn(["raw", "orders"])})
def seen(orders: Any) -> dict[str, int]:
    return {region: load() for region, load in orders.items()}


@dg.asset(partitions_def=REGIONS)
def seen_in_cache(kept: Any) -> dict[str, int]:
    return {region: load() for region, load in kept.items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("native") / "project",
        pipelines=PIPELINES,
        catalog=CATALOG,
        dagster={"jobs": {"all": {"pipeline": {}}}},
        files={"data/orders/eu.json": "1", "data/orders/us.json": "10"},
    )


@pytest.fixture(scope="module")
def definitions(project: Project) -> Iterator[dg.Definitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        kedro = KedroProjectTranslator(project.path).to_definitions()
        native = dg.Definitions(
            assets=[doubled, seen, seen_in_cache], resources={"io_manager": dg.mem_io_manager}
        )
        yield dg.Definitions.merge(kedro, native)


def test_a_native_asset_takes_a_kedro_dataset(
    definitions: dg.Definitions, project: Project
) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey("total"), dg.AssetKey("doubled")]
    run = job.execute_in_process(asset_selection=selection)
    assert run.output_for_node("doubled") == 22
    assert json.loads((project.path / "data" / "total.json").read_text()) == 11
    assert definitions.load_asset_value("total") == 11


def test_a_partitioned_native_asset_takes_its_partition(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    run = job.execute_in_process(asset_selection=[dg.AssetKey("seen")], partition_key="us")
    assert run.output_for_node("seen") == {"us": 10}


def test_a_native_asset_takes_a_partition_that_is_cached(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey("kept"), dg.AssetKey("seen_in_cache")]
    with dg.DagsterInstance.ephemeral() as instance:
        for region, orders in {"us": 10, "eu": 1}.items():
            run = job.execute_in_process(
                instance=instance, asset_selection=keys, partition_key=region
            )
            assert run.output_for_node("seen_in_cache") == {region: orders}
    assert set(definitions.load_asset_value("kept", partition_key="us")) == {"us"}
