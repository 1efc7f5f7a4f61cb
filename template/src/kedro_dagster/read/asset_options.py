"""What ``metadata: dagster:`` of a catalog entry says of runs, beside what it says of the asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadValueError, KeyPath

OWN_KEYS = ("facts", "check")
"""The keys that are no attributes of Dagster's assets."""


@dataclass(frozen=True)
class AssetOptions:
    """Whether runs tell of the data of a dataset, and whether they compare its columns."""

    facts: bool = True
    schema_drift: bool = False


def read_asset_options(metadata: Any) -> AssetOptions:
    """Read those of the ``metadata`` of a catalog entry; other keys are not looked at."""
    given = metadata.get("dagster") if isinstance(metadata, Mapping) else None
    if not isinstance(given, Mapping):
        return AssetOptions()
    place, check = ("metadata", "dagster"), given.get("check", {})
    if not isinstance(check, Mapping) or check.keys() - {"schema_drift"}:
        message = f"{check!r} is not valid. Write {{schema_drift: true}}."
        raise BadValueError((*place, "check"), message)
    return AssetOptions(
        facts=_flag(given, "facts", place, default=True),
        schema_drift=_flag(check, "schema_drift", (*place, "check"), default=False),
    )


def _flag(given: Mapping[str, Any], key: str, place: KeyPath, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise BadValueError((*place, key), f"{value!r} is not valid. Write true or false.")
    return value
