"""Python's logging of a run: in Dagster's event log, and with the project's own handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from kedro_dagster.run.event_log import EVENT_LOG_LIMIT as LIMIT
from live.server import Run, Server
from live.shop import runtime_params

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]

JOBS = ("talk", "talk_apart")

CAPTURED = """
query ($run: ID!) {
  logsForRun(runId: $run) {
    ... on EventConnection { events { ... on LogsCapturedEvent { fileKey stepKeys } } }
  }
}"""
PRINTED = """
query ($key: [String!]!) {
  capturedLogs(logKey: $key) { stdout stderr }
}"""

Records = list[tuple[str | None, int, str]]


@pytest.fixture(scope="module")
def runs(server: Server) -> Callable[[str], Run]:
    """Run a chatty node in process and in a process of its own."""
    config = runtime_params(records=LIMIT + 500)
    launched = {job: server.launch(job, config) for job in JOBS}
    return lambda job: server.ended(launched[job])


@pytest.fixture(scope="module")
def shown(server: Server, runs: Callable[[str], Run]) -> Iterator[Callable[[str], Records]]:
    """The step, level and message of all records in the event log of a job's run."""
    with dg.DagsterInstance.from_config(str(server.project.dagster_home)) as instance:
        yield lambda job: [
            (entry.step_key, int(entry.level), entry.user_message)
            for entry in instance.all_logs(runs(job).run_id)
            if entry.dagster_event is None
        ]


@pytest.mark.parametrize("job", JOBS)
def test_each_record_is_shown_once_in_its_step_with_its_level(
    runs: Callable[[str], Run], shown: Callable[[str], Records], job: str
) -> None:
    expected = {
        f"plain message of {LIMIT + 500}": logging.INFO,
        "from a library": logging.WARNING,
        "from a logger that does not propagate": logging.INFO,
        "at a level of its own": logging.INFO,
        "with a traceback": logging.ERROR,
        "from a thread": logging.INFO,
        "from Dagster's own logger": logging.INFO,
        "Running node: speak: talk([params:records]) -> [records]": logging.INFO,
    }
    assert runs(job).status == "SUCCESS"
    for message, level in expected.items():
        assert [record for record in shown(job) if record[2].startswith(message)] == [
            ("speak", level, message)
        ]
    assert not [message for _, _, message in shown(job) if "below the level" in message]


@pytest.mark.parametrize("job", JOBS)
def test_a_hook_around_the_run_is_shown_once_beside_the_steps(
    shown: Callable[[str], Records], job: str
) -> None:
    assert [record for record in shown(job) if record[2] == "a hook logs"] == [
        (None, logging.WARNING, "a hook logs")
    ]


@pytest.mark.parametrize("job", JOBS)
def test_a_chatty_node_is_cut_at_the_limit_and_the_log_says_so(
    shown: Callable[[str], Records], job: str
) -> None:
    records = [one for one in shown(job) if one[0] == "speak" and one[1] > logging.DEBUG]
    from_dagster = 1
    step, level, message = records[-1]

    assert len(records) == LIMIT + from_dagster + 1
    assert (step, level) == ("speak", logging.WARNING)
    assert f"a step shows {LIMIT}" in message


def test_the_project_s_own_handlers_get_each_record_once(
    server: Server, runs: Callable[[str], Run]
) -> None:
    for job in JOBS:
        runs(job)
    written = (server.project.path / "project.log").read_text()

    for line in (
        f"INFO shop.nodes plain message of {LIMIT + 500}\n",
        "WARNING a.library from a library\n",
        "INFO deaf from a logger that does not propagate\n",
        f"INFO shop.nodes record {LIMIT + 499}\n",
        "ZeroDivisionError: division by zero\n",
    ):
        assert written.count(line) == len(JOBS)


def test_what_a_step_logs_of_a_dataset_comes_before_its_materialisation(server: Server) -> None:
    run = server.ended(server.launch("in_process"))

    with dg.DagsterInstance.from_config(str(server.project.dagster_home)) as instance:
        told = [
            entry.dagster_event_type.name if entry.dagster_event_type else entry.user_message
            for entry in instance.all_logs(run.run_id)
            if entry.step_key == "write"
        ]
    saved = told.index("Saving data to report (JSONDataset)...")
    assert told.index("STEP_START") < saved < told.index("ASSET_MATERIALIZATION")
    assert told[-1] == "STEP_SUCCESS"


@pytest.mark.parametrize("job", JOBS)
def test_the_ui_shows_what_a_step_prints(
    server: Server, runs: Callable[[str], Run], job: str
) -> None:
    run = runs(job).run_id
    events = server.query(CAPTURED, run=run)["logsForRun"]["events"]
    (captured,) = [event for event in events if "speak" in event.get("stepKeys", ())]
    key = [run, "compute_logs", captured["fileKey"]]
    printed = server.query(PRINTED, key=key)["capturedLogs"]
    assert "Started execution of step" in printed["stderr"]  # which Dagster logs
    file = server.project.dagster_home.joinpath("storage", *key)
    assert printed["stderr"] == file.with_suffix(".err").read_text()
    assert file.with_suffix(".complete").exists()
