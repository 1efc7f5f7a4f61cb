"""What ``kedro run`` does, Dagster does: the same project, run in every way there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from kedro.io.core import VERSION_FORMAT

from fidelity.rich_project import (
    JOBS,
    RUN_ID,
    TOKEN,
    Call,
    Outcome,
    comparable,
    launch,
    make_rich_project,
    nodes_of,
)
from projects import KEDRO, OMEGACONF

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fidelity")]

IN_PROCESS = ["in_process", "execute_in_process"]
WHOLE = [*IN_PROCESS, "multiprocess", "by_pipeline"]
ASSETS = ["materialize_all", "materialize_one", "asset_cli"]
ASSET_JOBS = ["assets_in_process", "selected"]
SEVERAL_PROCESSES = [
    *("multiprocess", "by_memory", "by_namespace", "by_pipeline", "asset_cli", "selected")
]
WAYS = [*WHOLE, "by_memory", "by_namespace", *ASSETS, *ASSET_JOBS]

PIPELINE_HOOKS = ("before_pipeline_run", "after_pipeline_run", "terse after_pipeline_run")
CONTEXT_HOOKS = ("after_context_created", "after_catalog_created", "terse after_catalog_created")

RunOf = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """The project run in one of the ways, each in a folder of its own, and once."""
    project = make_rich_project(tmp_path_factory.mktemp("fidelity") / "project")
    outcomes: dict[str, Outcome] = {}

    def run_of(way: str) -> Outcome:
        if way in ("asset_cli", "selected") and OMEGACONF < (2, 4):
            pytest.skip("OmegaConf before 2.4 needs an antlr with which Dagster reads no selection")
        if way not in outcomes:
            outcomes[way] = launch(project.copy(project.path.parent / way), way)
        return outcomes[way]

    return run_of


@pytest.fixture(scope="module")
def oracle(run_of: RunOf) -> Outcome:
    return run_of("kedro")


def without_context(calls: list[Call]) -> list[Call]:
    """The calls from the first pipeline hook on, without what differs between runs."""
    return [
        {key: value for key, value in comparable(call).items() if key != "run_params"}
        for call in calls
        if call["hook"] not in CONTEXT_HOOKS
    ]


@pytest.mark.parametrize("way", [*WHOLE, "asset_cli", "materialize_all", *ASSET_JOBS])
def test_all_files_are_those_of_kedro_run(way: str, run_of: RunOf, oracle: Outcome) -> None:
    assert run_of(way).files == oracle.files


@pytest.mark.parametrize("way", ["by_memory", "by_namespace", "materialize_one"])
def test_the_files_of_a_part_are_those_of_kedro_run(
    way: str, run_of: RunOf, oracle: Outcome
) -> None:
    made = run_of(way).files
    assert made == {name: oracle.files[name] for name in made}


def test_one_materialised_asset_makes_no_other_file(run_of: RunOf) -> None:
    new = set(run_of("materialize_one").files) - {"rows.txt", "sealed.txt"}
    assert new == {
        "increments/2024.txt",
        "increments/2025.txt",
        "model.json/<version>/model.json",
    }


@pytest.mark.parametrize("way", IN_PROCESS)
def test_in_process_the_trace_is_that_of_kedro_run_in_the_same_order(
    way: str, run_of: RunOf, oracle: Outcome
) -> None:
    assert without_context(run_of(way).trace) == without_context(oracle.trace)


@pytest.mark.parametrize("way", IN_PROCESS)
def test_in_process_the_context_is_created_once_and_first(
    way: str, run_of: RunOf, oracle: Outcome
) -> None:
    created = [call["hook"] for call in run_of(way).trace[:4]]
    assert created == [call["hook"] for call in oracle.trace[:4]]
    assert len(run_of(way).calls(*CONTEXT_HOOKS)) == 3


@pytest.mark.parametrize("way", WAYS)
def test_node_and_dataset_hooks_are_called_for_each_node_as_in_kedro_run(
    way: str, run_of: RunOf, oracle: Outcome
) -> None:
    traced = run_of(way).of_nodes
    assert traced
    assert traced == {node: oracle.of_nodes[node] for node in traced}


@pytest.mark.parametrize("way", WAYS)
def test_the_pipeline_of_the_hooks_is_what_runs(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    for hook in ("before_pipeline_run", "after_pipeline_run"):
        assert sorted(run.call(hook)["nodes"]) == sorted(nodes_of(run.trace))


def test_a_run_of_all_nodes_runs_each_node_once(run_of: RunOf, oracle: Outcome) -> None:
    for way in WHOLE:
        assert sorted(nodes_of(run_of(way).trace)) == sorted(nodes_of(oracle.trace))


def test_a_run_of_all_assets_runs_the_nodes_that_make_one(run_of: RunOf, oracle: Outcome) -> None:
    for way in ("materialize_all", "asset_cli", *ASSET_JOBS):
        ran = set(nodes_of(run_of(way).trace))
        assert ran == set(nodes_of(oracle.trace)) - {"publish", "tail"}


def test_one_materialised_asset_runs_the_nodes_it_needs(run_of: RunOf) -> None:
    assert nodes_of(run_of("materialize_one").trace) == ["count_rows", "fit"]


@pytest.mark.parametrize("way", WAYS)
def test_pipeline_hooks_stand_around_all_nodes(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    calls = [call for call in run.trace if call["hook"] not in CONTEXT_HOOKS]
    hooks = [call["hook"] for call in calls]
    assert hooks[0] == "before_pipeline_run"
    assert hooks[-2:] == [call["hook"] for call in run.calls(*PIPELINE_HOOKS)][1:]
    assert {call["pid"] for call in run.calls(*PIPELINE_HOOKS)} == {calls[0]["pid"]}


@pytest.mark.parametrize("way", WAYS)
def test_the_context_is_created_once_in_a_run_before_anything_else(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    hooks = [call["hook"] for call in run.trace]
    assert sorted(hooks[:3]) == sorted(CONTEXT_HOOKS)
    assert not set(hooks[3:]).intersection(CONTEXT_HOOKS)
    assert {call["pid"] for call in run.trace[:3]} == {run.call("before_pipeline_run")["pid"]}


@pytest.mark.parametrize("way", SEVERAL_PROCESSES)
def test_steps_run_in_processes_of_their_own(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    worker = run.call("before_pipeline_run")["pid"]
    assert worker not in {call["pid"] for call in run.trace if "node" in call}


@pytest.mark.parametrize(
    ("way", "workers"), [("by_memory", 2), ("by_namespace", 1), ("by_pipeline", 1)]
)
def test_grouped_nodes_share_a_process(way: str, workers: int, run_of: RunOf) -> None:
    pids = {call["pid"] for call in run_of(way).trace if "node" in call}
    assert 1 <= len(pids) <= workers


@pytest.mark.parametrize("way", WAYS)
def test_a_run_has_one_identity(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    told = {call["run_id"] for call in run.calls("before_node_run", "after_node_run")}
    told |= {call["save_version"] for call in run.calls("after_catalog_created")}
    told |= {call["run_params"][RUN_ID] for call in run.calls(*PIPELINE_HOOKS[:2])}
    assert told == {run.run_id}
    assert run.dagster_run.tags["kedro/run_id"] == run.run_id


def test_identities_have_the_form_of_kedro_and_sort_by_start_time(run_of: RunOf) -> None:
    runs = [run_of(way) for way in IN_PROCESS]
    in_order = sorted(runs, key=lambda run: run.dagster_run.tags["kedro/run_id"])
    starts = [(run.project.path / "trace.jsonl").stat().st_mtime for run in in_order]
    assert starts == sorted(starts)
    times = [datetime.strptime(run.run_id, VERSION_FORMAT) for run in in_order]  # noqa: DTZ007
    assert times == sorted(times)


@pytest.mark.parametrize("way", WAYS)
def test_run_params_are_those_of_kedro_run(way: str, run_of: RunOf, oracle: Outcome) -> None:
    told = run_of(way).call("before_pipeline_run")["run_params"]
    expected = dict(oracle.call("before_pipeline_run")["run_params"])
    assert list(told) == list(expected)
    own = {RUN_ID, "runner", "project_path"}
    if way in JOBS or way in ("execute_in_process", "selected"):
        # Here the user says which pipelines; `kedro run` has a default
        if KEDRO >= (1, 2):
            own.add("pipeline_names")
            assert told["pipeline_names"] == ["__default__"]
        else:
            own.add("pipeline_name")
            assert told["pipeline_name"] == "__default__"
    if way in ASSETS or way == "selected":
        own.add("node_names")
        assert sorted(told["node_names"]) == sorted(nodes_of(run_of(way).trace))
    if way in JOBS:
        filters = JOBS[way].get("pipeline", {})
        expected["to_outputs"] = filters.get("to_outputs", [])
        expected["namespaces"] = filters.get("node_namespaces", [])
    assert {key: told[key] for key in told if key not in own} == {
        key: expected[key] for key in expected if key not in own
    }


@pytest.mark.parametrize("way", ASSET_JOBS)
def test_what_a_job_of_assets_makes_and_checks_is_planned(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    with dg.DagsterInstance.from_config(str(run.project.dagster_home)) as instance:
        events = [
            event
            for log in instance.all_logs(run.dagster_run.run_id)
            if (event := log.dagster_event) is not None
        ]

    def of(kind: dg.DagsterEventType) -> list[str]:
        keys = [str(one.asset_key) for one in events if one.event_type is kind and one.asset_key]
        return sorted(keys)

    planned = of(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert len(planned) == 13
    assert of(dg.DagsterEventType.ASSET_MATERIALIZATION) == planned
    checks = [
        one.event_type
        for one in events
        if one.event_type and one.event_type.value.startswith("ASSET_CHECK")
    ]
    expected = [
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    ]
    assert checks == (expected if KEDRO >= (1, 6) else [])


@pytest.mark.parametrize("way", WAYS)
def test_both_pipeline_hooks_are_told_the_same(way: str, run_of: RunOf) -> None:
    run = run_of(way)
    before, after = run.call("before_pipeline_run"), run.call("after_pipeline_run")
    assert before["run_params"] == after["run_params"]


@pytest.mark.parametrize("way", WHOLE)
def test_run_result_is_that_of_kedro_run(way: str, run_of: RunOf, oracle: Outcome) -> None:
    told, expected = run_of(way).call("after_pipeline_run"), oracle.call("after_pipeline_run")
    assert told["results"] == expected["results"]
    assert told["last"] == expected["last"] is not None


@pytest.mark.parametrize("way", WAYS)
def test_every_process_is_told_of_the_whole_catalog(
    way: str, run_of: RunOf, oracle: Outcome
) -> None:
    (expected,) = oracle.calls("after_catalog_created")
    ignored = ("pid", "save_version")
    for call in run_of(way).calls("after_catalog_created"):
        assert {key: call[key] for key in call if key not in ignored} == {
            key: expected[key] for key in expected if key not in ignored
        }


def test_credentials_reach_their_dataset_and_no_database(run_of: RunOf) -> None:
    run = run_of("multiprocess")
    assert TOKEN in run.files["other/secret_report.json"].decode()
    stored = [path for path in run.project.dagster_home.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if TOKEN.encode() in path.read_bytes()]


def test_the_project_loads_where_credentials_and_runtime_parameters_are_unknown(
    tmp_path: Path,
) -> None:
    project = make_rich_project(tmp_path / "project")
    project.run("-c", "import shop.definitions")
    assert not (project.path / "trace.jsonl").exists()
