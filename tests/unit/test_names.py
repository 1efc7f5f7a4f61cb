"""The names of datasets and nodes in Dagster, as the documents of the product have them."""

from __future__ import annotations

import hashlib

import pytest

from kedro_dagster.plan.names import identifier, node_identifier, op_name
from kedro_dagster.utils import format_dataset_name, format_node_name, unformat_asset_name


@pytest.mark.parametrize(
    ("kedro", "dagster"),
    [("my.dataset.name", "my__dataset__name"), ("with-hyphen", "with-hyphen"), ("plain", "plain")],
)
def test_a_dataset_name_is_formatted_and_back(kedro: str, dagster: str) -> None:
    assert format_dataset_name(kedro) == dagster
    assert unformat_asset_name(dagster) == kedro


def test_a_node_name_is_formatted_or_where_dagster_refuses_it_hashed() -> None:
    assert format_node_name("my.node") == "my__node"
    md5 = hashlib.md5(b"make([seed]) -> [a]", usedforsecurity=False).hexdigest()
    assert format_node_name("make([seed]) -> [a]") == f"unnamed_node_{md5}"


def test_no_two_names_become_one_and_order_does_not_matter() -> None:
    names = ["a.b", "a__b", "a-b", "a_b", "a_.b", "a._b", "a.", "a_", "input", "class", "Größe"]
    table = {name: identifier(name) for name in names}
    assert table["a.b"] == "a__b"
    assert table["a_b"] == "a_b"
    assert len(set(table.values())) == len(names)
    assert not {"input", "class"} & set(table.values())
    assert all(name.isascii() and name.isidentifier() for name in table.values())


def test_a_node_that_kedro_has_named_keeps_that_name() -> None:
    assert node_identifier("make__2de1c226") == "make__2de1c226"
    assert node_identifier("make__more") != "make__more"
    assert node_identifier("learn.make__2de1c226") == "learn__make__2de1c226"


def test_no_two_jobs_have_one_op() -> None:
    words = ["a", "b", "_", "__", "a_", "_b", "a__b", "b__c", "__b", "a__", "op", "a___b"]
    pairs = [(job, step) for job in words for step in words]
    ops = {op_name(job, step) for job, step in pairs}
    assert len(ops) == len(pairs)
    assert op_name("train", "fit") == "train__fit__op"
