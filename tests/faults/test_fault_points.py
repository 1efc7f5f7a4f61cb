"""Every place at which a process of a run can die: what is left is whole, and a retry ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from projects import Project, make_project

pytestmark = pytest.mark.slow

RUN, NURSERY, WORKER = "MainProcess", "kedro-nursery", "kedro-worker"

NOTHING: list[str] = []
BEGUN = ["before_pipeline_run"]
FAILED = ["before_pipeline_run", "on_pipeline_error"]
DONE = ["before_pipeline_run", "after_pipeline_run"]
FAILED_AT_THE_END = [*DONE, "on_pipeline_error"]


@dataclass(frozen=True)
class Death:
    """A place where a process dies, and which pipeline hooks the run has by then or later.

    Args:
        process: The process that dies, or whose parent does: the run worker, the nursery, a worker.
        moment: Whether it dies before or after a call.
        call: The function, of a library or of the project's own hooks and nodes.
        hooks: The pipeline hooks that the run has had when Dagster has noticed it.
        when: Which call it is, by ``args`` and, after it, by ``result``.
        nth: The how-manieth of these calls in its process.
        victim: Which process dies: by ``os``, that process or its parent.
        job: The job.
        environment: Environment variables.
    """

    process: str
    moment: str
    call: str
    hooks: list[str]
    when: str = "True"
    nth: int = 1
    victim: str = "getpid"
    job: str = "all"
    environment: Mapping[str, str] = field(default_factory=dict)


HOOK = "shop.hooks:ProjectHooks."
TAGS = "dagster:DagsterInstance.add_run_tags"
STORE = "dagster:DagsterInstance.handle_new_event"
SEND = "multiprocessing.connection:Connection.send"
RECEIVE = "multiprocessing.connection:Connection.recv"
START = "multiprocessing.process:BaseProcess.start"
BEGIN = "multiprocessing.process:BaseProcess.run"
JOIN = "multiprocessing.process:BaseProcess.join"
NODE = "kedro.pipeline.node:Node.run"
SAVE = "kedro_datasets.json:JSONDataset.save"
STORED = "dagster:UPathIOManager.handle_output"
OF_ANOTHER = {"KEDRO_MP_CONTEXT": "spawn"}
BROKEN = {"BREAK": "1"}
STUBBORN = {"STUBBORN": "1"}


def tag(start: str) -> str:
    return f"args[2].get('kedro/pipeline_hooks', '').startswith({start!r})"


def event(kind: str, step: str | None = "two", of: str = "args[1]") -> str:
    """An event of a step, or of how a worker does."""
    return f"kind({of}) == {kind!r} and step({of}) in ({step!r}, None)"


STEP_EVENTS = {
    "ChildProcessStartEvent": "two",
    "STEP_WORKER_STARTED": "two",
    "STEP_START": "two",
    "LOADED_INPUT": "three",  # what `two` reads is persisted
    "STEP_OUTPUT": "two",
    "HANDLED_OUTPUT": "two",
}
FIRST = 'str({0}).startswith("[\'word")'
STEP_TWO = "isinstance({0}, tuple) and {0}[0] == 'two'"

DEATHS = {
    # The run worker, in the order of a run
    "before the identity is written": Death(RUN, "before", TAGS, NOTHING, tag("opening")),
    "after the identity is written": Death(RUN, "after", TAGS, NOTHING, tag("opening")),
    "after after_context_created": Death(RUN, "after", f"{HOOK}after_context_created", NOTHING),
    "after after_catalog_created": Death(RUN, "after", f"{HOOK}after_catalog_created", NOTHING),
    "before before_pipeline_run": Death(RUN, "before", f"{HOOK}before_pipeline_run", NOTHING),
    "after before_pipeline_run": Death(RUN, "after", f"{HOOK}before_pipeline_run", BEGUN),
    "before the hooks are open": Death(RUN, "before", TAGS, BEGUN, tag("open ")),
    "after the hooks are open": Death(RUN, "after", TAGS, FAILED, tag("open ")),
    "before the state is stored": Death(RUN, "before", STORED, FAILED, environment=OF_ANOTHER),
    "before the state is told": Death(
        RUN, "before", TAGS, FAILED, "'kedro/run_state' in args[2]", environment=OF_ANOTHER
    ),
    "after the state is told": Death(
        RUN, "after", TAGS, FAILED, "'kedro/run_state' in args[2]", environment=OF_ANOTHER
    ),
    "before the nursery is forked": Death(
        RUN, "before", START, FAILED, f"args[0].name == {NURSERY!r}"
    ),
    "after the nursery is forked": Death(
        RUN, "after", START, FAILED, f"args[0].name == {NURSERY!r}"
    ),
    "a worker is asked for": Death(RUN, "after", SEND, FAILED, "args[1] is None"),
    "another worker is asked for while one is at work": Death(
        RUN, "after", SEND, FAILED, "args[1] is None", nth=2, environment=STUBBORN
    ),
    "before a step is sent": Death(RUN, "before", SEND, FAILED, STEP_TWO.format("args[1]")),
    "after a step is sent": Death(RUN, "after", SEND, FAILED, STEP_TWO.format("args[1]")),
    **{
        f"{kind} has come": Death(RUN, "after", RECEIVE, FAILED, event(kind, of="result"))
        for kind in ("STEP_START", "HANDLED_OUTPUT", "STEP_SUCCESS")
    },
    "the last word of the last step has come": Death(
        RUN, "after", RECEIVE, FAILED, event("ChildProcessDoneEvent", of="result"), nth=5
    ),
    "before the nursery is let go": Death(
        RUN, "before", JOIN, FAILED, f"args[0].name == {NURSERY!r}"
    ),
    "after the nursery is let go": Death(
        RUN, "after", JOIN, FAILED, f"args[0].name == {NURSERY!r}"
    ),
    "before after_pipeline_run": Death(RUN, "before", f"{HOOK}after_pipeline_run", FAILED),
    "after after_pipeline_run": Death(RUN, "after", f"{HOOK}after_pipeline_run", FAILED_AT_THE_END),
    "before the hooks are closed": Death(RUN, "before", TAGS, FAILED_AT_THE_END, tag("closed")),
    "after the hooks are closed": Death(RUN, "after", TAGS, DONE, tag("closed")),
    "before on_pipeline_error is taken over": Death(
        RUN, "before", TAGS, FAILED, tag("closed"), environment=BROKEN
    ),
    "before on_pipeline_error": Death(
        RUN, "before", f"{HOOK}on_pipeline_error", BEGUN, environment=BROKEN
    ),
    "after on_pipeline_error": Death(
        RUN, "after", f"{HOOK}on_pipeline_error", FAILED, environment=BROKEN
    ),
    "before the end is told": Death(RUN, "before", STORE, DONE, event("PIPELINE_SUCCESS")),
    "after the end is told": Death(RUN, "after", STORE, DONE, event("PIPELINE_SUCCESS")),
    # The nursery
    "the nursery begins": Death(NURSERY, "before", BEGIN, FAILED),
    "the nursery is asked for a worker": Death(NURSERY, "after", RECEIVE, FAILED),
    "after a worker is forked": Death(NURSERY, "after", START, FAILED),
    "a worker is told and not handed over": Death(NURSERY, "after", SEND, FAILED),
    "a worker is handed over and another is not yet asked for": Death(
        NURSERY, "before", RECEIVE, FAILED, nth=2
    ),
    "a worker is at work": Death(
        WORKER,
        "before",
        NODE,
        FAILED,
        "args[0].name == 'beside'",
        victim="getppid",
        job="replaced",
        environment=STUBBORN,
    ),
    "both workers are handed over": Death(NURSERY, "before", RECEIVE, DONE, nth=3),
    "before a worker is replaced": Death(NURSERY, "before", JOIN, FAILED, job="replaced"),
    "after a worker is replaced": Death(NURSERY, "after", JOIN, FAILED, job="replaced"),
    # A worker, forked from the run worker
    "a worker begins": Death(WORKER, "before", BEGIN, FAILED),
    "a worker has got a step": Death(WORKER, "after", RECEIVE, FAILED, STEP_TWO.format("result")),
    **{
        f"after {kind} is sent": Death(WORKER, "after", SEND, FAILED, event(kind, step))
        for kind, step in STEP_EVENTS.items()
    },
    "before STEP_SUCCESS is sent": Death(WORKER, "before", SEND, FAILED, event("STEP_SUCCESS")),
    "after STEP_SUCCESS is sent": Death(WORKER, "after", SEND, DONE, event("STEP_SUCCESS")),
    "before a worker is idle": Death(WORKER, "before", SEND, DONE, event("ChildProcessDoneEvent")),
    "an idle worker": Death(WORKER, "after", SEND, DONE, event("ChildProcessDoneEvent")),
    **{
        f"{moment} {hook}": Death(
            WORKER, moment, HOOK + hook, FAILED, "kwargs['node'].name == 'one'"
        )
        for moment, hook in (
            ("before", "before_node_run"),
            ("before", "before_dataset_loaded"),
            ("before", "before_dataset_saved"),
            ("before", "after_dataset_saved"),
            ("before", "after_node_run"),
            ("after", "after_node_run"),
        )
    },
    "a node begins": Death(WORKER, "before", NODE, FAILED, "args[0].name == 'two'"),
    "a node ends": Death(WORKER, "after", NODE, FAILED, "args[0].name == 'two'"),
    "before a value is saved": Death(WORKER, "before", SAVE, FAILED, FIRST.format("args[1]")),
    "a file is open and empty": Death(
        WORKER, "before", "json:dump", FAILED, FIRST.format("args[0]")
    ),
    "a value is saved and not yet told": Death(
        WORKER, "after", SAVE, FAILED, FIRST.format("args[1]")
    ),
    "before a materialisation is stored": Death(
        WORKER, "before", STORE, FAILED, event("ASSET_MATERIALIZATION", "one")
    ),
    "after a materialisation is stored": Death(
        WORKER, "after", STORE, FAILED, event("ASSET_MATERIALIZATION", "one")
    ),
    "before a transient value is stored": Death(WORKER, "before", STORED, FAILED),
    "a transient value is half stored": Death(WORKER, "before", "pickle:dump", FAILED),
    "a transient value is stored and not yet told": Death(WORKER, "after", STORED, FAILED),
    "the last value is stored and not yet told": Death(
        WORKER, "after", STORED, FAILED, "args[1].step_key == 'four'"
    ),
    # A worker that begins anew
    "a fresh worker has a session": Death(
        WORKER, "after", f"{HOOK}after_catalog_created", FAILED, environment=OF_ANOTHER
    ),
}

FAULTS = '''
    """Lets a process die at the place that an environment variable names."""

    import functools, importlib, inspect, json, multiprocessing, os, signal

    def kind(message):
        message = getattr(message, "dagster_event", message)
        return getattr(message, "event_type_value", type(message).__name__)

    def step(message):
        return getattr(getattr(message, "dagster_event", message), "step_key", None)

    def arm():
        fault = json.loads(os.environ.get("FAULT", "null"))
        if not fault:
            return
        module, _, path = fault["call"].partition(":")
        owner = importlib.import_module(module)
        *inner, name = path.split(".")
        for one in inner:
            owner = getattr(owner, one)
        real, calls = getattr(owner, name), []

        def die_if(moment, args, kwargs, result=None):
            if moment != fault["moment"] or os.path.exists("died"):
                return
            if multiprocessing.current_process().name != fault["process"]:
                return
            given = {"args": args, "kwargs": kwargs, "result": result}
            if eval(fault["when"], {**globals(), **given}):
                calls.append(1)
                if len(calls) == fault["nth"]:
                    open("died", "x").close()
                    os.kill(getattr(os, fault["victim"])(), signal.SIGKILL)

        @functools.wraps(real)
        def armed(*args, **kwargs):
            named = kwargs
            if module.startswith("shop.hooks"):
                named = inspect.signature(real).bind(*args, **kwargs).arguments
            die_if("before", args, named)
            result = real(*args, **kwargs)
            die_if("after", args, named, result)
            return result

        setattr(owner, name, armed)
'''
DRIVER = '''
    """Forks a process for each run, from one that has all imported."""

    import gc, json, os, signal, sys, time, traceback
    import dagster as dg
    import pandas, structlog, upath  # which each of the processes would import
    from dagster._core.execution.api import execute_run_iterator
    from shop.definitions import defs
    from shop.faults import arm

    repository = defs.get_repository_def()

    def all(): return defs.resolve_job_def("all")
    def replaced(): return defs.resolve_job_def("replaced")

    def execute(instance, name, parent):
        again = None
        if parent:
            try:
                again = dg.ReexecutionOptions.from_failure(parent, instance)
                assert again.step_selection
            except (AssertionError, dg.DagsterInvalidSubsetError):
                again = dg.ReexecutionOptions(parent)  # all of its steps have run
        job = dg.reconstructable({"all": all, "replaced": replaced}[name])
        assert dg.execute_job(job, instance, reexecution_options=again).success

    def resume(instance, run_id):
        """As a launcher does that has its run workers begun again."""
        run = instance.get_run_by_id(run_id)
        job = dg.reconstructable(all)
        for _ in execute_run_iterator(job, run, instance, resume_from_failure=True):
            pass

    def tell(instance, run_id):
        """As Dagster does when it notices that a run worker is gone."""
        run = instance.get_run_by_id(run_id)
        if not run.is_finished:
            instance.report_run_failed(run)
        failure = dg.DagsterEventType.RUN_FAILURE
        (record,) = instance.get_records_for_run(run_id, of_type=failure).records
        context = dg.build_run_status_sensor_context(
            "kedro_on_pipeline_error",
            record.event_log_entry.dagster_event,
            instance,
            instance.get_run_by_id(run_id),
        )
        repository.get_sensor_def("kedro_on_pipeline_error")(context.for_run_failure())

    def work(function, arguments, environment):
        os.environ.update(environment)
        arm()
        with dg.DagsterInstance.get() as instance:
            globals()[function](instance, *arguments)

    def main():
        with dg.DagsterInstance.get() as instance:
            instance.get_runs()  # makes the tables
        gc.collect()
        gc.freeze()  # else each process copies what it only looks at
        for line in sys.stdin:
            pid = os.fork()
            if not pid:
                output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                try:
                    work(*json.loads(line))
                except BaseException:
                    traceback.print_exc()
                    sys.stderr.flush()
                    os._exit(1)
                os._exit(0)
            end = time.monotonic() + 120
            while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
                if time.monotonic() > end:  # it hangs
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
            print(os.waitstatus_to_exitcode(ended[1]), flush=True)

    if __name__ == "__main__":
        main()
'''
NODES = """
    import os, signal, time

    def one(raw): return [f"word {raw}"] * 5_000
    def beside(raw):
        if os.environ.get("STUBBORN"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            time.sleep(600)
        return {"beside": raw}

    def two(first):
        if os.environ.get("FORKS"):
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            with open("child", "w") as file:
                file.write(str(child))
            os.kill(os.getpid(), signal.SIGKILL)
        return {"words": len(first)}

    def three(between, second):
        if os.environ.get("BREAK"):
            raise ArithmeticError("broken")
        return [between, second]

    def four(between): return between["words"] + 1
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(nodes.one, "raw", "first", name="one"),
                node(nodes.beside, "raw", "second", name="beside"),
                node(nodes.two, "first", "between", name="two"),
                node(nodes.three, ["between", "second"], "third", name="three"),
                node(nodes.four, "between", "fourth", name="four"),
            ])
        }
"""
HOOKS = """
    import json
    from kedro.framework.hooks import hook_impl

    class ProjectHooks:
        def note(self, hook, run_params, **more):
            line = {"hook": hook, "run_id": run_params["run_id"], **more}
            with open("trace", "a") as file:
                file.write(json.dumps(line) + "\\n")

        @hook_impl
        def after_context_created(self, context): pass
        @hook_impl
        def after_catalog_created(self, catalog): pass
        @hook_impl
        def before_node_run(self, node): pass
        @hook_impl
        def before_dataset_loaded(self, node): pass
        @hook_impl
        def before_dataset_saved(self, node): pass
        @hook_impl
        def after_dataset_saved(self, node): pass
        @hook_impl
        def after_node_run(self, node): pass

        @hook_impl
        def before_pipeline_run(self, run_params):
            self.kept = run_params["run_id"]
            self.note("before_pipeline_run", run_params)

        @hook_impl
        def after_pipeline_run(self, run_params, run_result):
            self.note("after_pipeline_run", run_params, fourth=run_result["fourth"].load())

        @hook_impl
        def on_pipeline_error(self, run_params):
            self.note("on_pipeline_error", run_params)
"""
SETTINGS = """
    from shop.faults import arm
    from shop.hooks import ProjectHooks

    HOOKS = (ProjectHooks(),)
    arm()
"""
DAGSTER_YAML = """\
telemetry: {enabled: false}
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
FILES = {"first": "one", "second": "beside", "third": "three"}


@dataclass(frozen=True)
class Driver:
    """Runs of the project, each in a process that is forked for it."""

    project: Project
    process: subprocess.Popen[str]
    instance: dg.DagsterInstance

    def __call__(self, function: str, *arguments: Any, **environment: str) -> int:
        """Call a function of the driver; gives the exit status of the process that did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([function, arguments, environment]), file=self.process.stdin, flush=True)
        # Among what the project logs
        return next(int(line) for line in self.process.stdout if re.fullmatch(r"-?\d+\n", line))

    @property
    def output(self) -> str:
        return (self.project.path / "output").read_text()

    def last_run(self) -> dg.DagsterRun:
        (run,) = self.instance.get_runs(limit=1)
        return run

    def hooks(self, run: dg.DagsterRun) -> list[str]:
        """The pipeline hooks that a run has had."""
        trace = self.project.path / "trace"
        lines = map(json.loads, trace.read_text().splitlines()) if trace.exists() else ()
        return [line["hook"] for line in lines if line["run_id"] == run.tags.get("kedro/run_id")]

    def materialised(self, run: dg.DagsterRun) -> list[str]:
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        logs = self.instance.all_logs(run.run_id, of_type=kind)
        return [log.asset_materialization.asset_key.to_user_string() for log in logs]

    def left_behind(self) -> set[str]:
        """The processes that a run has left, if they do not end by themselves at once."""
        marker = f"DAGSTER_HOME={self.project.dagster_home}".encode()
        for _ in range(100):
            found = set()
            for file in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if marker in file.read_bytes() and file.parent.name != str(self.process.pid):
                        found.add((file.parent / "cmdline").read_bytes().decode())
                except OSError:
                    continue  # it has ended meanwhile
            if not found:
                break
            time.sleep(0.1)
        return found

    def die(self, death: Death) -> int:
        """Execute a job until one of its processes dies; gives the exit status."""
        folder = self.project.path
        for file in (folder / "died", *(folder / "data" / f"{name}.json" for name in FILES)):
            file.unlink(missing_ok=True)
        fault = json.dumps(asdict(death))
        status = self("execute", death.job, None, FAULT=fault, **death.environment)
        assert (folder / "died").exists(), self.output
        assert "Workers are not forked" not in self.output
        return status

    def values(self) -> dict[str, bytes]:
        files = {name: self.project.path / "data" / f"{name}.json" for name in FILES}
        return {name: file.read_bytes() for name, file in files.items() if file.exists()}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    project = make_project(
        tmp_path_factory.mktemp("deaths") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        settings=SETTINGS,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("raw", *FILES)
        },
        dagster={
            "executors": {
                "two": {"multiprocess": {"max_concurrent": 2}},
                "new": {"multiprocess": {"max_concurrent": 2, "max_steps_per_worker": 1}},
            },
            "jobs": {
                "all": {"pipeline": {}, "executor": "two"},
                "replaced": {"pipeline": {}, "executor": "new"},
            },
        },
        files={
            "src/shop/faults.py": FAULTS,
            "driver.py": DRIVER,
            "data/raw.json": "1",
            ".dagster/dagster.yaml": DAGSTER_YAML,
        },
    )
    process = subprocess.Popen(
        [sys.executable, "driver.py"],
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    home = str(project.dagster_home)
    with process, dg.DagsterInstance.from_config(home) as instance:
        yield Driver(project, process, instance)


@pytest.fixture(scope="module")
def oracle(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What Kedro makes of it."""
    project = driver.project.copy(tmp_path_factory.mktemp("kedro") / "shop")
    project.kedro("run")
    return Driver(project, driver.process, driver.instance).values()


@pytest.mark.parametrize("place", DEATHS)
def test_a_process_that_dies(driver: Driver, oracle: dict[str, bytes], place: str) -> None:
    death = DEATHS[place]
    status = driver.die(death)

    sent_before = place == "an idle worker" and status  # its next step, which is lost with it
    hooks = FAILED if sent_before else death.hooks
    assert status == (-signal.SIGKILL if death.process == RUN else hooks != DONE), driver.output
    assert not driver.left_behind()
    run = driver.last_run()
    made = driver.values()
    for name in driver.materialised(run):
        assert made[name] == oracle[name]
    if run.status is not dg.DagsterRunStatus.SUCCESS:
        assert driver("tell", run.run_id, **death.environment) == 0, driver.output
    assert driver.hooks(run) == hooks

    if run.status is not dg.DagsterRunStatus.SUCCESS:
        assert driver("execute", death.job, run.run_id) == 0, driver.output
        again = driver.last_run()
        assert again.parent_run_id == run.run_id
        assert driver.hooks(again) == DONE
    assert driver.values() == oracle
    assert not driver.left_behind()


@pytest.mark.parametrize(
    "place",
    ["after the identity is written", "after the hooks are open", "before the end is told"],
)
def test_a_run_worker_that_is_begun_again(
    driver: Driver, oracle: dict[str, bytes], place: str
) -> None:
    driver.die(DEATHS[place])
    run = driver.last_run()
    assert driver("resume", run.run_id) == 0, driver.output
    assert driver.last_run().status is dg.DagsterRunStatus.SUCCESS
    assert driver.hooks(run) == DONE
    assert driver.values() == oracle


def test_a_worker_whose_node_has_forked_a_process_that_lives_on(driver: Driver) -> None:
    started = time.monotonic()
    assert driver("execute", "all", None, FORKS="1") == 1
    assert time.monotonic() - started < 55
    os.kill(int((driver.project.path / "child").read_text()), signal.SIGKILL)
    assert "child process for step two" in driver.output
    assert not driver.left_behind()
