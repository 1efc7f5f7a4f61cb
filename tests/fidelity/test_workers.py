"""Steps in workers: forked from the run worker, so that what is in its memory holds in each."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import Project, make_project

pytestmark = pytest.mark.slow

NODES = """
    import json, os, random, signal, sys, threading, time

    def note(**what):
        with open(os.environ["TRACE"], "a") as file:
            file.write(json.dumps({"pid": os.getpid(), **what}) + "\\n")

    def one(raw): note(node="one"); return {"value": raw["value"] + 1}
    def two(raw): note(node="two"); return {"value": raw["value"] + 2}
    def both(first, second): note(node="both"); return {"value": first["value"] + second["value"]}

    def die(raw):
        if not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        note(node="die")
        return raw

    class Unpicklable(Exception):
        def __init__(self, text, handle):
            super().__init__(text)
            self.handle = handle

    def leave_a_thread(raw):
        note(node="leave_a_thread")
        threading.Thread(target=time.sleep, args=[3600]).start()
        return raw

    def refuse(raw): raise Unpicklable("not today", lambda: None)
    def wrong(raw): raise KeyError("colour")

    def orphan(raw):
        note(node="orphan")
        status = open(f"/proc/{os.getppid()}/status").read()  # of what the worker is forked from
        with open("orphan", "w") as file:
            file.write(str(os.getpid()))
        os.kill(int(status.split("PPid:")[1].split()[0]), signal.SIGKILL)
        time.sleep(60)
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        many = [node(nodes.one, "raw", f"out_{i}", name=f"n_{i}") for i in range(12)]
        return {
            "__default__": Pipeline([
                node(nodes.one, "raw", "first", name="one"),
                node(nodes.two, "raw", "second", name="two"),
                node(nodes.both, ["first", "second"], "out", name="both"),
            ]),
            "many": Pipeline(many),
            "die": Pipeline([
                node(nodes.die, "raw", "second", name="die"),
                node(nodes.one, "raw", "first", name="one"),
                node(nodes.two, "second", "out", name="after"),
            ]),
            "refuse": Pipeline([
                node(nodes.refuse, "raw", "second", name="refuse"),
                node(nodes.one, "raw", "first", name="one"),
            ]),
            "thread": Pipeline([
                node(nodes.leave_a_thread, "raw", "first", name="leave"),
                node(nodes.leave_a_thread, "first", "second", name="leave_too"),
            ]),
            "orphan": Pipeline([node(nodes.orphan, "raw", "second", name="orphan")]),
            "wrong": Pipeline([node(nodes.wrong, "raw", "second", name="wrong")]),
        }
"""
HOOKS = """
    import json, os, threading
    from kedro.framework.hooks import hook_impl
    from kedro_dagster.run import worker_processes
    from shop.nodes import note

    worker_processes.PATIENCE = 1.0

    class ProjectHooks:
        @hook_impl
        def after_context_created(self, context): note(hook="after_context_created")

        @hook_impl
        def after_catalog_created(self, catalog): note(hook="after_catalog_created")

        @hook_impl
        def before_pipeline_run(self, run_params):
            self.kept = run_params.get("run_id") or run_params["session_id"]
            if os.environ.get("START_THREAD"):
                wait = threading.Event()
                threading.Thread(target=wait.wait, name="watcher", daemon=True).start()
            note(hook="before_pipeline_run")

        @hook_impl
        def after_node_run(self, node):
            note(hook="after_node_run", name=node.name, kept=getattr(self, "kept", None))

        @hook_impl
        def on_node_error(self, error, node): note(hook="on_node_error", name=node.name)

        @hook_impl
        def on_pipeline_error(self, error):
            note(hook="on_pipeline_error", error=type(error).__name__, text=str(error)[:300])

        @hook_impl
        def after_pipeline_run(self, run_params): note(hook="after_pipeline_run")
"""
NAMES = ["raw", "first", "second", "out", *(f"out_{index}" for index in range(12))]


def job(pipeline: str) -> dict[str, object]:
    return {"pipeline": {"pipeline_name": pipeline}, "executor": "workers"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("workers") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"} for name in NAMES
        },
        dagster={
            "executors": {
                "workers": {"multiprocess": {"max_concurrent": 2}},
                "replaced": {"multiprocess": {"max_concurrent": 2, "max_steps_per_worker": 3}},
                "once": {"multiprocess": {"max_steps_per_worker": 1}},
            },
            "nodes": {"die": {"retry_policy": {"max_retries": 1}}},
            "jobs": {
                "default": job("__default__"),
                "replaced": {**job("many"), "executor": "replaced"},
                "thread": {**job("thread"), "executor": "once"},
                **{name: job(name) for name in ("many", "die", "refuse", "orphan", "wrong")},
            },
        },
    )
    (project.path / "data").mkdir()
    (project.path / "data" / "raw.json").write_text('{"value": 1}')
    return project


@pytest.fixture
def project(rendered: Project, tmp_path: Path) -> Project:
    return rendered.copy(tmp_path / "shop")


Run = Callable[..., tuple[int, str, list[dict[str, str]]]]


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Run:
    """Executes a job; gives its exit status, what it printed, and what nodes and hooks noted."""
    trace = tmp_path / "trace.jsonl"

    def run(job: str, **environment: str) -> tuple[int, str, list[dict[str, str]]]:
        done = project.execute(job, check=False, TRACE=str(trace), **environment)
        notes = [json.loads(line) for line in trace.read_text().splitlines()]
        return done.returncode, done.stdout + done.stderr, notes

    return run


def hooks_of(notes: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    return [note for note in notes if note.get("hook") == name]


def test_workers_stay_for_many_steps_and_continue_one_session(run: Run) -> None:
    status, output, notes = run("many")
    assert status == 0, output
    nodes = [note for note in notes if "node" in note]
    (opened,) = hooks_of(notes, "before_pipeline_run")
    assert len(nodes) == 12
    assert 1 <= len({note["pid"] for note in nodes}) <= 2
    assert opened["pid"] not in {note["pid"] for note in nodes}
    assert len(hooks_of(notes, "after_context_created")) == 1
    assert len(hooks_of(notes, "after_catalog_created")) == 1
    kept = {note["kept"] for note in hooks_of(notes, "after_node_run")}
    assert len(kept) == 1
    assert None not in kept


def test_a_worker_is_replaced_after_so_many_steps(run: Run) -> None:
    status, output, notes = run("replaced")
    assert status == 0, output
    pids = [note["pid"] for note in notes if "node" in note]
    assert len(pids) == 12
    assert max(pids.count(pid) for pid in pids) <= 3


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_thread_of_a_node_holds_up_no_run(run: Run, start_method: str) -> None:
    status, output, notes = run("thread", KEDRO_MP_CONTEXT=start_method)
    assert status == 0, output
    assert len({note["pid"] for note in notes if "node" in note}) == 2


def test_the_outputs_are_those_of_kedro_run(project: Project, run: Run, tmp_path: Path) -> None:
    oracle = project.copy(tmp_path / "oracle")
    oracle.kedro("run", TRACE=str(tmp_path / "oracle.jsonl"))
    assert run("default")[0] == 0
    for name in ("first", "second", "out"):
        file = Path("data") / f"{name}.json"
        assert (project.path / file).read_bytes() == (oracle.path / file).read_bytes()


def test_a_worker_that_is_killed_fails_its_own_step_which_is_retried(
    project: Project, run: Run
) -> None:
    status, output, notes = run("die")
    assert status == 0, output
    assert "child process for step die" in output
    assert json.loads((project.path / "data" / "out.json").read_text()) == {"value": 3}
    assert len(hooks_of(notes, "before_pipeline_run")) == 1
    assert len(hooks_of(notes, "after_pipeline_run")) == 1
    assert [note["name"] for note in hooks_of(notes, "after_node_run")].count("one") == 1


def test_an_exception_that_cannot_be_pickled_fails_its_step_and_no_other(
    project: Project, run: Run
) -> None:
    status, output, notes = run("refuse")
    assert status == 1
    assert "not today" in output
    assert (project.path / "data" / "first.json").exists()
    (error,) = hooks_of(notes, "on_pipeline_error")
    assert error["error"] == "StepFailedError"
    assert "not today" in error["text"]


def test_the_pipeline_hook_gets_the_exception_itself(run: Run) -> None:
    status, _, notes = run("wrong")
    assert status == 1
    (error,) = hooks_of(notes, "on_pipeline_error")
    assert (error["error"], error["text"]) == ("KeyError", "'colour'")
    assert [note["name"] for note in hooks_of(notes, "on_node_error")] == ["wrong"]


def test_nothing_is_left_behind(run: Run) -> None:
    for name in ("many", "wrong"):
        pids = {int(note["pid"]) for note in run(name)[2]}
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_a_run_worker_that_is_killed_takes_its_workers_with_it(project: Project, run: Run) -> None:
    status, _, _ = run("orphan")
    assert status == -signal.SIGKILL
    pid = int((project.path / "orphan").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker lives on")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"START_THREAD": "1"},
            "Workers are not forked from the run worker: thread 'watcher' is running.",
        ),
        ({"KEDRO_MP_CONTEXT": "spawn"}, "Executing steps using multiprocess executor"),
    ],
    ids=["a thread of a hook", "spawn"],
)
def test_workers_that_begin_anew_stay_too(run: Run, environment: dict[str, str], said: str) -> None:
    status, output, notes = run("many", **environment)
    assert status == 0, output
    assert said in output
    pids = {note["pid"] for note in notes if "node" in note}
    assert 1 <= len(pids) <= 2
    opened = {note["pid"] for note in hooks_of(notes, "after_context_created")}
    assert pids < opened
    assert len(opened) == len(pids) + 1
    (kept,) = {note["kept"] for note in hooks_of(notes, "after_node_run")}
    assert kept is not None  # what before_pipeline_run has set, in another process
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
