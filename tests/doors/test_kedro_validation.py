"""Validators tell how they judge; where a private name is gone, they judge all the same."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.io import DataCatalog

from kedro_dagster.doors import fallback
from kedro_dagster.doors import kedro_validation as door
from projects import KEDRO

pytestmark = pytest.mark.skipif(KEDRO < (1, 6), reason="this Kedro has no validators")

Said = list[tuple[Any, Any]]


def refuse_odd(data: list[int]) -> list[int]:
    if any(one % 2 for one in data):
        raise ValueError("odd")
    return [*data, 0]


def make_catalog(**validator: Any) -> DataCatalog:
    path = f"{__name__}.refuse_odd"
    entry = {"type": "MemoryDataset", "validator": {"class": path, **validator}}
    return DataCatalog.from_config({"made": entry})


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "_told", set())
    monkeypatch.setitem(__import__("sys").modules, __name__, SimpleNamespace(refuse_odd=refuse_odd))


def watched(catalog: Any, mode: str = "save") -> Said:
    said: Said = []
    catalog.get("made")
    door.watch_validator(catalog, "made", mode, lambda *told: said.append(told))
    return said


def test_it_tells_what_it_makes_of_data_and_why_it_refuses_them() -> None:
    catalog = make_catalog()
    said = watched(catalog)
    catalog.save("made", [2])
    with pytest.raises(Exception, match="odd") as caught:
        catalog.save("made", [1])
    assert said[0] == ([2, 0], None)
    assert said[1][0] == [1]
    assert said[1][1] is caught.value.__cause__
    assert not watched(catalog), "it is watched once"


@pytest.mark.parametrize(
    ("validator", "variable"),
    [({"on": "load"}, ""), ({"enabled": False}, ""), ({}, "off"), ({"class": "no.where"}, "")],
    ids=["on load", "not enabled", "switched off", "not there"],
)
def test_one_that_kedro_does_not_apply_is_not_made(
    validator: dict[str, Any], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_DATASET_VALIDATION", variable)
    catalog = make_catalog(**validator)
    assert not watched(catalog)
    assert not catalog._validators


def test_without_a_private_name_one_warning_says_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = make_catalog().validator_specs["made"]
    stripped: Any = SimpleNamespace(validator_specs={"made": spec}, get=lambda _: None)
    with caplog.at_level(logging.WARNING):
        assert not watched(stripped)
        assert not watched(stripped)
    (record,) = caplog.records
    assert "no asset checks" in record.getMessage()


def test_a_catalog_that_knows_no_validators_is_left_alone() -> None:
    assert not watched(SimpleNamespace(get=lambda _: None))
