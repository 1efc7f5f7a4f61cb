"""Runs of a project in a terminal, and how one goes on that has failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("run_command")]

NODES = """
    import os
    from pathlib import Path


    def make(size):
        return list(range(size))


    def grow(saved):
        return [*saved, "grown"]


    def maybe_fail(grown):
        if not Path("repaired").exists():
            raise RuntimeError("the disk is full")
        return [*grown, "end"]


    def show(saved):
        print("there are", len(saved))
        return len(saved)
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
        return {"__default__": flaky + shown, "flaky": flaky, "shown": shown}
"""
CATALOG = {
    name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
    for name in ("saved", "end", "shown")
}
DAGSTER = """
    executors: {two: {multiprocess: {max_concurrent: 2}}}
    jobs:
      in_one: {pipeline: {pipeline_name: flaky}, executor: in_process}
      in_workers: {pipeline: {pipeline_name: flaky}, executor: two}
      together: {pipeline: {pipeline_name: flaky}, executor: in_process, group_by: pipeline}
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


@pytest.mark.parametrize("job", ["in_one", "in_workers", "together"])
def test_a_run_that_failed_says_from_where_to_go_on_as_kedro_run_does(
    project: Project, instance: dg.DagsterInstance, job: str
) -> None:
    suggestion = project.kedro("run", "--pipeline", "flaky", check=False, COLUMNS="400").stdout
    project.execute(job, check=False)
    words, how = warnings_of(instance, job)
    assert '--from-nodes "grow"' in words
    for line in words.splitlines():
        assert " ".join(line.split()) in " ".join(suggestion.split())
    (run,) = instance.get_runs()
    assert f"kedro dagster run --resume {run.run_id}" in how
