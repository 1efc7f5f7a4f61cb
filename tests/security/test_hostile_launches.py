"""Nothing is unpickled, imported or evaluated that whoever launches a run has written into it."""

from __future__ import annotations

import base64
import pickle
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.api import execute_run

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import RunConfigError
from kedro_dagster.run import identity
from projects import Project, make_project

EVIL = """\
from pathlib import Path

Path("evil").touch()


def dumps(data):
    return b""


load = loads = dump = dumps


class Evil:
    def __init__(self, *arguments, **options):
        Path("evil").touch()
"""

SETTINGS = """\
from pathlib import Path


def touch(name="evil"):
    Path(name).touch()
    return "touched"


CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {"touch": touch},
}
"""

CATALOG = """\
_class: ${runtime_params:aliased, json.JSONDataset}
read:
  type: json.JSONDataset
  filepath: ${runtime_params:path, data/read.json}
  versioned: true
direct: {type: "${runtime_params:type, json.JSONDataset}", filepath: data/a.json}
aliased: {type: "${_class}", filepath: data/a.json}
inner:
  type: partitions.PartitionedDataset
  path: data/inner
  dataset: ${runtime_params:inner, json.JSONDataset}
cached: {type: CachedDataset, dataset: {type: "${_class}", filepath: data/a.json}}
pickled:
  type: pickle.PickleDataset
  filepath: data/a.pickle
  backend: ${runtime_params:backend, pickle}
table: {type: shop.tables.Table, dataset: "${runtime_params:table, a}"}
kept: {type: json.JSONDataset, filepath: data/kept.json}
days:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/days
  dataset: json.JSONDataset
  filename_suffix: .json
  partition: {type: dagster.DynamicPartitionsDefinition, name: days}
"""

PIPELINES = """\
from kedro.pipeline import Pipeline, node

from shop.nodes import day, keep


def register_pipelines():
    names = ["direct", "aliased", "inner", "cached", "pickled"]
    found = {name: Pipeline([node(lambda x: None, name, None, name=name)]) for name in names}
    return {
        **found,
        "read": Pipeline([node(keep, ["read", "params:text"], None, name="read")]),
        "text": Pipeline([node(keep, ["params:text", "params:rate"], "kept", name="text")]),
        "days": Pipeline([node(day, None, "days", name="days")]),
        "__default__": Pipeline([]),
    }
"""

NODES = """\
from pathlib import Path

from kedro_dagster.datasets import partition_ids


def keep(*values):
    Path("ran").write_text(repr(values))
    return values


def day():
    Path("ran").touch()
    return {name: 1 for name in partition_ids("days")}
"""

TABLES = """\
from kedro.io import MemoryDataset


class Table(MemoryDataset):
    def __init__(self, dataset):
        super().__init__(dataset)
"""

NAMES = ("read", "text", "direct", "aliased", "inner", "cached", "pickled", "days")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("hostile") / "shop",
        pipelines=PIPELINES,
        nodes=NODES,
        settings=SETTINGS,
        catalog=CATALOG,
        parameters={"text": "plain", "rate": 0.5},
        dagster={
            "jobs": {
                f"{name}_{executor}": {
                    "pipeline": {"pipeline_name": name},
                    **({} if executor == "default" else {"executor": {executor: {}}}),
                }
                for name in NAMES
                for executor in ("in_process", "multiprocess", "default")
            }
        },
        files={
            "src/shop/evil.py": EVIL,
            "src/shop/tables.py": TABLES,
            "data/read.json/2024-01-01T00.00.00.000Z/read.json": '"first"',
            "data/read.json/2024-01-02T00.00.00.000Z/read.json": '"second"',
            "read.json": '"outside"',
        },
    )


@pytest.fixture(scope="module")
def definitions(project: Project) -> dg.Definitions:
    return KedroProjectTranslator(project.path).to_definitions()


@pytest.fixture
def folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, in which a trace of each evil deed is left."""
    monkeypatch.chdir(project.path)
    yield project.path
    for name in ("evil", "ran"):
        (project.path / name).unlink(missing_ok=True)


Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(definitions: dg.Definitions) -> Run:
    def run(job: str, **config: Any) -> dg.ExecuteInProcessResult:
        return definitions.resolve_job_def(f"{job}_in_process").execute_in_process(
            run_config={"resources": {"kedro": {"config": config}}}
        )

    return run


@contextmanager
def refused(match: str) -> Iterator[None]:
    with pytest.raises(dg.DagsterError) as caught:
        yield
    cause = caught.value.__cause__
    assert isinstance(cause, RunConfigError)
    assert re.search(match, str(cause))
    assert "\n" not in str(cause)


@pytest.mark.parametrize(
    "value",
    ["${touch:}", "a ${touch:} b", {"deep": ["${touch:}"]}, "${oc.decode:'${touch:}'}"],
    ids=str,
)
@pytest.mark.parametrize("name", ["text", "path", "new"])
def test_no_interpolation_in_runtime_params_is_evaluated(
    name: str, value: Any, run: Run, folder: Path
) -> None:
    with refused(rf"^runtime_params\.{name}.*\$\{{"):
        run("text", runtime_params={name: value})
    assert not (folder / "evil").exists()
    assert not (folder / "ran").exists()


def test_other_runtime_params_are_taken(run: Run, folder: Path) -> None:
    assert run("text", runtime_params={"text": "$ {x} {}", "rate": 1}).success
    assert (folder / "ran").read_text() == "('$ {x} {}', 1)"


@pytest.mark.parametrize(
    "version", ["../../..", "..", ".", "", "/etc", "a/b", "a\\b", "2024-01-01T00.00.00.000Z/.."]
)
def test_a_version_to_load_does_not_lead_elsewhere(version: str, run: Run, folder: Path) -> None:
    with refused(r"^load_versions\.read: "):
        run("read", load_versions={"read": version})
    assert not (folder / "ran").exists()


def test_no_variable_of_the_environment_is_read(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "Zq7planted")
    with refused(r"^load_versions\.read: {'env': 'PLANTED'}"):
        run("read", load_versions={"read": {"env": "PLANTED"}})
    assert run("text", runtime_params={"text": {"env": "PLANTED"}}).success
    assert (folder / "ran").read_text() == "({'env': 'PLANTED'}, 0.5)"


def test_a_version_to_load_is_loaded(run: Run, folder: Path) -> None:
    assert run("read", load_versions={"read": "2024-01-01T00.00.00.000Z"}).success
    assert (folder / "ran").read_text() == "('first', 'plain')"


@pytest.mark.parametrize(
    ("job", "name", "value", "place"),
    [
        ("direct", "type", "shop.evil.Evil", "direct.type"),
        ("aliased", "aliased", "shop.evil.Evil", "aliased.type"),
        ("cached", "aliased", "shop.evil.Evil", "aliased.type"),
        ("inner", "inner", "shop.evil.Evil", "inner.dataset"),
        ("inner", "inner", {"type": "shop.evil.Evil"}, "inner.dataset"),
        ("pickled", "backend", "shop.evil", "pickled.backend"),
        ("text", "type", "pickle.PickleDataset", "direct.type"),
    ],
)
def test_runtime_params_choose_no_class(
    job: str, name: str, value: Any, *, place: str, run: Run, folder: Path
) -> None:
    with refused(f"^runtime_params: .*{place}"):
        run(job, runtime_params={name: value})
    assert not (folder / "evil").exists()


def test_runtime_params_may_say_what_the_catalog_says(run: Run, folder: Path) -> None:
    path = str(folder / "data" / "read.json")
    params = {"type": "json.JSONDataset", "path": path, "table": "b"}
    assert run("read", runtime_params=params).success


@pytest.mark.parametrize("value", ["${touch:}", "${oc.env:HOME}"])
def test_no_interpolation_in_the_config_of_an_op_is_evaluated(
    value: str, definitions: dg.Definitions, folder: Path
) -> None:
    config = {"ops": {"text": {"config": {"params:text": value}}}}
    job = definitions.resolve_job_def("text_in_process")
    assert job.execute_in_process(run_config=config).success
    assert (folder / "ran").read_text() == f"({value!r}, 0.5)"
    assert not (folder / "evil").exists()


@pytest.mark.parametrize("key", ["../../evil", "..", "a/../../evil", "/evil", "..\\evil"])
def test_a_partition_key_does_not_leave_its_folder(
    key: str, definitions: dg.Definitions, folder: Path
) -> None:
    job = definitions.resolve_job_def("days_in_process")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("days", [key])
        with pytest.raises(Exception, match=r"leads out|no plain path"):
            job.execute_in_process(partition_key=key, instance=instance)
    assert not list(folder.rglob("evil.json"))
    assert not (folder / "ran").exists()


# What is written into the tags of a run


class Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def forged(run_id: str, dagster_run_id: str) -> dict[str, str]:
    """The tags by which a run would know of itself, written by somebody else."""
    packed = pickle.dumps({"read": pickle.dumps(Touch()), "evil": Touch()})
    return {
        ".dagster/kedro_catalog": f"{run_id} {base64.b85encode(zlib.compress(packed)).decode()}",
        "kedro/run_id": run_id,
        "kedro/pipeline_hooks": f"open {dagster_run_id}",
        "kedro/run_state": dagster_run_id,
    }


RUN_ID = "2024-05-05T05.05.05.005Z"


def load_definitions(path: str) -> dg.RepositoryDefinition:
    kedro = KedroProjectTranslator(path).to_definitions()
    kept = dg.AssetSelection.assets("kept")
    native = dg.define_asset_job("native", kept, executor_def=dg.in_process_executor)
    return dg.Definitions.merge(kedro, dg.Definitions(jobs=[native])).get_repository_def()


def load_job(path: str, name: str) -> dg.JobDefinition:
    return load_definitions(path).get_job(name)


@pytest.mark.parametrize("job", ["text_in_process", "native"])
def test_nothing_in_the_tags_is_unpickled(
    job: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the time of the run, and its id, were guessed or chosen."""
    monkeypatch.setattr(identity, "generate_timestamp", lambda: RUN_ID)
    recon = dg.build_reconstructable_job(__name__, "load_job", (str(folder), job))
    with dg.instance_for_test() as instance:
        chosen = "11111111-2222-3333-4444-555555555555"
        dagster_run = instance.create_run_for_job(
            recon.get_definition(), run_id=chosen, tags=forged(RUN_ID, chosen)
        )
        execute_run(recon, dagster_run, instance)
    # The other one looks for the state that its tags promise, and does not find it
    assert (folder / "ran").exists() == (job == "text_in_process")
    assert not (folder / "evil").exists()


def test_the_identity_in_the_tags_is_no_path(folder: Path) -> None:
    chosen = "11111111-2222-3333-4444-555555555556"
    recon = dg.build_reconstructable_job(__name__, "load_job", (str(folder), "native"))
    with dg.instance_for_test() as instance:
        tags = forged("../../../elsewhere", chosen)
        dagster_run = instance.create_run_for_job(recon.get_definition(), run_id=chosen, tags=tags)
        execute_run(recon, dagster_run, instance)
        told = instance.get_run_by_id(chosen).tags["kedro/run_id"]  # type: ignore[union-attr]
    assert "/" not in told


# What is written into the config of an executor


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["in_process", "multiprocess", "default"])
def test_a_run_is_refused_before_anything_runs(executor: str, folder: Path) -> None:
    config = {"resources": {"kedro": {"config": {"runtime_params": {"text": "${touch:}"}}}}}
    message = fail(folder, f"text_{executor}", config)
    assert "RunConfigError: runtime_params.text: " in message
    assert not (folder / "evil").exists()
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("job", ["text_default", "text_multiprocess"])
def test_no_module_is_imported_that_a_run_names(job: str, folder: Path) -> None:
    start = {"forkserver": {"preload_modules": ["shop.evil"]}}
    config = {"execution": {"config": {"multiprocess": {"start_method": start}}}}
    if job == "text_default":
        assert "preload_modules" in fail(folder, job, config)
        assert not (folder / "ran").exists()
    else:  # what dagster.yml says holds
        assert succeeds(folder, job, config)
    assert not (folder / "evil").exists()


@pytest.mark.slow
def test_the_start_method_may_be_chosen(folder: Path) -> None:
    config = {"execution": {"config": {"multiprocess": {"start_method": {"spawn": {}}}}}}
    assert succeeds(folder, "text_default", config)


def succeeds(folder: Path, job: str, config: Any) -> bool:
    return not errors_of(folder, job, config)


def fail(folder: Path, job: str, config: Any) -> str:
    """Run a job, and give the error that the UI shows of it."""
    (error,) = errors_of(folder, job, config)
    return error


def errors_of(folder: Path, job: str, config: Any) -> list[str]:
    recon = dg.build_reconstructable_job(__name__, "load_job", (str(folder), job))
    with dg.instance_for_test() as instance:
        dagster_run = instance.create_run_for_job(recon.get_definition(), run_config=config)
        execute_run(recon, dagster_run, instance)
        events = (entry.dagster_event for entry in instance.all_logs(dagster_run.run_id))
        return [
            str(event.job_failure_data.error)
            for event in events
            if event and event.event_type is dg.DagsterEventType.RUN_FAILURE
        ]
