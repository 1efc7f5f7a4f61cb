"""Runs with settings of single nodes: a node that is tried again, and one at a time in a pool."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from textwrap import dedent

import dagster as dg
import pytest

from fidelity.rich_project import HOOKS, Outcome
from kedro_dagster import KedroProjectTranslator
from kedro_dagster.plan.describe import describe
from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("node_settings")]

NODES = """
    from pathlib import Path


    def make():
        return [1, 2, 3]


    def grow(values):
        return [*values, 4]


    def fail_once(values):
        failed = Path("failed_once")
        if not failed.exists():
            failed.touch()
            raise ConnectionError("the first attempt")
        return sum(values)
"""

PIPELINES = """
    from kedro.pipeline import Pipeline, node

    from shop import nodes


    def register_pipelines():
        chain = Pipeline(
            [
                node(nodes.make, None, "made", name="make"),
                node(nodes.grow, "made", "grown", name="grow", namespace="sums"),
                node(nodes.grow, "grown", "grown_again", name="grow_again", namespace="sums"),
                node(nodes.fail_once, "grown_again", "total", name="add", namespace="sums"),
            ]
        )
        pair = Pipeline(
            [
                node(nodes.make, None, "one", name="one", tags="pair"),
                node(nodes.make, None, "other", name="other", tags="pair"),
            ]
        )
        return {"__default__": chain, "pair": pair}
"""

DAGSTER = """
    executors: {one: in_process, many: multiprocess}
    nodes:
      "*": {retry_policy: {max_retries: 1}, tags: {team: data}}
      tag:pair: {pool: database, retry_policy: {max_retries: 3, delay: 2, jitter: full}}
      namespace:sums: {tags: {dagster-k8s/config: {container_config: {resources: {}}}}}
      other: {retry_policy: null, tags: {dagster/priority: "9"}}
    jobs:
      single: {pipeline: {}, executor: one}
      together: {pipeline: {}, executor: one, group_by: namespace}
      apart: {pipeline: {}, executor: many}
      pair: {pipeline: {pipeline_name: pair}, executor: many}
"""

RunOf = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("node_settings") / "project",
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        settings="from shop.hooks import TraceHooks\nHOOKS = (TraceHooks(),)",
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("total", "one", "other")
        },
        dagster=dedent(DAGSTER),
    )


@pytest.fixture(scope="module")
def run_of(project: Project) -> RunOf:
    """A job, run in a folder of its own, and once; the pool `database` has room for one step."""
    outcomes: dict[str, Outcome] = {}

    def run(job: str) -> Outcome:
        copy = project.copy(project.path.parent / job)
        copy.dagster_home.mkdir()
        with dg.DagsterInstance.local_temp(str(copy.dagster_home)) as instance:
            instance.event_log_storage.set_concurrency_slots("database", 1)
        copy.execute(job, TRACE=str(copy.path / "trace.jsonl"))
        return Outcome(copy)

    def run_of(job: str) -> Outcome:
        if job not in outcomes:
            outcomes[job] = run(job)
        return outcomes[job]

    return run_of


@pytest.mark.parametrize(
    ("job", "again"),
    [
        ("single", ["sums.add"]),
        # The whole step, whose values in memory are still there
        ("together", ["sums.grow", "sums.grow_again", "sums.add"]),
        ("apart", ["sums.add"]),
    ],
)
def test_a_node_that_fails_once_is_tried_again(job: str, again: list[str], run_of: RunOf) -> None:
    run = run_of(job)
    nodes = [call["node"] for call in run.calls("before_node_run")]
    assert nodes == ["make", "sums.grow", "sums.grow_again", "sums.add", *again]
    assert [call["node"] for call in run.calls("on_node_error")] == ["sums.add"]
    assert json.loads(run.files["total.json"]) == 14
    assert run.dagster_run.is_success


@pytest.mark.parametrize("job", ["single", "together", "apart"])
def test_a_failure_before_the_last_attempt_is_none_of_the_pipeline(job: str, run_of: RunOf) -> None:
    run = run_of(job)
    assert len(run.calls("before_pipeline_run")) == len(run.calls("after_pipeline_run")) == 1
    assert not run.calls("on_pipeline_error")


def test_the_nodes_of_a_pool_with_room_for_one_never_overlap(run_of: RunOf) -> None:
    run = run_of("pair")
    with dg.DagsterInstance.from_config(str(run.project.dagster_home)) as instance:
        events = [
            (event.event_type, event.message or "")
            for entry in instance.all_logs(run.dagster_run.run_id)
            if (event := entry.dagster_event)
        ]
    assert sum("Step blocked by limit for pool database" in text for _, text in events) == 1
    bounds = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS)
    assert [kind for kind, _ in events if kind in bounds] == [*bounds, *bounds]


def test_the_settings_are_those_of_ops_and_of_assets(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which Kedro adds the project
    translator = KedroProjectTranslator(project.path)
    plan, nodes = translator.plan, translator.nodes
    steps = {step.name: step for job in plan.jobs.values() for step in job.steps}
    sums = nodes.op(steps["sums"])
    one, other = (nodes.op(steps[name]) for name in ("one", "other"))
    assets = {name: nodes.assets(step).op for name, step in plan.asset_steps.items()}

    assert sums.retry_policy == assets["make_to_sums__add__assets"].retry_policy
    assert sums.retry_policy == dg.RetryPolicy(max_retries=1)
    assert sums.tags["dagster-k8s/config"] == '{"container_config": {"resources": {}}}'
    assert one.pool == other.pool == assets["one__assets"].pool == "database"
    assert one.retry_policy == dg.RetryPolicy(max_retries=3, delay=2, jitter=dg.Jitter.FULL)
    assert other.retry_policy is None
    assert one.tags["team"] == assets["other__assets"].tags["team"] == "data"
    job = translator.pipelines.job(plan.jobs["pair"])
    priorities = [node.tags["dagster/priority"] for node in job.nodes]
    assert sorted(priorities) == ["0", "9"]
    assert "  retries 3, pool database, team data\n" in describe(plan)
