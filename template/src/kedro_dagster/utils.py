"""Names: what a Kedro dataset or node is called in Dagster."""

from __future__ import annotations

import hashlib
import re

INVALID_CHARACTER = re.compile(r"[^A-Za-z0-9_]")


def format_dataset_name(name: str) -> str:
    """Write a Kedro dataset name as one Dagster word: ``model__metrics`` for ``model.metrics``."""
    return name.replace(".", "__")


def unformat_asset_name(name: str) -> str:
    """Undo :func:`format_dataset_name` for names that had no ``__`` of their own.

    No name is looked up by it: the plan keeps the pairs of names in a table.
    """
    return name.replace("__", ".")


def format_node_name(name: str) -> str:
    """Write a Kedro node name with ``__`` for dots, or as a hash where Dagster does not allow it.

    That is ``unnamed_node_<md5>`` for ``fit([x]) -> [y]``, as Kedro calls a node without a name.
    """
    formatted = name.replace(".", "__")
    if INVALID_CHARACTER.search(formatted) or not formatted:
        return f"unnamed_node_{digest(name)}"
    return formatted


def digest(name: str) -> str:
    """A name as 32 hexadecimal digits."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
