"""Which steps run when a run is limited to some partition keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import did_you_mean
from .model import JobPlan, Nodes


def steps_for_keys(job: JobPlan, wanted: Any) -> frozenset[str]:
    """The steps that run of a job that fans out, when it is limited to some partition keys."""
    chosen = _chosen_keys(job, wanted)
    keyed = {step.name: step for step in job.steps if step.keys}
    sources = {
        name: {one.name for given in step.inputs for one in job.producers(step, given)}
        for name, step in keyed.items()
    }
    reached = {name for name, step in keyed.items() if step.keys[0] in chosen[step.nodes]}
    others = {name for name, step in keyed.items() if not chosen[step.nodes]}
    for name in keyed:  # what is made from the chosen partitions
        if name in others and reached & sources[name]:
            reached.add(name)
    for name in reversed(keyed):  # and what these are made from
        if name in reached:
            reached |= others & sources[name]
    return frozenset(reached).union(step.name for step in job.steps if not step.keys)


def _chosen_keys(job: JobPlan, wanted: Any) -> dict[Nodes, set[str]]:
    """By nodes, the partition keys of theirs that are wanted."""
    is_range = isinstance(wanted, Mapping) and wanted.keys() == {"start", "end"}
    if not is_range and not (isinstance(wanted, Sequence) and wanted):
        raise ValueError(
            f"partition_keys: give a list of keys, or {{start: ..., end: ...}}, not {wanted!r}."
        )
    given = (wanted["start"], wanted["end"]) if is_range else wanted
    asked = (given,) if isinstance(given, str) else tuple(map(str, given))
    keys_of: dict[Nodes, list[str]] = defaultdict(list)
    for step in job.steps:
        keys_of[step.nodes].extend(step.keys)
        if not step.keys and step.scopes.keys() & set(step.outputs):
            raise ValueError(
                f"partition_keys: step {step.name!r} of job {job.name!r} runs several nodes for "
                "all partitions at once. Leave out 'group_by'."
            )
    known = {key for keys in keys_of.values() for key in keys}
    if not known:
        raise ValueError(f"partition_keys: no step of job {job.name!r} is for one partition.")
    for key in asked:
        if key not in known:
            raise ValueError(
                f"partition_keys: job {job.name!r} has no partition {key!r}. "
                f"{did_you_mean(key, known)}"
            )
    if not is_range:
        return {nodes: set(asked).intersection(keys) for nodes, keys in keys_of.items()}
    start, end = asked
    chosen = {
        nodes: set(keys[keys.index(start) : keys.index(end) + 1] if {*asked} <= {*keys} else ())
        for nodes, keys in keys_of.items()
    }
    if not any(chosen.values()):
        raise ValueError(
            f"partition_keys: no dataset of job {job.name!r} has partitions from {start!r} to "
            f"{end!r}."
        )
    return chosen
