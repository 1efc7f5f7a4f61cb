"""Docker: the container of each step, and the whole of a run whose containers are processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from executors.engines import Docker, serve
from executors.packaged import NODES, Image, assert_as_kedro_run
from fidelity.rich_project import Outcome

pytestmark = pytest.mark.slow

IMAGE = "registry.example/bikes:1"
PASSED_ON = ["DAGSTER_HOME", "KEDRO_DISABLE_TELEMETRY", "KEDRO_ENV", "TRACE"]
CONTAINERS: dict[str, dict[str, Any]] = {
    "docker": {
        "image": IMAGE,
        "network": "inner",
        "env_vars": [*PASSED_ON, "THREADS=1"],
        "container_kwargs": {"volumes": ["/srv/data:/app/data"], "mem_limit": "2g"},
    },
    "celery_docker": {
        "docker": {
            "image": IMAGE,
            "network": "inner",
            "env_vars": PASSED_ON,
            "container_kwargs": {
                "volumes": ["/srv/data:/app/data"],
                "mem_limit": "2g",
                "environment": {"THREADS": "1"},
            },
        },
        "config_source": {"task_always_eager": True},  # the run worker is the Celery worker too
    },
}


@dataclass(frozen=True)
class Run:
    outcome: Outcome
    engine: Docker


@pytest.fixture(scope="module")
def runs(
    image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Run]]]:
    """A run on each executor, all at the same time."""
    folder = tmp_path_factory.mktemp("docker")

    def start(kind: str) -> Run:
        config = {"executors": {"containers": {kind: CONTAINERS[kind]}}}
        deployed = image.deploy(folder / kind, config)
        with serve(Docker(deployed)) as engine:
            return Run(deployed.execute(DOCKER_HOST=f"tcp://{engine.address}"), engine)

    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(start, kind) for kind in CONTAINERS}


@pytest.fixture(params=CONTAINERS)
def run(request: pytest.FixtureRequest, runs: Mapping[str, Future[Run]]) -> Run:
    return runs[request.param].result()


def test_a_run_in_containers_is_as_a_kedro_run(run: Run, by_kedro: Outcome) -> None:
    assert_as_kedro_run(run.outcome, by_kedro)
    assert not run.engine.not_understood


def test_each_step_is_a_container_as_dagster_yml_says(run: Run) -> None:
    environment = run.engine.image.environment
    assert len(run.engine.created) == len(NODES)
    for asked in run.engine.created.values():
        assert asked["Image"] == IMAGE
        assert asked["Cmd"][:3] == ["dagster", "api", "execute_step"]
        assert {f"{name}={value}" for name, value in environment.items()} <= set(asked["Env"])
        assert "THREADS=1" in asked["Env"]
        assert asked["HostConfig"]["Binds"] == ["/srv/data:/app/data"]
        assert asked["HostConfig"]["Memory"] == 2 * 1024**3
        assert asked["HostConfig"]["NetworkMode"] == "inner"
