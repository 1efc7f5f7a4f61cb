"""Two partitioned datasets and a node between them, for each kind of partitions and mapping.

The node writes down what it was given, so that a file tells which partitions it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from projects import Project, make_project

PACKAGE = "matrix"
PIPELINES = """\
from kedro.pipeline import Pipeline, node

from kedro_dagster.datasets import partition_ids


def copy(given):
    values = {key: load() for key, load in given.items()}
    return dict.fromkeys(partition_ids("written"), values)


def register_pipelines():
    return {"__default__": Pipeline([node(copy, "read", "written", name="copy")])}
"""
KINDS = """\
from dagster import StaticPartitionsDefinition


class Regions(StaticPartitionsDefinition):
    def __init__(self, *more):
        super().__init__(["eu", "us", *more])
"""

Keys = Sequence[str]


@dataclass(frozen=True)
class Case:
    """A dataset that is read, and one that is made from it.

    Args:
        read: The partitions of the dataset that is read.
        written: Those of the one that is written; by default the same.
        mapping: How they map; by default as Dagster infers it.
        made_from: For keys that are written, the keys that must have been read.
        untouched: Other keys of the dataset that is written.
        stored: Keys that have a file though nothing is made from them.
        options: More of both catalog entries.
    """

    read: Mapping[str, Any]
    made_from: Mapping[str, Keys]
    written: Mapping[str, Any] | None = None
    mapping: Mapping[str, Any] | None = None
    untouched: Keys = ()
    stored: Keys = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fans_out(self) -> bool:
        """Whether a job may run all keys at once."""
        return all(
            kind in (LETTERS, NUMBERS, REGIONS, GRID)
            for kind in (self.read, self.written or LETTERS)
        )

    def catalog(self) -> dict[str, Any]:
        """The catalog entries of both datasets."""
        entry = {
            "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
            "dataset": "json.JSONDataset",
            "filename_suffix": ".json",
            **self.options,
        }
        mappings = {"written": self.mapping} if self.mapping else {}
        written = {"path": "data/written", "partition": self.written or self.read}
        read = {"path": "data/read", "partition": self.read, "partition_mappings": mappings}
        return {"read": {**entry, **read}, "written": {**entry, **written}}


def kind(name: str, /, **arguments: Any) -> dict[str, Any]:
    """A class of Dagster and its arguments, as they stand in a catalog."""
    return {"type": f"dagster.{name}", **arguments}


def each(*keys: str) -> dict[str, Keys]:
    """Each key is made from the same key."""
    return {key: [key] for key in keys}


LETTERS = kind("StaticPartitionsDefinition", partition_keys=["a", "b", "c"])
NUMBERS = kind("StaticPartitionsDefinition", partitions=[1, 2, 3])
DAILY = kind("DailyPartitionsDefinition", start_date="2024-01-01", end_date="2024-01-20")
HOURLY = kind(
    "HourlyPartitionsDefinition", start_date="2024-01-01-00:00", end_date="2024-01-03-00:00"
)
WEEKLY = kind("WeeklyPartitionsDefinition", start_date="2024-01-07", end_date="2024-02-04")
MONTHLY = kind("MonthlyPartitionsDefinition", start_date="2024-01-01", end_date="2024-06-01")
WINDOWS = kind(
    "TimeWindowPartitionsDefinition",
    start="2024-01-01",
    end="2024-02-01",
    fmt="%Y-%m-%d",
    cron_schedule="0 0 */5 * *",
)
DYNAMIC = kind("DynamicPartitionsDefinition", name="files")
REGIONS = {"type": f"{PACKAGE}.kinds.Regions"}
MULTI = kind("MultiPartitionsDefinition", partitions_defs={"region": REGIONS, "date": DAILY})
GRID = kind("MultiPartitionsDefinition", partitions_defs={"region": REGIONS, "letter": LETTERS})
LAYOUT = {"layout": "{region}/{date}"}
ALL = kind("AllPartitionMapping")
LAST = kind("LastPartitionMapping")
IDENTITY = kind("IdentityPartitionMapping")
DAYS = ["2024-01-02", "2024-01-03"]
WEEK = [f"2024-01-{day:02}" for day in range(7, 14)]


def static(table: Mapping[Any, Any]) -> dict[str, Any]:
    """A static mapping."""
    return kind(
        "StaticPartitionMapping", downstream_partition_keys_by_upstream_partition_key=dict(table)
    )


def specific(*keys: str) -> dict[str, Any]:
    """A mapping to specific partitions."""
    return kind("SpecificPartitionsPartitionMapping", partition_keys=list(keys))


CASES = {
    "static": Case(LETTERS, each("a", "b", "c")),
    "static_identity": Case(LETTERS, each("a", "b", "c"), mapping=IDENTITY),
    "static_key_to_key": Case(
        LETTERS,
        {"1": ["a"], "2": ["b"], "3": ["c"]},
        NUMBERS,
        static({"a": 1, "b": 2, "c": 3}),
    ),
    "static_many_to_one": Case(
        LETTERS,
        {"1": ["a", "b"], "2": ["b", "c"], "3": ["c"]},
        NUMBERS,
        static({"b": [1, 2], "a": 1, "c": [2, 3]}),
    ),
    "static_one_to_all": Case(
        LETTERS, {"1": ["b"], "2": ["b"], "3": ["b"]}, NUMBERS, static({"b": [1, 2, 3]})
    ),
    "static_all": Case(LETTERS, dict.fromkeys("123", "abc"), NUMBERS, ALL),
    "static_last": Case(LETTERS, dict.fromkeys("123", "c"), NUMBERS, LAST),
    "static_specific": Case(LETTERS, dict.fromkeys("123", "ab"), NUMBERS, specific("a", "b")),
    "static_to_daily_all": Case(
        LETTERS, dict.fromkeys(DAYS, "abc"), DAILY, ALL, untouched=["2024-01-04"]
    ),
    "user_class": Case(REGIONS, each("eu", "us")),
    "daily": Case(DAILY, each(*DAYS), untouched=["2024-01-01", "2024-01-04"]),
    "daily_identity": Case(DAILY, each(*DAYS), mapping=IDENTITY, untouched=["2024-01-04"]),
    "hourly": Case(HOURLY, each("2024-01-01-01:00"), untouched=["2024-01-01-02:00"]),
    "weekly": Case(WEEKLY, each("2024-01-14"), untouched=["2024-01-07"]),
    "monthly": Case(MONTHLY, each("2024-02-01"), untouched=["2024-01-01"]),
    "time_window": Case(WINDOWS, each("2024-01-06", "2024-01-11"), untouched=["2024-01-01"]),
    "daily_to_weekly": Case(
        DAILY, {"2024-01-07": WEEK}, WEEKLY, untouched=["2024-01-14"], stored=DAYS
    ),
    "weekly_to_daily": Case(WEEKLY, {"2024-01-09": ["2024-01-07"]}, DAILY, stored=["2024-01-14"]),
    "daily_the_day_before": Case(
        DAILY,
        {"2024-01-01": [], "2024-01-02": ["2024-01-01"]},
        mapping=kind(
            "TimeWindowPartitionMapping",
            start_offset=-1,
            end_offset=-1,
            allow_nonexistent_upstream_partitions=True,
        ),
        untouched=["2024-01-03"],
    ),
    "daily_all": Case(  # of the windows, those that have a file
        DAILY, {"2024-01-03": DAYS}, mapping=ALL, untouched=["2024-01-04"]
    ),
    "daily_last": Case(DAILY, dict.fromkeys(DAYS, ("2024-01-19",)), mapping=LAST, stored=DAYS),
    "daily_specific": Case(
        DAILY, {"2024-01-03": DAYS}, mapping=specific(*DAYS), stored=["2024-01-05"]
    ),
    "dynamic": Case(DYNAMIC, each("x", "y"), untouched=["z"]),
    "dynamic_identity": Case(DYNAMIC, each("x"), mapping=IDENTITY, untouched=["y", "z"]),
    "dynamic_all": Case(DYNAMIC, {"x": ["x", "y"]}, mapping=ALL, untouched=["z"]),
    "dynamic_last": Case(DYNAMIC, {"x": ["z"]}, mapping=LAST, untouched=["y", "z"]),
    "dynamic_specific": Case(DYNAMIC, {"x": ["y"]}, mapping=specific("y"), untouched=["z"]),
    "multi": Case(
        MULTI,
        each("2024-01-02|eu", "2024-01-03|eu"),
        untouched=["2024-01-02|us"],
        options=LAYOUT,
    ),
    "multi_without_layout": Case(MULTI, each("2024-01-02|us"), untouched=["2024-01-02|eu"]),
    "multi_static": Case(
        GRID, each("a|eu", "a|us", "b|eu", "b|us", "c|eu", "c|us"), mapping=IDENTITY
    ),
    "multi_to_single": Case(
        MULTI,
        {"2024-01-02": ["2024-01-02|eu", "2024-01-02|us"]},
        DAILY,
        untouched=["2024-01-03"],
        stored=["2024-01-03|eu"],
    ),
    "single_to_multi": Case(
        DAILY,
        {"2024-01-02|eu": ["2024-01-02"]},
        MULTI,
        kind("MultiToSingleDimensionPartitionMapping", partition_dimension_name="date"),
        untouched=["2024-01-02|us"],
        stored=["2024-01-03"],
    ),
    "multi_to_multi": Case(
        MULTI,
        {"2024-01-03|a": ["2024-01-02|eu", "2024-01-02|us"]},
        kind("MultiPartitionsDefinition", partitions_defs={"letter": LETTERS, "date": DAILY}),
        kind(
            "MultiPartitionMapping",
            downstream_mappings_by_upstream_dimension={
                "date": kind(
                    "DimensionPartitionMapping",
                    dimension_name="date",
                    partition_mapping=kind(
                        "TimeWindowPartitionMapping", start_offset=-1, end_offset=-1
                    ),
                ),
                "region": kind(
                    "DimensionPartitionMapping", dimension_name="letter", partition_mapping=ALL
                ),
            },
        ),
        untouched=["2024-01-03|b"],
        stored=["2024-01-03|eu"],
    ),
}


def make_matrix(path: Path) -> Project:
    """Write a project with a configuration environment for each case."""
    files = {f"src/{PACKAGE}/kinds.py": KINDS}
    for name, case in CASES.items():
        pipeline: dict[str, Any] = {"pipeline": {"pipeline_name": "__default__"}}
        jobs = {"per_run": {**pipeline, "partitions": "per_run"}}
        if case.fans_out:
            jobs["fan_out"] = {**pipeline, "partitions": "fan_out"}
        files[f"conf/{name}/catalog.yml"] = yaml.safe_dump(case.catalog())
        files[f"conf/{name}/dagster.yml"] = yaml.safe_dump({"jobs": jobs})
    return make_project(path, package=PACKAGE, pipelines=PIPELINES, files=files)
