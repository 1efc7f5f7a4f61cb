"""What runs tell of the data that they save: the same from jobs and assets, in any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from projects import Project, make_project

TOKEN = "Zq7planted"  # noqa: S105

NODES = """
    import pandas as pd

    from kedro_dagster.datasets import partition_ids


    class Broken(dict):
        def items(self): raise RuntimeError("no items")
        def __reduce__(self): return (Broken, ())


    def make_table(): return pd.DataFrame({"city": ["Ulm", "Bonn", "Kiel"], "trips": [3, 5, 8]})
    def summarise(table, token): return {"rows": len(table), "token": token}
    def pass_on(table): return table
    def split(table):
        return {key: table.head(len(key)) for key in partition_ids("parts") or ("eu", "u")}
    def stream(table): yield from (f"{city}\\n" for city in table["city"])
    def make_odd(table): return Broken()
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(nodes.make_table, None, "table", name="make_table"),
                node(nodes.summarise, ["table", "params:token"], "summary", name="summarise"),
                node(nodes.pass_on, "table", "quiet", name="pass_on"),
                node(nodes.pass_on, "table", "unseen", name="pass_on_again"),
                node(nodes.split, "table", "parts", name="split"),
                node(nodes.stream, "table", "lines", name="stream"),
                node(nodes.make_odd, "table", "odd", name="make_odd"),
            ])
        }
"""
SETTINGS = """
    import os

    CONFIG_LOADER_ARGS = {
        "base_env": "base",
        "default_run_env": "local",
        "custom_resolvers": {"secret": lambda name: os.environ[name]},
    }
"""


def csv(name: str, **metadata: Any) -> dict[str, Any]:
    entry = {"type": "pandas.CSVDataset", "filepath": f"data/{name}.csv"}
    return {**entry, "save_args": {"index": False}, "metadata": metadata}


CATALOG = {
    "table": csv("table"),
    "quiet": csv("quiet", dagster={"facts": False}),
    "unseen": csv("unseen", **{"kedro-viz": {"preview": False}}),
    "summary": {"type": "json.JSONDataset", "filepath": "data/summary.json", "versioned": True},
    "parts": {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": "data/parts",
        "filename_suffix": ".csv",
        "dataset": "pandas.CSVDataset",
        "partition": {"type": "dagster.StaticPartitionsDefinition", "partition_keys": ["eu", "u"]},
        "metadata": {"backfill_policy": "single_run"},
    },
    "lines": {
        "type": "text.TextDataset",
        "filepath": "data/lines.txt",
        "fs_args": {"open_args_save": {"mode": "a"}},
    },
    "odd": {"type": "pickle.PickleDataset", "filepath": "data/odd.pkl"},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("facts") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        settings=SETTINGS,
        catalog=CATALOG,
        parameters="token: ${secret:TOKEN}",
        dagster={
            "jobs": {
                executor: {"pipeline": {}, "executor": {executor: {}}}
                for executor in ("in_process", "multiprocess")
            }
        },
        files={"materialize.py": MATERIALIZE},
    )


MATERIALIZE = """
    import dagster as dg

    from shop.definitions import defs

    parts = dg.AssetSelection.keys("parts")
    keys = {"dagster/asset_partition_range_start": "eu", "dagster/asset_partition_range_end": "u"}
    with dg.DagsterInstance.get() as instance:
        for selection, tags in ((dg.AssetSelection.all() - parts, {}), (parts, keys)):
            dg.materialize(
                defs.assets,
                selection=selection,
                instance=instance,
                resources=defs.resources,
                tags=tags,
            )
"""


def told_in(project: Project) -> dict[tuple[str, str | None], dict[str, Any]]:
    """The metadata of all materialisations of a project, by asset and partition."""
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        records = [
            record
            for run in instance.get_runs()
            for record in instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            ).records
        ]
    events = [record.asset_materialization for record in records]
    return {
        (event.asset_key.path[-1], event.partition): {
            key: value.value for key, value in event.metadata.items()
        }
        for event in events
        if event
    }


def check(told: dict[tuple[str, str | None], dict[str, Any]], project: Project) -> None:
    table, summary = told["table", None], told["summary", None]
    file = project.path / "data" / "table.csv"
    assert table["path"] == str(file)
    assert (table["dagster/row_count"], table["size_bytes"]) == (3, file.stat().st_size)
    assert [one.name for one in table["dagster/column_schema"].columns] == ["city", "trips"]
    assert "| Bonn | 5 |" in table["preview"]
    assert 0 <= table["save_seconds"] < 60
    assert "load_seconds" not in table
    assert summary.keys() >= {"path", "version", "size_bytes", "load_seconds", "save_seconds"}
    assert "<redacted>" in str(summary["preview"])
    assert TOKEN not in str(told)
    assert told["quiet", None].keys() == {"path"}
    assert "preview" not in told["unseen", None]
    assert told["unseen", None]["dagster/row_count"] == 3
    assert "preview" not in told["odd", None]
    assert told["odd", None]["size_bytes"] > 0
    assert told["lines", None]["preview"] == "Ulm\n"  # its first chunk
    assert "characters" not in told["lines", None]
    for key in ("eu", "u"):
        part = told["parts", key]
        assert part["dagster/partition_row_count"] == len(key)
        assert "dagster/row_count" not in part
        assert [one.name for one in part["dagster/column_schema"].columns] == ["city", "trips"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["in_process", "multiprocess", "spawn", "assets"])
def test_runs_tell_of_what_they_save(rendered: Project, tmp_path: Path, way: str) -> None:
    project = rendered.copy(tmp_path / "shop")
    if way == "assets":
        project.run("materialize.py", TOKEN=TOKEN)
    elif way == "spawn":
        project.execute("multiprocess", TOKEN=TOKEN, KEDRO_MP_CONTEXT="spawn")
    else:
        project.execute(way, TOKEN=TOKEN)
    check(told_in(project), project)


@pytest.mark.slow
def test_without_facts_runs_tell_where_data_is(rendered: Project, tmp_path: Path) -> None:
    project = rendered.copy(tmp_path / "shop")
    file = project.path / "conf" / "base" / "dagster.yml"
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**config, "assets": {"facts": False}}))
    project.execute("in_process", TOKEN=TOKEN)
    assert {key for one in told_in(project).values() for key in one} == {"path", "version"}
