"""Faults put into runs that `dagster dev` launches: what the run, the hooks and a retry show."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from live.server import Run, Server, until
from live.shop import runtime_params, trace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]

EXECUTORS = ("in_process", "multiprocess")


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a run; it does until a file is there."""

    at: str
    kind: str = "raise"


FAULTS: Mapping[str, Fault] = {
    "a node raises": Fault("add"),
    "a node asks for a retry": Fault("add", "retry"),
    "a process is killed": Fault("add", "kill"),
    "a run is cancelled": Fault("add", "hang"),
    "before_node_run raises": Fault("before_node_run"),
    "before_pipeline_run raises": Fault("before_pipeline_run"),
    "after_pipeline_run raises": Fault("after_pipeline_run"),
    "after_catalog_created raises": Fault("after_catalog_created"),
    "the disk is full": Fault("", "full disk"),
    "a worker is killed": Fault("add", "hang"),
}

CASES = [
    *(
        (name, executor)
        for name in [*list(FAULTS)[:5], "the disk is full"]
        for executor in EXECUTORS
    ),
    ("before_pipeline_run raises", "in_process"),
    ("after_pipeline_run raises", "in_process"),
    ("after_catalog_created raises", "in_process"),
    ("a worker is killed", "multiprocess"),
]


class Runs:
    """Runs with faults, launched all at once and looked at when they have ended."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._launched = {case: self._launch(*case) for case in CASES}

    def _launch(self, name: str, executor: str) -> str:
        fault, file = FAULTS[name], self._file(name, executor)
        if fault.kind == "full disk":
            return self.server.launch(executor, runtime_params(report_file="/dev/full"))
        values = {"at": fault.at, "kind": fault.kind}
        files = {"until": str(file), "started": f"{file}.started"}
        return self.server.launch(
            executor, runtime_params(fault={**values, **files}, report_file=f"{file}.json")
        )

    def _file(self, name: str, executor: str) -> Path:
        return self.folder / f"{name} {executor}"

    def __getitem__(self, case: tuple[str, str]) -> Run:
        return self.server.ended(self._launched[case])

    def once_started(self, name: str, executor: str) -> str:
        """Wait until the node is at work in which a run hangs; gives the run's id."""
        file = Path(f"{self._file(name, executor)}.started")
        until(lambda: file.exists() or None, f"{file} to appear", 600)
        return self._launched[name, executor]

    def mend(self, name: str, executor: str) -> Path:
        """Take the fault away; gives the file of the run's report."""
        file = self._file(name, executor)
        file.touch()
        return Path(f"{file}.json")


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(server, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def instance(server: Server) -> Iterator[dg.DagsterInstance]:
    """The server's instance, to read its event log."""
    with dg.DagsterInstance.from_config(str(server.project.dagster_home)) as instance:
        yield instance


@pytest.fixture
def hooks(server: Server) -> Callable[[Run], list[dict[str, Any]]]:
    """Find the hook calls of a run."""
    file = server.project.path / "trace.jsonl"
    return lambda run: [line for line in trace(file) if line["run_id"] == run.tags["kedro/run_id"]]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_node_that_raises(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]], executor: str
) -> None:
    run = runs["a node raises", executor]
    lines = hooks(run)
    (error,) = (line for line in lines if line["hook"] == "on_pipeline_error")

    assert run.status == "FAILURE"
    assert "after_pipeline_run" not in {line["hook"] for line in lines}
    assert lines[-1] == error
    assert error["nodes"] == ["clean", "double", "add", "write", "check"]
    assert {"sales", "cleaned", "total", "report", "params:fault"} <= set(error["catalog"])
    assert (error["error"], error["message"]) == ("ArithmeticError", "fault at add")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_that_succeeds_when_dagster_retries_it(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]], executor: str
) -> None:
    run = runs["a node asks for a retry", executor]
    called = [line["hook"] for line in hooks(run)]

    assert run.status == "SUCCESS"
    assert called.count("on_node_error") == 1
    assert called.count("on_pipeline_error") == 0
    assert called.count("after_pipeline_run") == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_that_is_cancelled(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]], executor: str
) -> None:
    runs.server.terminate(runs.once_started("a run is cancelled", executor))

    run = runs["a run is cancelled", executor]

    assert run.status == "CANCELED"
    assert [hook for hook in pipeline_hooks(hooks(run)) if hook != "before_pipeline_run"] == [
        "on_pipeline_error"
    ]


def test_a_step_process_that_is_killed(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]]
) -> None:
    run = runs["a process is killed", "multiprocess"]
    (error,) = (line for line in hooks(run) if line["hook"] == "on_pipeline_error")

    assert run.status == "FAILURE"
    assert error["class_name"] == "ChildProcessCrashException"


def test_a_run_worker_that_is_killed_where_it_runs_the_nodes(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]]
) -> None:
    assert_the_sensor_tells_once(runs, runs["a process is killed", "in_process"], hooks)


def test_a_run_worker_that_is_killed_while_its_step_processes_run(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]], server: Server
) -> None:
    run = server.run(runs.once_started("a worker is killed", "multiprocess"))
    (worker,) = {line["pid"] for line in hooks(run) if line["hook"] == "before_pipeline_run"}
    (step,) = {
        line["pid"]
        for line in hooks(run)
        if line["hook"] == "before_node_run" and line["node"] == "add"
    }

    for case in CASES:
        if FAULTS[case[0]].kind != "hang":
            _ = runs[case]  # so that the sensor hears of their failures before this one
    os.kill(worker, signal.SIGKILL)
    run = runs["a worker is killed", "multiprocess"]

    assert_the_sensor_tells_once(runs, run, hooks)
    assert not Path(f"/proc/{step}").exists()  # it has gone with the run worker


def assert_the_sensor_tells_once(
    runs: Runs, run: Run, hooks: Callable[[Run], list[dict[str, Any]]]
) -> None:
    def told() -> bool | None:
        return "on_pipeline_error" in pipeline_hooks(hooks(run)) or None

    assert run.status == "FAILURE"
    until(told, "the sensor to call on_pipeline_error", 120)
    closed = runs.server.run(run.run_id).tags["kedro/pipeline_hooks"]
    assert closed == f"closed {run.run_id}"
    assert pipeline_hooks(hooks(run)) == ["before_pipeline_run", "on_pipeline_error"]


def test_a_hook_around_a_node_that_raises(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]], instance: dg.DagsterInstance
) -> None:
    for executor in EXECUTORS:
        run = runs["before_node_run raises", executor]

        assert run.status == "FAILURE"
        assert "fault at before_node_run" in failures(instance, run)
        assert pipeline_hooks(hooks(run)) == ["before_pipeline_run", "on_pipeline_error"]


@pytest.mark.parametrize(
    ("hook", "called"),
    [
        ("after_catalog_created", []),
        ("before_pipeline_run", ["before_pipeline_run"]),
        ("after_pipeline_run", ["before_pipeline_run", "after_pipeline_run"]),
    ],
)
def test_a_hook_around_the_run_that_raises_fails_it_with_no_further_hook(
    runs: Runs,
    hooks: Callable[[Run], list[dict[str, Any]]],
    instance: dg.DagsterInstance,
    hook: str,
    called: list[str],
) -> None:
    run = runs[f"{hook} raises", "in_process"]

    assert run.status == "FAILURE"
    assert "LookupError" in failures(instance, run)
    assert f"fault at {hook}" in failures(instance, run)
    assert pipeline_hooks(hooks(run)) == called


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_full_disk_fails_the_run_and_nothing_is_recorded_that_was_not_saved(
    runs: Runs, instance: dg.DagsterInstance, executor: str
) -> None:
    run = runs["the disk is full", executor]

    assert run.status == "FAILURE"
    assert "No space left on device" in failures(instance, run)
    assert materialised(instance, run) == ["cleaned", "total"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_reexecution_from_failure_runs_what_is_missing(
    runs: Runs,
    hooks: Callable[[Run], list[dict[str, Any]]],
    server: Server,
    executor: str,
) -> None:
    failed = runs["a node raises", executor]
    report = runs.mend("a node raises", executor)

    run = server.ended(server.reexecute(failed.run_id))

    lines = hooks(run)
    nodes = [line["node"] for line in lines if line["hook"] == "after_node_run"]
    assert run.status == "SUCCESS"
    assert run.tags["kedro/run_id"] > failed.tags["kedro/run_id"]
    # The memory of the process in which `double` ran is gone
    assert nodes == [*(["double"] if executor == "in_process" else []), "add", "write", "check"]
    assert pipeline_hooks(lines) == ["before_pipeline_run", "after_pipeline_run"]
    assert [line["nodes"] for line in lines if line["hook"] == "before_pipeline_run"] == [nodes]
    assert json.loads(report.read_text()) == {"title": "Sales", "total": 24}


def test_on_pipeline_error_is_called_once_in_each_run_that_has_failed(
    runs: Runs, hooks: Callable[[Run], list[dict[str, Any]]]
) -> None:
    """Comes last: by now the sensor has heard of all failures."""
    for case in CASES:
        run = runs[case]
        expected = run.status != "SUCCESS" and case[0] not in (
            "after_catalog_created raises",
            "before_pipeline_run raises",
            "after_pipeline_run raises",
        )
        assert pipeline_hooks(hooks(run)).count("on_pipeline_error") == expected, case


def pipeline_hooks(lines: list[dict[str, Any]]) -> list[str]:
    return [line["hook"] for line in lines if "pipeline" in line["hook"]]


def failures(instance: dg.DagsterInstance, run: Run) -> str:
    """What the event log says of the failures of a run and its steps."""
    kinds = (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE)
    return "\n".join(
        str(entry.dagster_event.event_specific_data)
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event and entry.dagster_event.event_type in kinds
    )


def materialised(instance: dg.DagsterInstance, run: Run) -> list[str]:
    return [
        event.asset_key.to_user_string()
        for entry in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        if (event := entry.asset_materialization)
    ]
