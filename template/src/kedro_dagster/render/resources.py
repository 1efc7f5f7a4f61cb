"""The resources of the code location: the Kedro run of a process, and its IO managers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import dagster as dg
from kedro.io.core import generate_timestamp

from ..plan.model import ProjectPlan
from ..plan.names import IO_MANAGER, KEDRO
from ..run.hooks import open_alone
from ..run.identity import identity_of, tags_of
from ..run.io_managers import KedroIOManager, TransientIOManager
from ..run.kedro_run import KedroRun, reuse_run, run_in_this_process
from ..run.selection import RunOptions
from ..run.shared_storage import SharedStorage, load_state


class KedroResource(dg.ResourceDefinition):
    """Gives each process of a run its :class:`KedroRun`; its config is that of ``kedro run``."""

    def __init__(self, plan: ProjectPlan) -> None:
        self.plan = plan
        super().__init__(
            self._open_run,
            config_schema=RunOptions.to_fields_dict(),
            description="The Kedro run: session, context, hooks and catalog.",
        )

    def _open_run(self, context: dg.InitResourceContext) -> Iterator[KedroRun]:
        plan, options = self.plan, RunOptions.of_resource(context.resource_config)
        if context.run is None:  # outside of runs, such as defs.load_asset_value
            yield KedroRun(plan, str(generate_timestamp()), options, ["__default__"])
            return
        run_id, instance = context.run.run_id, context.instance
        assert instance is not None, "a run has an instance"
        if shared_run := run_in_this_process(run_id):
            yield shared_run
            return
        tags = context.run.tags  # as the run worker has handed them to this process, if it has
        if not identity_of(tags, run_id):
            tags = tags_of(instance, run_id)
        if identity := identity_of(tags, run_id):
            names = plan.pipeline_names(context.run.job_name)
            storage = SharedStorage(context.all_resource_defs, instance, context.run)
            state = partial(load_state, storage, tags)
            with reuse_run(
                run_id,
                lambda: KedroRun(plan, identity, options, names, tags=tags, load_state=state),
            ) as run:
                yield run
        else:
            log = context.log
            assert log is not None, "a run has a log"
            yield from open_alone(plan, instance, context.run, log, options)


def kedro_io_manager(asset_keys: Mapping[str, dg.AssetKey]) -> dg.IOManagerDefinition:
    """Make the IO manager of all assets that are Kedro datasets."""
    names = {key: name for name, key in asset_keys.items()}
    return dg.IOManagerDefinition(
        lambda context: KedroIOManager(context.resources.kedro, names),
        required_resource_keys={KEDRO, IO_MANAGER},  # the latter has the state of the run
        description="Loads and saves through the Kedro catalog.",
    )


def transient_io_manager() -> dg.IOManagerDefinition:
    """Make the IO manager of the outputs that stand in no persisted dataset."""
    return dg.IOManagerDefinition(
        lambda context: TransientIOManager(context.resources.kedro),
        required_resource_keys={KEDRO},
        description="Passes transient datasets: in memory, or by the resource 'io_manager'.",
    )
