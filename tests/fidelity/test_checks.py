"""Validators of the catalog are asset checks: Kedro applies them, Dagster knows how they judge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from projects import KEDRO, Project, make_project

pytestmark = pytest.mark.skipif(KEDRO < (1, 6), reason="this Kedro has no validators")

CHECKS = """
    class Positive:
        def __init__(self, column): self.column = column

        def validate(self, data):
            if (data[self.column] < 0).any():
                raise ValueError(f"{self.column} is negative")
            return data.assign(validated=1)


    def complete(data):
        if "trips" not in data:
            raise ValueError(f"no trips in {sorted(data)}")


    def small(data):
        if len(data) > 2:
            raise ValueError("more than two rows")


    def full(parts):
        for name, part in parts.items():
            if (part() if callable(part) else part).empty:
                raise ValueError(f"{name} is empty")
"""
NODES = """
    import pandas as pd

    from kedro_dagster.datasets import partition_ids

    def clean(raw): return pd.DataFrame({"trips": raw["trips"], **raw.get("more", {})})
    def look(raw): return {"keys": sorted(raw)}
    def keep(table): return table
    def split(raw):
        table = pd.DataFrame({"trips": raw["trips"]})
        return {key: table.head(len(key) - 2) for key in partition_ids("parts") or ("eu", "asia")}
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        whole = Pipeline([
            node(nodes.clean, "raw", "cleaned", name="clean"),
            node(nodes.look, "raw", "seen", name="look"),
            node(nodes.keep, "cleaned", "warned", name="keep"),
            node(nodes.keep, "warned", "drifting", name="keep_too"),
        ])
        parts = Pipeline([node(nodes.split, "raw", "parts", name="split")])
        return {"__default__": whole, "parts": parts}
"""
HOOKS = """
    import json
    import os

    from kedro.framework.hooks import hook_impl

    def note(*told):
        with open(os.environ["TRACE"], "a") as file:
            print(json.dumps(told), file=file)

    class ProjectHooks:
        @hook_impl
        def after_dataset_loaded(self, dataset_name, data): note("loaded", dataset_name)
        @hook_impl
        def before_dataset_saved(self, dataset_name, data):
            note("saving", dataset_name, list(data))
        @hook_impl
        def after_dataset_saved(self, dataset_name, data): note("saved", dataset_name, list(data))
        @hook_impl
        def on_node_error(self, error, node): note("node error", node.name, repr(error))
        @hook_impl
        def on_pipeline_error(self, error): note("error", type(error).__name__, str(error))
"""
DEFINITIONS = """
    import dagster as dg

    from kedro_dagster import KedroProjectTranslator

    parts = dg.AssetSelection.keys("parts")
    every = dg.AssetSelection.all()
    defs = dg.Definitions.merge(
        KedroProjectTranslator(package_name="shop").to_definitions(),
        dg.Definitions(
            jobs=[
                dg.define_asset_job("assets", every - parts - dg.AssetSelection.keys("raw")),
                dg.define_asset_job("only_checks", dg.AssetSelection.all_asset_checks()),
            ]
        ),
    )
"""


def csv(name: str, **more: Any) -> dict[str, Any]:
    entry = {"type": "pandas.CSVDataset", "filepath": f"data/{name}.csv"}
    return {**entry, "save_args": {"index": False}, **more}


# Two steps that read the same bad data at the same time would each tell of it
ONE_AT_A_TIME = {"multiprocess": {"max_concurrent": 1}}
CATALOG = {
    "raw": {
        "type": "json.JSONDataset",
        "filepath": "data/raw.json",
        "validator": {"class": "shop.checks.complete", "on": ["load"]},
    },
    "cleaned": csv(
        "cleaned",
        validator={"class": "shop.checks.Positive", "options": {"column": "trips"}, "on": "save"},
    ),
    "warned": csv("warned", validator={"class": "shop.checks.small", "severity": "warn"}),
    "drifting": csv("drifting", metadata={"dagster": {"check": {"schema_drift": True}}}),
    "seen": {"type": "json.JSONDataset", "filepath": "data/seen.json"},
    "parts": {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": "data/parts",
        "filename_suffix": ".csv",
        "dataset": "pandas.CSVDataset",
        "partition": {
            "type": "dagster.StaticPartitionsDefinition",
            "partition_keys": ["eu", "asia"],
        },
        "validator": {"class": "shop.checks.full", "on": ["save"]},
    },
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("checks") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog=CATALOG,
        dagster={
            "jobs": {
                "in_process": {"pipeline": {}, "executor": "in_process"},
                "multiprocess": {"pipeline": {}, "executor": ONE_AT_A_TIME},
                "parts": {"pipeline": {"pipeline_name": "parts"}, "executor": "in_process"},
                "made": {"pipeline": {}, "target": "assets", "executor": ONE_AT_A_TIME},
            }
        },
        files={"src/shop/checks.py": CHECKS, "src/shop/definitions.py": DEFINITIONS},
    )
    (project.path / "data").mkdir()
    put(project, trips=[1, 2, 3])
    return project


def put(project: Project, **raw: Any) -> None:
    (project.path / "data" / "raw.json").write_text(json.dumps(raw))


Told = dict[tuple[str, str | None], dg.AssetCheckEvaluation]


def told_in(project: Project) -> tuple[Told, list[str]]:
    """How the checks of a project's last run have gone, and what it has materialised."""
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        run = instance.get_runs(limit=1)[0]
        records = instance.get_records_for_run(run.run_id).records
        checks = [
            record.event_log_entry.dagster_event.asset_check_evaluation_data
            for record in records
            if record.event_log_entry.dagster_event_type
            is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]
        keys = {one.asset_check_key for one in checks}
        stored = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    for key, record in stored.items():
        latest = next(one for one in reversed(checks) if one.asset_check_key == key)
        assert record.status.value == ("SUCCEEDED" if latest.passed else "FAILED")
    made = [record.asset_key.path[-1] for record in records if record.asset_materialization]
    told = {(one.asset_key.path[-1], one.metadata.get("partition")): one for one in checks}
    assert len(told) == len(checks), "a check was told of twice in a run"
    return {(name, part and part.value): one for (name, part), one in told.items()}, made


def result(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    (found,) = [
        value.value for key, value in evaluation.metadata.items() if key.startswith("result")
    ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("job", ["in_process", "multiprocess", "assets", "made"])
def test_data_that_is_valid(rendered: Project, tmp_path: Path, job: str) -> None:
    project = rendered.copy(tmp_path / "shop")
    project.execute(job, TRACE=os.devnull)
    told, made = told_in(project)
    assert {name: one.passed for (name, _), one in told.items()} == {
        "raw": True,
        "cleaned": True,
        "warned": False,
        "drifting": True,
    }
    assert sorted(made) == ["cleaned", "drifting", "seen", "warned"]
    warned = told["warned", None]
    assert (warned.severity, warned.blocking) == (dg.AssetCheckSeverity.WARN, False)
    assert "more than two rows" in str(warned.description)
    assert result(warned)["status"] == "failed"
    assert result(told["cleaned", None])["validator"] == "shop.checks.Positive"
    assert told["raw", None].metadata["on"].value == "load"
    assert "validated" in (project.path / "data" / "cleaned.csv").read_text()


BAD = {"load": {"other": 1}, "save": {"trips": [1, -2]}}


@pytest.mark.slow
@pytest.mark.parametrize("when", BAD)
@pytest.mark.parametrize("job", ["in_process", "multiprocess", "made"])
def test_data_that_is_invalid(rendered: Project, tmp_path: Path, job: str, when: str) -> None:
    oracle, project = rendered.copy(tmp_path / "oracle"), rendered.copy(tmp_path / "shop")
    traces = [tmp_path / name for name in ("oracle.txt", "shop.txt")]
    for one in (oracle, project):
        put(one, **BAD[when])
    nodes = ("--nodes=clean",) if when == "save" else ()  # Kedro runs the other one as well
    oracle.kedro("run", *nodes, check=False, TRACE=str(traces[0]))
    process = project.execute(job, check=False, TRACE=str(traces[1]))
    assert process.returncode != 0
    wanted, got = ([json.loads(line) for line in one.read_text().splitlines()] for one in traces)
    assert wanted[-1][0] == "error"
    others = {"look", "seen"}
    if when == "save" or job == "in_process":
        assert [one for one in got if others.isdisjoint(map(str, one))][-1] == wanted[-1]
    if when == "save":
        clean = [one for one in got if others.isdisjoint(map(str, one))]
        assert [one for one in clean if one != ["loaded", "raw"]] == wanted[1:]
    told, made = told_in(project)
    name = {"load": "raw", "save": "cleaned"}[when]
    failed = told[name, None]
    assert not failed.passed
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert failed.blocking
    assert str(failed.description) == wanted[-1][2]
    assert result(failed)["message"] == wanted[-1][2]
    assert {one for (one, _), event in told.items() if not event.passed} == {name}
    assert "cleaned" not in made


@pytest.mark.slow
def test_checks_alone(rendered: Project, tmp_path: Path) -> None:
    """Somebody asks for all checks: each loads its data, and no node runs."""
    project = rendered.copy(tmp_path / "shop")
    project.execute("in_process", TRACE=os.devnull)
    project.execute("parts", check=False, TRACE=os.devnull)  # it saves one of two
    (project.path / "data" / "drifting.csv").write_text("trips,added\n1,2\n")
    put(project, other=1)
    file = project.path / "data" / "cleaned.csv"
    file.write_text("trips\n-1\n")
    trace = tmp_path / "trace.txt"
    project.execute("only_checks", TRACE=str(trace))
    told, made = told_in(project)
    assert not made
    assert not trace.exists()
    assert {name: one.passed for (name, _), one in told.items()} == {
        "raw": False,
        "cleaned": False,
        "warned": False,
        "drifting": False,
        "parts": True,
    }
    assert "no trips in ['other']" in str(told["raw", None].description)
    drifting = str(told["drifting", None].description)
    assert "added: added" in drifting
    assert "removed: validated" in drifting


@pytest.mark.slow
@pytest.mark.parametrize("job", ["in_process", "assets"])
def test_columns_that_have_changed(rendered: Project, tmp_path: Path, job: str) -> None:
    project = rendered.copy(tmp_path / "shop")
    for raw, changes in (
        ({"trips": [1, 2]}, None),
        ({"trips": [3, 4]}, None),
        ({"trips": [1.5], "more": {"city": ["Ulm"]}}, "added: city; trips: int64 -> float64"),
        ({"trips": [2.5], "more": {"city": ["Ulm"]}}, None),
    ):
        put(project, **raw)
        project.execute(job, TRACE=os.devnull)
        told = told_in(project)[0]["drifting", None]
        assert told.passed is (changes is None)
        assert told.severity is dg.AssetCheckSeverity[("ERROR" if told.passed else "WARN")]
        assert changes is None or changes in str(told.description)


@pytest.mark.slow
def test_a_check_says_of_which_partition_it_is(rendered: Project, tmp_path: Path) -> None:
    project = rendered.copy(tmp_path / "shop")
    process = project.execute("parts", check=False, TRACE=os.devnull)
    assert process.returncode != 0
    told, made = told_in(project)
    assert {key: one.passed for key, one in told.items()} == {
        ("raw", None): True,
        ("parts", "asia"): True,
        ("parts", "eu"): False,
    }
    assert "eu is empty" in str(told["parts", "eu"].description)
    assert str(told["parts", "eu"].description).startswith("Partition eu: ")
    assert made == ["parts"]


def test_each_dataset_has_one_check_at_the_most(rendered: Project) -> None:
    defs = KedroProjectTranslator(rendered.path).to_definitions()
    checks = list(defs.resolve_asset_graph().asset_check_keys)
    assert sorted(key.asset_key.path[-1] for key in checks) == [
        "cleaned",
        "drifting",
        "parts",
        "raw",
        "warned",
    ]


@pytest.mark.parametrize(
    ("entry", "key", "told"),
    [
        ({"validator": {"class": "a.b", "onn": ["save"]}}, "validator", "['onn']"),
        ({"validator": {"class": "a.b", "severity": "loud"}}, "validator", "'loud'"),
        ({"metadata": {"dagster": {"check": True}}}, "metadata.dagster.check", "schema_drift"),
        ({"metadata": {"dagster": {"check": {"drift": 1}}}}, "metadata.dagster.check.drift", "key"),
    ],
)
def test_a_wrong_declaration_is_told_before_anything_runs(
    rendered: Project, tmp_path: Path, entry: dict[str, Any], key: str, told: str
) -> None:
    project = rendered.copy(tmp_path / "shop")
    catalog = {**CATALOG, "seen": {**CATALOG["seen"], **entry}}
    (project.path / "conf" / "base" / "catalog.yml").write_text(json.dumps(catalog))
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(project.path)
    (line,) = [one for one in str(caught.value).splitlines() if f"seen.{key}" in one]
    assert "catalog.yml" in line
    assert told in line
