"""Steps that take too long: they end, are tried again, and Kedro's error hooks hear of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kedro_dagster.errors import StepTimeoutError
from kedro_dagster.read.messages import parse_config
from kedro_dagster.run import timeouts
from kedro_dagster.run.timeouts import time_limit
from projects import Project, make_project

NODES = """
    import signal, time
    from pathlib import Path

    def wait_once(raw):
        if not Path("waited").exists():
            Path("waited").touch()
            time.sleep(600)
        return raw

    def heed_nothing(raw):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGINT])
        time.sleep(600)

    def quick(raw): return raw
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(nodes.wait_once, "raw", "first", name="wait_once"),
                node(nodes.quick, "first", "second", name="quick"),
            ]),
            "stubborn": Pipeline([
                node(nodes.heed_nothing, "raw", "third", name="heed_nothing"),
                node(nodes.quick, "raw", "second", name="quick"),
            ]),
        }
"""
HOOKS = """
    import os
    from kedro.framework.hooks import hook_impl
    from kedro_dagster.run import workers

    workers.KILL_AFTER = 3.0

    def note(text):
        with open(os.environ["TRACE"], "a") as file:
            print(text, file=file)

    class ProjectHooks:
        @hook_impl
        def on_node_error(self, error, node): note(f"{node.name} {type(error).__name__}")

        @hook_impl
        def on_pipeline_error(self, error): note(f"pipeline {type(error).__name__}")

        @hook_impl
        def after_pipeline_run(self): note("done")
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("timeouts") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("raw", "first", "second", "third")
        },
        dagster={
            "executors": {"one": "in_process", "many": {"multiprocess": {"max_concurrent": 2}}},
            "nodes": {
                "wait_once": {"timeout": "3s", "retry_policy": {"max_retries": 1}},
                "heed_nothing": {"timeout": 1},
            },
            "jobs": {
                "one": {"pipeline": {}, "executor": "one"},
                "many": {"pipeline": {}, "executor": "many"},
                "stubborn": {"pipeline": {"pipeline_name": "stubborn"}, "executor": "many"},
            },
        },
    )
    (project.path / "data").mkdir()
    (project.path / "data" / "raw.json").write_text('"here"')
    return project


@pytest.mark.slow
@pytest.mark.parametrize("job", ["one", "many"])
def test_a_step_that_takes_too_long_is_tried_again(
    rendered: Project, tmp_path: Path, job: str
) -> None:
    project = rendered.copy(tmp_path / "shop")
    done = project.execute(job, TRACE=str(tmp_path / "trace"))
    assert json.loads((project.path / "data" / "second.json").read_text()) == "here"
    assert (tmp_path / "trace").read_text().splitlines() == ["wait_once StepTimeoutError", "done"]
    assert "Step 'wait_once' took longer than its timeout" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_step_that_heeds_nothing_is_killed_and_the_others_go_on(
    rendered: Project, tmp_path: Path
) -> None:
    project = rendered.copy(tmp_path / "shop")
    done = project.execute("stubborn", check=False, TRACE=str(tmp_path / "trace"))
    assert done.returncode == 1
    assert json.loads((project.path / "data" / "second.json").read_text()) == "here"
    assert (tmp_path / "trace").read_text().splitlines() == ["pipeline StepFailedError"]
    output = " ".join((done.stdout + done.stderr).split())
    assert "Step 'heed_nothing' did not end within 3 seconds of being told to" in output


def spin() -> Iterator[None]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        yield


def test_a_worker_is_told_of_a_limit_that_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(timeouts, "tell", steps.append)
    limit = time_limit("spin", 60)
    assert steps == []
    with limit:
        assert steps == ["spin"]


def test_code_in_another_thread_ends_too() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with time_limit("spin", 0.05):
                list(spin())
        except StepTimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert str(errors[0]) == (
        "Step 'spin' took longer than its timeout in dagster.yml, 0.05 seconds."
    )


@pytest.mark.parametrize("thread", ["main", "other"])
def test_what_is_done_in_time_is_left_alone(thread: str) -> None:
    done: list[bool] = []

    def work() -> None:
        with time_limit("quick", 0.2):
            pass
        time.sleep(0.4)  # in which a limit that goes on would end this
        done.append(True)

    if thread == "main":
        work()
    else:
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert done == [True]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(90, 90), (0.5, 0.5), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h 5s", 3605)],
)
def test_a_timeout_is_seconds_or_a_duration(given: Any, seconds: float) -> None:
    config, mistakes = parse_config({"nodes": {"train": {"timeout": given}}})
    assert not mistakes
    assert config.nodes["train"].timeout == seconds


@pytest.mark.parametrize("given", ["", "10 minutes", "m", 0, -1, True, "30m1h", [5]])
def test_anything_else_is_refused(given: Any) -> None:
    _, mistakes = parse_config({"nodes": {"train": {"timeout": given}}})
    ((path, message),) = dict(mistakes).items()
    assert path == ("nodes", "train", "timeout")
    assert f"{given!r} is no duration." in message
