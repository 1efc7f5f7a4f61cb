"""Processes that run the steps of the traced example, and what their runs leave behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from fidelity.rich_project import Call, Outcome
from live.server import until
from projects import Project

CONTEXT_HOOKS = ("after_context_created", "after_catalog_created", "terse after_catalog_created")
PIPELINE_HOOKS = ("before_pipeline_run", "after_pipeline_run", "on_pipeline_error")

PARTITIONED = {"clean_repairs": 5, "check_repairs": 5, "sum_workload": 2}
"""The nodes of the example that are a step for each partition, and how many these are."""

FAULTS = """
    import json
    import os
    from pathlib import Path

    import dagster
    from kedro.framework.hooks import hook_impl
    from kedro.pipeline import Pipeline, node


    def make():
        return {"a": 1}


    def keep(value):
        return value


    def fail(value):
        raise ArithmeticError("fault in a worker")


    def fail_once(value):
        mark = Path(__file__).with_suffix(".failed")
        if not mark.exists():
            mark.touch()
            raise dagster.RetryRequested(max_retries=1)
        return value


    def create_pipeline():
        return Pipeline(
            [
                node(make, None, "made", name="make"),
                node(fail, "made", "broken", name="fail"),
                node(keep, "broken", "after_broken", name="after_fail"),
                node(keep, "made", "kept", name="keep"),
                node(fail_once, "made", "mended", name="fail_once", tags="retried"),
                node(keep, "mended", "after_mended", name="after_fail_once", tags="retried"),
            ]
        )


    class FaultHooks:
        @hook_impl
        def on_pipeline_error(self, error):
            name = getattr(error, "cls_name", type(error).__name__)
            told = {"hook": "fault", "class": name, "message": str(error)}
            with open(os.environ["TRACE"], "a") as file:
                file.write(json.dumps({**told, "pid": os.getpid()}) + "\\n")
"""

PIPELINES = """

from . import faults

_register_pipelines = register_pipelines


def register_pipelines() -> dict[str, Pipeline]:
    return {**_register_pipelines(), "faults": faults.create_pipeline()}
"""

SETTINGS = """
from .faults import FaultHooks

HOOKS = (*HOOKS, FaultHooks())
"""

CATALOG = """
broken:
  type: json.JSONDataset
  filepath: data/faults/broken.json
after_broken:
  type: json.JSONDataset
  filepath: data/faults/after_broken.json
"""

DEFINITIONS = """
import os

import dagster as dg

if "STORE" in os.environ:
    store = dg.FilesystemIOManager(base_dir=os.environ["STORE"])
    defs = dg.Definitions.merge(defs, dg.Definitions(resources={"io_manager": store}))
"""


DAGSTER_YAML = """
telemetry: {enabled: false}
compute_logs:  # to capture them takes two processes for each step
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def make_project(example: Project, path: Path, jobs: Mapping[str, Any]) -> Project:
    """Copy the traced example for some jobs.

    A pipeline `faults`, which is not in `__default__`, has nodes that fail; an environment
    variable STORE gives the code location an IO manager of its own.
    """
    project = example.copy(path)
    config, source = project.path / "conf" / "base", project.path / "src" / project.package
    (config / "dagster.yml").write_text(yaml.safe_dump({"jobs": dict(jobs)}), encoding="utf-8")
    (source / "faults.py").write_text(dedent(FAULTS), encoding="utf-8")
    project.dagster_home.mkdir()
    (project.dagster_home / "dagster.yaml").write_text(DAGSTER_YAML)
    (project.path / "data" / "faults").mkdir()
    (project.path / "data" / "faults" / "broken.json").write_text('"of an earlier run"')
    for file, text in (
        (config / "catalog.yml", CATALOG),
        (source / "definitions.py", DEFINITIONS),
        (source / "pipeline_registry.py", PIPELINES),
        (source / "settings.py", SETTINGS),
    ):
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    return project


def environment(project: Project) -> dict[str, str]:
    """The environment of the run and of its workers."""
    return {"TRACE": str(project.path / "trace.jsonl")}


def run(project: Project, job: str, *, check: bool = True, **variables: str) -> Outcome:
    """Run a job; the next one of the project has a trace of its own."""
    project.execute(job, check=check, **environment(project), **variables)
    outcome = Outcome(project)
    assert outcome.trace
    assert outcome.files
    (project.path / "trace.jsonl").rename(project.path / f"{job}.jsonl")
    return outcome


def free_port() -> int:
    """Find a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(
    project: Project, name: str, ready: str, *command: str, **variables: str
) -> Iterator[None]:
    """Run a program in a project for as long as the block lasts.

    Args:
        project: The project, in whose folder and environment it runs.
        name: The name of its log.
        ready: What it prints when it is ready.
        *command: The command.
        **variables: More environment variables.
    """
    log = project.path / f"{name}.log"
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=project.path,
            env=project.environment(PATH=programs, **environment(project), **variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_ready() -> bool | None:
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}:\n{log.read_text()}")
        return ready in log.read_text() or None

    try:
        until(is_ready, f"{name} to be ready")
        yield
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def assert_as_kedro_run(run: Outcome, by_kedro: Outcome) -> None:
    """Hold all files, and what the hooks of nodes are told, against `kedro run`."""
    made = {name: data for name, data in run.files.items() if not name.startswith("faults/")}
    assert made == by_kedro.files
    assert set(run.of_nodes) == set(by_kedro.of_nodes)
    for node, calls in run.of_nodes.items():
        expected = by_kedro.of_nodes[node]
        if steps := PARTITIONED.get(node):
            assert _hooks(calls) == sorted(_hooks(expected) * steps), node
        else:
            assert _told(run, calls) == _told(by_kedro, expected)


def assert_pipeline_hooks_once(run: Outcome, last: str = "after_pipeline_run") -> None:
    """Both pipeline hooks are called once, around all nodes, in the process of the run."""
    calls = [call for call in run.trace if call["hook"] not in (*CONTEXT_HOOKS, "fault")]
    called = [call for call in calls if call["hook"] in PIPELINE_HOOKS]
    assert [call["hook"] for call in called] == ["before_pipeline_run", last]
    assert calls[0] is called[0]
    assert all("node" not in call for call in calls[calls.index(called[1]) :])
    assert len({call["pid"] for call in called}) == 1


def assert_two_workers(run: Outcome) -> None:
    """Two processes ran the nodes; each created context and catalog once for all of its steps."""
    run_worker = run.call("before_pipeline_run")["pid"]
    workers = {call["pid"] for call in run.calls("before_node_run")}
    assert len(workers) == 2
    for hook in CONTEXT_HOOKS:
        assert sorted(call["pid"] for call in run.calls(hook)) == sorted({*workers, run_worker})


def assert_told_of_fault(run: Outcome) -> None:
    """The hook is told what was raised in another process: class, message and traceback."""
    told = run.call("fault")
    assert told["class"] == "ArithmeticError"
    assert "fault in a worker" in told["message"]
    assert ", in fail" in told["message"]
    raised = {call["node"]: call["error"] for call in run.calls("on_node_error")}
    assert raised["fail"] == "ArithmeticError('fault in a worker')"


def _hooks(calls: list[Call]) -> list[str]:
    return sorted(call["hook"] for call in calls)


def _told(run: Outcome, calls: list[Call]) -> str:
    return json.dumps(calls, indent=1).replace(str(run.project.path), "")
