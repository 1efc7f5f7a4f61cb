"""Kubernetes: the job of each step, and the whole of a run whose pods are processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from executors.engines import BrokenKubernetes, Kubernetes, serve
from executors.packaged import NODES, Image, assert_as_kedro_run
from fidelity.rich_project import Outcome
from projects import EXAMPLES, Project

pytestmark = pytest.mark.slow

IMAGE = "registry.example/bikes:1"
CLIENT = {"load_incluster_config": False, "kubeconfig_file": "kubeconfig.json"}
EXAMPLE: dict[str, Any] = yaml.safe_load(
    (EXAMPLES / "pods/files/conf/base/dagster.yml").read_text(encoding="utf-8")
)
PODS = EXAMPLE["executors"]["pods"]["k8s"]
EXECUTORS: dict[str, dict[str, Any]] = {
    "k8s": {**PODS, **CLIENT, "env_vars": [*PODS["env_vars"], "TRACE", "THREADS=1"]},
    "celery_k8s": {
        **CLIENT,
        "job_image": IMAGE,
        "job_namespace": "bikes",
        "service_account_name": "run",
        "config_source": {"task_always_eager": True},  # the run worker is the Celery worker too
    },
}
LAUNCHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "k8s": ("dagster_k8s", "K8sRunLauncher", {"service_account_name": "dagster"}),
    "celery_k8s": (
        "dagster_celery_k8s",
        "CeleryK8sRunLauncher",
        {"postgres_password_secret": "postgres"},
    ),
}


@dataclass(frozen=True)
class Run:
    outcome: Outcome
    engine: Kubernetes

    def job(self, step: str) -> Mapping[str, Any]:
        """The Kubernetes job of a step."""
        (job,) = (
            job
            for job in self.engine.created.values()
            if job["metadata"]["labels"]["dagster/op"] == step
        )
        return job

    def container(self, step: str) -> Mapping[str, Any]:
        """The container of a step's pod."""
        (container,) = self.job(step)["spec"]["template"]["spec"]["containers"]
        return container


def pod(environment: Mapping[str, str], memory: str) -> dict[str, Any]:
    """The tag of a node, with the size of its pod."""
    container = {
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"limits": {"memory": memory}},
    }
    return {"tags": {"dagster-k8s/config": {"container_config": container}}}


def start(kind: str, image: Image, folder: Path, cluster: type[Kubernetes] = Kubernetes) -> Run:
    """Run the job on an executor."""
    module, name, options = LAUNCHERS[kind]
    launcher = {"instance_config_map": "dagster", "dagster_home": str(folder / ".dagster")}
    nodes = EXAMPLE["nodes"]
    if kind == "celery_k8s":  # which has no option for the environment
        environment = {**Image(image.package, image.python, folder).environment, "THREADS": "1"}
        nodes = {"*": pod(environment, "1Gi"), "count_daily_trips": pod(environment, "8Gi")}
    config = {"executors": {"containers": {kind: EXECUTORS[kind]}}, "nodes": nodes}
    launched_by = {"module": module, "class": name, "config": {**CLIENT, **launcher, **options}}
    deployed = image.deploy(folder, config, {"run_launcher": launched_by})
    with serve(cluster(deployed)) as engine:
        (folder / "kubeconfig.json").write_text(engine.kubeconfig())
        return Run(deployed.execute(fails=cluster is BrokenKubernetes), engine)


@pytest.fixture(scope="module")
def runs(
    image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Run]]]:
    """A run on each executor, all at the same time."""
    folder = tmp_path_factory.mktemp("k8s")
    with ThreadPoolExecutor() as pool:
        broken = pool.submit(start, "k8s", image, folder / "broken", BrokenKubernetes)
        runs = {kind: pool.submit(start, kind, image, folder / kind) for kind in EXECUTORS}
        yield {**runs, "broken": broken}


@pytest.fixture(params=EXECUTORS)
def run(request: pytest.FixtureRequest, runs: Mapping[str, Future[Run]]) -> Run:
    return runs[request.param].result()


def test_a_run_in_pods_is_as_a_kedro_run(run: Run, by_kedro: Outcome) -> None:
    assert_as_kedro_run(run.outcome, by_kedro)
    assert not run.engine.not_understood


def test_each_step_is_a_kubernetes_job_as_dagster_yml_says(run: Run) -> None:
    assert len(run.engine.created) == len(NODES)
    for step in NODES:
        job, container = run.job(step), run.container(step)
        assert container["image"] == IMAGE
        assert container["args"][:3] == ["dagster", "api", "execute_step"]
        assert job["metadata"]["labels"]["dagster/job"] == "daily"
        assert job["spec"]["template"]["spec"]["serviceAccountName"] == "run"
        given = {one["name"]: one.get("value") for one in container["env"]}
        assert given.items() >= {**run.engine.image.environment, "THREADS": "1"}.items()


def test_a_heavy_node_has_a_pod_of_its_own_size(run: Run) -> None:
    sizes = {step: run.container(step)["resources"]["limits"]["memory"] for step in NODES}
    assert sizes == {"clean_trips": "1Gi", "clean_weather": "1Gi", "count_daily_trips": "8Gi"}


def test_the_pod_of_the_example_runs_where_it_says(runs: Mapping[str, Future[Run]]) -> None:
    run = runs["k8s"].result()
    specs = {step: run.job(step)["spec"]["template"]["spec"] for step in NODES}
    selected = {step: spec.get("nodeSelector") for step, spec in specs.items()}
    assert selected == {**dict.fromkeys(NODES), "count_daily_trips": {"pool": "large"}}
    assert run.container("count_daily_trips")["resources"]["requests"] == {"cpu": "2"}


def test_the_example_is_one_of_the_sample_project(traced_example: Project, tmp_path: Path) -> None:
    project = traced_example.copy(tmp_path / "project").with_example("pods/files")
    shown = project.kedro("dagster", "plan", TRACE=str(tmp_path / "trace")).stdout
    assert "Job data_processing (pipeline data_processing, executor k8s" in shown


def test_pods_that_die_fail_the_run_which_is_told_once(runs: Mapping[str, Future[Run]]) -> None:
    run = runs["broken"].result()
    assert "Discovered failed Kubernetes job" in run.outcome.call("on_pipeline_error")["error"]
    assert len(run.outcome.calls("before_pipeline_run")) == 1
    assert not run.outcome.calls("after_pipeline_run")
    assert run.outcome.dagster_run.is_failure
