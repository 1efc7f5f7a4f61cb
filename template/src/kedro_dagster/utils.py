"""Names: what a Kedro dataset or node is called in Dagster, and which functions are the same."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from dagster._core.definitions.utils import DISALLOWED_NAMES

_INVALID = re.compile(r"[^A-Za-z0-9_]")


def is_dagster_name(name: str) -> bool:
    """Whether Dagster takes a name for a job, a schedule or an op."""
    return bool(name) and not _INVALID.search(name) and name not in DISALLOWED_NAMES


def format_dataset_name(name: str) -> str:
    """Write a Kedro dataset name as one Dagster word: dots become ``__``, the rest stays.

    Args:
        name: The dataset's name in Kedro, such as ``model.metrics``.

    Returns:
        The name with its namespaces joined, such as ``model__metrics``.
    """
    return name.replace(".", "__")


def unformat_asset_name(name: str) -> str:
    """Undo :func:`format_dataset_name` for names that had no ``__`` of their own.

    Nothing in this package relies on it: the plan keeps the pairs of names in a table.

    Args:
        name: A Dagster name, such as ``model__metrics``.

    Returns:
        The dataset's name in Kedro, such as ``model.metrics``.
    """
    return name.replace("__", ".")


def format_node_name(name: str) -> str:
    """Write a Kedro node name as a Dagster op name.

    Args:
        name: The node's name in Kedro, such as ``train.fit`` or ``fit([x]) -> [y]``.

    Returns:
        The name with ``__`` for dots, or ``unnamed_node_<md5>`` where Dagster allows it not.
    """
    formatted = name.replace(".", "__")
    if _INVALID.search(formatted) or not formatted:
        return f"unnamed_node_{_digest(name)}"
    return formatted


def unique_names(
    names: Iterable[str], form: Callable[[str], str], reserved: Iterable[str] = ()
) -> Mapping[str, str]:
    """Give each Kedro name a valid Dagster name of its own.

    Where two names would become one, the first in sorted order keeps it and the others get a
    suffix made of their Kedro name, so that no name depends on the order of definition.

    Args:
        names: Kedro names.
        form: How one of them is written in Dagster.
        reserved: Dagster names that are taken already.

    Returns:
        Each Kedro name with its Dagster name.
    """
    table: dict[str, str] = {}
    taken = {*reserved, *DISALLOWED_NAMES, ""}
    for name in sorted(set(names)):
        formatted = _INVALID.sub("_", form(name))
        if formatted in taken:
            formatted = f"{formatted}_{_digest(name)[:8]}"
        taken.add(formatted)
        table[name] = formatted
    return table


def _digest(name: str) -> str:
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def function_key(function: Any) -> Hashable:
    """Tell functions apart: two nodes may be equal to Kedro and run different code."""
    if isinstance(function, functools.partial):
        return (
            function_key(function.func),
            repr(function.args),
            repr(sorted(function.keywords.items())),
        )
    code = getattr(function, "__code__", None)
    if code is None or function.__closure__:
        return id(function)
    return function.__module__, code
