"""A warning before any run: the values that go from process to process in memory."""

from __future__ import annotations

import collections.abc
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest
from kedro.io import AbstractDataset
from kedro.pipeline import node
from kedro.pipeline.node import Node

from kedro_dagster.plan.preflight import preflight
from unit.test_plan import nodes_of, plan_of


def same(value: Any) -> Any:
    return value


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:")


def lock_and_text() -> tuple[threading.Lock, str]:
    return threading.Lock(), ""


def by_name() -> dict[str, sqlite3.Cursor | None]:
    return {}


def in_chunks() -> Iterator[str]:
    yield "a"


def lines() -> Iterator[str]:
    return (line for line in "ab")


def numbers() -> Generator[int, None, None]:
    return (number for number in range(2))


def of_the_type_checker() -> NoSuchName:  # type: ignore[name-defined]  # noqa: F821
    return None


class OwnIterator(collections.abc.Iterator[int]):
    def __next__(self) -> int:
        raise StopIteration


def own() -> OwnIterator:
    return OwnIterator()


class Ephemeral(AbstractDataset[Any, Any]):
    _EPHEMERAL = True

    def load(self) -> Any: ...

    def save(self, data: Any) -> None: ...

    def _describe(self) -> dict[str, Any]:
        return {}


def warnings_of(nodes: list[Node], options: str = "", **more: Any) -> list[str]:
    return list(preflight(plan_of(nodes, f"all: {{pipeline: {{}}{options}}}", **more)))


CHAIN = [
    node(same, "raw", "a", name="one", tags=["x"], namespace="n"),
    node(same, "a", "b", name="two", tags=["x"], namespace="n"),
    node(same, "b", "c", name="three", tags=["y"]),
]


def test_it_names_the_values_and_the_groupings_that_keep_them_together() -> None:
    (warning,) = warnings_of(CHAIN[:2])
    assert warning == (
        "Job 'all': ephemeral datasets are produced in one step and consumed in another, which may "
        "be in another process: 'a'. To keep each in one step: group_by: memory or namespace or "
        "tag; in one process: an in_process executor; or give it a catalog entry."
    )
    (warning,) = warnings_of(CHAIN)
    assert "group_by: memory;" in warning


def test_it_offers_no_grouping_that_is_refused() -> None:
    nodes = [
        node(same, "raw", "memory", name="split", tags="t"),
        node(same, "memory", "file", name="outside"),
        node(lambda a, _: a, ["memory", "file"], "end", name="join", tags="t"),
    ]
    (warning,) = warnings_of(nodes, files="file")
    assert "group_by: memory;" in warning
    nodes[1] = node(same, "other", "file", name="outside")
    nodes[0] = node(lambda a: (a, a), "raw", ["memory", "other"], name="split", tags="t")
    (warning,) = warnings_of(nodes, files="file other")
    assert "group_by: pipeline;" in warning  # the others make steps wait for each other


@pytest.mark.parametrize(
    "options",
    [
        ", executor: in_process",
        ", executor: {dagster.in_process_executor: {}}",
        ", executor: {dagster.multi_or_in_process_executor: {in_process: {}}}",
        ", group_by: pipeline",
        ", group_by: memory",
    ],
)
def test_nothing_is_said_where_values_stay(options: str) -> None:
    assert not warnings_of(CHAIN, options)


def test_nothing_is_said_of_saved_values_and_of_what_no_step_makes() -> None:
    assert not warnings_of(CHAIN, files="a b")
    assert warnings_of(CHAIN, ", executor: multiprocess")


@pytest.mark.parametrize(
    ("function", "outputs", "told"),
    [
        (connect, "v", "'v' (sqlite3.Connection does not survive it)"),
        (partial(connect), "v", "'v' (sqlite3.Connection does not survive it)"),
        (lines, "v", "'v' (collections.Iterator does not survive it)"),
        (numbers, "v", "'v' (collections.Generator does not survive it)"),
        (by_name, "v", "'v' (sqlite3.Cursor does not survive it)"),
        (lock_and_text, ["v", "w"], "does not survive it), 'w'."),
        (in_chunks, "v", "process: 'v'."),
        (own, "v", "process: 'v'."),
        (of_the_type_checker, "v", "process: 'v'."),
    ],
)
def test_it_says_which_types_do_not_survive(
    function: Callable[[], Any], outputs: str | list[str], told: str
) -> None:
    names = [outputs] if isinstance(outputs, str) else outputs
    readers = [node(same, name, f"{name}2", name=name) for name in names]
    (warning,) = warnings_of([node(function, None, outputs, name="make"), *readers])
    assert told in warning


def test_an_entry_may_say_it_too() -> None:
    entry = {"b": {"type": "MemoryDataset", "copy_mode": "assign"}}
    (warning,) = warnings_of(CHAIN, catalog=entry)
    assert "process: 'b' (copy_mode: assign does not survive it), 'a'." in warning


def test_a_class_of_the_project_that_keeps_its_data_in_memory_is_no_asset() -> None:
    entry = {"b": {"type": f"{__name__}.Ephemeral"}}
    plan = plan_of(CHAIN, catalog=entry)
    assert not plan.datasets["b"].persisted
    (warning,) = preflight(plan)
    assert "'b'" in warning


def test_a_long_list_is_cut() -> None:
    nodes = [node(same, f"v{i}", f"v{i + 1}", name=f"n{i}") for i in range(30)]
    (warning,) = warnings_of(nodes)
    assert "'v10' and 19 more." in warning
    assert "'v11'" not in warning


def test_nodes_with_the_same_tags_share_a_step() -> None:
    nodes = [
        node(same, "raw", "a", name="x", tags=["t", "u"]),
        node(same, "a", "b", name="t"),
        node(same, "b", "c", name="y", tags="t"),
        node(same, "a", "d", name="z", tags=["u", "t"]),
    ]
    job = plan_of(nodes, "all: {pipeline: {}, group_by: tag}").jobs["all"]
    assert sorted(nodes_of(job)) == [["t"], ["x", "z"], ["y"]]
    assert len({step.name for step in job.steps}) == 3
