"""A job on Celery: a Redis broker with a password, and two workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
import yaml

from executors import workers
from fidelity.rich_project import Outcome, nodes_of
from projects import Project

pytestmark = pytest.mark.slow

PASSWORD = "s3cret"  # noqa: S105
EXECUTOR = {"broker": {"env": "CELERY_URL"}, "backend": {"env": "CELERY_URL"}}
JOBS = {
    "on_celery": {"pipeline": {}, "executor": {"celery": EXECUTOR}},
    "faults": {
        "pipeline": {"pipeline_name": "faults"},
        "executor": {"celery_executor": EXECUTOR},
    },
}
LOOK = """
import os

import dagster as dg
from dagster._core.execution.api import create_execution_plan
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from {package}.definitions import defs

try:
    create_execution_plan(defs.resolve_job_def("on_celery"))
except dg.DagsterError as error:
    print("without:", str(error).splitlines())
os.environ["CELERY_URL"] = "redis://:{password}@nowhere"
create_execution_plan(defs.resolve_job_def("on_celery"))
print("shown:", serialize_value(RepositorySnap.from_def(defs.get_repository_def())))
"""


@pytest.fixture(scope="module")
def project(traced_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return workers.make_project(traced_example, tmp_path_factory.mktemp("celery") / "project", JOBS)


@pytest.fixture(scope="module")
def variables(project: Project) -> Iterator[dict[str, str]]:
    """The environment of a run, for which a broker and two workers are there."""
    if not shutil.which("redis-server") and os.environ.get("CI") != "true":
        pytest.skip("needs redis-server, from the Debian package redis-server")
    port = workers.free_port()
    listen = ("--bind", "127.0.0.1", "--port", str(port), "--requirepass", PASSWORD)
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    variables = {"CELERY_URL": url, "STORE": str(project.path / "stored")}
    config = project.path / "celery.yaml"
    config.write_text(yaml.safe_dump({"execution": {"config": EXECUTOR}}), encoding="utf-8")
    worker = ("dagster-celery", "worker", "start", "-A", "dagster_celery.app", "-y", config.name)
    with (
        workers.started(project, "redis", "Ready to accept", "redis-server", *listen, "--save", ""),
        workers.started(
            project, "one", "ready.", *worker, "-n", "one", "--", "--concurrency=1", **variables
        ),
        workers.started(
            project, "two", "ready.", *worker, "-n", "two", "--", "--concurrency=1", **variables
        ),
    ):
        yield variables


@pytest.fixture(scope="module")
def on_celery(project: Project, variables: dict[str, str]) -> Outcome:
    return workers.run(project, "on_celery", **variables)


@pytest.fixture(scope="module")
def with_faults(project: Project, variables: dict[str, str], on_celery: Outcome) -> Outcome:  # noqa: ARG001
    return workers.run(project, "faults", check=False, **variables)


def test_a_job_does_what_kedro_run_does(on_celery: Outcome, by_kedro: Outcome) -> None:
    workers.assert_as_kedro_run(on_celery, by_kedro)
    workers.assert_pipeline_hooks_once(on_celery)
    workers.assert_two_workers(on_celery)


def test_values_cross_workers_by_the_user_s_io_manager(on_celery: Outcome) -> None:
    files = list((on_celery.project.path / "stored").glob("*/*/*"))
    state = [path for path in files if path.parent.name == "kedro_run_state"]
    assert len(state) == 1  # what before_pipeline_run has put into the catalog
    stored = {path.name for path in files if path not in state}
    days = {f"{rider}__{part}_days" for rider in ("casual", "member") for part in ("train", "test")}
    assert stored == {"clean_weather", *days}


def test_a_node_that_raises_in_a_worker(with_faults: Outcome) -> None:
    workers.assert_told_of_fault(with_faults)
    workers.assert_pipeline_hooks_once(with_faults, "on_pipeline_error")
    assert "after_fail" not in nodes_of(with_faults.trace)


def test_a_step_that_is_tried_again(with_faults: Outcome) -> None:
    ran = nodes_of(with_faults.trace)
    assert ran.count("fail_once") == 2
    assert ran.count("after_fail_once") == 1


def test_the_broker_is_in_no_database(on_celery: Outcome, with_faults: Outcome) -> None:  # noqa: ARG001
    stored = list(on_celery.project.dagster_home.rglob("*.db"))
    assert stored
    assert not [path for path in stored if PASSWORD.encode() in path.read_bytes()]


def test_a_variable_is_read_by_runs_and_not_by_the_code_location(project: Project) -> None:
    script = LOOK.format(package=project.package, password=PASSWORD)
    *_, without, shown = project.run("-c", script).stdout.splitlines()
    for option in ("broker", "backend"):
        assert f"'Option celery.{option} of dagster.yml: You have attempted to fetch the" in without
    assert without.count('"CELERY_URL" which is not set') == 2
    assert '"on_celery"' in shown
    assert PASSWORD not in shown
