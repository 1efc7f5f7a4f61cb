"""The metadata of a catalog entry, as Dagster's: all that YAML can hold, in JSON."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import yaml

from kedro_dagster.plan.model import DatasetKind, DatasetPlan
from kedro_dagster.render.assets import CatalogTranslator

METADATA = """\
2024-01-01: a day as key
at: 2024-02-29 12:30:00
nothing: .nan
deep: {1: {2024-01-01: [.inf, 3]}}
"""


def test_metadata_of_yaml_is_valid_json() -> None:
    dataset = DatasetPlan(
        name="made",
        identifier="made",
        kind=DatasetKind.PERSISTED,
        variants=("made",),
        type="json.JSONDataset",
        versioned=False,
        metadata=yaml.safe_load(METADATA),
    )
    plan: Any = None  # it is for the datasets upstream
    spec = CatalogTranslator(plan).get_asset_spec(dataset)
    shown = {key: value for key, value in spec.metadata.items() if "/" not in key}
    assert shown == {
        "2024-01-01": "a day as key",
        "at": "2024-02-29T12:30:00",
        "nothing": "NaN",
        "deep": {"1": {"2024-01-01": ["Infinity", 3]}},
    }
    text = dg.serialize_value(dg.AssetMaterialization("made", metadata=shown))
    json.loads(text, parse_constant=lambda name: [][name])
