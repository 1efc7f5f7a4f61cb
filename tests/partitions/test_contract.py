"""What a node is given and may return in a run, and what is left behind when it does not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import dagster as dg
import pytest
from kedro_datasets.partitions import PartitionedDataset

from kedro_dagster import KedroProjectTranslator
from projects import make_project

pytestmark = pytest.mark.xdist_group("contract")

PIPELINES = """\
from concurrent.futures import ThreadPoolExecutor

from kedro.pipeline import Pipeline, node

from kedro_dagster.datasets import partition_ids


def copy(given):
    return {key: load() for key, load in given.items()}


def one_more(given):
    return {**copy(given), "elsewhere": 1}


def one_less(given):
    return {key: value for key, value in copy(given).items() if key != "b"}


def twins(given):
    values = copy(given)
    return [dict.fromkeys(partition_ids(name), values) for name in ("left", "right")]


def in_threads():
    with ThreadPoolExecutor() as pool:
        return dict.fromkeys(pool.submit(partition_ids, "made").result(), "downloaded")


def in_chunks(given):
    for key, load in given.items():
        yield {key: load()}


def no_chunk(given):
    yield from ()


def register_pipelines():
    return {
        "copy": Pipeline([node(copy, "raw", "made", name="copy")]),
        "one_more": Pipeline([node(one_more, "raw", "made", name="one_more")]),
        "one_less": Pipeline([node(one_less, "raw", "made", name="one_less")]),
        "in_chunks": Pipeline([node(in_chunks, "raw", "made", name="in_chunks")]),
        "in_threads": Pipeline([node(in_threads, None, "made", name="in_threads")]),
        "no_chunk": Pipeline([node(no_chunk, "raw", "made", name="no_chunk")]),
        "missing": Pipeline([node(copy, "absent", "made", name="missing")]),
        "dynamic": Pipeline([node(copy, "found", "kept", name="dynamic")]),
        "fan_in": Pipeline([node(copy, "windows", "gathered", name="gather")]),
        "twins": Pipeline([node(twins, "source", ["left", "right"], name="make_twins")]),
        "transcoded": Pipeline([
            node(copy, "raw", "table@json", name="write"),
            node(copy, "table@text", "made", name="read"),
        ]),
        "cached": Pipeline([
            node(copy, "raw", "cached", name="write_cached"),
            node(copy, "cached", "made", name="read_cached"),
        ]),
    }
"""
CATALOG = """\
raw: &raw
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/raw
  filename_suffix: .json
  dataset: json.JSONDataset
  partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [a, b, c]}
made: {<<: *raw, path: data/made}
absent: {<<: *raw, path: data/absent}
"table@json": {<<: *raw, path: data/table}
"table@text": {<<: *raw, path: data/table, dataset: text.TextDataset}
cached: {type: CachedDataset, dataset: {<<: *raw, path: data/cached}}
source:
  <<: *raw
  partition_mappings:
    right:
      type: dagster.StaticPartitionMapping
      downstream_partition_keys_by_upstream_partition_key: {a: b, b: a}
left: {<<: *raw, path: data/left}
right: {<<: *raw, path: data/right}
windows:
  <<: *raw
  path: data/windows
  partition: {type: dagster.DailyPartitionsDefinition, start_date: 2024-01-01}
gathered: {type: json.JSONDataset, filepath: data/gathered.json}
found: {<<: *raw, path: data/found, partition: {type: dagster.DynamicPartitionsDefinition, name: f}}
kept: {<<: *raw, path: data/kept, partition: {type: dagster.DynamicPartitionsDefinition, name: f}}
"""
JOBS = [
    "one_more",
    "one_less",
    "in_chunks",
    "in_threads",
    "no_chunk",
    "missing",
    "dynamic",
    "fan_in",
    "twins",
    "transcoded",
    "cached",
]
DAGSTER = "jobs:\n" + indent(
    "\n".join(f"{job}: {{pipeline: {{pipeline_name: {job}}}}}" for job in JOBS), "  "
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    project = make_project(
        tmp_path_factory.mktemp("contract") / "project",
        package="contract",
        pipelines=PIPELINES,
        catalog=CATALOG,
        dagster=DAGSTER,
        files={f"data/raw/{key}.json": f'"{key}"' for key in "abc"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield project.path


@pytest.fixture(scope="module")
def definitions(root: Path) -> dg.Definitions:
    return KedroProjectTranslator(root).to_definitions()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def made(root: Path) -> Iterator[Path]:
    """The folder of the dataset that is made, without files."""
    folder = root / "data" / "made"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def contents(folder: Path) -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}


def recorded(run: dg.ExecuteInProcessResult) -> list[str]:
    return sorted(str(event.partition) for event in run.get_asset_materialization_events())


def causes(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The first cause of the failure of each step."""
    found = {}
    for event in run.filter_events(lambda event: event.is_step_failure):
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        found[str(event.step_key)] = error.message if error else ""
    return found


@pytest.mark.parametrize(
    ("step", "message"),
    [
        pytest.param(
            "one_more__a",
            "Node 'one_more', dataset 'made': the node is to return partitions ['a'], and "
            "returned ['a', 'elsewhere'].",
            id="a_key_out_of_scope",
        ),
        pytest.param(
            "one_less__b",
            "Node 'one_less', dataset 'made': the node is to return partitions ['b'], and "
            "returned [].",
            id="a_missing_key",
        ),
        pytest.param(
            "no_chunk__c",
            "Node 'no_chunk', dataset 'made': the node is to return partitions ['c'], and "
            "returned [].",
            id="a_generator_without_chunks",
        ),
        pytest.param(
            "missing__c",
            "Node 'missing', dataset 'absent': partition 'c' has no file",
            id="a_missing_file",
        ),
    ],
)
def test_a_breach_fails_its_partition_with_a_message(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    made: Path,
    step: str,
    message: str,
) -> None:
    job, failing = step.split("__")
    run = definitions.resolve_job_def(job).execute_in_process(QUIET, instance, raise_on_error=False)
    assert not run.success
    assert message in causes(run)[step]
    assert failing not in contents(made)
    assert failing not in recorded(run)
    assert sorted(contents(made)) == recorded(run)


@pytest.mark.parametrize("job", ["in_chunks", "transcoded", "cached"])
def test_each_partition_reaches_the_next_node(
    definitions: dg.Definitions, instance: dg.DagsterInstance, made: Path, job: str
) -> None:
    run = definitions.resolve_job_def(job).execute_in_process(QUIET, instance)
    assert run.success
    values = {
        key: json.loads(value) if job == "transcoded" else value
        for key, value in contents(made).items()
    }
    assert values == {"a": "a", "b": "b", "c": "c"}


def test_a_node_asks_in_threads_which_partition_it_is_to_make(
    definitions: dg.Definitions, instance: dg.DagsterInstance, made: Path
) -> None:
    run = definitions.resolve_job_def("in_threads").execute_in_process(QUIET, instance)
    assert run.success
    assert contents(made) == dict.fromkeys("abc", "downloaded")


def test_a_run_is_refused_before_its_first_node_on_another_kedro_datasets(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(PartitionedDataset, "_path_to_partition")
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        definitions.resolve_job_def("in_threads").execute_in_process(QUIET, instance)
    message = str(caught.value.__cause__)
    assert message.startswith("kedro_dagster does not fit kedro-datasets ")
    assert "'PartitionedDataset' has no attribute '_path_to_partition'" in message
    assert not contents(made)


def test_a_node_is_given_what_each_of_its_outputs_is_made_from(
    definitions: dg.Definitions, instance: dg.DagsterInstance, root: Path
) -> None:
    definitions.resolve_job_def("twins").execute_in_process(QUIET, instance)
    for name in ("left", "right"):
        made = {key: sorted(given) for key, given in contents(root / "data" / name).items()}
        assert made == {"a": ["a", "b"], "b": ["a", "b"], "c": ["c"]}


def test_a_fan_in_of_windows_takes_those_that_are_there(
    definitions: dg.Definitions, instance: dg.DagsterInstance, root: Path
) -> None:
    folder = root / "data" / "windows"
    folder.mkdir()
    for day in ("2024-01-03", "2024-01-01"):
        (folder / f"{day}.json").write_text("1")
    run = definitions.resolve_job_def("fan_in").execute_in_process(QUIET, instance)
    assert run.success
    gathered = json.loads((root / "data" / "gathered.json").read_text())
    assert list(gathered) == ["2024-01-01", "2024-01-03"]


@pytest.mark.parametrize("key", ["../x", "/x"])
def test_a_dynamic_key_cannot_lead_out_of_the_folder(
    definitions: dg.Definitions, instance: dg.DagsterInstance, root: Path, key: str
) -> None:
    instance.add_dynamic_partitions("f", [key])
    job = definitions.resolve_job_def("dynamic")
    run = job.execute_in_process(QUIET, instance, partition_key=key, raise_on_error=False)
    (cause,) = causes(run).values()
    assert "leads out of the dataset's folder" in cause
    assert not (root / "data" / "x.json").exists()
    assert not recorded(run)


def test_a_partition_that_there_is_not_is_refused_before_the_run(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("dynamic")
    with pytest.raises(dg.DagsterUnknownPartitionError, match="nowhere"):
        job.execute_in_process(QUIET, instance, partition_key="nowhere")
