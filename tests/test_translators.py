"""A translator of one's own names and describes things in another way, and all still fits."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import (
    CatalogTranslator,
    KedroProjectTranslator,
    NodeTranslator,
    PipelineTranslator,
)
from projects import Project, make_project

pytestmark = pytest.mark.xdist_group("translators")

REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])
PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    def convert(orders):
        return {region: load() + 1 for region, load in orders.items()}

    def total(converted):
        return sum(load() for load in converted.values())

    return {
        "__default__": Pipeline([
            node(convert, "raw.orders", "shop.orders", name="convert", tags="daily"),
            node(total, "shop.orders", "total", name="total"),
        ])
    }
"""
PARTITIONED = """
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  filename_suffix: .json
  dataset: {type: json.JSONDataset}
  partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [eu, us]}"""
CATALOG = f"""\
raw.orders: {PARTITIONED}
  path: data/raw
shop.orders: {PARTITIONED}
  path: data/orders
total: {{type: json.JSONDataset, filepath: data/total.json}}
spare: {{type: json.JSONDataset, filepath: data/spare.json}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield make_project(
            tmp_path_factory.mktemp("translators") / "project",
            pipelines=PIPELINES,
            catalog=CATALOG,
            dagster={"jobs": {"all": {"pipeline": {}, "schedule": {"cron_schedule": "@daily"}}}},
            files={"data/raw/eu.json": "1", "data/raw/us.json": "10", "data/spare.json": "5"},
        )


def key_of(*path: str) -> dg.AssetKey:
    return dg.AssetKey(["company", *path])


class OwnKeys(CatalogTranslator):
    def get_asset_key(self, dataset: Any) -> dg.AssetKey:
        return key_of(dataset.name.replace(".", "_").upper())


class OwnSpecs(CatalogTranslator):
    def get_asset_spec(self, dataset: Any) -> dg.AssetSpec:
        spec = super().get_asset_spec(dataset)
        key = key_of(dataset.name.replace(".", "_").upper())
        return spec.replace_attributes(key=key, owners=["team:data"])


@dg.asset(ins={"total": dg.AssetIn(key_of("TOTAL"))})
def doubled(total: int) -> int:
    return 2 * total


@dg.asset(partitions_def=REGIONS, ins={"orders": dg.AssetIn(key_of("SHOP_ORDERS"))})
def seen(orders: Any) -> dict[str, int]:
    return {region: load() for region, load in orders.items()}


@dg.asset(key="spare", io_manager_key="kedro_io_manager")
def of_the_catalog() -> int:  # an entry that no pipeline uses
    return 7


@pytest.fixture(scope="module", params=[OwnKeys, OwnSpecs])
def renamed(project: Project, request: pytest.FixtureRequest) -> dg.Definitions:
    kedro = KedroProjectTranslator(project.path, catalog_translator=request.param)
    native = dg.Definitions(
        assets=[doubled, seen, of_the_catalog], resources={"io_manager": dg.mem_io_manager}
    )
    return dg.Definitions.merge(kedro.to_definitions(), native)


def run_assets(
    definitions: dg.Definitions, *keys: dg.AssetKey, partition: str | None = None
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(asset_selection=keys, partition_key=partition)


def materialised(run: dg.ExecuteInProcessResult) -> set[tuple[dg.AssetKey | None, str | None]]:
    events = run.get_asset_materialization_events()
    return {(event.asset_key, event.partition) for event in events}


def test_renamed_assets_depend_on_each_other(renamed: dg.Definitions) -> None:
    graph = renamed.resolve_asset_graph()
    assert graph.get(key_of("TOTAL")).parent_keys == {key_of("SHOP_ORDERS")}
    assert graph.get(key_of("SHOP_ORDERS")).parent_keys == {key_of("RAW_ORDERS")}
    assert not graph.get(key_of("RAW_ORDERS")).is_materializable


def test_a_job_and_a_materialisation_tell_of_renamed_assets(renamed: dg.Definitions) -> None:
    total, (eu, us) = key_of("TOTAL"), [(key_of("SHOP_ORDERS"), key) for key in ("eu", "us")]
    assert materialised(renamed.resolve_job_def("all").execute_in_process()) == {
        (total, None),
        eu,
        us,
    }
    assert materialised(run_assets(renamed, key_of("SHOP_ORDERS"), partition="eu")) == {eu}


def test_a_native_asset_takes_a_renamed_dataset(renamed: dg.Definitions, project: Project) -> None:
    assert renamed.resolve_job_def("all").execute_in_process().success
    run = run_assets(renamed, key_of("TOTAL"), dg.AssetKey("doubled"))
    assert run.output_for_node("doubled") == 26
    run = run_assets(renamed, dg.AssetKey("seen"), partition="us")
    assert run.output_for_node("seen") == {"us": 11}
    assert run_assets(renamed, dg.AssetKey("spare")).success
    assert json.loads((project.path / "data/spare.json").read_text()) == 7


def test_specs_are_extended(project: Project) -> None:
    definitions = KedroProjectTranslator(project.path, catalog_translator=OwnSpecs).to_definitions()
    owners = {spec.key: list(spec.owners) for spec in definitions.resolve_all_asset_specs()}
    assert owners == {
        key_of(name): ["team:data"] for name in ("TOTAL", "SHOP_ORDERS", "RAW_ORDERS")
    }


class OwnNodes(NodeTranslator):
    def get_tags(self, step: Any) -> dict[str, str]:
        return {**super().get_tags(step), "nodes": str(len(step.nodes))}

    def get_description(self, step: Any) -> str:
        return f"Runs {step.name}."

    def op(self, step: Any) -> dg.OpDefinition:
        return super().op(replace(step, settings=replace(step.settings, pool="own")))

    def assets(self, asset_step: Any) -> dg.AssetsDefinition:
        (made,) = dg.map_asset_specs(
            lambda spec: spec.replace_attributes(group_name="own"), [super().assets(asset_step)]
        )
        return made


@dg.success_hook
def told(_: dg.HookContext) -> None: ...


class OwnPipelines(PipelineTranslator):
    def job(self, job: Any) -> dg.JobDefinition:
        return super().job(job).with_hooks({told})

    def schedule(self, job: Any) -> dg.ScheduleDefinition:
        name = super().schedule(job).name
        return dg.ScheduleDefinition(f"{name}_own", job_name=job.name, cron_schedule="@hourly")


def test_ops_assets_jobs_and_schedules_are_made_in_ones_own_way(project: Project) -> None:
    definitions = KedroProjectTranslator(
        project.path, node_translator=OwnNodes, pipeline_translator=OwnPipelines
    ).to_definitions()
    job = definitions.resolve_job_def("all")
    ops = {node.name: node.definition for node in job.nodes}
    op = ops["convert__eu"]
    assert isinstance(op, dg.OpDefinition)
    assert (op.tags, op.pool) == ({"daily": "", "nodes": "1"}, "own")
    assert op.description == "Runs convert__eu."
    assert job.hook_defs == {told}
    (schedule,) = definitions.schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.name, schedule.cron_schedule) == ("all_schedule_own", "@hourly")
    total = definitions.resolve_asset_graph().get(dg.AssetKey("total"))
    assert total.group_name == "own"
    assert total.assets_def.op.tags == {"dagster/priority": "-1", "nodes": "1"}
    assert total.assets_def.op.pool is None
    assert job.execute_in_process().success
    assert run_assets(definitions, dg.AssetKey("total")).success


def test_dagster_goes_along_a_long_chain_of_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, limits = sys.getrecursionlimit(), list[int]()
    monkeypatch.setattr(sys, "setrecursionlimit", limits.append)
    project = make_project(
        tmp_path / "shop",
        pipelines="""
            from kedro.pipeline import Pipeline, node

            def register_pipelines():
                links = [node(abs, f"d{i}", f"d{i + 1}", name=f"n{i}") for i in range(300)]
                return {"__default__": Pipeline(links)}
        """,
        dagster={"jobs": {"chain": {"pipeline": {}}}},
        package="chain_of_300",
    )
    KedroProjectTranslator(project.path).to_definitions()
    assert limits == [max(before, 1_300)]
