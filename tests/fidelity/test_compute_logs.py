"""The logs of steps in workers: those that Dagster's own manager has, without its processes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache

import dagster as dg
import pytest

from projects import DAGSTER_YAML, Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("compute_logs")]

NODES = """
    import os, signal, subprocess, sys, threading
    from pathlib import Path

    SAY = "import sys; print('said by a child of', sys.argv[1])"

    def helpers():
        # What Dagster has started in this process, beside what nodes start
        names = []
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                process, _, rest = file.read_text().rpartition(") ")
            except OSError:  # it has ended
                continue
            if int(rest.split()[1]) == os.getpid():
                names.append(process.partition("(")[2])
        return names

    def talk(name):
        print("said by", name)
        print("said in complaint by", name, file=sys.stderr)
        sys.stdout.flush()
        os.write(1, f"said by the descriptor of {name}\\n".encode())
        subprocess.run([sys.executable, "-c", SAY, name], check=True)
        print("said at the end of", name, end="")
        threads = [thread.name for thread in threading.enumerate()]
        with open("helpers", "a") as file:
            file.write(" ".join([*helpers(), *threads]) + "\\n")
        return name

    def crash(name):
        print("said before the crash of", name)
        os.kill(os.getpid(), signal.SIGKILL)
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        talks = [node(nodes.talk, f"params:n_{i}", f"out_{i}", name=f"n_{i}") for i in range(3)]
        crash = node(nodes.crash, "params:n_0", "crashed", name="breaks")
        return {"__default__": Pipeline(talks), "crash": Pipeline([*talks[1:3], crash])}
"""
STEPS = [f"n_{index}" for index in range(3)]
HOW = ["by", "by the descriptor of", "by a child of", "at the end of"]
EXECUTORS = {
    "workers": {"multiprocess": {"max_concurrent": 2}},
    "spawned": {"multiprocess": {"max_concurrent": 2, "start_method": {"spawn": {}}}},
    "one": {"in_process": {}},
}
DAGSTER_S = "telemetry: {enabled: false}"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("logs") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        parameters={name: name for name in STEPS},
        dagster={
            "executors": EXECUTORS,
            "jobs": {
                **{
                    name: {"pipeline": {"pipeline_name": "__default__"}, "executor": name}
                    for name in EXECUTORS
                },
                "crash": {"pipeline": {"pipeline_name": "crash"}, "executor": "workers"},
            },
        },
    )


class Ran:
    """A run of a job, and what is left of it."""

    def __init__(self, project: Project, job: str, config: str) -> None:
        self.project = project
        project.dagster_home.mkdir()
        (project.dagster_home / "dagster.yaml").write_text(config)
        self.process: subprocess.CompletedProcess[str] = project.execute(
            job, check=False, PYTHONUNBUFFERED=""
        )

    def logs(self) -> dict[str, tuple[str, str]]:
        """What each step has said to stdout and stderr, as the UI gets it."""
        with dg.DagsterInstance.from_config(str(self.project.dagster_home)) as instance:
            (run,) = instance.get_runs()
            manager = instance.compute_log_manager
            found = {}
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED):
                assert entry.dagster_event
                captured = entry.dagster_event.logs_captured_data
                key = manager.build_log_key_for_run(run.run_id, captured.file_key)
                data = manager.get_log_data(key)
                texts = said((data.stdout or b"").decode()), said((data.stderr or b"").decode())
                found[" ".join(captured.step_keys or ())] = texts
            return found

    def helpers(self) -> set[str]:
        """The names of processes and threads that stood beside a node."""
        return {*(self.project.path / "helpers").read_text().split()}


def said(text: str) -> str:
    """What nodes have said, without what Kedro and Dagster log around it."""
    return "\n".join(re.findall(r"said [a-z ]+(?:n_\d)", text))


@pytest.fixture(scope="module")
def ran(rendered: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    @cache
    def run(job: str, config: str = DAGSTER_YAML) -> Ran:
        return Ran(rendered.copy(tmp_path_factory.mktemp("run") / "shop"), job, config)

    return run


@pytest.mark.parametrize("job", EXECUTORS)
def test_each_step_has_the_log_that_dagster_s_manager_gives_it(
    ran: Callable[..., Ran], job: str
) -> None:
    ours = ran(job)
    assert ours.process.returncode == 0, ours.process.stderr
    if job == "workers":
        assert ours.logs() == ran(job, DAGSTER_S).logs()
    if job == "one":  # one capture for all of them
        ((out, err),) = ours.logs().values()
        assert (out.count("said by n_"), err.count("said in complaint by n_")) == (3, 3)
    else:
        assert ours.logs() == {
            name: ("\n".join(f"said {how} {name}" for how in HOW), f"said in complaint by {name}")
            for name in STEPS
        }


@pytest.mark.parametrize("job", EXECUTORS)
def test_the_terminal_shows_each_line_once_where_it_belongs(
    ran: Callable[..., Ran], job: str
) -> None:
    out, err = (said(text) for text in (ran(job).process.stdout, ran(job).process.stderr))
    logs = ran(job).logs().values()
    assert sorted(out.split("\n")) == sorted("\n".join(out for out, _ in logs).split("\n"))
    assert sorted(err.split("\n")) == sorted("\n".join(err for _, err in logs).split("\n"))


@pytest.mark.parametrize("job", EXECUTORS)
def test_no_process_stands_beside_a_step(ran: Callable[..., Ran], job: str) -> None:
    assert "tail" in ran("workers", DAGSTER_S).helpers()
    assert "tail" not in ran(job).helpers()
    assert ("kedro-terminal" in ran(job).helpers()) == (job != "workers")  # whose nodes may fork


def test_the_log_of_a_step_that_crashed_is_there_and_in_the_terminal(
    ran: Callable[..., Ran],
) -> None:
    crashed = ran("crash")
    assert crashed.process.returncode != 0
    assert crashed.logs()["breaks"] == ("said before the crash of n_0", "")
    assert said(crashed.process.stdout).count("said before the crash of n_0") == 1
    (run,) = crashed.project.dagster_home.glob("storage/*/compute_logs")
    assert len(list(run.glob("*.out"))) == len(list(run.glob("*.complete"))) + 1 == 3
