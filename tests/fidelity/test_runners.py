"""A Kedro runner inside of a step: nodes of one step that run at the same time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from kedro.pipeline import Pipeline, node

from kedro_dagster.errors import RunConfigError
from kedro_dagster.plan.datasets import DatasetKind, DatasetPlan
from kedro_dagster.plan.model import JobPlan
from kedro_dagster.plan.runners import check_runner, is_async, runner_of_run, runs_in_order
from kedro_dagster.read.dagster_yml import PipelineOptions, RunnerOptions
from kedro_dagster.read.messages import parse_config
from projects import Project, make_project

NODES = """
    import threading

    both_at_once = threading.Barrier(2, timeout=60)

    def meet(raw):
        both_at_once.wait()
        return {"met": raw}

    def join(left, right): return [left, right]
    def keep(joined): return {"all": joined}
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(nodes.meet, "raw", "left", name="meet_left"),
                node(nodes.meet, "raw", "right", name="meet_right"),
                node(nodes.join, ["left", "right"], "joined", name="join"),
                node(nodes.keep, "joined", "kept", name="keep"),
            ])
        }
"""
HOOKS = """
    import os
    from kedro.framework.hooks import hook_impl

    def note(text):
        with open(os.environ["TRACE"], "a") as file:
            print(text, file=file)

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self, run_params): note(f"before {run_params['runner']}")
        @hook_impl
        def before_node_run(self, node): note(f"node {node.name}")
        @hook_impl
        def after_dataset_saved(self, dataset_name): note(f"saved {dataset_name}")
        @hook_impl
        def after_pipeline_run(self, run_params): note("after")
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(
        tmp_path_factory.mktemp("runners") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("raw", "left", "kept")
        },
        dagster={
            "jobs": {
                executor: {
                    "pipeline": {},
                    "executor": executor,
                    "group_by": "pipeline",
                    "runner": {"type": "ThreadRunner", "max_workers": 2},
                }
                for executor in ("in_process", "multiprocess")
            }
        },
    )
    (project.path / "data").mkdir()
    (project.path / "data" / "raw.json").write_text('"here"')
    return project


@pytest.mark.slow
@pytest.mark.parametrize("job", ["in_process", "multiprocess"])
def test_nodes_run_as_under_the_runner_of_kedro_run(
    rendered: Project, tmp_path: Path, job: str
) -> None:
    oracle, project = rendered.copy(tmp_path / "oracle"), rendered.copy(tmp_path / "shop")
    oracle.kedro("run", "--runner=ThreadRunner", TRACE=str(tmp_path / "oracle.txt"))
    project.execute(job, TRACE=str(tmp_path / "trace.txt"))
    for name in ("left", "kept"):
        file = Path("data") / f"{name}.json"
        assert (project.path / file).read_bytes() == (oracle.path / file).read_bytes()
    traces = [(tmp_path / name).read_text().splitlines() for name in ("oracle.txt", "trace.txt")]
    assert Counter(traces[0][1:]) == Counter(traces[1][1:])
    # Kedro writes the address of the object there
    assert "ThreadRunner" in traces[0][0]
    assert (traces[1][0], traces[1][-1]) == ("before ThreadRunner", "after")
    assert recorded_assets(project) == {"left", "kept"}


def recorded_assets(project: Project) -> set[str]:
    """The assets that the only run of a project has materialised."""
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        (run,) = instance.get_runs()
        records = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        return {str(record.asset_key.path[-1]) for record in records if record.asset_key}


PIPELINE = Pipeline([node(lambda raw, _: raw, ["raw", "params:rate"], "made", name="make")])
DATASETS = {
    name: DatasetPlan(name, name, DatasetKind.TRANSIENT, (name,), "MemoryDataset", False, {})
    for name in ("raw", "made")
}


class Told(list[str]):
    def add(self, path: tuple[str, ...], message: str, *_: Any) -> None:
        self.append(f"{'.'.join(path)}: {message}")


def told(runner: Any, **options: Any) -> list[str]:
    """What is wrong with the runner of a job."""
    job = {"pipeline": {}, "runner": runner, **options}
    config, mistakes = parse_config({"jobs": {"all": job}})
    found = Told(f"{'.'.join(path)}: {message}" for path, message in dict(mistakes).items())
    if not found:
        check_runner("all", config.jobs["all"], PIPELINE, DATASETS, found)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    "runner",
    ["ThreadRunner", {"type": "ThreadRunner", "max_workers": 3}, "kedro.runner.SequentialRunner"],
)
def test_runners_of_kedro_are_taken_as_kedro_run_takes_them(runner: Any) -> None:
    assert not told(runner, group_by="pipeline")


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("ThreadRuner", "there is no runner 'ThreadRuner'."),
        ("json.JSONEncoder", "json.JSONEncoder: it is no runner of Kedro's"),
        ("no_such_module.Runner", "No module named 'no_such_module'"),
        ("ParallelRunner", "ParallelRunner: it starts processes of its own"),
        ({"type": "ThreadRunner", "workers": 3}, "unexpected keyword argument 'workers'"),
        ({"type": "ThreadRunner", "max_workers": -1}, "max_workers should be positive"),
        (3, "a runner is a name, or {type: ThreadRunner, max_workers: 4}; this is 3."),
    ],
)
def test_a_mistake_in_a_runner_is_told_before_any_run(runner: Any, message: str) -> None:
    (mistake,) = told(runner, group_by="pipeline")
    assert mistake.startswith("jobs.all.runner: ")
    assert message in mistake


def test_a_runner_needs_nodes_that_share_a_step() -> None:
    (mistake,) = told("ThreadRunner")
    assert "Write 'group_by' too" in mistake


def asked(runner: Any) -> RunnerOptions:
    """What a run gets that asks for a runner, of a job whose steps have a node each."""
    return runner_of_run(runner, JobPlan("all", PipelineOptions(), PIPELINE, ()), DATASETS)


def test_a_run_may_load_and_save_in_threads() -> None:
    options = {"type": "SequentialRunner", "is_async": True}
    assert not told(options)
    assert is_async(asked(options))
    assert runs_in_order(asked(options))
    assert not is_async(asked("SequentialRunner"))


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("ParallelRunner", "runner: ParallelRunner: it starts processes of its own"),
        ("ThreadRunner", "runner: ThreadRunner: it runs the nodes of a step, and here each step"),
        ("os.Runner", "runner: os.Runner: no run chooses the code that is imported. Allowed: "),
        ("ThreadRuner", "Did you mean 'ThreadRunner'?"),
        (3, "runner: a runner is a name, or {type: ThreadRunner, max_workers: 4}; this is 3."),
    ],
)
def test_a_runner_that_no_run_can_have_is_refused(runner: Any, message: str) -> None:
    with pytest.raises(RunConfigError) as refusal:
        asked(runner)
    assert message in str(refusal.value)
