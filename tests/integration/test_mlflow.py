"""A Dagster run gives the MLflow run that `kedro run` gives, with kedro-mlflow as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from mlflow import MlflowClient
from mlflow.entities import Run

from fidelity.rich_project import RUN_ID
from kedro_dagster.run import mlflow_run as bridge
from projects import Project, make_project

pytestmark = pytest.mark.slow

NODES = """
import os
import signal

import mlflow


def prepare(options):
    mlflow.log_text("hello", "notes/hello.txt")
    return list(range(options["n"]))


def train(rows, rate, shared):
    for step in range(3):
        mlflow.log_metric(f"loss_{rate}", step * rate, step=step)
    return float(sum(rows)) * rate * shared


def explore(rows, shared):
    mlflow.start_run(run_name="trial", nested=True)  # and never ended
    mlflow.log_metric("trial", 1)
    return [0.1, 0.2]


def report(first, second, shared, text):
    mlflow.log_metric("gap", first - second)
    return {"first": first, "second": second}


def fail(rows, shared):
    mlflow.log_metric("before", 1)
    mlflow.end_run()
    raise RuntimeError("out of luck")


def die(rows):
    os.kill(os.getpid(), signal.SIGKILL)


def silent(shared):
    return [shared]


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [2 * value for value in model_input]


def learn(shared):
    return Doubler()


def apply(model, shared):
    return {"doubled": model.unwrap_python_model().predict(None, [shared])}
"""

PIPELINES = """
from kedro.pipeline import node, pipeline

from .nodes import apply, die, explore, fail, learn, prepare, report, silent, train


def register_pipelines():
    prepared = node(prepare, "params:prepare", "rows", name="prepare")
    return {
        "__default__": pipeline([prepared]),
        "train": pipeline(
            [
                prepared,
                node(train, ["rows", "params:rate_1", "params:shared"], "score_1", name="train_1"),
                node(train, ["rows", "params:rate_2", "params:shared"], "score_2", name="train_2"),
                node(explore, ["rows", "params:shared"], "curve", name="explore"),
                node(
                    report,
                    ["score_1", "score_2", "params:shared", "params:text"],
                    "report",
                    name="report",
                ),
            ]
        ),
        "broken": pipeline(
            [prepared, node(fail, ["rows", "params:shared"], "nothing", name="fail")]
        ),
        "killed": pipeline([prepared, node(die, "rows", "nothing", name="die")]),
        "modelled": pipeline(
            [
                node(learn, "params:shared", "model", name="learn"),
                node(apply, ["model", "params:shared"], "applied", name="apply"),
            ]
        ),
        "refused": pipeline([node(silent, "params:shared", "kept", name="silent")]),
        "untracked": pipeline([node(silent, "params:shared", "kept", name="silent")]),
    }
"""

HOOKS = """
from kedro.framework.hooks import hook_impl


class ProjectHooks:
    @hook_impl
    def before_pipeline_run(self, run_params):
        if "refused" in (run_params.get("pipeline_names") or [run_params.get("pipeline_name")]):
            raise RuntimeError("not today")
"""

ARTIFACT = """
{name}:
  type: kedro_mlflow.io.artifacts.MlflowArtifactDataset
  artifact_path: tables
  dataset: {{type: json.JSONDataset, filepath: data/{name}.json}}
"""

CATALOG = f"""
{ARTIFACT.format(name="rows")}
{ARTIFACT.format(name="report")}
score_1: {{type: kedro_mlflow.io.metrics.MlflowMetricDataset}}
score_2: {{type: kedro_mlflow.io.metrics.MlflowMetricDataset}}
curve:
  type: kedro_mlflow.io.metrics.MlflowMetricHistoryDataset
  save_args: {{mode: list}}
kept: {{type: json.JSONDataset, filepath: data/kept.json}}
applied: {{type: json.JSONDataset, filepath: data/applied.json}}
model:
  type: kedro_mlflow.io.models.MlflowModelTrackingDataset
  flavor: mlflow.pyfunc
  pyfunc_workflow: python_model
  save_args: {{name: model, pip_requirements: []}}
"""

PARAMETERS = {
    "prepare": {"n": 10, "deep": {"x": 1, "y": {"z": "two"}}},
    "rate_1": 1,
    "rate_2": 2,
    "shared": 3,
    "text": "x" * 7000,
}

MLFLOW = """
server: {mlflow_tracking_uri: sqlite:///mlflow.db}
tracking:
  disable_tracking: {pipelines: [untracked]}
  experiment: {name: shop}
  run: {name: "${km.random_name:}"}
  params:
    dict_params: {flatten: true}
    long_params_strategy: truncate
ui: {port: "5050"}
"""

EXECUTORS = ("in_process", "multiprocess")

DAGSTER = {
    "executors": {name: {name: {}} for name in EXECUTORS},
    "jobs": {
        f"{pipeline}_{executor}": {
            "pipeline": {"pipeline_name": pipeline},
            "executor": executor,
        }
        for pipeline in ("train", "broken", "untracked", "killed", "refused")
        for executor in EXECUTORS
    }
    | {
        "modelled": {
            "pipeline": {"pipeline_name": "modelled"},
            "executor": {"multiprocess": {"start_method": {"spawn": {}}}},
        }
    },
}

TRACKED = [f"{pipeline}_{executor}" for pipeline in ("train", "broken") for executor in EXECUTORS]
ASSETS = "__ASSET_JOB"
UNTRACKED = [f"untracked_{executor}" for executor in EXECUTORS]

# One after the other in one process, where kedro-mlflow has one hook for all of them
LAUNCH = """
import sys

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from shop.definitions import defs

ASSETS = frozenset(map(dg.AssetKey, ["rows", "score_1", "score_2", "curve", "report"]))


def launch(name, assets=None):
    repository = ReconstructableRepository.for_module("shop.definitions", "defs")
    job = repository.get_reconstructable_job(name)
    dg.execute_job(job.get_subset(asset_selection=assets) if assets else job, instance)


def notice_that_the_worker_is_gone(name):
    (run,) = instance.get_runs(dg.RunsFilter(job_name=name))
    instance.report_run_failed(run, "The worker is gone.")
    (record,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    repository = defs.get_repository_def()
    context = dg.build_run_status_sensor_context(
        sensor_name="kedro_on_pipeline_error",
        dagster_event=record.dagster_event,
        dagster_instance=instance,
        dagster_run=run,
        repository_def=repository,
    )
    repository.get_sensor_def("kedro_on_pipeline_error")(context.for_run_failure())


if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        for job in sys.argv[1:]:
            launch(job)
        launch("__ASSET_JOB", ASSETS)
        notice_that_the_worker_is_gone("killed_in_process")
"""


class HookStub:
    """Stands in for kedro-mlflow's hook, and notes which run it is told to resume."""

    def __init__(self) -> None:
        self.mlflow_config = KedroMlflowConfig()
        self.resumed: str | None = None

    def before_pipeline_run(self, **_: object) -> None:
        self.resumed = self.mlflow_config.tracking.run.id


@dataclass(frozen=True)
class Tracking:
    """What a project's runs have left in MLflow and in Dagster."""

    project: Project

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.project.path}/mlflow.db"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def runs(self) -> list[Run]:
        """The MLflow runs, but for those that are nested in another."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found = self.client.search_runs(experiments)
        return [run for run in found if "mlflow.parentRunId" not in run.data.tags]

    def tags(self, job: str) -> dict[str, str]:
        """The tags of the one Dagster run of a job."""
        with dg.DagsterInstance.from_config(str(self.project.dagster_home)) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(job_name=job))
            return dict(run.tags)

    def materialisations(self, job: str) -> dict[str, Mapping[str, Any]]:
        """The metadata of what the one Dagster run of a job has made, by asset."""
        with dg.DagsterInstance.from_config(str(self.project.dagster_home)) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(job_name=job))
            kind = dg.DagsterEventType.ASSET_MATERIALIZATION
            made = [entry.asset_materialization for entry in instance.all_logs(run.run_id, kind)]
        return {one.asset_key.to_user_string(): one.metadata for one in made if one}

    def of_job(self, job: str) -> Run:
        """The MLflow run that is of the same Kedro run as a job's run."""
        run_id = self.tags(job)["kedro/run_id"]
        (run,) = (run for run in self.runs() if run.data.tags.get(RUN_ID) == run_id)
        return run

    def of_kedro(self, pipeline: str) -> Run:
        """The MLflow run of a pipeline's `kedro run`."""
        (run,) = (
            run
            for run in self.runs()
            if str([pipeline])
            in (
                run.data.tags.get("pipeline_names"),
                str([run.data.tags.get("pipeline_name")]),  # before Kedro 1.2
            )
            and "SequentialRunner" in run.data.tags["runner"]
        )
        return run

    def content(self, run: Run) -> dict[str, Any]:
        """All that a run has recorded, but for what tells one run from another."""
        mine = ("mlflow.", RUN_ID, "runner")
        return {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith(mine)},
            "metrics": {
                name: [
                    (metric.step, metric.value)
                    for metric in self.client.get_metric_history(run.info.run_id, name)
                ]
                for name in run.data.metrics
            },
            "artifacts": dict(self._artifacts(run)),
        }

    def _artifacts(self, run: Run) -> Iterator[tuple[str, str]]:
        folder = Path(self.client.download_artifacts(run.info.run_id, ""))
        for file in folder.rglob("*"):
            if file.is_file():
                yield str(file.relative_to(folder)), file.read_text()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A project, run by Kedro and by Dagster; each run is to give one MLflow run."""
    project = make_project(
        tmp_path_factory.mktemp("mlflow") / "shop",
        pipelines=PIPELINES,
        nodes=NODES,
        catalog=CATALOG,
        parameters=PARAMETERS,
        dagster=DAGSTER,
        hooks=HOOKS,
        files={"conf/base/mlflow.yml": MLFLOW, "launch.py": LAUNCH},
    )
    project.kedro("run", "-p", "train")
    project.kedro("run", "-p", "broken", check=False)
    tracking = Tracking(project)
    inherited = {"mlflow/run_id": tracking.of_kedro("train").info.run_id}
    project.execute("killed_in_process", "--tags", json.dumps(inherited), check=False)
    others = ("refused_in_process", "killed_multiprocess")
    project.run("launch.py", *TRACKED, *others, *UNTRACKED)
    return tracking


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("pipeline", "status"), [("train", "FINISHED"), ("broken", "FAILED")])
def test_a_dagster_run_records_what_kedro_run_records(
    tracking: Tracking, pipeline: str, status: str, executor: str
) -> None:
    recorded = tracking.content(tracking.of_job(f"{pipeline}_{executor}"))

    assert recorded["status"] == status
    assert recorded["artifacts"]
    assert recorded == tracking.content(tracking.of_kedro(pipeline))


def test_each_run_gives_one_mlflow_run(tracking: Tracking) -> None:
    jobs = [*TRACKED, ASSETS, "killed_in_process", "killed_multiprocess", "refused_in_process"]
    found = [*map(tracking.of_kedro, ("train", "broken")), *map(tracking.of_job, jobs)]

    assert len({run.info.run_id for run in found}) == len(found)
    assert len(tracking.runs()) == len(found)


@pytest.mark.parametrize("job", TRACKED)
def test_the_dagster_run_names_its_mlflow_run(tracking: Tracking, job: str) -> None:
    run, tags = tracking.of_job(job), tracking.tags(job)

    assert tags["mlflow/run_id"] == run.info.run_id
    assert tags["mlflow/run_url"] == (
        f"http://127.0.0.1:5050/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    )


@pytest.mark.parametrize("job", [*(one for one in TRACKED if "train" in one), ASSETS])
def test_each_materialisation_names_the_mlflow_run(tracking: Tracking, job: str) -> None:
    run = tracking.of_job(job)
    told = tracking.materialisations(job)

    assert told.keys() == {"rows", "score_1", "score_2", "curve", "report"}
    for metadata in told.values():
        assert metadata["mlflow/run_id"] == dg.TextMetadataValue(run.info.run_id)
        assert metadata["mlflow/run_url"] == dg.UrlMetadataValue(
            tracking.tags(job)["mlflow/run_url"]
        )


@pytest.mark.parametrize("job", UNTRACKED)
def test_a_pipeline_that_is_not_tracked_gives_no_mlflow_run(tracking: Tracking, job: str) -> None:
    assert "kedro/run_id" in tracking.tags(job)
    assert not {"mlflow/run_id", "mlflow/run_url"} & set(tracking.tags(job))
    (kept,) = tracking.materialisations(job).values()
    assert not {"mlflow/run_id", "mlflow/run_url"} & kept.keys()


def test_materialising_assets_records_what_kedro_run_records(tracking: Tracking) -> None:
    expected, recorded = (
        {key: value for key, value in tracking.content(run).items() if key != "tags"}
        for run in (tracking.of_kedro("train"), tracking.of_job(ASSETS))
    )

    assert recorded == expected


def test_a_hook_that_refuses_the_run_fails_it(tracking: Tracking) -> None:
    assert tracking.of_job("refused_in_process").info.status == "FAILED"


def test_a_killed_step_fails_the_run(tracking: Tracking) -> None:
    run = tracking.of_job("killed_multiprocess")

    assert run.info.status == "FAILED"
    assert run.data.params["prepare.n"] == "10"


def test_the_sensor_closes_the_run_of_a_killed_worker(tracking: Tracking) -> None:
    run = tracking.of_job("killed_in_process")

    assert run.info.status == "FAILED"
    assert run.data.tags["runner"] == "in_process"


def test_a_tag_that_is_inherited_is_replaced(tracking: Tracking) -> None:
    run = tracking.of_job("killed_in_process")

    assert tracking.tags("killed_in_process")["mlflow/run_id"] == run.info.run_id


@pytest.mark.parametrize("own", [True, False])
def test_only_the_run_of_the_same_kedro_run_is_resumed(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    run = tracking.of_kedro("train")
    hook = HookStub()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)

    bridge.join(
        hook,
        {"mlflow/run_id": run.info.run_id},
        {"run_id": run.data.tags["run_id"] if own else "another"},
        Pipeline([]),
        DataCatalog(),
    )

    assert hook.resumed == (run.info.run_id if own else None)


@pytest.mark.parametrize(
    ("tracking_uri", "address"),
    [
        ("sqlite:///mlflow.db", "http://127.0.0.1:5000"),
        ("https://mlflow.example/team/", "https://mlflow.example/team"),
        ("http://me:secret@mlflow.example:8080", "http://mlflow.example:8080"),
    ],
)
def test_the_url_is_what_kedro_mlflow_ui_opens_without_credentials(
    tracking_uri: str, address: str
) -> None:
    assert bridge.ui_address(KedroMlflowConfig(), tracking_uri) == address


def test_mlflow_is_not_imported_by_the_helper(tracking: Tracking) -> None:
    tracking.project.run("-c", "import sys, kedro_dagster; sys.exit('mlflow' in sys.modules)")


def test_a_model_is_found_by_another_process_than_the_one_that_saved_it(
    tracking: Tracking, tmp_path: Path
) -> None:
    project = tracking.project.copy(tmp_path / "shop")
    project.execute("modelled")
    applied = json.loads((project.path / "data" / "applied.json").read_text())
    assert applied["doubled"] == [2 * PARAMETERS["shared"]]  # type: ignore[operator]
