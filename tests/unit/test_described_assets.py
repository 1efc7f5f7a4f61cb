"""What Dagster shows of assets that nobody has described: all from configuration and source."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from kedro.framework.project import pipelines as kedro_pipelines
from kedro.pipeline import Pipeline, node

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.plan import lineage
from kedro_dagster.plan.kinds import address_of, kinds_of
from kedro_dagster.plan.lineage import Lineage
from kedro_dagster.plan.make import make_plan
from kedro_dagster.plan.names import node_labels
from kedro_dagster.read.project import KedroProject, read_project
from kedro_dagster.read.source import OutlinedNode, ProjectSource
from kedro_dagster.render.source_code import code_references, docstring_of
from projects import Project, make_project


@pytest.mark.parametrize(
    ("entry", "kinds"),
    [
        ({"type": "pandas.CSVDataset", "filepath": "data/a.csv"}, "csv pandas"),
        ({"type": "kedro_datasets.pandas.csv_dataset.CSVDataset"}, "csv pandas"),
        ({"type": "pandas.ParquetDataset", "filepath": "s3://b/a.pq"}, "parquet pandas s3"),
        ({"type": "polars.LazyPolarsDataset", "file_format": "parquet"}, "polars parquet"),
        ({"type": "spark.SparkDataset", "filepath": "abfss://c@h/p"}, "spark azure"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t"}, "sql pandas"),
        ({"type": "pandas.GBQTableDataset", "dataset": "d", "table_name": "t"}, "bigquery pandas"),
        ({"type": "ibis.TableDataset", "connection": {"backend": "postgres"}}, "postgres"),
        ({"type": "pickle.PickleDataset", "filepath": "gs://b/m.pkl"}, "pickle gcs"),
        ({"type": "plotly.JSONDataset", "filepath": "p.json"}, "json plotly"),
        ({"type": "matplotlib.MatplotlibDataset"}, "matplotlib"),
        (
            {
                "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
                "path": "s3a://bucket/parts",
                "dataset": {"type": "pandas.ExcelDataset"},
            },
            "s3 excel pandas",
        ),
        ({"type": "CachedDataset", "dataset": "yaml.YAMLDataset"}, "yaml"),
        ({"type": "shop.io.SensorFileDataset", "filepath": "a"}, "sensorfile"),
        ({"type": dict}, "dict"),
    ],
)
def test_kinds_are_told_by_the_type(entry: Mapping[str, Any], kinds: str) -> None:
    assert kinds_of(entry) == tuple(kinds.split())


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ({"filepath": "data/a.csv"}, {"dagster/uri": "data/a.csv"}),
        ({"path": "s3://bucket/parts"}, {"dagster/uri": "s3://bucket/parts"}),
        ({"url": "https://me:pass@host/x?sig=secret"}, {"dagster/uri": "https://host/x"}),
        ({"url": "https://token@host"}, {"dagster/uri": "https://host"}),
        (
            {"filepath": "simplecache::https://me:p@ss@host/x?sig=secret"},
            {"dagster/uri": "simplecache::https://host/x"},
        ),
        ({"url": "jdbc:sqlserver://host;user=me;password=secret"}, {}),
        ({"filepath": "abfs://box@host/a"}, {"dagster/uri": "abfs://box@host/a"}),
        ({"filepath": "abfs://box:secret@host/a"}, {"dagster/uri": "abfs://host/a"}),
        ({"type": "CachedDataset", "dataset": {"filepath": "a"}}, {"dagster/uri": "a"}),
        ({"type": "pandas.SQLQueryDataset", "filepath": "query.sql"}, {}),
        (
            {"type": "pandas.SQLTableDataset", "table_name": "t", "save_args": {"schema": "s"}},
            {"dagster/table_name": "s.t"},
        ),
        (
            {"type": "snowflake.SnowparkTableDataset", "database": "d", "table_name": "t"},
            {"dagster/table_name": "d.t", "dagster/storage_kind": "snowflake"},
        ),
        (
            {"type": "pandas.GBQTableDataset", "project": "p", "dataset": "d", "table_name": "t"},
            {"dagster/table_name": "p.d.t", "dagster/storage_kind": "bigquery"},
        ),
    ],
)
def test_an_address_holds_no_credentials(entry: Mapping[str, Any], address: Any) -> None:
    assert address_of({"type": "text.TextDataset", **entry}) == address


NODES = '''\
import functools


def traced(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)
    return call


@traced
def clean(raw, factor):
    """Remove what is no order.

    Args:
        raw: The orders.
    """
    return raw


def total(orders, *_):
    """Sum up
    the orders."""
    return orders


class Loud:
    __name__ = "loud"

    def __call__(self, value):
        """Say it again."""
        return value
'''
PIPELINES = """\
from functools import partial

from kedro.pipeline import Pipeline, node, pipeline

from shop.nodes import Loud, clean, total


def register_pipelines():
    ordering = Pipeline([node(clean, ["raw", "params:factor"], "orders", tags=["daily", "a.b-c"])])
    report = Pipeline(
        [node(total, ["orders", "rates"], "sum", name="add"), node(abs, "sum", "size", name="abs")]
    )
    model = pipeline(
        [node(partial(total, 1), "orders", "score"), node(Loud(), "rates", "loud", name="loud")],
        namespace="learn.deep-er",
        inputs={"orders", "rates"},
    )
    return {
        "__default__": ordering + report + model,
        "ordering": ordering,
        "report": report,
        "both": ordering + report,
    }
"""
CATALOG = """\
raw: {type: json.JSONDataset, filepath: data/raw.json}
rates: {type: json.JSONDataset, filepath: data/rates.json}
orders: {type: json.JSONDataset, filepath: data/orders.json}
sum: {type: json.JSONDataset, filepath: data/sum.json}
size:
  type: json.JSONDataset
  filepath: data/size.json
  metadata: {description: How large., group_name: own}
"{name}.score": {type: json.JSONDataset, filepath: "data/{name}.json"}
"{name}.loud": {type: json.JSONDataset, filepath: "data/{name}_loud.json"}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield make_project(
            tmp_path_factory.mktemp("described") / "project",
            pipelines=PIPELINES,
            nodes=NODES,
            catalog=CATALOG,
            parameters={"factor": 2},
            dagster={
                "jobs": {
                    "all": {"pipeline": {}, "executor": {"multiprocess": {"max_concurrent": 2}}},
                    "ordering": {"pipeline": {"pipeline_name": "ordering"}},
                }
            },
            files={
                "data/raw.json": "4",
                "data/rates.json": "1",
                ".git/HEAD": "ref: refs/heads/new/look\n",
                ".git/config": '[core]\n\tbare = false\n[remote "fork"]\n\turl = /tmp/fork\n'
                '[remote "origin"]\n\tfetch = +refs/heads/*\n'
                "\turl = https://me:token@github.com/team/shop.git\n[branch]\n\turl = no\n",
            },
        )


@pytest.fixture(scope="module")
def specs(project: Project) -> dict[str, dg.AssetSpec]:
    definitions = KedroProjectTranslator(project.path).to_definitions()
    found = definitions.resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in found}


def test_groups_are_namespaces_or_the_smallest_pipelines(specs: dict[str, dg.AssetSpec]) -> None:
    nested = "learn/deep_er" if lineage.groups_are_nested() else "learn__deep_er"
    assert {key: spec.group_name for key, spec in specs.items()} == {
        "raw": "ordering",  # of what reads it
        "rates": "external",  # several groups read it
        "orders": "ordering",
        "sum": "report",
        "size": "own",
        "learn/deep-er/score": nested,
        "learn/deep-er/loud": nested,
    }


def test_groups_are_flat_where_dagster_has_no_nested_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline([node(abs, "a", "b", namespace="one.two")])
    for nested, name in ((True, "one/two"), (False, "one__two")):
        monkeypatch.setattr(lineage, "groups_are_nested", lambda nested=nested: nested)
        assert Lineage({}, [pipeline]).of("b")["group"] == name


def test_nothing_but_the_default_pipeline_gives_no_group() -> None:
    pipeline = Pipeline([node(abs, "a", "b"), node(abs, "b", "c")])
    found = Lineage({"__default__": pipeline}, [pipeline])
    assert {found.of(name)["group"] for name in "abc"} == {None}


def test_descriptions_are_those_of_the_entry_or_of_the_function(
    specs: dict[str, dg.AssetSpec],
) -> None:
    assert {key: spec.description for key, spec in specs.items() if key != "size"} == {
        "raw": None,
        "rates": None,
        "orders": "Remove what is no order.",
        "sum": "Sum up\nthe orders.",
        "learn/deep-er/score": "Sum up\nthe orders.",
        "learn/deep-er/loud": "Say it again.",
    }
    assert specs["size"].description == "How large."


def test_the_node_its_parameters_and_its_tags_are_shown(specs: dict[str, dg.AssetSpec]) -> None:
    orders, raw = specs["orders"], specs["raw"]
    assert orders.kinds == {"json"}
    assert {key: one for key, one in orders.tags.items() if "kind" not in key} == {
        "daily": "",
        "a.b-c": "",
    }
    shown = {key: one for key, one in orders.metadata.items() if key.startswith("kedro/")}
    assert shown.pop("kedro/node").startswith("clean__")
    assert shown == {
        "kedro/type": "json.JSONDataset",
        "kedro/pipelines": ["ordering", "both"],
        "kedro/parameters": ["params:factor"],
    }
    assert orders.metadata["dagster/uri"] == "data/orders.json"
    assert not {"kedro/node", "kedro/pipelines", "dagster/code_references"} & raw.metadata.keys()


def sources(spec: dg.AssetSpec) -> list[str]:
    value = spec.metadata.get("dagster/code_references")
    return [one.source for one in value.code_references] if value else []


def test_code_references_are_those_of_what_a_person_wrote(
    project: Project, specs: dict[str, dg.AssetSpec]
) -> None:
    file = project.path / "src" / "shop" / "nodes.py"
    address = "https://github.com/team/shop/tree/new/look/src/shop/nodes.py"
    lines = {"orders": 11, "sum": 21, "learn/deep-er/score": 21, "learn/deep-er/loud": 30}
    for key, line in lines.items():
        assert sources(specs[key]) == [f"{file}:{line}", f"{address}#L{line}"]
    assert sources(specs["size"]) == []  # abs is not written in Python


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:team/shop.git", "https://github.com/team/shop/tree/main"),
        ("ssh://git@github.com:22/team/shop", "https://github.com/team/shop/tree/main"),
        ("https://oauth2:tok@gitlab.org/a/b/c.git", "https://gitlab.org/a/b/c/-/tree/main"),
        ("https://example.com/team/shop.git", None),
        ("../shop", None),
    ],
)
def test_the_repository_is_told_without_git(tmp_path: Path, remote: str, url: str | None) -> None:
    for name, text in {
        "main/.git/config": f'[remote "upstream"]\n\turl = {remote}\n',
        "main/.git/worktrees/two/HEAD": "ref: refs/heads/main",
        "main/.git/worktrees/two/commondir": "../..\n",
        "two/.git": f"gitdir: {tmp_path}/main/.git/worktrees/two\n",
        "two/src/nodes.py": "",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    source = ProjectSource(tmp_path / "two" / "src", "shop", None, "conf", {})
    found = source.url_of(tmp_path / "two" / "src" / "a b.py")
    assert found == (url and f"{url}/src/a%20b.py")
    assert source.url_of(tmp_path / "main" / "a.py") is None


class Scaler:
    """Scales."""

    def __init__(self, value: object) -> None: ...

    def fit(self, value: object) -> object:
        """Fit it.

        Well.
        """
        return value


def own(value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("function", "text", "is_here"),
    [
        (Scaler, "Scales.", False),
        (partial(Scaler, 1), "Scales.", False),
        (Scaler(1).fit, "Fit it.", True),
        (partial(partial(own)), None, True),
        (abs, "Return the absolute value of the argument.", False),
        (lambda value: value, None, True),
    ],
)
def test_any_function_is_looked_up(function: Any, text: str | None, *, is_here: bool) -> None:
    inputs = "a" if not isinstance(function, partial) or function.func is not Scaler else None
    one = node(function, inputs, "b", name="any")
    assert docstring_of(one) == text
    found = code_references(one, lambda _: None)
    assert (found is not None) == is_here
    if found:
        assert Path(found.code_references[0].file_path) == Path(__file__)  # type: ignore[union-attr]


def make(value: object) -> object:
    return value


def test_a_node_without_a_name_is_called_as_its_function() -> None:
    nodes = [
        node(make, "a", "b"),
        node(abs, "b", "c", namespace="one.two"),
        node(partial(pow, 1), "c", "d"),
        node(lambda value: value, "d@x", "e-f"),
        node(lambda: None, None, "end", name="given"),
    ]
    labels = node_labels(nodes)
    names = [labels.get(one.name, one.name) for one in nodes]
    assert names == ["make", "one.two.abs", "pow", "lambda_e_f", "given"]


def test_a_hash_stays_where_another_node_is_called_the_same() -> None:
    nodes = [node(make, "a", "b"), node(make, "b", "c"), node(abs, "c", "d", name="x")]
    first, second, _ = (one.name for one in nodes)
    assert node_labels(nodes) == {first: first, second: second}
    named = [nodes[0], node(abs, "a", "b", name="make")]
    assert node_labels(named) == {first: first}


def told_of(project: KedroProject) -> Any:
    """What Dagster knows things by: the groups, and the steps of jobs and of assets."""
    plan = make_plan(project)
    steps = {name: [step.name for step in job.steps] for name, job in plan.jobs.items()}
    groups = {name: (one.group, one.pipelines) for name, one in plan.datasets.items()}
    return groups, steps, [*plan.asset_steps]


@pytest.mark.skipif(
    not hasattr(kedro_pipelines, "set_requested"), reason="this Kedro loads all pipelines"
)
def test_a_run_is_given_all_that_groups_and_names_depend_on(project: Project) -> None:
    context = DefinitionsLoadContext(DefinitionsLoadType.INITIALIZATION)
    with DefinitionsLoadContext.scoped(context), pytest.MonkeyPatch.context() as patch:
        served = read_project(project.path)
        served.hand_outlines_to_runs()
        (text,) = context.get_pending_reconstruction_metadata().values()
        patch.setattr("kedro_dagster.read.source.handed_over", lambda _: text)
        in_run = read_project(project.path)
    assert isinstance(in_run.pipelines["ordering"].nodes[0], OutlinedNode)
    assert told_of(in_run) == told_of(served)


@pytest.mark.slow
def test_a_node_without_a_name_runs_and_is_configured_under_that_name(project: Project) -> None:
    config = project.path / "config.yaml"
    config.write_text("ops: {clean: {config: {'params:factor': 3}}}")
    process = project.execute("all", "--config", str(config))
    assert "clean - STEP_SUCCESS" in process.stderr
    assert "learn__deep-er__total" not in process.stderr
