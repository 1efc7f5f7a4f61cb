"""A `dagster dev` of a project, and what its user does in the UI, as the UI does it: by GraphQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from projects import Project

T = TypeVar("T")

Tags = Mapping[str, str]

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

START = """
mutation ($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
  }
}"""
RESTART = """
mutation ($parameters: ReexecutionParams!) {
  launchPipelineReexecution(reexecutionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}"""
BACKFILL = """
mutation ($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
SCHEDULE = """
mutation ($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    __typename
    ... on ScheduleStateResult { scheduleState { id } }
    ... on PythonError { message }
  }
}"""
STOP_SCHEDULE = """
mutation ($id: String!) {
  stopRunningSchedule(id: $id) {
    __typename
    ... on ScheduleStateResult { scheduleState { status } }
    ... on PythonError { message }
  }
}"""
TICKS = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 1) { status } } }
  }
}"""
RUN = """
query ($run: ID!) {
  runOrError(runId: $run) {
    ... on Run { status runConfigYaml tags { key value } }
  }
}"""
RUNS = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) {
    ... on Runs { results { runId } }
  }
}"""
LOCATION = """
query {
  workspaceOrError {
    ... on Workspace {
      locationEntries {
        name
        locationOrLoadError {
          __typename
          ... on RepositoryLocation { repositories { name } }
          ... on PythonError { message }
        }
      }
    }
  }
}"""


class GraphQLError(AssertionError):
    """The server refused what it was asked."""


@dataclass(frozen=True)
class Run:
    """A Dagster run as the UI shows it."""

    run_id: str
    status: str
    config: str
    tags: Tags


@dataclass(frozen=True)
class Server:
    """A running `dagster dev`, with its daemon."""

    project: Project
    port: int

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self, job: str, config: Any = None, tags: Tags | None = None) -> str:
        """Launch a job from its launchpad; returns the run's id."""
        return self._launch({"pipelineName": job}, config, tags)

    def materialise(
        self, assets: Sequence[str], config: Any = None, tags: Tags | None = None
    ) -> str:
        """Materialise assets; returns the run's id."""
        keys = [{"path": asset.split(".")} for asset in assets]
        return self._launch({"pipelineName": "__ASSET_JOB", "assetSelection": keys}, config, tags)

    def _launch(self, selector: Mapping[str, Any], config: Any, tags: Tags | None) -> str:
        parameters = {
            "selector": {**self._repository, **selector},
            "runConfigData": config or {},
            "executionMetadata": {"tags": _tags(tags)},
        }
        run: str = self._change(START, parameters=parameters)["run"]["runId"]
        return run

    def backfill(self, assets: Sequence[str], config: Any = None) -> str:
        """Launch a backfill of all partitions of assets; returns its id."""
        parameters = {
            "partitionsByAssets": [{"assetKey": {"path": asset.split(".")}} for asset in assets],
            "runConfigData": config or {},
        }
        backfill: str = self._change(BACKFILL, parameters=parameters)["backfillId"]
        return backfill

    def reexecute(self, run: str, strategy: str = "FROM_FAILURE") -> str:
        """Re-execute a run as the UI's button does; returns the new run's id."""
        parameters = {"parentRunId": run, "strategy": strategy}
        new_run: str = self._change(RESTART, parameters=parameters)["run"]["runId"]
        return new_run

    def terminate(self, run: str) -> None:
        """Cancel a run."""
        self._change(TERMINATE, run=run)

    def start_schedule(self, name: str) -> str:
        """Switch a schedule on; returns the id of its state."""
        selector = {**self._repository, "scheduleName": name}
        state: str = self._change(SCHEDULE, selector=selector)["scheduleState"]["id"]
        return state

    def stop_schedule(self, state: str) -> None:
        """Switch a schedule off, by the id of its state."""
        self._change(STOP_SCHEDULE, id=state)

    def has_ticked(self, sensor: str) -> bool:
        """Whether the daemon has looked at a sensor."""
        selector = {**self._repository, "sensorName": sensor}
        shown = self.query(TICKS, selector=selector)["sensorOrError"]
        return bool(shown["sensorState"]["ticks"])

    def runs(self, **tags: str) -> list[str]:
        """The ids of the runs that have tags; `__` in their names is written for `/`."""
        wanted = {name.replace("__", "/"): value for name, value in tags.items()}
        found = self.query(RUNS, filter={"tags": _tags(wanted)})["runsOrError"]["results"]
        return [run["runId"] for run in found]

    def run(self, run: str) -> Run:
        """Look at a run."""
        shown = self.query(RUN, run=run)["runOrError"]
        tags = {tag["key"]: tag["value"] for tag in shown["tags"]}
        return Run(run, shown["status"], shown["runConfigYaml"], tags)

    def ended(self, run: str, timeout: float = 900) -> Run:
        """Wait for the end of a run."""

        def look() -> Run | None:
            shown = self.run(run)
            return shown if shown.status in ENDED else None

        return until(look, f"run {run} to end", timeout)

    def query(self, query: str, **variables: Any) -> Any:
        """Ask the server."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:  # one of the code location is told in the answer
            answer = json.load(error)
        if answer.get("errors"):
            raise GraphQLError(str(answer["errors"]))
        return answer["data"]

    def _change(self, mutation: str, **variables: Any) -> Any:
        (result,) = self.query(mutation, **variables).values()
        if not result["__typename"].endswith(("Success", "Result")):
            raise GraphQLError(str(result))
        return result

    @property
    def _repository(self) -> dict[str, str]:
        return {
            "repositoryName": "__repository__",
            "repositoryLocationName": f"{self.project.package}.definitions",
        }


@contextmanager
def serve(project: Project, *command: str, **environment: str) -> Iterator[Server]:
    """Run `kedro dagster dev`, or another command, on a project for as long as the block lasts."""
    command = command or ("-m", "kedro", "dagster", "dev")
    server = Server(project, free_port())
    project.create_dagster_home()
    log = project.path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(server.port)],
            cwd=project.path,
            env=project.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: _loaded(server, process, log.read_text), "the code location to load", 120)
        yield server
    finally:
        stop(process)


def until(look: Callable[[], T | None], event: str, timeout: float = 180) -> T:
    """Look again and again, until there is something to see.

    Raises:
        TimeoutError: There was nothing in time.
    """
    deadline = time.monotonic() + timeout
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {timeout} s for {event}.")
        time.sleep(0.2)
    return seen


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _loaded(
    server: Server, process: subprocess.Popen[bytes], output: Callable[[], str]
) -> bool | None:
    if process.poll() is not None:
        raise AssertionError(f"The server ended with {process.returncode}:\n{output()}")
    try:
        (entry,) = server.query(LOCATION)["workspaceOrError"]["locationEntries"]
    except (OSError, ValueError):
        return None
    location = entry["locationOrLoadError"]
    if location and location["__typename"] == "PythonError":
        raise AssertionError(location["message"])
    return location is not None or None


def _tags(tags: Tags | None) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in (tags or {}).items()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
