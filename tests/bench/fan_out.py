"""The project that is measured: two nodes over many partitions, and the same ops by hand."""

from __future__ import annotations

from pathlib import Path

from bench.workload import BY_HAND, JOB, LOGGED, OURS, WITH_KEDRO, WITH_KEDRO_DEFINITIONS
from projects import Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def double(given):
    return {key: 2 * load() for key, load in given.items()}


def register_pipelines():
    one = node(double, "raw", "doubled", name="one")
    two = node(double, "doubled", "made", name="two")
    return {"__default__": Pipeline([one, two])}
"""

DEFINITIONS_BY_HAND = '''\
"""The same ops as one writes them with Dagster alone."""

import os
from pathlib import Path

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    Definitions,
    In,
    MetadataValue,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    StaticPartitionsDefinition,
    graph,
    in_process_executor,
    op,
)
from kedro_datasets.json import JSONDataset

DATA = Path(__file__).parents[2] / "data"
KEYS = [f"key_{{index:04}}" for index in range({size})]
PARTITIONS = StaticPartitionsDefinition(KEYS)


def partition_op(name: str, key: str, source: str, target: str) -> OpDefinition:
    @op(
        name=f"{{name}}__{{key}}",
        ins={{source: In(Nothing)}} if source != "raw" else {{}},
        out={{target: Out(Nothing)}},
    )
    def run(context: OpExecutionContext) -> None:
        log = context.log.info if "{logged}" in os.environ else (lambda *_: None)
        log("Loading data from %s (DagsterPartitionedDataset)...", source)
        value = JSONDataset(filepath=str(DATA / source / f"{{key}}.json")).load()
        file = DATA / target / f"{{key}}.json"
        log("Running node: %s: double([%s]) -> [%s]", name, source, target)
        log("Saving data to %s (DagsterPartitionedDataset)...", target)
        JSONDataset(filepath=str(file)).save(2 * value)
        metadata = {{"path": MetadataValue.path(str(file))}}
        context.log_event(
            AssetMaterialization(AssetKey(target), partition=key, metadata=metadata)
        )

    return run


OPS = {{
    key: (partition_op("one", key, "raw", "doubled"), partition_op("two", key, "doubled", "made"))
    for key in KEYS
}}


@graph(name="{job}")
def fan_out() -> None:
    for one, two in OPS.values():
        two(one())


defs = Definitions(
    assets=[AssetSpec(name, partitions_def=PARTITIONS) for name in ("raw", "doubled", "made")],
    jobs=[fan_out.to_job(executor_def=in_process_executor)],
)
'''


def make_fan_out(path: Path, size: int) -> Project:
    """Write the project with a number of partitions."""
    keys = [f"key_{index:04}" for index in range(size)]
    return make_project(
        path,
        package=OURS,
        pipelines=PIPELINES,
        catalog={
            name: {
                "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
                "path": f"data/{name}",
                "dataset": "json.JSONDataset",
                "filename_suffix": ".json",
                "partition": {"type": "dagster.StaticPartitionsDefinition", "partition_keys": keys},
            }
            for name in ("raw", "doubled", "made")
        },
        dagster={
            "jobs": {
                JOB: {
                    "pipeline": {"pipeline_name": "__default__"},
                    "executor": {"in_process": {}},
                }
            }
        },
        files={
            **{f"data/raw/{key}.json": "1" for key in keys},
            f"src/{BY_HAND}/__init__.py": "",
            f"src/{BY_HAND}/definitions.py": DEFINITIONS_BY_HAND.format(
                job=JOB, size=size, logged=LOGGED
            ),
            f"src/{BY_HAND}/{WITH_KEDRO}.py": WITH_KEDRO_DEFINITIONS,
        },
    )
