"""What a catalog entry says of its asset below ``metadata: dagster:``, in Dagster's own words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.test_cases import TestTranslation as DagstersCases
from kedro.pipeline import node

from kedro_dagster import CatalogTranslator, KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.asset_words import asset_said
from kedro_dagster.plan.model import DatasetKind, DatasetPlan
from projects import OMEGACONF, Project, make_project
from unit.test_plan import plan_of

PIPELINES = """\
from kedro.pipeline import Pipeline, node

from shop.nodes import fail_once, make


def register_pipelines():
    return {
        "__default__": Pipeline(
            [
                node(make, "raw", "orders", name="make"),
                node(fail_once, "orders", "eu.total", name="once"),
                node(make, "eu.total", "us.total", name="last"),
            ]
        )
    }
"""
NODES = """\
from pathlib import Path


def make(value):
    return value + 1


def fail_once(value):
    mark = Path("failed")
    if not mark.exists():
        mark.touch()
        raise RuntimeError("The first time.")
    return value
"""
CATALOG = """\
raw:
  type: json.JSONDataset
  filepath: data/raw.json
  metadata:
    dagster: {key: [other, raw], deps: [far/away], kinds: [sap]}
orders:
  type: json.JSONDataset
  filepath: data/orders.json
  metadata:
    description: Stands beside.
    source: the shop
    dagster:
      owners: ["team:data", me@example.com]
      tags: {tier: gold}
      metadata: {since: 2024-01-01}
      key_prefix: warehouse
      group_name: sales
      freshness_policy: >-
        {{ dg.FreshnessPolicy.time_window(fail_window=datetime.timedelta(hours=24)) }}
      automation_condition: "{{ automation_condition.eager() }}"
      skippable: true
      code_version: "3"
      pool: database
      backfill_policy: {type: multi_run, max_partitions_per_run: 4}
"{region}.total":
  type: json.JSONDataset
  filepath: "data/{region}.json"
  metadata:
    dagster:
      group_name: "of_{region}"
      description: "Said of {region}."
      automation_condition: automation_condition.on_cron('@daily')
      retry_policy: {max_retries: 1}
      deps: [prices, orders]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield make_project(
            tmp_path_factory.mktemp("words") / "project",
            pipelines=PIPELINES,
            nodes=NODES,
            catalog=CATALOG,
            dagster={
                "nodes": {"*": {"pool": "any"}, "last": {"retry_policy": {"max_retries": 3}}},
                "jobs": {
                    "apart": {"pipeline": {}, "executor": {"multiprocess": {"max_concurrent": 2}}},
                    "together": {"pipeline": {}, "executor": "in_process"},
                },
            },
            files={"data/raw.json": "1"},
        )


@pytest.fixture(scope="module")
def definitions(project: Project) -> dg.Definitions:
    return KedroProjectTranslator(project.path).to_definitions()


def test_an_entry_says_all_that_dagster_has_a_word_for(definitions: dg.Definitions) -> None:
    specs = {one.key.to_user_string(): one for one in definitions.resolve_all_asset_specs()}
    orders = specs["warehouse/orders"]
    assert orders.owners == ["team:data", "me@example.com"]
    assert orders.tags["tier"] == "gold"
    assert orders.metadata["since"] == "2024-01-01"
    assert orders.metadata["source"] == "the shop"
    assert "dagster" not in orders.metadata
    assert (orders.description, orders.group_name) == ("Stands beside.", "sales")
    assert isinstance(orders.freshness_policy, dg.FreshnessPolicy)
    assert orders.automation_condition == dg.AutomationCondition.eager()
    assert orders.skippable
    assert orders.code_version == "3"
    assert {dep.asset_key.to_user_string() for dep in orders.deps} == {"other/raw"}
    raw = specs["other/raw"]
    assert raw.kinds == {"sap"}
    assert [dep.asset_key.path for dep in raw.deps] == [["far", "away"]]


def test_what_a_pattern_says_is_said_of_each_dataset(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for region, made_of in (("eu", {"prices", "orders", "warehouse/orders"}), ("us", None)):
        asset = graph.get(dg.AssetKey([region, "total"]))
        assert asset.group_name == f"of_{region}"
        assert asset.description == f"Said of {region}."
        assert asset.automation_condition == dg.AutomationCondition.on_cron("@daily")
        if made_of:
            assert {key.to_user_string() for key in asset.parent_keys} == made_of


def test_a_step_has_what_the_entries_say_that_it_makes(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    orders = graph.get(dg.AssetKey(["warehouse", "orders"])).assets_def
    assert orders.backfill_policy == dg.BackfillPolicy.multi_run(4)
    ops = [one.definition for one in definitions.resolve_job_def("apart").nodes]
    for step in (
        ops,
        [graph.get(dg.AssetKey([one, "total"])).assets_def.op for one in ("eu", "us")],
    ):
        retries = [one.retry_policy.max_retries for one in step if one.retry_policy]  # type: ignore[attr-defined]
        assert sorted(retries) == [1, 3]  # 'nodes' of dagster.yml names the last one
    assert {one.name: one.pool for one in ops} == {  # type: ignore[attr-defined]
        "apart__make__op": "database",
        "apart__once__op": "any",
        "apart__last__op": "any",
    }


@pytest.mark.slow
@pytest.mark.parametrize("job", ["apart", "together"])
def test_an_entry_with_dagsters_words_runs_and_is_tried_again(
    project: Project, job: str, tmp_path: Any
) -> None:
    copy = project.copy(tmp_path / "project")
    (copy.path / "failed").touch()
    copy.kedro("run")
    wanted = [(copy.path / "data" / name).read_text() for name in ("eu.json", "us.json")]
    (copy.path / "failed").unlink()
    process = copy.execute(job)
    assert "once - STEP_UP_FOR_RETRY" in process.stderr
    assert [(copy.path / "data" / name).read_text() for name in ("eu.json", "us.json")] == wanted
    if OMEGACONF >= (2, 4):  # before, its ANTLR cannot read Dagster's selections
        module = ("-m", "shop.definitions")
        copy.run("-m", "dagster", "asset", "materialize", "--select", "us/total", *module)


def mistakes(words: Any, *more: Mapping[str, Any]) -> list[str]:
    """What is said of the words of the dataset ``out``, which two nodes write in turn."""
    entry = {"type": "json.JSONDataset", "filepath": "x.json"}
    catalog = {
        name: {**entry, "metadata": {"dagster": one}}
        for name, one in zip(("out", "raw"), (words, *more), strict=False)
    }
    with pytest.raises(DagsterConfigError) as caught:
        plan_of([node(abs, "raw", "out", name="make")], catalog=catalog)
    return [str(mistake) for mistake in caught.value.mistakes]


LIST = "Write one like ['team:analytics', 'nelson@hooli.com']."


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (3, ": 3 is not valid here. Write keys with values."),
        ({"ownrs": []}, ".ownrs: unknown key. Did you mean 'owners'?"),
        ({"owners": ["me"]}, ".owners: ['me'] is not valid. Invalid owner 'me'. Owner must be"),
        ({"owners": 3}, ".owners: 3 is not valid. A list of strings representing owners"),
        ({"tags": {"a b": ""}}, ".tags: {'a b': ''} is not valid. Found invalid tag keys: ['a b']"),
        ({"group_name": "a b"}, ".group_name: 'a b' is not valid. \"a b\" is not a valid"),
        (
            {"automation_condition": "eager"},
            (
                ".automation_condition: 'eager' is not valid. The condition under which the asset "
                "will be automatically materialized. Write one like "
                "'{{ automation_condition.eager() }}'."
            ),
        ),
        (
            {"automation_condition": "{{ automation_condition.eagr() }}"},
            ".automation_condition: '{{ automation_condition.eagr() }}' is not valid.",
        ),
        ({"freshness_policy": "{{ nothing }}"}, ".freshness_policy: '{{ nothing }}' is not valid."),
        ({"key": []}, ".key: [] is not valid. Write one like 'warehouse/sales/orders'."),
        ({"partitions_def": {"type": "daily"}}, ".partitions_def: a dataset has the partitions"),
        ({"pool": "a b"}, ".pool: 'a b' cannot be a pool. Write a word without spaces."),
        (
            {"retry_policy": {"max_retrys": 3}},
            ".retry_policy.max_retrys: unknown key. Did you mean 'max_retries'?",
        ),
        (
            {"backfill_policy": "single"},
            ".backfill_policy: 'single' is not allowed. Allowed: 'single_run' or 'multi_run'.",
        ),
    ],
)
def test_a_wrong_word_is_told_with_what_is_allowed(words: Any, mistake: str) -> None:
    (told,) = mistakes(words)
    assert told.startswith(f"conf: out.metadata.dagster{mistake}")


def test_all_mistakes_are_told_at_once() -> None:
    told = mistakes({"owners": ["me"], "pool": "a b", "kind": "csv"}, {"pool": "x"})
    assert len(told) == 4
    no_node = "conf: raw.metadata.dagster.pool: no node makes this dataset, so there is no step"
    assert told[3].startswith(no_node)


def test_two_datasets_are_not_one_asset() -> None:
    (told,) = mistakes({}, {"key": "out"})
    assert told == "conf: raw.metadata.dagster.key: dataset 'out' is asset 'out' too."


def test_words_of_two_datasets_of_a_step_agree() -> None:
    entry = {"type": "json.JSONDataset", "filepath": "x.json"}
    catalog = {name: {**entry, "metadata": {"dagster": {"pool": name}}} for name in ("a", "b")}
    with pytest.raises(DagsterConfigError) as caught:
        plan_of([node(divmod, ["x", "y"], ["a", "b"], name="make")], catalog=catalog)
    (told,) = caught.value.mistakes
    assert told.path[1:] == ("metadata", "dagster", "pool")
    assert "has another value from 'dataset:" in told.message


class TestOfDagster(DagstersCases):
    def test_translation(self, attributes: Any, assertion: Any, key_modifier: Any) -> None:
        base = dg.AssetSpec("made")
        dataset = DatasetPlan(
            name="made",
            identifier="made",
            kind=DatasetKind.PERSISTED,
            variants=("made",),
            type="json.JSONDataset",
            versioned=False,
            metadata={},
            said=asset_said(attributes, base),
        )
        plan: Any = None
        spec = CatalogTranslator(plan).get_asset_spec(dataset)
        assert assertion(spec)
        assert spec.key == (key_modifier(base.key) if key_modifier else base.key)
