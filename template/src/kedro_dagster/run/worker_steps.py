"""What a worker does: it runs the steps that the run worker sends it, in one Kedro session."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg

from ..doors import kedro as kedro_door
from ..doors.dagster_workers import StepExecutor, send_events
from . import timeouts
from .event_log import in_batches
from .kedro_run import KedroRun, continue_run, kept_run
from .workers import Note


@dataclass(frozen=True)
class StepRunner:
    """Runs the steps of a Dagster run in a worker."""

    run: KedroRun | None  # a fresh worker opens its own
    instance: Any  # Dagster's, as other processes open it
    execute: StepExecutor

    def __call__(self, connection: Connection) -> None:
        """Run each step that comes through the connection, until it is closed."""
        timeouts.tell = lambda step: connection.send(Note("limit", step, None))
        if self.run:
            continue_run(self.execute.run.run_id, self.run)
        # Its own instance, and so connections of its own to the database
        with dg.DagsterInstance.from_ref(self.instance) as instance, in_batches(instance):
            logs: Any = instance.compute_log_manager
            if hasattr(logs, "leave_terminal"):  # which is ours, see compute_logs
                logs.leave_terminal()
            while True:
                try:
                    step_key, known_state = connection.recv()
                except EOFError:
                    return
                send_events(connection.send, self._events(instance, step_key, known_state))

    def _events(self, instance: dg.DagsterInstance, key: str, known_state: Any) -> Iterator[Any]:
        before = self._datasets()
        with kedro_door.datasets_built() as built:
            for event in self.execute(instance, key, known_state):
                run = kept_run(self.execute.run.run_id)
                if event.is_step_failure and run:
                    with suppress(Exception):  # whatever an exception of the user's holds
                        yield Note("error", key, pickle.dumps(run.errors.get(key)))
                yield event
        same = {id(dataset) for dataset in (*before.values(), *built)}
        for name, dataset in self._datasets().items() if before else ():
            if id(dataset) not in same:
                yield Note("catalog changed", key, name)

    def _datasets(self) -> dict[str, Any]:
        run = kept_run(self.execute.run.run_id)
        found = kedro_door.datasets_in(run.catalog) if run else {}
        return {name: dataset for name, (dataset, _) in found.items()}
