"""Names: what a Kedro dataset or node is called in Dagster."""

from __future__ import annotations

import hashlib
import re

INVALID_CHARACTER = re.compile(r"[^A-Za-z0-9_]")


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
    if INVALID_CHARACTER.search(formatted) or not formatted:
        return f"unnamed_node_{digest(name)}"
    return formatted


def digest(name: str) -> str:
    """A name as 32 hexadecimal digits."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
