"""Datasets that the project's hooks put into the catalog, seen at load where it asks for that.

What a run needs of them goes along with it, so that no process of a run calls the hooks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kedro.io import MemoryDataset
from pydantic_core import from_json, to_json

from ..doors import kedro as kedro_door
from ..doors.dagster import hand_to_runs, handed_over, has_runs_to_come
from ..errors import CatalogConfigError
from .credentials import redact
from .registry import describe_cause
from .source import ProjectSource

Entries = Mapping[str, dict[str, Any]]

_FOR_RUNS = {
    *("type", "versioned", "metadata", "copy_mode", "dataset"),
    *("partition", "partition_mapping", "partition_mappings", "layout", "missing"),
}
"""What a run is planned by. Addresses, which may hold passwords, stay in the code server."""


def entries_of_hooks(source: ProjectSource) -> Entries:
    """The catalog entries that hooks could have written instead, for what they register."""
    key = f"kedro_dagster/{source.package_name}/from_hooks"
    if (text := handed_over(key)) is not None:
        found: Entries = json.loads(text)
        return found
    try:
        datasets = kedro_door.datasets_of_hooks(source.context())
    except Exception as error:
        raise CatalogConfigError(
            "assets.from_hooks of dagster.yml: the project's hooks are called when the code "
            f"location loads, and fail: {redact(describe_cause(error))}. Without from_hooks, only "
            "runs call them."
        ) from error
    entries = {name: _entry(dataset) for name, dataset in datasets.items()}
    if has_runs_to_come():
        hand_to_runs(key, json.dumps({name: _for_runs(one) for name, one in entries.items()}))
    return entries


def _entry(dataset: Any) -> dict[str, Any]:
    """The catalog entry of a dataset, as JSON has it."""
    kind = type(dataset)
    entry: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if not isinstance(dataset, MemoryDataset):  # which would give its data
        entry = {**(kedro_door.config_of(dataset) or {}), **entry}
        entry["metadata"] = getattr(dataset, "metadata", None)
    plain: dict[str, Any] = from_json(to_json(entry, fallback=str, inf_nan_mode="strings"))
    return plain


def _for_runs(entry: Mapping[str, Any]) -> dict[str, Any]:
    inner = entry.get("dataset")
    kept = {key: value for key, value in entry.items() if key in _FOR_RUNS}
    return {**kept, "dataset": _for_runs(inner)} if isinstance(inner, Mapping) else kept
