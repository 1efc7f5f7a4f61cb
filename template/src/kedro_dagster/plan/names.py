"""Names in Dagster: of datasets, steps and ops, and of the resources.

A name depends on what the thing is, never on what else there is: run config and history refer to
it. So a name that another thing might have too always carries a digest of what it is. The
exceptions are two nodes of one name, two without a name that have one function, and side effects
of nodes that are called as a dataset is: else all would carry a digest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from kedro.pipeline.node import Node

from ..doors.kedro import strip_transcoding
from ..read.values import is_dagster_name
from ..utils import (
    INVALID_CHARACTER,
    digest,
    format_dataset_name,
    format_node_name,
    unformat_asset_name,
)

ONE_RUN_TAG = "kedro/one_run_of"
"""The tag of runs of which Dagster's queue is to start one at a time, with the job's name."""

FAILURE_SENSOR = "kedro_on_pipeline_error"
"""The sensor that calls hooks for runs whose worker was killed."""

_NAMED_BY_KEDRO = re.compile(r"(.+)(__[0-9a-f]{8})")

_PLAIN_KEY = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")


def with_digest(name: str, *what: str) -> str:
    """Write a name as Dagster allows it, with a digest of what has the name."""
    return f"{INVALID_CHARACTER.sub('_', name)}_{digest('/'.join(what))[:8]}"


def identifier(name: str) -> str:
    """Write the name of a dataset, a node or a namespace as one word, which no other one has."""
    word = format_dataset_name(name)
    if unformat_asset_name(word) == name and is_dagster_name(word):
        return word
    return with_digest(word, name)


def check_identifier(dataset: str) -> str:
    """The output of an op that stands for the check of a dataset; no dataset has this name."""
    return identifier(f"{dataset}@check")


def node_identifier(name: str) -> str:
    """Write the name of a node as one word; that of a node without a name ends in ``__<hash>``."""
    if (word := format_node_name(name)).endswith(digest(name)):
        return word
    stem, suffix = found.groups() if (found := _NAMED_BY_KEDRO.fullmatch(name)) else (name, "")
    return identifier(stem) + suffix


def node_labels(nodes: Iterable[Node]) -> dict[str, str]:
    """What a person would call the nodes that have no name: as their function, by Kedro's name.

    Kedro's hash stays behind those that another node's name is too.
    """
    found = {node.name: node for node in nodes}
    hashes = {name: match[2] for name in found if (match := _NAMED_BY_KEDRO.fullmatch(name))}
    stems = {name: _function_name(found[name], name.removesuffix(hashes[name])) for name in hashes}
    counts = Counter(node_identifier(stems.get(name, name)) for name in found)
    return {
        name: stem if counts[node_identifier(stem)] == 1 else stem + hashes[name]
        for name, stem in stems.items()
    }


def _function_name(node: Node, name: str) -> str:
    """The name of a node's function, with its namespace; a lambda is told by what it makes."""
    prefix = f"{node.namespace}." if node.namespace else ""
    function = re.sub(r"^partial\((.+)\)$", r"\1", name.removeprefix(prefix))
    if function == "<lambda>":
        data = next(iter((*node.outputs, *node.inputs)), "")
        word = strip_transcoding(data).removeprefix(prefix).removeprefix("params:")
        function = INVALID_CHARACTER.sub("_", f"lambda_{word}")
    return prefix + function


def key_identifier(key: str) -> str:
    """Write a partition key as one word, which no other key has."""
    return key if _PLAIN_KEY.fullmatch(key) else with_digest(key, key)


def op_name(job: str, step: str) -> str:
    """The name of the op of a job's step, which no op of another job and of no asset has."""
    prefix = digest(job) if "__" in f"{job}_" else job  # it must end at the first "__"
    return f"{prefix}__{step}__op"


def schedule_name(job: str) -> str:
    """The name of a job's schedule, by which Dagster knows whether it is switched on.

    So it tells neither what ``dagster.yml`` calls the schedule, nor which other jobs have it.
    """
    return f"{job}_schedule"


def sensor_name(job: str) -> str:
    """The name of the sensor that starts a job after others, whichever these are."""
    return f"{job}_sensor"


KEDRO = "kedro"
KEDRO_IO_MANAGER = "kedro_io_manager"
IO_MANAGER = "io_manager"
TRANSIENT_IO_MANAGER = "kedro_transient_io_manager"
