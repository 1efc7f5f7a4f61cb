"""Partition keys as plain data, without Dagster: ``kedro_dagster.datasets`` imports this."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadValueError


@dataclass(frozen=True)
class PartitionScope:
    """The partitions of a dataset that a step may touch.

    Args:
        keys: Their keys.
        optional: Whether a key without a file is left out, instead of being an error.
    """

    keys: tuple[str, ...]
    optional: bool = False


def check_key(key: str, *where: str) -> None:
    """Refuse a key that would lead out of the dataset's folder."""
    if key.startswith(("/", "\\")) or ".." in key.replace("\\", "/").split("/"):
        raise BadValueError(where, f"{key!r} leads out of the dataset's folder.")
