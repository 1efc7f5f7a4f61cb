"""What is told of a value: its rows, columns and a preview, and nothing that would be dear."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from kedro_dagster.plan.model import DatasetKind, DatasetPlan
from kedro_dagster.read.dagster_yml import FactsOptions
from kedro_dagster.read.messages import parse_config
from kedro_dagster.run.facts import Facts

FRAME = pd.DataFrame({"city": ["Ulm", "Bonn"], "trips": [3, 5], "a|b": [["x", 1], None]})

UNHURRIED = {"milliseconds": 60_000}  # a busy machine may take more than is allowed by default


def look(
    value: Any,
    *,
    metadata: Any = None,
    limits: Any = UNHURRIED,
    hidden: str = "hunter2!",
    path: str | None = None,
) -> dict[str, Any]:
    """What is told of a value that is saved to a dataset, or to a file."""
    dataset = DatasetPlan(
        name="made",
        identifier="made",
        kind=DatasetKind.PERSISTED,
        variants=("made",),
        type="any.Dataset",
        versioned=False,
        metadata=metadata or {},
        facts=True,
    )
    names = ["params:key"]
    plan = SimpleNamespace(
        datasets={"made": dataset},
        facts=FactsOptions.model_validate(limits),
        hidden_parameters=frozenset(names),
    )
    loader = SimpleNamespace(config_loader={"parameters": {"key": hidden}})
    saved = SimpleNamespace(_filepath=path)
    run: Any = SimpleNamespace(plan=plan, context=loader, dataset=lambda _: saved, mlflow={})
    facts = Facts(run)
    facts.saved("made@variant", value, 0.25)
    found = facts.of("made")
    assert found.pop("save_seconds") == 0.25
    json.loads(dg.serialize_value(dg.AssetMaterialization("made", metadata=found)))
    return found


def columns(found: dict[str, Any]) -> dict[str, str]:
    return {column.name: column.type for column in found["dagster/column_schema"].columns}


def test_a_table_of_pandas() -> None:
    found = look(FRAME)
    assert found["dagster/row_count"] == 2
    assert columns(found) == {name: str(kind) for name, kind in FRAME.dtypes.items()}
    assert found["preview"].value == (
        '| city | trips | a\\|b |\n| --- | --- | --- |\n| Ulm | 3 | ["x", 1] |\n| Bonn | 5 | None |'
    )
    series = look(FRAME["trips"])
    assert (series["dagster/row_count"], columns(series)) == (2, {"trips": "int64"})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, np.int64(2), float("nan")]}, {"items": 1}),
        (["x", {"y": FRAME}], {"items": 2}),
        ("text", {"characters": 4}),
        (np.arange(6).reshape(3, 2), {"shape": "(3, 2)", "dtype": "int64"}),
        (0.5, {}),
    ],
    ids=["dict", "list", "str", "numpy", "number"],
)
def test_what_is_no_table(value: Any, told: dict[str, Any]) -> None:
    found = look(value)
    preview = found.pop("preview")
    assert found == told
    expected = {
        dict: {"a": [1, 2, "nan"]},
        list: ["x", {"y": "<DataFrame>"}],
        str: "text",
        np.ndarray: "[[0 1]\n [2 3]\n [4 5]]",
        float: "0.5",
    }
    assert preview.value == expected[type(value)]


class Unreadable:
    """A value that nobody may look into."""

    def __repr__(self) -> str:
        raise AssertionError("it was asked for its text")

    def __len__(self) -> int:
        raise AssertionError("it was counted")

    def __iter__(self) -> Any:
        raise AssertionError("it was used up")


def test_nothing_is_done_to_a_value_of_an_unknown_class() -> None:
    assert look(Unreadable()) == {}
    assert look({"model": Unreadable()})["preview"].value == {"model": "<Unreadable>"}
    rows = iter([1, 2])
    assert look(rows) == {}
    assert list(rows) == [1, 2]


def polars_eager(table: dict[str, Any]) -> Any:
    return pytest.importorskip("polars").DataFrame(table)


def arrow(table: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").table(table)


@pytest.mark.parametrize("make", [polars_eager, arrow])
def test_tables_of_other_libraries(make: Callable[[dict[str, Any]], Any]) -> None:
    found = look(make({"city": ["Ulm", "Bonn"], "trips": [3, 5]}))
    assert found["dagster/row_count"] == 2
    assert {name: kind.lower() for name, kind in columns(found).items()} == {
        "city": "string",
        "trips": "int64",
    }
    assert found["preview"].value.endswith("| Ulm | 3 |\n| Bonn | 5 |")


def test_a_lazy_table_is_not_computed() -> None:
    polars = pytest.importorskip("polars")

    def refuse(_: Any) -> Any:
        raise AssertionError("it was computed")

    lazy = polars.LazyFrame({"trips": [3, 5]}).map_batches(refuse, schema={"trips": polars.Int64})
    assert columns(look(lazy)) == {"trips": "Int64"}
    assert "dagster/row_count" not in look(lazy)


def fake_class(monkeypatch: pytest.MonkeyPatch, module: str, name: str, **attributes: Any) -> Any:
    """A class of a library that is not installed; all but its attributes would be a query."""

    def refuse(_: Any, attribute: str) -> Any:
        raise AssertionError(f"{attribute} would start a query")

    kind = type(name, (), {**attributes, "__getattr__": refuse, "__module__": module})
    fake = ModuleType(module)
    setattr(fake, name, kind)
    monkeypatch.setitem(sys.modules, module, fake)
    return kind


def test_spark_and_ibis_are_asked_for_the_schema_only(monkeypatch: pytest.MonkeyPatch) -> None:
    integer = SimpleNamespace(simpleString=lambda: "int")
    schema = SimpleNamespace(fields=[SimpleNamespace(name="trips", dataType=integer)])
    spark = fake_class(monkeypatch, "pyspark.sql", "DataFrame", schema=schema)
    ibis = fake_class(monkeypatch, "ibis.expr.types", "Table", schema=lambda _: {"trips": "int64"})
    assert list(look(spark())) == list(look(ibis())) == ["dagster/column_schema"]
    assert (columns(look(spark())), columns(look(ibis()))) == ({"trips": "int"}, {"trips": "int64"})
    connect = type("DataFrame", (spark,), {"__module__": "pyspark.sql.connect.dataframe"})
    assert look(connect()) == {}  # it would ask its server


def test_a_figure_of_plotly_is_json_while_it_has_few_points() -> None:
    graphs = pytest.importorskip("plotly.graph_objects")
    few, many = (graphs.Figure(graphs.Scatter(y=list(range(n)), name="y")) for n in (3, 5_000))
    assert look(few)["preview"].value["data"][0]["y"] is not None
    assert look(many)["preview"].value == {"data": [{"type": "scatter", "name": "y"}]}


@pytest.mark.parametrize("kilobytes", [20, 6])
def test_a_plot_is_a_picture_within_the_limit(kilobytes: int, tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(9, 5))
    figure.subplots().plot(np.random.default_rng(1).random(200))
    file = tmp_path / "plot.png"
    figure.savefig(file, dpi=120)
    found = look(figure, path=str(file), limits={"kilobytes": kilobytes, "milliseconds": 5_000})
    assert found["size_bytes"] == file.stat().st_size > 1_000 * kilobytes
    assert re.match(
        r"!\[preview\]\(data:image/jpeg;base64,[A-Za-z0-9+/=]+\)$", found["preview"].value
    )
    assert 2_000 < len(found["preview"].value) <= 1_000 * kilobytes
    figure.savefig(file, dpi=10)
    assert "data:image/png" in look(figure, path=str(file))["preview"].value


def test_what_is_told_is_bounded() -> None:
    wide = pd.DataFrame(np.zeros((3, 2_000)))
    found = look(wide)
    assert found["columns"] == 2_000
    assert "dagster/column_schema" not in found
    assert "... 1980 more" in found["preview"].value
    long = pd.DataFrame({"text": ["ab " * 10_000] * 500})
    for value in (wide, long, {"text": "ä" * 100_000}, [list(range(50_000))] * 3, "ß" * 99_999):
        stored = dg.serialize_value(dg.AssetMaterialization("made", metadata=look(value)))
        assert len(stored) < 20_000
    assert look(FRAME, limits={"milliseconds": 0}) == {"dagster/row_count": 2}
    small = look(FRAME, limits={"kilobytes": 0})
    assert small == {"dagster/row_count": 2, "columns": 3}


def test_kedro_viz_says_whether_there_is_a_preview() -> None:
    assert "preview" not in look(FRAME, metadata={"kedro-viz": {"preview": False}})
    one = look(FRAME, metadata={"kedro-viz": {"layer": "raw", "preview_args": {"nrows": 1}}})
    assert one["preview"].value.count("\n") == 2


@pytest.mark.parametrize(
    "value",
    [
        {"key": "of hunter2!"},
        {"hunter2!": 1},
        ["x" * 195 + "hunter2!"],
        "x" * 19_495 + "hunter2!" + "x" * 9_000,
        pd.DataFrame({"hunter2!": ["hunter2!"]}),
        np.array(["hunter2!"]),
    ],
    ids=["value", "key", "cut off", "long text", "table", "array"],
)
def test_hidden_parameters_are_in_none_of_it(value: Any) -> None:
    stored = dg.serialize_value(dg.AssetMaterialization("made", metadata=look(value)))
    assert "hunt" not in stored
    assert "<re" in stored or isinstance(value, str)
    assert "1234567" not in dg.serialize_value(
        dg.AssetMaterialization("made", metadata=look({"n": 1234567}, hidden="1234567"))
    )


def test_what_goes_wrong_is_no_error_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    with caplog.at_level("DEBUG"):
        assert look(Broken(a=1)) == {}
        assert look(Broken(a=1)) == {}
    (record,) = [one for one in caplog.records if "no items" in one.getMessage()]
    assert record.levelname == "DEBUG"


def test_the_limits_stand_in_dagster_yml() -> None:
    config, mistakes = parse_config({"assets": {"facts": {"kilobytes": 5}}})
    assert (config.assets.facts.kilobytes, config.assets.facts.milliseconds) == (5, 50)
    assert not mistakes
    assert not parse_config({"assets": {"facts": False}})[0].assets.facts.enabled
    wrong = {"assets": {"facts": {"kilobytes": -1}, "fact": True}}
    found = dict(parse_config(wrong)[1])
    assert "greater than or equal to 0" in found["assets", "facts", "kilobytes"]
    assert "'facts'" in found["assets", "fact"]
    assert parse_config({"assets": {"facts": 3}})[1]
