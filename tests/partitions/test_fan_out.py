"""A job over partitioned datasets runs a node for each partition, as soon as it can."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import yaml

from kedro_dagster import KedroProjectTranslator
from partitions.fan import make_fan
from projects import Project

pytestmark = pytest.mark.xdist_group("fan_out")

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = make_fan(tmp_path_factory.mktemp("fan_out") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield project


@pytest.fixture(scope="module")
def definitions(project: Project) -> dg.Definitions:
    return KedroProjectTranslator(project.path).to_definitions()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def upstream(definitions: dg.Definitions) -> dict[str, set[str]]:
    """For each op of the job, the ops that it waits for."""
    dependencies = definitions.resolve_job_def("fan_out").dependencies
    return {
        op.alias: {source.node for one in inputs.values() for source in one.get_node_dependencies()}
        for op, inputs in dependencies.items()
    }


def trace(project: Project) -> list[list[Any]]:
    lines = (project.path / "trace.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def outputs(project: Project) -> dict[str, bytes]:
    """The content of each file that is made."""
    data = project.path / "data"
    files = {str(file.relative_to(data)): file for file in data.rglob("*.json")}
    return {name: file.read_bytes() for name, file in files.items() if not name.startswith("raw/")}


def materialised(run: dg.ExecuteInProcessResult) -> Counter[tuple[str, str | None]]:
    events = run.get_asset_materialization_events()
    return Counter((event.materialization.label, event.partition) for event in events)


# --- Who waits for whom -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "sources"),
    [
        pytest.param("clean__2", {"seed"}, id="identity_beside_transient_data"),
        pytest.param("convert__20", {"clean__2"}, id="key_to_key"),
        pytest.param("join__x", {"convert__10", "convert__20"}, id="many_to_one"),
        pytest.param("pair__30", {"convert__30", "clean__3"}, id="inputs_of_different_sets"),
        pytest.param("spread__p_q", {"join__x", "join__y"}, id="all"),
        pytest.param(
            "summarise",
            {f"clean__{key}" for key in (1, 2, 3)} | {f"convert__{key}0" for key in (1, 2, 3)},
            id="fan_in",
        ),
        pytest.param("notify__y", {"join__y"}, id="nothing_from_one_key"),
        pytest.param("notified__all", {"notify__x", "notify__y"}, id="nothing_of_all_keys"),
        pytest.param("finish", {"notified__all", "summarise"}, id="nothing_read"),
        pytest.param("per_letter__x", {"notified__all", "join__x"}, id="nothing_read_per_key"),
    ],
)
def test_an_op_waits_for_exactly_what_its_partition_is_made_from(
    upstream: dict[str, set[str]], op: str, sources: set[str]
) -> None:
    assert upstream[op] == sources


def test_keys_that_would_be_one_op_name_have_ops_of_their_own(
    upstream: dict[str, set[str]],
) -> None:
    spread = sorted(op for op in upstream if op.startswith("spread__"))
    assert len(spread) == 3
    streamed = [upstream[op] for op in upstream if op.startswith("stream__")]
    assert sorted(source for sources in streamed for source in sources) == spread


def test_a_node_without_outputs_fans_out(upstream: dict[str, set[str]]) -> None:
    checks = {op: sources for op, sources in upstream.items() if op.startswith("check__")}
    assert len(checks) == 3
    assert all(len(sources) == 1 for sources in checks.values())


# --- A run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_run(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def("fan_out")
    return job.execute_in_process(QUIET, instance)


def test_each_partition_is_recorded_once(whole_run: dg.ExecuteInProcessResult) -> None:
    recorded = materialised(whole_run)
    assert set(recorded.values()) == {1}
    assert {key for name, key in recorded if name == "converted"} == {"10", "20", "30"}
    assert {key for name, key in recorded if name == "spread"} == {"p-q", "p_q", "p.q"}


def test_nothing_is_recorded_once_when_all_keys_are_done(
    whole_run: dg.ExecuteInProcessResult,
) -> None:
    (event,) = (
        event
        for event in whole_run.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("notified")
    )
    assert event.step_key == "notified__all"


def test_parameters_of_a_partition_are_config_of_its_op(
    project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("fan_out")
    ops = {"clean__2": {"config": {"params:factor": 100}}}
    job.execute_in_process({**QUIET, "ops": ops}, instance)
    clean = {key: json.loads(outputs(project)[f"clean/{key}.json"]) for key in (1, 2, 3)}
    assert clean == {1: [2, "salt"], 2: [200, "salt"], 3: [6, "salt"]}


# --- Chosen partitions --------------------------------------------------------------------------


def with_keys(keys: Any) -> dict[str, Any]:
    return {**QUIET, "resources": {"kedro": {"config": {"partition_keys": keys}}}}


@pytest.mark.parametrize(
    ("keys", "made"),
    [
        pytest.param(
            ["2"],
            {"clean/2", "converted/20", "pairs/20"},
            id="one",
        ),
        pytest.param([1, 3], {"clean/1", "clean/3", "converted/10", "converted/30"}, id="numbers"),
        pytest.param(
            {"start": "10", "end": "20"},
            {"converted/10", "converted/20", "pairs/10", "pairs/20", "clean/1", "clean/2"},
            id="a_range",
        ),
        pytest.param("y", {"joined/y", "letters/y", "converted/30", "clean/3"}, id="of_the_middle"),
    ],
)
@pytest.mark.usefixtures("whole_run")
def test_chosen_partitions_are_made_and_the_rest_stays_untouched(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Any,
    made: set[str],
) -> None:
    data = project.path / "data"
    for folder in ("clean", "converted", "pairs"):
        for file in (data / folder).iterdir():
            file.write_text(json.dumps(["from before"]))
    job = definitions.resolve_job_def("fan_out")
    run = job.execute_in_process(with_keys(keys), instance)
    recorded = {f"{name}/{key}" for name, key in materialised(run) if key}
    assert made <= recorded
    for folder in ("clean", "converted", "pairs"):
        for file in (data / folder).iterdir():
            is_new = f"{folder}/{file.stem}" in recorded
            assert (json.loads(file.read_text()) != ["from before"]) == is_new


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["2", "4"], "partition_keys: job 'fan_out' has no partition '4'. Allowed: '1', '10',"),
        (["xx"], "partition_keys: job 'fan_out' has no partition 'xx'. Did you mean 'x'?"),
        ([], "partition_keys: give a list of keys, or {start: ..., end: ...}, not []."),
        (7, "partition_keys: give a list of keys, or {start: ..., end: ...}, not 7."),
        ({"start": "1"}, "give a list of keys, or {start: ..., end: ...}, not {'start': '1'}."),
        (
            {"start": "1", "end": "20"},
            "partition_keys: no dataset of job 'fan_out' has partitions from '1' to '20'.",
        ),
    ],
    ids=["unknown", "misspelt", "empty", "a_number", "half_a_range", "range_of_two_sets"],
)
def test_a_wrong_choice_of_partitions_fails_before_any_node_runs(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Any,
    message: str,
) -> None:
    (project.path / "trace.jsonl").unlink(missing_ok=True)
    job = definitions.resolve_job_def("fan_out")
    run = job.execute_in_process(with_keys(keys), instance, raise_on_error=False)
    assert not run.success
    assert [call[0] for call in trace(project)] == ["before_pipeline_run", "on_pipeline_error"]
    assert message in trace(project)[-1][1]


def test_nodes_in_one_step_take_all_partitions(
    project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    shutil.rmtree(project.path / "data" / "clean", ignore_errors=True)
    job = definitions.resolve_job_def("grouped")
    assert job.execute_in_process(QUIET, instance).success
    made = sorted(file.stem for file in (project.path / "data" / "clean").iterdir())
    assert made == ["1", "2", "3"]


def test_partitions_cannot_be_chosen_for_nodes_in_one_step(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("grouped")
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        job.execute_in_process(with_keys(["2"]), instance)
    assert "runs several nodes for all partitions at once" in str(caught.value.__cause__)


# --- In many processes --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kedro_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_fan(tmp_path_factory.mktemp("kedro_run") / "project")
    project.kedro("run", "--pipeline", "chain")
    return project


@pytest.fixture(scope="module")
def parallel_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_fan(tmp_path_factory.mktemp("parallel_run") / "project")
    project.execute("parallel")
    return project


@pytest.mark.slow
def test_files_are_those_of_kedro_run(kedro_run: Project, parallel_run: Project) -> None:
    assert outputs(parallel_run) == outputs(kedro_run)


@pytest.mark.slow
def test_hooks_see_each_node_and_key_that_they_see_in_kedro_run(
    kedro_run: Project, parallel_run: Project
) -> None:
    def seen(project: Project, hook: str) -> set[tuple[Any, ...]]:
        return {tuple(call) for call in trace(project) if call[0] == hook}

    def pipeline_hooks(project: Project) -> list[list[Any]]:
        return [call for call in trace(project) if "pipeline" in call[0]]

    for hook in ("before_node_run", "after_dataset_saved"):
        assert seen(parallel_run, hook) == seen(kedro_run, hook)
    assert pipeline_hooks(parallel_run) == pipeline_hooks(kedro_run)


@pytest.mark.slow
def test_each_key_is_loaded_once_by_each_node_that_reads_it(parallel_run: Project) -> None:
    loaded = Counter(
        tuple(call[1:]) for call in trace(parallel_run) if call[0] == "before_node_run"
    )
    assert loaded["convert", "clean", "1"] == 1
    assert loaded["join", "converted", "10"] == 1
    assert loaded["summarise", "converted", "10"] == 1


@pytest.mark.slow
def test_an_unknown_key_fails_the_run_before_any_step(parallel_run: Project) -> None:
    project = parallel_run.copy(parallel_run.path.parent / "unknown_key")
    (project.path / "trace.jsonl").unlink()
    (project.path / "run.yml").write_text(
        yaml.safe_dump({"resources": with_keys(["4"])["resources"]})
    )
    process = project.execute("parallel", "-c", "run.yml", check=False)
    assert process.returncode != 0
    assert "partition_keys: job 'parallel' has no partition '4'." in process.stderr
    assert [call[0] for call in trace(project)] == ["before_pipeline_run", "on_pipeline_error"]
