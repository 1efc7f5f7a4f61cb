"""A job on Dask: on a scheduler with two worker processes, and on a cluster of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from executors import workers
from fidelity.rich_project import Outcome, nodes_of
from partitions.whole import SKIPPED, check_late, make_whole
from projects import Project

pytestmark = pytest.mark.slow

EXISTING = {"cluster": {"existing": {"address": {"env": "DASK_SCHEDULER"}}}}
JOBS = {
    "on_cluster": {"pipeline": {}, "executor": {"dask": EXISTING}},
    "on_local_cluster": {
        "pipeline": {},
        "executor": {"dask_executor": {"cluster": {"local": {"n_workers": 2}}}},
    },
    "refused": {"pipeline": {}, "executor": {"dask": EXISTING}},
    "faults": {
        "pipeline": {
            "pipeline_name": "faults",
            "node_names": ["make", "keep", "fail", "after_fail"],
        },
        "executor": {"dask": EXISTING},
    },
}


@pytest.fixture(scope="module")
def project(traced_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return workers.make_project(traced_example, tmp_path_factory.mktemp("dask") / "project", JOBS)


@pytest.fixture(scope="module")
def scheduler(project: Project) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    port = workers.free_port()
    address = f"tcp://127.0.0.1:{port}"
    listen = ("--host", "127.0.0.1", "--no-dashboard")
    worker = ("dask", "worker", address, *listen, "--nthreads", "1", "--no-nanny")
    with (
        workers.started(
            project, "scheduler", "Scheduler at", "dask", "scheduler", *listen, f"--port={port}"
        ),
        workers.started(project, "worker_1", "Registered to", *worker, DASK_SCHEDULER=address),
        workers.started(project, "worker_2", "Registered to", *worker, DASK_SCHEDULER=address),
    ):
        yield address


@pytest.fixture(scope="module")
def on_cluster(project: Project, scheduler: str) -> Outcome:
    return workers.run(project, "on_cluster", DASK_SCHEDULER=scheduler)


@pytest.fixture(scope="module")
def with_faults(project: Project, scheduler: str, on_cluster: Outcome) -> Outcome:  # noqa: ARG001
    return workers.run(project, "faults", check=False, DASK_SCHEDULER=scheduler)


@pytest.fixture(scope="module")
def on_local_cluster(traced_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder: Path = tmp_path_factory.mktemp("local_dask") / "project"
    return workers.run(workers.make_project(traced_example, folder, JOBS), "on_local_cluster")


@pytest.mark.parametrize("way", ["on_cluster", "on_local_cluster"])
def test_a_job_does_what_kedro_run_does(
    request: pytest.FixtureRequest, by_kedro: Outcome, way: str
) -> None:
    run: Outcome = request.getfixturevalue(way)
    workers.assert_as_kedro_run(run, by_kedro)
    workers.assert_pipeline_hooks_once(run)
    workers.assert_two_workers(run)


def test_a_node_that_raises_in_a_worker(with_faults: Outcome) -> None:
    workers.assert_told_of_fault(with_faults)
    workers.assert_pipeline_hooks_once(with_faults, "on_pipeline_error")
    assert sorted(nodes_of(with_faults.trace)) == ["fail", "keep", "make"]


def test_a_worker_has_a_context_for_each_run(with_faults: Outcome, on_cluster: Outcome) -> None:
    """The workers live on: nothing of an earlier run is left in them."""
    before, after = (
        {call["pid"] for call in run.calls("before_node_run")} for run in (on_cluster, with_faults)
    )
    assert after <= before
    created = [call["pid"] for call in with_faults.calls("after_context_created")]
    assert sorted(created) == sorted({*created})
    assert after < {*created}


def test_workers_with_several_threads_are_refused(project: Project, scheduler: str) -> None:
    worker = ("dask", "worker", scheduler, "--host", "127.0.0.1", "--no-dashboard", "--no-nanny")
    with workers.started(project, "threads", "Registered to", *worker, "--nthreads", "2"):
        run = workers.run(project, "refused", check=False, DASK_SCHEDULER=scheduler)
    assert "has several threads" in run.call("fault")["message"]
    assert nodes_of(run.trace) == []


def test_what_depends_on_a_key_without_data_alone_is_skipped(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project = make_whole(tmp_path_factory.mktemp("missing") / "project")
    executor = {"dask": {"cluster": {"local": {"n_workers": 2}}}}
    jobs = {"late": {"pipeline": {"pipeline_name": "late"}, "executor": executor}}
    file = project.path / "conf" / "dask" / "dagster.yml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump({"jobs": jobs}))
    process = project.execute("late", KEDRO_ENV="dask")
    check_late(project)
    for step in SKIPPED:
        assert f"- {step} - This step is skipped" in process.stderr
