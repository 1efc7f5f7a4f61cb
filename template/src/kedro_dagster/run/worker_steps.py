"""What a forked worker does: it runs steps of the Kedro run that it was forked with."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg

from ..doors import kedro as kedro_door
from ..doors.dagster import StepExecutor
from .kedro_run import KedroRun, continue_run
from .workers import Note


@dataclass(frozen=True)
class StepRunner:
    """Runs the steps of a Dagster run in a worker, with what was there when it was forked."""

    run: KedroRun
    dagster_run_id: str
    instance: dg.DagsterInstance
    execute: StepExecutor
    send_all: Callable[[Any, Iterator[Any]], None]

    def __call__(self, connection: Connection) -> None:
        """Run each step that comes through the connection, until it is closed."""
        continue_run(self.dagster_run_id, self.run)
        # Its own instance, and so connections of its own to the database
        with dg.DagsterInstance.from_ref(self.instance.get_ref()) as instance:
            while True:
                try:
                    step_key, known_state = connection.recv()
                except EOFError:
                    return
                events = self._events(instance, step_key, known_state)
                self.send_all(_Sender(connection), events)

    def _events(self, instance: dg.DagsterInstance, key: str, known_state: Any) -> Iterator[Any]:
        before = kedro_door.datasets_in(self.run.catalog)
        for event in self.execute(instance, key, known_state):
            if event.is_step_failure:
                yield from _as_note(key, self.run.errors.get(key))
            yield event
        for name, (dataset, _) in kedro_door.datasets_in(self.run.catalog).items():
            if name not in before or before[name][0] is not dataset:
                yield Note("catalog changed", key, name)


def _as_note(step_key: str, error: BaseException | None) -> Iterator[Note]:
    """An exception itself, where it can be pickled: Dagster's event only describes it."""
    try:
        content = pickle.dumps(error)
    except Exception:  # noqa: BLE001  # whatever an exception of the user's holds
        return
    yield Note("error", step_key, content)


@dataclass(frozen=True)
class _Sender:
    """The end of a connection that Dagster takes for a queue."""

    connection: Connection

    def put(self, message: Any) -> None:
        self.connection.send(message)
