"""What ``metadata: dagster:`` of a catalog entry says of runs, beside what it says of the asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadValueError, KeyPath


@dataclass(frozen=True)
class AssetOptions:
    """Whether runs tell of the data of a dataset."""

    facts: bool = True


def read_asset_options(metadata: Any) -> AssetOptions:
    """Read those of the ``metadata`` of a catalog entry; other keys are not looked at."""
    given = metadata.get("dagster") if isinstance(metadata, Mapping) else None
    if not isinstance(given, Mapping):
        return AssetOptions()
    return AssetOptions(facts=_flag(given, "facts", ("metadata", "dagster"), default=True))


def _flag(given: Mapping[str, Any], key: str, place: KeyPath, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise BadValueError((*place, key), f"{value!r} is not valid. Write true or false.")
    return value
