"""Runs of a project in a terminal, and how one goes on that has failed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from kedro_dagster.cli import dagster_group
from kedro_dagster.errors import KedroDagsterError
from kedro_dagster.read.ad_hoc import AdHocJob
from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("run_command")]

NODES = """
    import time
    from pathlib import Path


    def make(size):
        return list(range(size))


    def grow(saved):
        return [*saved, "grown"]


    def maybe_fail(grown):
        if not Path("repaired").exists():
            raise RuntimeError("the disk is full")
        return [*grown, "end"]


    def hang():
        Path("hangs").touch()
        time.sleep(600)


    def show(saved):
        print("there are", len(saved))
        return len(saved)


    def copy_parts(parts):
        return {key: load() for key, load in parts.items()}
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node

    from shop import nodes


    def register_pipelines():
        flaky = Pipeline(
            [
                node(nodes.make, "params:size", "saved", name="make"),
                node(nodes.grow, "saved", "grown", name="grow"),
                node(nodes.maybe_fail, "grown", "end", name="maybe_fail"),
            ]
        )
        shown = Pipeline([node(nodes.show, "saved", "shown", name="show", tags="quick")])
        hangs = Pipeline([node(nodes.hang, None, "never", name="hang")])
        parts = Pipeline([node(nodes.copy_parts, "parts", "copies", name="copy_parts")])
        return {
            "__default__": flaky + shown,
            "flaky": flaky,
            "shown": shown,
            "hangs": hangs,
            "parts": parts,
        }
"""
CATALOG = {
    name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
    for name in ("saved", "end", "shown")
} | {
    name: {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": f"data/{name}",
        "filename_suffix": ".json",
        "dataset": {"type": "json.JSONDataset"},
        "partition": {
            "type": "dagster.StaticPartitionsDefinition",
            "partition_keys": ["a", "b", "c"],
        },
    }
    for name in ("parts", "copies")
}
DAGSTER = """
    executors:
      two: {multiprocess: {max_concurrent: 2}}
      spawned: {multiprocess: {start_method: {spawn: {}}}}
    jobs:
      in_one: {pipeline: {pipeline_name: flaky}, executor: in_process}
      in_workers: {pipeline: {pipeline_name: flaky}, executor: two}
      together: {pipeline: {pipeline_name: flaky}, executor: in_process, group_by: pipeline}
      fan: {pipeline: {pipeline_name: parts}, executor: in_process}
      by_key: {pipeline: {pipeline_name: parts}, executor: in_process, partitions: per_run}
"""

SALES = """
    jobs:
      sales: {target: assets, select: "key:shown"}
      training: {pipeline: {pipeline_name: flaky}}
"""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("run") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        catalog=CATALOG,
        parameters={"size": 2},
        dagster=DAGSTER,
        files={"conf/sales/dagster.yml": SALES, "conf/test/.gitkeep": ""},
    )


@pytest.fixture
def project(pristine: Project, tmp_path: Path) -> Project:
    return pristine.copy(tmp_path / "shop")


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the project's runs."""
    project.create_dagster_home()
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        yield instance


def warnings_of(instance: dg.DagsterInstance, job: str) -> list[str]:
    """What was logged as a warning in the last run of a job."""
    (run, *_) = instance.get_runs(dg.RunsFilter(job_name=job))
    entries = instance.all_logs(run.run_id)
    return [one.user_message for one in entries if one.level == 30 and not one.is_dagster_event]


@pytest.fixture(scope="module")
def suggestion(pristine: Project) -> str:
    """What `kedro run` says of how to go on."""
    project = pristine.copy(pristine.path.parent / "kedro_run" / "shop")
    shown = project.kedro("run", "--pipelines", "flaky", check=False, COLUMNS="400").stdout
    return " ".join(shown.split())


def check_how_to_go_on(instance: dg.DagsterInstance, suggestion: str) -> None:
    """Compare what the last run has logged."""
    (run, *_) = instance.get_runs()
    words, how = warnings_of(instance, run.job_name)
    assert '--from-nodes "grow"' in words
    for line in words.splitlines():
        assert " ".join(line.split()) in suggestion
    assert f"kedro dagster run --resume {run.run_id}" in how


def test_nodes_of_a_step_that_failed_count_as_they_do_in_kedro_run(
    project: Project, instance: dg.DagsterInstance, suggestion: str
) -> None:
    project.execute("together", check=False)
    check_how_to_go_on(instance, suggestion)


def test_a_materialisation_that_failed_goes_on_in_the_ui(
    project: Project, instance: dg.DagsterInstance
) -> None:
    project.run(
        *("-m", "dagster", "asset", "materialize", "--select", "saved,end"),
        *("-m", "shop.definitions"),
        check=False,
    )
    (how,) = warnings_of(instance, "__ASSET_JOB")
    assert "re-execute this run from failure, in its UI: that runs" in how
    process = project.kedro("dagster", "run", "--resume", check=False)
    assert "is no run of a job, but materialises assets. Re-execute it from" in process.stderr


def run(project: Project, *arguments: str, code: int = 0) -> str:
    """Run `kedro dagster run` in a process of its own."""
    process = project.kedro("dagster", "run", *arguments, check=False, COLUMNS="200")
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout


def saved(project: Project, name: str) -> Any:
    return json.loads((project.path / "data" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("job", "again"),
    [("in_one", ["grow", "maybe_fail"]), ("in_workers", ["maybe_fail"])],
)
def test_a_run_is_shown_and_recorded_and_goes_on_after_a_failure(
    project: Project, instance: dg.DagsterInstance, suggestion: str, job: str, again: list[str]
) -> None:
    shown = run(project, job, code=1)
    check_how_to_go_on(instance, suggestion)
    assert "Running node: make: make([params:size]) -> [saved]" in shown  # as kedro run logs it
    assert "[1/3] make done" in shown
    assert f"  saved  {project.path}/data/saved.json\n" in shown
    assert "Step maybe_fail failed: RuntimeError: the disk is full\n" in shown
    assert "STEP_START" not in shown  # Dagster's own lines are in the UI
    (failed,) = instance.get_runs()
    assert (failed.job_name, failed.status) == (job, dg.DagsterRunStatus.FAILURE)
    assert f"kedro dagster run {job} --resume {failed.run_id}\n" in shown

    (project.path / "repaired").touch()
    shown = run(project, job, "--resume", failed.run_id[:8])
    assert [name for name in ("make", "grow", "maybe_fail") if f"node: {name}:" in shown] == again
    assert saved(project, "end") == [0, 1, "grown", "end"]
    resumed, _ = instance.get_runs()
    assert (resumed.parent_run_id, resumed.is_success) == (failed.run_id, True)


@pytest.mark.parametrize("executor", ["in_process", "two", "spawned"])
def test_the_options_of_kedro_run_make_a_job(
    project: Project, instance: dg.DagsterInstance, executor: str
) -> None:
    options = ["--pipelines", "flaky,shown", "--to-outputs", "shown", "--params", "size=5"]
    project.kedro("run", *options)
    oracle = saved(project, "shown")
    (project.path / "data" / "shown.json").unlink()
    shown = run(project, *options, "--executor", executor)
    assert saved(project, "shown") == oracle == 5
    assert "there are 5" in shown
    assert "[2/2] show done" in shown
    assert shown.count("as logging configuration") == 1  # by Kedro, and by no process of a step
    (made,) = instance.get_runs()
    (config,) = made.run_config["resources"].values()
    assert config == {"config": {"runtime_params": {"size": 5}}}


def test_only_missing_outputs_are_made_as_by_kedro_run(project: Project) -> None:
    run(project, "in_one", code=1)
    (project.path / "repaired").touch()
    shown = run(project, "in_one", "--only-missing-outputs")
    assert "Running 2 out of 3 nodes" in shown  # in Kedro's words
    assert [name for name in ("make", "grow", "maybe_fail") if f"node: {name}:" in shown] == [
        "grow",
        "maybe_fail",
    ]


def test_a_part_of_a_job_has_its_name_and_goes_on_as_a_part(
    project: Project, instance: dg.DagsterInstance
) -> None:
    options = ("--env", "test")
    nodes = ("--from-nodes", "make", "--to-nodes", "maybe_fail")
    shown = run(project, "in_one", *options, *nodes, code=1)
    (failed,) = instance.get_runs()
    go_on = f"--resume {failed.run_id} --env test"
    assert f"To go on with what it has not done: kedro dagster run in_one {go_on}\n" in shown
    assert f"kedro dagster run {go_on}`" in warnings_of(instance, "in_one")[-1]
    (project.path / "repaired").touch()
    run(project, "--resume", "--executor", "two", *options)
    assert [one.job_name for one in instance.get_runs()] == ["in_one", "in_one"]
    assert saved(project, "end")[-1] == "end"


def test_partitions_are_run_by_key_and_by_range(
    project: Project, instance: dg.DagsterInstance
) -> None:
    (project.path / "data" / "parts").mkdir(parents=True)
    for key in "abc":
        (project.path / "data" / "parts" / f"{key}.json").write_text(f'"{key}"')
    copies = project.path / "data" / "copies"
    run(project, "fan", "--partition", "b")
    assert [file.stem for file in copies.iterdir()] == ["b"]
    shown = run(project, "by_key", "--partition", "a...b")
    assert f"  copies [a]  {copies}/a.json\n" in shown
    keys = [one.tags.get("dagster/partition") for one in instance.get_runs()]
    assert keys == ["b", "a", None]
    assert sorted(file.stem for file in copies.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say which job: kedro dagster run JOB. The jobs: in_one, in_workers, together, "),
        (["in_on"], "There is no job 'in_on'. Did you mean 'in_one'?\n"),
        (["in_on", "--executor", "two"], "There is no job 'in_on'. Did you mean 'in_one'?\n"),
        (["--tags", "quik"], "--tags: 'quik' is not in the pipeline. Did you mean 'quick'?\n"),
        (["--nodes", "x"], "--nodes: 'x' is not in the pipeline. Allowed: "),
        (["in_one", "--executor", "tow"], "--executor: 'tow' is not defined in 'executors'."),
        (["in_one", "--executor", "os.system"], "--executor: 'os.system' is no name."),
        (["fan", "--partition", "x"], "--partition: job 'fan' has no partition 'x'."),
        (["by_key", "--partition", "x"], "--partition: job 'by_key' has no partition 'x'."),
        (["by_key", "--partition", ""], "--partition: job 'by_key' has no partition ''. Allowed: "),
        (["by_key", "--partition", "a..."], "--partition: job 'by_key' has no partition ''."),
        (["fan", "--partition", "...b"], "--partition: job 'fan' has no partition ''."),
        (["by_key", "--partition", "c...a"], "has no partition from 'c' to 'a': 'a' is first."),
        (["fan", "--partition", "c...a"], "has partitions from 'c' to 'a'."),
        (["by_key", "--only-missing-outputs"], "--only-missing-outputs: a run of this job makes "),
        (["by_key"], "Job 'by_key' runs one partition at a time: say which one"),
        (["--resume"], "--resume: there is no run.\n"),
        (["in_one", "--resume", "7"], "there is no run of job 'in_one' whose id begins with '7'"),
        (
            ["--resume", "7", "--params", "size=1"],
            "with the options of the run: leave out --params",
        ),
        (["--resume", "7", "--nodes", "x", "--async"], "run: leave out --nodes, --async.\n"),
        (
            ["--env", "sales"],
            "Say which job: kedro dagster run JOB. The jobs: sales, training.\n",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    arguments: list[str], message: str, pristine: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pristine.create_dagster_home()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("KEDRO_ENV", "")  # the command may set it
    monkeypatch.setenv("DAGSTER_HOME", str(pristine.dagster_home))
    monkeypatch.chdir(pristine.path)
    metadata = bootstrap_project(pristine.path)
    result = CliRunner().invoke(dagster_group, ["run", *arguments], obj=metadata)
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"name": "a", "executor": "os.system"}',
        '{"name": "a", "pipeline": {"__class__": ["os"]}}',
        '{"name": "a", "pipeline": {"tags": "${oc.env:HOME}"}}',
    ],
)
def test_a_tag_that_describes_no_job_is_refused(text: str) -> None:
    """Who launches a run may write its tags."""
    with pytest.raises(KedroDagsterError):
        AdHocJob.from_json(text)


@pytest.mark.parametrize("executor", ["in_process", "two"])
def test_ctrl_c_cancels_the_run_and_ends_its_processes(
    project: Project, instance: dg.DagsterInstance, executor: str
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    command = ["kedro", "dagster", "run", "--pipelines", "hangs", "--executor", executor]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=project.path,
        env=project.environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, interrupted, deadline = b"", False, time.monotonic() + 120
    with suppress(OSError):  # it is closed by whoever ends last
        while time.monotonic() < deadline:
            shown += os.read(ours, 1 << 16) if select.select([ours], [], [], 1)[0] else b""
            if (project.path / "hangs").exists() and b"0:00:02" in shown and not interrupted:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does
                interrupted = True
    os.close(ours)
    assert process.wait(30) == 1, shown
    assert b"0 of 1 steps done, 1 running" in shown
    (made,) = instance.get_runs()
    assert made.status is dg.DagsterRunStatus.CANCELED
    assert f"Run {made.run_id} of ad_hoc: canceled".encode() in shown
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
