"""The tags of a Dagster run by which its processes know of each other."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from kedro.io.core import generate_timestamp

from .launched import is_file_name

# The tags of a Dagster run
PARENT_RUN_ID_TAG = "dagster/parent_run_id"  # Dagster's own, of a run that executes one again
RUN_ID_TAG = "kedro/run_id"  # the identity of its Kedro run, and the version of all it saves
HOOKS_TAG = "kedro/pipeline_hooks"  # how far its hooks have come, and its id: tags are inherited
MEMORY_TAG = "kedro/transient_in_memory"  # whether its transient datasets ended with its process
STATE_TAG = "kedro/run_state"  # its id, where its processes find more of its state stored


def new_identity(instance: dg.DagsterInstance, dagster_run_id: str, single_process: bool) -> str:
    """Give a Dagster run an identity as a Kedro run, and write it on the run."""
    tags = {HOOKS_TAG: f"opening {dagster_run_id}", MEMORY_TAG: str(single_process).lower()}
    while True:
        run_id = str(generate_timestamp())
        instance.add_run_tags(dagster_run_id, {RUN_ID_TAG: run_id, **tags})
        # Kedro's identities are milliseconds. Whoever sees a twin tries again, and of two that
        # have written the same one, the later one to look sees the other
        found = instance.get_run_records(dg.RunsFilter(tags={RUN_ID_TAG: run_id}))
        if all(record.dagster_run.run_id == dagster_run_id for record in found):
            return run_id


def tags_of(instance: dg.DagsterInstance, dagster_run_id: str) -> Mapping[str, str]:
    """Read the tags of a Dagster run, which other processes may have written since it began."""
    dagster_run = instance.get_run_by_id(dagster_run_id)
    return dagster_run.tags if dagster_run else {}


def identity_of(tags: Mapping[str, str], dagster_run_id: str) -> str | None:
    """Find the identity that a Dagster run has been given, in whatever process."""
    owned = tags.get(HOOKS_TAG, "").endswith(dagster_run_id)
    run_id = tags.get(RUN_ID_TAG, "")
    # It is a version, and so part of paths. Who launches a run may write tags
    return run_id if owned and is_file_name(run_id) else None


def lost_with(instance: dg.DagsterInstance, dagster_run_id: str) -> bool:
    """Whether the transient datasets of an earlier Dagster run were only in its memory."""
    return tags_of(instance, dagster_run_id).get(MEMORY_TAG) == "true"


def open_hooks(instance: dg.DagsterInstance, dagster_run_id: str, tags: Mapping[str, str]) -> None:
    """Write on a Dagster run, with other tags, that ``before_pipeline_run`` has been called."""
    instance.add_run_tags(dagster_run_id, {HOOKS_TAG: f"open {dagster_run_id}", **tags})


def close_hooks(instance: dg.DagsterInstance, dagster_run_id: str) -> None:
    """Write on a Dagster run that no other process is to call the last of its pipeline hooks."""
    instance.add_run_tags(dagster_run_id, {HOOKS_TAG: f"closed {dagster_run_id}"})


def state_of_hooks(tags: Mapping[str, str], dagster_run_id: str) -> str:
    """How far the pipeline hooks of a Dagster run have come: ``opening``, ``open``, ``closed``."""
    state, _, owner = tags.get(HOOKS_TAG, "").partition(" ")
    return state if owner == dagster_run_id else ""
