"""Nodes that take and return all partitions at once run as under ``kedro run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from kedro_dagster import KedroProjectTranslator
from partitions.whole import make_whole, outputs, trace
from projects import Project

pytestmark = pytest.mark.xdist_group("whole")

_KEY = "dagster/partition"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ONCE = ("seed", "split", "scatter", "double", "gather", "count")
"""The nodes that run once, as they do under kedro run."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_whole(tmp_path_factory.mktemp("whole") / "project")


@pytest.fixture(scope="module")
def kedro_run(original: Project) -> Project:
    project = original.copy(original.path.parent / "kedro_run")
    project.kedro("run")
    return project


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def per_key(trace: list[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    """The trace, in which a node that runs for each key gives its nothing dataset for each."""
    return Counter(
        {
            call: 1 if call[1:3] == ("notify", "notified") else n
            for call, n in Counter(trace).items()
        }
    )


def recorded(run: dg.ExecuteInProcessResult) -> Counter[tuple[str, str | None]]:
    events = run.get_asset_materialization_events()
    return Counter((event.materialization.label, event.partition) for event in events)


# --- As kedro run does ---------------------------------------------------------------------------


@pytest.mark.slow
def test_partitions_all_is_kedro_run(kedro_run: Project, original: Project) -> None:
    project = original.copy(original.path.parent / "all")
    project.execute("all")
    assert outputs(project) == outputs(kedro_run)
    assert trace(project) == trace(kedro_run)


@pytest.mark.slow
def test_partitions_all_is_kedro_run_in_many_processes(
    kedro_run: Project, original: Project
) -> None:
    project = original.copy(original.path.parent / "all_parallel")
    project.execute("all_parallel")
    assert outputs(project) == outputs(kedro_run)
    assert Counter(trace(project)) == Counter(trace(kedro_run))


def test_partitions_all_goes_with_a_runner(
    kedro_run: Project, clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    run = definitions.resolve_job_def("threads").execute_in_process(QUIET, instance)
    assert {key for name, key in recorded(run) if name == "parts"} == {"A", "B", "C"}
    assert outputs(clean) == outputs(kedro_run)
    assert Counter(trace(clean)) == Counter(trace(kedro_run))


@pytest.mark.parametrize("job", ["fan", "grouped"])
def test_single_nodes_take_all_partitions_in_a_job_that_fans_out(
    job: str,
    kedro_run: Project,
    clean: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
) -> None:
    run = definitions.resolve_job_def(job).execute_in_process(QUIET, instance)
    assert outputs(clean) == outputs(kedro_run)
    assert per_key(trace(clean)) == per_key(trace(kedro_run))
    made = recorded(run)
    assert set(made.values()) == {1}
    assert {f"{name}/{key}" for name, key in made if key} == {
        name for name in outputs(clean) if name.partition("/")[0] not in ("raw", "data")
    }


def test_the_steps_of_other_nodes_are_for_a_partition_each(definitions: dg.Definitions) -> None:
    steps = {step.name for step in definitions.resolve_job_def("fan").nodes}
    assert {*ONCE, "clean__A", "clean__B", "clean__C", "check__C", "notify__A"} <= steps
    assert not any(name.startswith(f"{one}__") for one in ONCE for name in steps)


@pytest.mark.slow
def test_single_nodes_take_all_partitions_in_many_processes(
    kedro_run: Project, original: Project
) -> None:
    project = original.copy(original.path.parent / "fan_parallel")
    process = project.execute("fan_parallel")
    assert outputs(project) == outputs(kedro_run)
    assert per_key(trace(project)) == per_key(trace(kedro_run))
    assert "'raw' has no data yet for C" in process.stderr


def test_a_job_that_runs_one_key_runs_such_a_node_wholly(
    kedro_run: Project, clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("per_run")
    for key in "ABC":
        (clean.path / "trace.jsonl").unlink(missing_ok=True)
        run = job.execute_in_process(QUIET, instance, partition_key=key)
        made = {(name, one) for name, one in recorded(run) if one}
        assert {one for name, one in made if name == "clean"} == {key}
        assert {one for name, one in made if name == "parts"} == {"A", "B", "C"}
        assert [one for one in trace(clean) if "pipeline" in one[0]] == [
            call for call in trace(kedro_run) if "pipeline" in call[0]
        ]
    assert outputs(clean) == outputs(kedro_run)


def test_only_what_dagster_knows_is_recorded_of_what_is_saved(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("letters", ["A"])
    run = definitions.resolve_job_def("several").execute_in_process(QUIET, instance)
    keys: dict[str, set[str | None]] = {}
    for name, key in recorded(run):
        keys.setdefault(name, set()).add(key)
    assert keys == {
        "found": {"A"},
        "grid": {"A|x", "A|y", "B|x", "B|y"},
        "rest": {"A|y", "B|x", "B|y"},
    }
    assert {f"{region}/{letter}" for region in "xyz" for letter in "AB"} <= outputs(clean).keys()
    logs = [event.user_message for event in instance.all_logs(run.run_id)]
    assert "Saved to 'found', and no partitions of it: B" in logs
    assert "Saved to 'grid', and no partitions of it: A|z, B|z" in logs


def test_partition_keys_are_for_jobs_with_steps_for_them(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    config = {**QUIET, "resources": {"kedro": {"config": {"partition_keys": ["A"]}}}}
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        definitions.resolve_job_def("threads").execute_in_process(config, instance)
    assert "no step of job 'threads' is for one partition" in str(caught.value.__cause__)


# --- Assets --------------------------------------------------------------------------------------


def materialise(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *names: str, tags: Any = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        definitions.assets,  # type: ignore[arg-type]  # as Definitions has them
        resources=definitions.resources,
        selection=list(names),
        instance=instance,
        run_config=QUIET,
        tags=tags,
    )


def keys(first: str, last: str) -> dict[str, str]:
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def test_a_run_over_all_partitions_makes_the_assets_of_such_a_node(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    run = materialise(definitions, instance, "parts", "report", tags=keys("A", "C"))
    assert run.success
    made = {(name, key) for name, key in recorded(run).items()}
    assert made == {
        ((name, key), 1) for name, key in [*(("parts", k) for k in "ABC"), ("report", None)]
    }
    nodes = [call[1] for call in trace(clean) if call[0] == "after_dataset_saved"]
    assert nodes == ["seed", "split", "split", "split", "split"]


@pytest.mark.parametrize(
    ("tags", "number"),
    [({"dagster/partition": "A"}, "1"), (keys("B", "C"), "2"), ({}, "none")],
    ids=["one_key", "a_part_of_the_range", "no_key"],
)
def test_a_run_of_some_keys_of_such_an_asset_says_what_to_do(
    tags: dict[str, str],
    number: str,
    clean: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
) -> None:
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        materialise(definitions, instance, "parts", tags=tags)
    assert str(caught.value.__cause__) == (
        "Node 'split' makes all partitions of 'parts' at once ('partitions: all' in dagster.yml), "
        f"and this run is of {number} of them; 'parts' has the partitions 'A', 'B', 'C'. "
        "Materialise all in one run: choose all in the UI, or dagster asset materialize "
        "--partition-range 'A...C'."
    )
    assert [call[0] for call in trace(clean)] == ["before_pipeline_run", "on_pipeline_error"]


def test_of_all_partitions_those_that_such_a_node_returns_are_recorded(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    for key in ("x/A", "x/B", "y/A"):
        file = clean.path / "data" / "grid" / f"{key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    run = materialise(definitions, instance, "rest", tags=keys("A|x", "B|y"))
    assert {key for _, key in recorded(run)} == {"A|y", "B|x"}


def test_the_ui_makes_one_run_of_all_partitions(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in ("parts", "scattered", "doubled"):
        assert graph.get(dg.AssetKey(name)).backfill_policy == dg.BackfillPolicy.single_run()
    assert graph.get(dg.AssetKey("clean")).backfill_policy is None
    # so that it waits for all of them
    mapping = graph.get(dg.AssetKey("doubled")).partition_mappings[dg.AssetKey("clean")]
    assert isinstance(mapping, dg.AllPartitionMapping)


def test_a_plain_asset_beside_a_partitioned_one_is_made_by_itself(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    run = materialise(definitions, instance, "report")
    assert run.success
    assert outputs(clean)["data/report"] == {"parts": 3}
    assert {key for name, key in recorded(run) if name == "parts"} == {"A", "B", "C"}


@pytest.mark.parametrize("job", ["", "fan", "per_run", "all"])
def test_a_side_effect_has_the_partitions_that_its_node_runs_for(
    job: str, here: Project, clean: Project, instance: dg.DagsterInstance
) -> None:
    definitions = KedroProjectTranslator(here.path, env="effects").to_definitions()
    check = definitions.resolve_asset_graph().get(dg.AssetKey("check"))
    copied = definitions.resolve_asset_graph().get(dg.AssetKey("copied"))
    assert check.partitions_def == copied.partitions_def
    assert not any(check.partition_mappings.values())
    if job:
        key = {"partition_key": "A"} if job == "per_run" else {}
        run = definitions.resolve_job_def(job).execute_in_process(QUIET, instance, **key)
    else:
        run = materialise(definitions, instance, "copied", "check", tags={_KEY: "A"})
    keys = {key for name, key in recorded(run) if name == "check"}
    assert keys == ({"A"} if job in ("", "per_run") else {"A", "B", *("C" * (job == "all"))})
    ran = [call[2:] for call in trace(clean) if call[:2] == ("before_node_run", "check")]
    assert {key for _, key in ran} == keys - {"C"}


# --- A run without a partition --------------------------------------------------------------------


def test_a_run_of_assets_without_a_partition_says_which_there_are(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        materialise(definitions, instance, "clean", "total")
    assert str(caught.value.__cause__) == (
        "This run makes one partition at a time, and is given none: 'clean' has the partitions "
        "'A', 'B', 'C'. Pick one where you materialise, or with: dagster asset materialize "
        "--partition 'C'; for several, start a backfill in the UI."
    )
    assert [call[0] for call in trace(clean)] == ["before_pipeline_run", "on_pipeline_error"]


def test_a_run_of_a_job_without_a_partition_says_which_there_are(
    clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        definitions.resolve_job_def("per_run").execute_in_process(QUIET, instance)
    assert str(caught.value.__cause__) == (
        "This run makes one partition at a time, and is given none: 'copied' has the partitions "
        "'A', 'B', 'C'. Pick one in the launchpad, or with: kedro dagster run per_run --partition "
        "'C'; for several, start a backfill in the UI."
    )
    assert not list((clean.path / "data").glob("total.json"))


# --- Partitioned to plain -------------------------------------------------------------------------


@pytest.mark.parametrize("as_assets", [False, True])
def test_a_mapping_to_a_plain_dataset_means_what_it_says(
    as_assets: bool, clean: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    folder = clean.path / "data" / "copied"
    folder.mkdir(exist_ok=True)
    for key in "ABC":
        (folder / f"{key}.json").write_text("1")
    names = ("newest", "chosen", "every")
    if as_assets:
        assert materialise(definitions, instance, *names).success
    else:
        assert definitions.resolve_job_def("tail").execute_in_process(QUIET, instance).success
    made = {name: outputs(clean)[f"data/{name}"] for name in names}
    assert made == {"newest": ["C"], "chosen": ["A"], "every": ["A", "B", "C"]}
    # as for an asset of Dagster's own
    graph = definitions.resolve_asset_graph()
    for name, given in made.items():
        mapping = graph.get(dg.AssetKey(name)).partition_mappings[dg.AssetKey("copied")]
        definition = graph.get(dg.AssetKey("copied")).partitions_def
        assert definition is not None
        result = mapping.get_upstream_mapped_partitions_result_for_partitions(
            None, None, definition
        )
        assert sorted(result.partitions_subset.get_partition_keys()) == given
