"""A project whose nodes fan out in every way there is, and whose hooks keep a trace."""

from __future__ import annotations

from pathlib import Path

from projects import Project, make_project

PACKAGE = "fan"
PIPELINES = """\
from kedro.pipeline import Pipeline, node

from fan import nodes


def register_pipelines():
    main = Pipeline([
        node(nodes.seed, None, "salt", name="seed"),
        node(nodes.clean, ["raw", "salt", "params:factor"], "clean", name="clean"),
        node(nodes.convert, "clean", "converted", name="convert"),
        node(nodes.join, "converted", "joined", name="join"),
        node(nodes.pair, ["converted", "clean"], "pairs", name="pair"),
        node(nodes.spread, "joined", "spread", name="spread"),
        node(nodes.stream, "spread", "streamed", name="stream"),
        node(nodes.summarise, ["converted", "clean"], "summary", name="summarise"),
        node(nodes.notify, "joined", "notified", name="notify"),
        node(nodes.check, "streamed", None, name="check"),
        node(nodes.finish, ["notified", "summary"], "last", name="finish"),
        node(nodes.per_letter, ["notified", "joined"], "letters", name="per_letter"),
    ])
    chain = ("seed", "clean", "convert", "join", "summarise", "notify", "finish")
    return {"__default__": main, "chain": main.only_nodes(*chain)}
"""
NODES = """\
from kedro_dagster.datasets import partition_ids

LETTERS = {"10": "x", "20": "x", "30": "y"}
COLLIDING = ("p-q", "p_q", "p.q")


def seed():
    return "salt"


def clean(raw, salt, factor):
    return {key: [load() * factor, salt] for key, load in raw.items()}


def convert(clean):
    return {f"{key}0": (lambda load=load: [*load(), "converted"]) for key, load in clean.items()}


def join(converted):
    joined = {}
    for key, load in converted.items():
        joined.setdefault(LETTERS[key], {})[key] = load()
    return joined


def pair(converted, clean):
    return {key: [load(), clean[key[0]]()] for key, load in converted.items()}


def spread(joined):
    value = {key: load() for key, load in joined.items()}
    return dict.fromkeys(partition_ids("spread") or COLLIDING, value)


def stream(spread):
    for key, load in spread.items():
        yield {key: len(load())}


def summarise(converted, clean):
    return {**{key: load() for key, load in converted.items()}, "keys": list(clean)}


def notify(joined):
    assert joined


def check(streamed):
    assert all(load() == 2 for load in streamed.values())


def finish(notified, summary):
    assert notified is None
    return len(summary)


def per_letter(notified, joined):
    assert notified is None
    return {key: sorted(load()) for key, load in joined.items()}
"""
HOOKS = """\
import json
import os
from pathlib import Path

from kedro.framework.hooks import hook_impl


def write(hook, *values):
    line = json.dumps([hook, *values]) + "\\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(Path(__file__).parents[2] / "trace.jsonl", flags)
    os.write(file, line.encode())
    os.close(file)


class ProjectHooks:
    @hook_impl
    def before_pipeline_run(self):
        write("before_pipeline_run")

    @hook_impl
    def after_pipeline_run(self, run_result):
        write("after_pipeline_run", sorted(run_result))

    @hook_impl
    def on_pipeline_error(self, error):
        write("on_pipeline_error", str(error))

    @hook_impl
    def before_node_run(self, node, inputs):
        for name, value in inputs.items():
            for key in value if isinstance(value, dict) else [None]:
                write("before_node_run", node.name, name, key)

    @hook_impl
    def after_dataset_saved(self, dataset_name, data, node):
        for key in data if isinstance(data, dict) else [None]:
            write("after_dataset_saved", node.name, dataset_name, key)
"""
CATALOG = """\
_static: &static
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  filename_suffix: .json
  dataset: {type: json.JSONDataset}
_numbers: &numbers
  type: dagster.StaticPartitionsDefinition
  partition_keys: [1, 2, 3]
_tens: &tens
  type: dagster.StaticPartitionsDefinition
  partition_keys: [10, 20, 30]
_letters: &letters
  type: dagster.StaticPartitionsDefinition
  partition_keys: [x, y]
_colliding: &colliding
  type: dagster.StaticPartitionsDefinition
  partition_keys: [p-q, p_q, p.q]
_to_tens: &to_tens
  type: dagster.StaticPartitionMapping
  downstream_partition_keys_by_upstream_partition_key: {1: 10, 2: 20, 3: 30}
raw: {<<: *static, path: data/raw, partition: *numbers}
clean:
  <<: *static
  path: data/clean
  partition: *numbers
  partition_mappings: {converted: *to_tens, pairs: *to_tens}
converted:
  <<: *static
  path: data/converted
  partition: *tens
  partition_mappings:
    joined:
      type: dagster.StaticPartitionMapping
      downstream_partition_keys_by_upstream_partition_key: {10: x, 20: x, 30: y}
joined:
  <<: *static
  path: data/joined
  partition: *letters
  partition_mappings: {"spr{any}": {type: dagster.AllPartitionMapping}}
pairs: {<<: *static, path: data/pairs, partition: *tens}
spread: {<<: *static, path: data/spread, partition: *colliding}
streamed: {<<: *static, path: data/streamed, partition: *colliding}
letters: {<<: *static, path: data/letters, partition: *letters}
summary: {type: json.JSONDataset, filepath: data/summary.json}
last: {type: json.JSONDataset, filepath: data/last.json}
notified:
  type: kedro_dagster.datasets.DagsterNothingDataset
  metadata: {description: All letters are known}
"""
DAGSTER = """\
executors:
  in_two_processes: {multiprocess: {max_concurrent: 2}}
jobs:
  fan_out: {pipeline: {pipeline_name: __default__}}
  grouped: {pipeline: {pipeline_name: chain}, group_by: memory}
  parallel: {pipeline: {pipeline_name: chain}, executor: in_two_processes}
"""


def make_fan(path: Path) -> Project:
    """Write the project."""
    return make_project(
        path,
        package=PACKAGE,
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        catalog=CATALOG,
        parameters={"factor": 2},
        dagster=DAGSTER,
        files={f"data/raw/{key}.json": str(key) for key in (1, 2, 3)},
    )
