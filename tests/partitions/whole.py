"""A project as Kedro users write it: nodes take and return all partitions at once.

Under ``raw`` a declared key has no file; what ``late`` makes depends on that key alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from partitions.fan import HOOKS
from projects import Project, make_project

PACKAGE = "whole"
PIPELINES = """\
from kedro.pipeline import Pipeline, node

from whole import nodes


def register_pipelines():
    main = Pipeline([
        node(nodes.seed, None, "salt", name="seed"),
        node(nodes.split, "salt", ["parts", "report"], name="split"),
        node(nodes.scatter, None, "scattered", name="scatter", tags="at_once"),
        node(nodes.clean, ["parts", "scattered"], "clean", name="clean"),
        node(nodes.double, "clean", "doubled", name="double"),
        node(nodes.gather, ["doubled", "report"], "total", name="gather"),
        node(nodes.notify, "clean", "notified", name="notify"),
        node(nodes.copy, "raw", "copied", name="copy"),
        node(nodes.count, ["copied", "notified"], "counted", name="count"),
        node(nodes.check, "copied", None, name="check"),
    ])
    late = Pipeline([
        node(nodes.copy, "raw", "copied", name="copy"),
        node(nodes.notify, "copied", "told", name="tell"),
        node(nodes.label, "copied", "late", name="label"),
        node(nodes.count, ["late", "told"], "late_total", name="count_late"),
        node(nodes.count, ["copied", "told"], "counted", name="count"),
        node(nodes.hand_over, "late", "lateness", name="hand_over"),
        node(nodes.finish, "lateness", "last", name="finish"),
        node(nodes.stream, "copied", "streamed", name="stream"),
    ])
    tail = Pipeline([
        node(nodes.latest, "copied", "newest", name="newest"),
        node(nodes.latest, "copied", "chosen", name="chosen"),
        node(nodes.latest, "copied", "every", name="every"),
    ])
    several = Pipeline([
        node(nodes.copy, "raw", "found", name="find"),
        node(nodes.lay_out, "found", "grid", name="lay_out"),
        node(nodes.drop_one, "grid", "rest", name="drop_one"),
    ])
    copy = late.only_nodes("copy")
    return {"several": several, "__default__": main, "late": late, "tail": tail, "copy": copy}
"""
NODES = """\
def seed():
    return "salt"


def split(salt):
    return {key: f"{salt} {key}" for key in "ABC"}, {"parts": 3}


def scatter():
    return {key: lambda key=key: [key] for key in "ABC"}


def clean(parts, scattered):
    return {key: [load(), *scattered[key]()] for key, load in parts.items()}


def double(clean):
    return {f"{key}{copy}": load() for key, load in clean.items() for copy in (1, 2)}


def gather(doubled, report):
    return {**report, **{key: load() for key, load in doubled.items()}}


def notify(data):
    assert data


def copy(given):
    return {key: load() for key, load in given.items()}


def count(given, nothing):
    assert nothing is None
    return sorted(given)


def check(copied):
    assert all(load() for load in copied.values())


def label(copied):
    return {"z": load() for load in copied.values()}


def hand_over(late):
    return set(late)


def finish(lateness):
    return len(lateness)


def stream(copied):
    for key, load in copied.items():
        yield {key: load()}


def lay_out(found):
    return {f"{region}/{letter}": load() for letter, load in found.items() for region in "xyz"}


def drop_one(grid):
    return {key: load() for key, load in grid.items() if key != "x/A"}


def latest(copied):
    return sorted(copied)
"""
CATALOG = """\
_parts: &parts
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  filename_suffix: .json
  dataset: {type: json.JSONDataset}
  partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [A, B, C]}
parts: {<<: *parts, path: data/parts}
scattered: {<<: *parts, path: data/scattered, overwrite: true}
clean:
  <<: *parts
  path: data/clean
  missing: skip
  partition_mappings:
    doubled:
      type: dagster.StaticPartitionMapping
      downstream_partition_keys_by_upstream_partition_key: {A: [A1, A2], B: [B1, B2], C: [C1, C2]}
doubled:
  <<: *parts
  path: data/doubled
  partition:
    type: dagster.StaticPartitionsDefinition
    partition_keys: [A1, A2, B1, B2, C1, C2]
raw: {<<: *parts, path: data/raw, missing: skip}
copied:
  <<: *parts
  path: data/copied
  partition_mappings:
    late:
      type: dagster.StaticPartitionMapping
      downstream_partition_keys_by_upstream_partition_key: {C: z}
    newest: {type: dagster.LastPartitionMapping}
    chosen: {type: dagster.SpecificPartitionsPartitionMapping, partition_keys: [A]}
    every: {type: dagster.AllPartitionMapping}
late:
  <<: *parts
  path: data/late
  partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [z]}
streamed: {<<: *parts, path: data/streamed}
found:
  <<: *parts
  path: data/found
  partition: {type: dagster.DynamicPartitionsDefinition, name: letters}
grid: &grid
  <<: *parts
  path: data/grid
  layout: "{region}/{letter}"
  partition:
    type: dagster.MultiPartitionsDefinition
    partitions_defs:
      region: {type: dagster.StaticPartitionsDefinition, partition_keys: [x, y]}
      letter: {type: dagster.StaticPartitionsDefinition, partition_keys: [A, B]}
rest: {<<: *grid, path: data/rest}
report: {type: json.JSONDataset, filepath: data/report.json}
total: {type: json.JSONDataset, filepath: data/total.json}
counted: {type: json.JSONDataset, filepath: data/counted.json}
late_total: {type: json.JSONDataset, filepath: data/late_total.json}
last: {type: json.JSONDataset, filepath: data/last.json}
newest: {type: json.JSONDataset, filepath: data/newest.json}
chosen: {type: json.JSONDataset, filepath: data/chosen.json}
every: {type: json.JSONDataset, filepath: data/every.json}
notified: {type: kedro_dagster.datasets.DagsterNothingDataset}
told: {type: kedro_dagster.datasets.DagsterNothingDataset}
"""
DAGSTER = """\
executors:
  in_two_processes: {multiprocess: {max_concurrent: 2}}
nodes:
  split: {partitions: all}
  tag:at_once: {partitions: all}
  doub*: {partitions: all}
  drop_one: {partitions: all}
jobs:
  all: {pipeline: {}, partitions: all, executor: in_process}
  all_parallel: {pipeline: {}, partitions: all, executor: in_two_processes}
  threads: {pipeline: {}, partitions: all, group_by: pipeline, runner: ThreadRunner}
  fan: {pipeline: {}, executor: in_process}
  fan_parallel: {pipeline: {}, executor: in_two_processes}
  grouped: {pipeline: {}, group_by: memory}
  per_run: {pipeline: {}, partitions: per_run}
  late: {pipeline: {pipeline_name: late}, executor: in_process}
  late_parallel: {pipeline: {pipeline_name: late}, executor: in_two_processes}
  late_per_run: {pipeline: {pipeline_name: copy}, partitions: per_run}
  several: {pipeline: {pipeline_name: several}, partitions: all}
  tail: {pipeline: {pipeline_name: tail}}
"""


def make_whole(path: Path) -> Project:
    """Write the project."""
    return make_project(
        path,
        package=PACKAGE,
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        catalog=CATALOG,
        dagster=DAGSTER,
        files={
            "conf/effects/dagster.yml": "assets: {side_effects: true}\n",
            "data/raw/A.json": '"a"',
            "data/raw/B.json": '"b"',
            "data/scattered/old.json": '"from before"',  # which overwrite takes away
        },
    )


def trace(project: Project) -> list[tuple[Any, ...]]:
    """What hooks have seen; of a dict of partitions, each key by itself."""
    lines = (project.path / "trace.jsonl").read_text(encoding="utf-8").splitlines()
    return [tuple(map(str, json.loads(line))) for line in lines]


def outputs(project: Project) -> dict[str, Any]:
    """The content of each file that is made."""
    files = (project.path / "data").rglob("*.json")
    return {f"{one.parent.name}/{one.stem}": json.loads(one.read_text()) for one in files}


SKIPPED = {"tell__C", "label__z", "stream__C", "count_late", "hand_over", "finish"}
"""The steps that depend on 'copy__C' alone, or on those that do."""
MADE: dict[str, Any] = {"copied/A": "a", "copied/B": "b", "streamed/A": "a", "streamed/B": "b"}
MADE |= {"data/counted": ["A", "B"], "raw/A": "a", "raw/B": "b"}
SAVED = {
    ("after_dataset_saved", "copy", "copied", "A"),
    ("after_dataset_saved", "copy", "copied", "B"),
    ("after_dataset_saved", "stream", "streamed", "A"),
    ("after_dataset_saved", "stream", "streamed", "B"),
    ("after_dataset_saved", "tell", "told", "None"),
    ("after_dataset_saved", "count", "counted", "None"),
}


def check_late(project: Project) -> None:
    """Check what the job 'late' has made, and what hooks have seen of it."""
    assert {name: one for name, one in outputs(project).items() if name != "scattered/old"} == MADE
    calls = trace(project)
    assert {call for call in calls if call[0] == "after_dataset_saved"} == SAVED
    assert [call[0] for call in calls if "pipeline" in call[0]] == [
        "before_pipeline_run",
        "after_pipeline_run",
    ]
