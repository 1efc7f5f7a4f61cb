"""IO managers: of assets, through the Kedro catalog, and of values between steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from ..doors.dagster import resource_of_step
from ..errors import TransientDataError
from ..plan.names import IO_MANAGER
from ..read.credentials import redacted_errors
from ..read.partition_entry import typed_keys
from ..read.partition_keys import PartitionScope
from .identity import lost_with
from .kedro_run import KedroRun
from .nodes import in_scope
from .transient import Transient


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
        """The catalog name of an asset, for as long as just its partitions are in scope.

        The asset of a catalog entry that no job uses is called as the entry is.
        """
        name = self._names.get(context.asset_key)
        if name is None:
            yield ".".join(context.asset_key.path)
            return
        dataset = self._run.plan.datasets[name]
        variant, partitioning = dataset.variants[0], dataset.partitioning
        if partitioning is None or not context.has_asset_partitions:
            yield variant
            return
        scope = PartitionScope(typed_keys(partitioning.definition, context.asset_partition_keys))
        with in_scope(self._run, variant, scope, f"asset {context.asset_key.to_user_string()}"):
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
            _between_processes(context).handle_output(context, obj)
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
        return _between_processes(context).load_input(context)


def _between_processes(context: dg.InputContext | dg.OutputContext) -> dg.IOManager:
    manager: dg.IOManager = resource_of_step(context.step_context, IO_MANAGER)
    return manager
