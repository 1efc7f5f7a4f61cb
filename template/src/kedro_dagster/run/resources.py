"""The resources of the code location: the Kedro run of a process, and its IO managers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg
from kedro.io.core import generate_timestamp

from ..doors.dagster import resource_of_step
from ..errors import TransientDataError
from ..plan.model import ProjectPlan
from ..plan.names import IO_MANAGER, KEDRO, KEDRO_IO_MANAGER, TRANSIENT_IO_MANAGER
from ..read.credentials import redacted_errors
from ..read.partition_entry import typed_keys
from ..read.partition_keys import PartitionScope
from .dask import is_not_made
from .hooks import open_alone
from .identity import identity_of, lost_with, tags_of
from .kedro_run import KedroRun, reuse_run, run_in_this_process
from .partitions import in_scope
from .selection import RunOptions
from .shared_storage import load_state
from .transient import Transient


def make_resources(
    plan: ProjectPlan, asset_keys: Mapping[str, dg.AssetKey]
) -> dict[str, dg.ResourceDefinition]:
    """Make all resources; an ``io_manager``, which they use, is the user's or Dagster's own."""
    names = {key: name for name, key in asset_keys.items()}
    return {
        KEDRO: RunResource(plan, asset_keys),
        KEDRO_IO_MANAGER: dg.IOManagerDefinition(
            lambda context: KedroIOManager(context.resources.kedro, names),
            required_resource_keys={KEDRO},
            description="Loads and saves through the Kedro catalog.",
        ),
        TRANSIENT_IO_MANAGER: dg.IOManagerDefinition(
            lambda context: TransientIOManager(context.resources.kedro),
            required_resource_keys={KEDRO},
            description="Passes transient datasets: in memory, or by the resource 'io_manager'.",
        ),
    }


class RunResource(dg.ResourceDefinition):
    """Gives a process of a run its :class:`KedroRun`, and others the plan and its asset keys."""

    def __init__(self, plan: ProjectPlan, asset_keys: Mapping[str, dg.AssetKey]) -> None:
        self.plan, self.asset_keys = plan, asset_keys
        super().__init__(
            lambda context: _open_run(plan, context),
            config_schema=RunOptions.to_fields_dict(),
            description="The Kedro run: session, context, hooks and catalog.",
        )


def _open_run(plan: ProjectPlan, context: dg.InitResourceContext) -> Iterator[KedroRun]:
    """Give a process of a run its :class:`KedroRun`."""
    options = RunOptions.of_resource(context.resource_config)
    outside = KedroRun(plan, str(generate_timestamp()), options, ["__default__"])
    if context.run is None:  # such as in defs.load_asset_value
        yield outside
        return
    run_id, instance, log = context.run.run_id, context.instance, context.log
    assert instance is not None, "a run has one"
    assert log is not None, "a run has one"
    if shared_run := run_in_this_process(run_id):
        yield shared_run
        return
    tags = context.run.tags  # as the run worker has handed them to this process, if it has
    if not identity_of(tags, run_id):
        tags = tags_of(instance, run_id)
    identity = identity_of(tags, run_id)
    if identity is None:
        dagster_run = instance.get_run_by_id(run_id)
        if dagster_run and dagster_run.is_finished:  # it was cancelled before it began
            yield outside
            return
        yield from open_alone(plan, instance, context.run, log, options)
        return
    job = plan.jobs.get(context.run.job_name)
    names = job.options.names if job else ["__default__"]
    state = partial(load_state, instance, context.run, tags)
    with reuse_run(
        run_id, lambda: KedroRun(plan, identity, options, names, tags=tags, load_state=state)
    ) as run:
        yield run


class KedroIOManager(dg.IOManager):
    """Loads and saves through the Kedro catalog, for Dagster-native assets beside Kedro's."""

    def __init__(self, run: KedroRun, names: Mapping[dg.AssetKey, str]) -> None:
        self._run = run
        self._names = names

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the dataset that an asset is; of a partitioned one, the partitions asked for."""
        with redacted_errors(), self._in_scope(context) as name:
            return self._run.catalog.load(name)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Save the dataset that an asset is; of a partitioned one, the partitions of the run."""
        with redacted_errors(), self._in_scope(context) as name:
            self._run.catalog.save(name, obj)

    @contextmanager
    def _in_scope(self, context: dg.InputContext | dg.OutputContext) -> Iterator[str]:
        """The catalog name of an asset, for as long as just its partitions are in scope."""
        if self._run.load_state:
            self._run.job_resources = context.step_context.job_def.resource_defs
        key = context.asset_key
        dataset = self._run.plan.datasets.get(self._names.get(key, ""))
        # The asset of an entry that no job uses is called as the entry is
        if dataset is None or not dataset.variants:
            prefix = self._run.plan.key_prefix
            is_prefixed = tuple(key.path[: len(prefix)]) == prefix
            yield ".".join(key.path[len(prefix) :] if is_prefixed else key.path)
        elif dataset.partitioning is None or not context.has_asset_partitions:
            yield dataset.variants[0]
        else:
            keys = typed_keys(dataset.partitioning.definition, context.asset_partition_keys)
            scope, variant = PartitionScope(keys), dataset.variants[0]
            with in_scope(self._run, variant, scope, f"asset {key.to_user_string()}"):
                yield variant


class TransientIOManager(dg.IOManager):
    """Passes values between steps: in memory in one process, else by the ``io_manager`` resource.

    That resource is asked of the step, which requires it: Dagster gives every job one, but does
    not know it where sensors are evaluated, and would refuse a resource that depends on it.
    """

    def __init__(self, run: KedroRun) -> None:
        self._run = run

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a value, unless the steps that want it are in this process."""
        if obj is Transient.IN_CATALOG:
            return
        try:
            resource_of_step(context.step_context, IO_MANAGER).handle_output(context, obj)
        except Exception as error:
            raise TransientDataError(
                f"Dataset {self._run.plan.by_identifier[context.name].name!r}, written by step "
                f"{context.step_key!r}, is in no catalog entry that is saved, and its value "
                f"({type(obj).__name__}) cannot be stored for another process: {error}. Run the "
                "nodes in one step with 'group_by: memory' on the job, or in one process with an "
                "in_process executor, or give the dataset a catalog entry."
            ) from error

    def load_input(self, context: dg.InputContext) -> Any:
        """Find a value, or say where it is."""
        upstream = context.upstream_output
        assert upstream is not None
        name = self._run.plan.by_identifier[upstream.name].name
        if name in self._run.in_memory:
            return Transient.IN_CATALOG
        if lost_with(context.instance, upstream.run_id):
            return Transient.LOST
        if is_not_made(self._run.plan, context.instance, context.step_context.job_def, upstream):
            return Transient.SKIPPED
        return resource_of_step(context.step_context, IO_MANAGER).load_input(context)
