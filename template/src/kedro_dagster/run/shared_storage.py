"""What the processes of a run share by the ``io_manager`` of its job."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from ..doors import kedro as kedro_door
from ..plan.names import IO_MANAGER
from .identity import STATE_TAG
from .kedro_run import KedroRun
from .run_state import Place
from .selection import RunSelection
from .transient import ElsewhereDataset

if TYPE_CHECKING:
    from ..doors.dagster import PlanOrchestrationContext

logger = logging.getLogger(__name__)

_STATE = "kedro_run_state"


@dataclass(frozen=True)
class SharedStorage:
    """The ``io_manager`` of the job of a run, for use outside of its steps."""

    definitions: Mapping[str, dg.ResourceDefinition]
    instance: dg.DagsterInstance
    dagster_run: dg.DagsterRun

    @classmethod
    def of(cls, context: PlanOrchestrationContext) -> SharedStorage:
        """That of the run that this process is the run worker of."""
        definitions = context.job.get_definition().resource_defs
        return cls(definitions, context.instance, context.dagster_run)

    def save(self, step: str, output: str, value: Any) -> None:
        """Store a value as if it were the output of a step."""
        with self._io_manager() as io_manager:
            io_manager.handle_output(self._output(step, output), value)

    def load(self, step: str, output: str) -> Any:
        """Find the output of a step."""
        with self._io_manager() as io_manager:
            context = dg.build_input_context(upstream_output=self._output(step, output))
            return io_manager.load_input(context)

    def _output(self, step: str, output: str) -> dg.OutputContext:
        return dg.build_output_context(step, output, run_id=self.dagster_run.run_id)

    @contextmanager
    def _io_manager(self) -> Iterator[dg.IOManager]:
        keys = _with_required(IO_MANAGER, self.definitions)
        config: Mapping[str, Any] = self.dagster_run.run_config.get("resources") or {}  # type: ignore[assignment]
        with dg.build_resources(
            {key: self.definitions[key] for key in keys},
            self.instance,
            {key: value for key, value in config.items() if key in keys},
            self.dagster_run,
        ) as resources:
            yield resources.io_manager


def _with_required(key: str, definitions: Mapping[str, dg.ResourceDefinition]) -> set[str]:
    """A resource, and those that it requires, and those that these require in turn."""
    needs = definitions[key].get_required_resource_keys(definitions)
    return {key}.union(*(_with_required(one, definitions) for one in needs))


def find_results(
    plan_context: PlanOrchestrationContext, run: KedroRun, selection: RunSelection
) -> None:
    """Let ``run_result`` hold what steps in other processes gave to the ``io_manager``."""
    if run.single_process or selection.job is None:
        return
    storage = SharedStorage.of(plan_context)
    done = plan_context.execution_plan.step_keys_to_execute
    steps = {name: step.name for step in selection.job.steps for name in step.outputs}
    for name in selection.pipeline.outputs():
        dataset = run.plan.datasets[name]
        if not dataset.persisted and steps.get(name) in done:
            load = partial(storage.load, steps[name], dataset.identifier)
            kedro_door.replace_quietly(run.catalog, name, ElsewhereDataset(load))


def send_state(storage: SharedStorage, run: KedroRun, changes: Mapping[Place, Any]) -> None:
    """Store the state of a run for its other processes, and say so on the run.

    A tag names the run only: nothing that stands in a tag is ever unpickled.
    """
    values, lost = run.pack_state(changes)
    if values:
        try:
            storage.save(_STATE, "values", values)
        except Exception as error:  # noqa: BLE001  # an io_manager of the user's may take tables only
            lost.update(dict.fromkeys(values, str(error)))
        else:
            run_id = storage.dagster_run.run_id
            storage.instance.add_run_tags(run_id, {STATE_TAG: run_id})
    if lost:
        logger.warning(
            "Some of the state of this run does not reach steps in other processes: %s. "
            "What a hook sets in after_catalog_created, it sets in each of them.",
            "; ".join(f"{_name_of(place)} ({reason})" for place, reason in lost.items()),
        )


def load_state(
    instance: dg.DagsterInstance,
    dagster_run: dg.DagsterRun,
    tags: Mapping[str, str],
    resources: Mapping[str, dg.ResourceDefinition],
) -> Mapping[Place, bytes]:
    """Find the state that the run worker has stored, by the resources of the run's job."""
    if tags.get(STATE_TAG) != dagster_run.run_id:  # a re-execution inherits tags
        return {}
    storage = SharedStorage(resources, instance, dagster_run)
    values: Mapping[Place, bytes] = storage.load(_STATE, "values")
    return values


def _name_of(place: Place) -> str:
    kind, *path = place
    if kind == "hook":
        return f"attribute {path[-1]!r} of {path[0]}"
    return f"dataset {path[0]!r}" if kind == "dataset" else ".".join(map(str, path))
