"""Whatever launches a run: the hooks of `kedro run`, one identity, and the config it was given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from live.server import Run, Server, until
from live.shop import ASSETS, Call, calls, make_shop, runtime_params, saved_versions, trace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]

EXECUTORS = ("in_process", "multiprocess")

NODES = {
    "job": "clean,double,add,write,check",
    "all assets": "clean,double,add,write",
    "one asset": "double,add",
    "backfill": "clean,double,add,write",
    "schedule": "clean,double,add,write,check",
}
"""The nodes that each way to launch a run runs."""

WAYS = [
    (way, executor)
    for way in NODES
    for executor in EXECUTORS
    if (way, executor) != ("schedule", "in_process")
]


@pytest.fixture(scope="module")
def runs(server: Server) -> Callable[[str, str], Run]:
    """Launch a run in each way, all at once; gives one of them when it has ended."""
    schedule = server.start_schedule("scheduled_schedule")
    launched: dict[tuple[str, str], str] = {}
    backfills: dict[str, str] = {}
    for executor in EXECUTORS:
        config: dict[str, Any] = {"execution": {"config": {executor: {}}}}
        launched["job", executor] = server.launch(executor)
        launched["all assets", executor] = server.materialise(ASSETS, config)
        launched["one asset", executor] = server.materialise(["total"], config)
        backfills[executor] = server.backfill(ASSETS, config)

    def first(**tags: str) -> str:
        return until(lambda: next(iter(server.runs(**tags)), None), f"a run with {tags}", 120)

    launched["schedule", "multiprocess"] = first(dagster__schedule_name="scheduled_schedule")
    for executor, backfill in backfills.items():
        launched["backfill", executor] = first(dagster__backfill=backfill)
    server.ended(launched["schedule", "multiprocess"], 300)
    server.stop_schedule(schedule)  # in the midst of a tick it would be switched on again by it
    return lambda way, executor: server.ended(launched[way, executor])


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Call]]:
    """The hook calls of `kedro run` for some of the nodes."""
    project = make_shop(tmp_path_factory.mktemp("kedro") / "shop")
    found: dict[str, list[Call]] = {}

    def look(nodes: str) -> list[Call]:
        if nodes not in found:
            file = project.path / f"{nodes}.jsonl"
            project.kedro("run", "--nodes", nodes, TRACE=str(file))
            found[nodes] = calls(trace(file))
        return found[nodes]

    look(NODES["job"])  # makes the data that the others start from
    return look


@pytest.mark.parametrize(("way", "executor"), WAYS)
def test_the_hook_calls_are_those_of_kedro_run(
    server: Server,
    runs: Callable[[str, str], Run],
    oracle: Callable[[str], list[Call]],
    way: str,
    executor: str,
) -> None:
    run = runs(way, executor)
    expected = oracle(NODES[way])

    assert run.status == "SUCCESS"
    found = calls(lines_of(server, run))
    if executor == "in_process":
        assert found == expected
    else:
        assert by_node(found) == by_node(expected)
        assert [call.hook for call in found if call.hook.endswith("_pipeline_run")] == [
            "before_pipeline_run",
            "after_pipeline_run",
        ]
        assert found[2].hook == "before_pipeline_run"
        assert found[-1].hook == "after_pipeline_run"


@pytest.mark.parametrize(("way", "executor"), WAYS)
def test_a_run_calls_the_context_and_catalog_hooks_once_and_first(
    server: Server, runs: Callable[[str, str], Run], way: str, executor: str
) -> None:
    processes: dict[int, list[str]] = {}
    for line in lines_of(server, runs(way, executor)):
        processes.setdefault(line["pid"], []).append(line["hook"])

    assert (len(processes) == 1) == (executor == "in_process")
    (run_worker, *workers) = processes.values()  # who writes first is first
    first = ["after_context_created", "after_catalog_created"]
    assert run_worker[:2] == first
    later = [hook for hooks in (run_worker[2:], *workers) for hook in hooks]
    assert not set(first).intersection(later)


@pytest.mark.parametrize(("way", "executor"), WAYS)
def test_one_identity_is_in_the_tag_the_hooks_and_the_versions_of_all_files(
    server: Server, runs: Callable[[str, str], Run], way: str, executor: str
) -> None:
    run = runs(way, executor)
    lines = lines_of(server, run)
    made = {line["dataset"] for line in lines if line["hook"] == "after_dataset_saved"}

    assert {line["run_id"] for line in lines} == {run.tags["kedro/run_id"]}
    assert "total" in made
    for dataset in made & {"cleaned", "total"}:
        assert run.tags["kedro/run_id"] in saved_versions(server.project, dataset)


def test_no_two_runs_have_one_identity(runs: Callable[[str, str], Run]) -> None:
    identities = [runs(way, executor).tags["kedro/run_id"] for way, executor in WAYS]

    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize("way", ["job", "assets"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_launch_config_reaches_catalog_and_node_and_is_kept_on_the_run(
    server: Server, way: str, executor: str
) -> None:
    file = f"data/report_of_{way}_{executor}.json"
    op = "write" if way == "job" else "write__assets"
    config = {
        **runtime_params(report_file=file),
        "ops": {op: {"config": {"params:title": "From the launchpad"}}},
    }
    if way == "job":
        run_id = server.launch(executor, config)
    else:
        config["execution"] = {"config": {executor: {}}}
        run_id = server.materialise(ASSETS, config)

    run = server.ended(run_id)

    assert run.status == "SUCCESS"
    report = json.loads((server.project.path / file).read_text())
    assert report == {"title": "From the launchpad", "total": 24}
    assert yaml.safe_load(run.config) == config
    assert pipeline_hook(server, run)["runtime_params"] == {"report_file": file}


def test_a_schedule_carries_its_runtime_params(
    server: Server, runs: Callable[[str, str], Run]
) -> None:
    run = runs("schedule", "multiprocess")

    assert yaml.safe_load(run.config) == runtime_params(title="Tick")
    assert pipeline_hook(server, run)["runtime_params"] == {"title": "Tick"}


def lines_of(server: Server, run: Run) -> list[dict[str, Any]]:
    lines = trace(server.project.path / "trace.jsonl")
    return [line for line in lines if line["run_id"] == run.tags["kedro/run_id"]]


def pipeline_hook(server: Server, run: Run) -> Mapping[str, Any]:
    (line,) = [line for line in lines_of(server, run) if line["hook"] == "before_pipeline_run"]
    return line


def by_node(found: list[Call]) -> dict[str, list[Call]]:
    """The calls of each node, in order."""
    nodes: dict[str, list[Call]] = {}
    for call in found:
        if call.node is not None:
            nodes.setdefault(call.node, []).append(call)
    return nodes


def test_a_job_starts_when_the_one_before_it_has_succeeded(
    server: Server, oracle: Callable[[str], list[Call]]
) -> None:
    sensor = "second_sensor"  # which sees what ends after its first tick
    until(lambda: server.has_ticked(sensor) or None, "a tick of the sensor")
    first = server.ended(server.launch("first"))
    found = until(
        lambda: next(iter(server.runs(dagster__sensor_name=sensor)), None), "the daemon to start it"
    )
    second = server.ended(found)
    assert second.status == "SUCCESS"
    assert second.tags["dagster/run_key"] == first.run_id
    assert by_node(calls(lines_of(server, second))) == by_node(oracle("double,add"))
