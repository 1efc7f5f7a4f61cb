"""How processes start: workers are forked, and else each step has a process, as safe as can be."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.executor.init import InitExecutorContext

from kedro_dagster.run.processes import preload, start_method_of_workers
from projects import Project, make_project

DEFAULTS = {"max_concurrent": None, "retries": {"enabled": {}}}
FORKSERVER = {**DEFAULTS, "start_method": {"forkserver": {}}}
PIPELINES = """
    import os
    import sys
    from pathlib import Path
    from kedro.pipeline import Pipeline, node

    with Path("imported.txt").open("a") as file:
        print(os.getpid(), file=file)
    if os.environ.get("NEEDS_A_MAIN_MODULE") and sys.argv[0] == "-c":
        raise RuntimeError("no main module")

    def save() -> str:
        with Path("stepped.txt").open("a") as file:
            print(os.getpid(), file=file)
        return "made"

    def register_pipelines() -> dict[str, Pipeline]:
        return {"__default__": Pipeline([node(save, None, name, name=name) for name in "abc"])}
"""
CATALOG = {name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"} for name in "abc"}
SCRIPT = """
    import dagster as dg

    def everything():
        from shop.definitions import defs
        return defs.get_job_def("everything")

    if __name__ == "__main__":
        with dg.DagsterInstance.get() as instance:
            dg.execute_job(dg.reconstructable(everything), instance, raise_on_error=True)
"""


def executor_context(config: dict[str, Any]) -> InitExecutorContext:
    job = ReconstructableRepository.for_module("shop.definitions", "defs")
    return InitExecutorContext(
        job=job.get_reconstructable_job("everything"),
        executor_def=dg.multiprocess_executor,
        executor_config=config,
        instance=dg.DagsterInstance.ephemeral(),
    )


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    return dict(preload(executor_context(config)).executor_config)


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("KEDRO_MP_CONTEXT", raising=False)


def test_a_fork_server_has_dagster_loaded() -> None:
    for config in (FORKSERVER, {"multiprocess": FORKSERVER}):  # so has the default executor
        found = chosen(config)
        method = found.get("multiprocess", found)["start_method"]
        modules = method["forkserver"]["preload_modules"]
        assert modules[0] == "__main__"
        assert modules[-1] == "kedro_dagster.render.code_location"


@pytest.mark.parametrize("given", [{"spawn": {}}, {"forkserver": {"preload_modules": ["pandas"]}}])
def test_a_start_method_of_dagster_yml_stays(given: dict[str, Any]) -> None:
    config = {**DEFAULTS, "start_method": given}
    assert chosen(config) == config


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        ({}, "", "fork"),
        ({}, "fork", "fork"),
        ({}, "spawn", "spawn"),
        ({"start_method": {"spawn": {}}}, "fork", None),
        ({"start_method": {"forkserver": {}}}, "fork", None),
    ],
)
def test_workers_are_kept_unless_dagster_yml_chooses_otherwise(
    given: dict[str, Any],
    variable: str,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable:
        monkeypatch.setenv("KEDRO_MP_CONTEXT", variable)
    assert start_method_of_workers(executor_context({**DEFAULTS, **given})) == expected


def test_on_macos_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert start_method_of_workers(executor_context(DEFAULTS)) == "spawn"


def test_where_nothing_can_be_forked_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert start_method_of_workers(executor_context(DEFAULTS)) == "spawn"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(
        tmp_path / "shop",
        pipelines=PIPELINES,
        catalog=CATALOG,
        dagster={
            "executors": {"two": {"multiprocess": {"max_concurrent": 2}}},
            "jobs": {
                "everything": {"pipeline": {"pipeline_name": "__default__"}, "executor": "two"}
            },
        },
        files={"script.py": SCRIPT},
    )


JOB = ("job", "execute", "-m", "shop.definitions", "-j", "everything")
LAUNCHES = {
    "console script": (str(Path(sys.executable).with_name("dagster")), *JOB),
    "another folder": ("-m", "dagster", *JOB, "-d", "src"),
    "script": ("script.py",),
}


@pytest.mark.slow
@pytest.mark.parametrize("launch", LAUNCHES)
def test_no_step_imports_the_project(project: Project, launch: str) -> None:
    output = project.run(*LAUNCHES[launch])
    imported, stepped = pids(project, "imported"), pids(project, "stepped")
    assert 1 <= len(set(stepped)) <= 2, output.stdout + output.stderr
    assert len(imported) == 1, output.stdout + output.stderr  # the run worker
    assert not {*stepped} & {*imported}


@pytest.mark.slow
def test_a_process_for_each_step_imports_a_project_that_wants_no_main_module(
    project: Project,
) -> None:
    two = {"multiprocess": {"max_concurrent": 2, "start_method": {"forkserver": {}}}}
    configuration = project.path / "conf" / "base" / "dagster.yml"
    content = yaml.safe_load(configuration.read_text())
    configuration.write_text(yaml.safe_dump({**content, "executors": {"two": two}}))
    project.run(*LAUNCHES["another folder"], NEEDS_A_MAIN_MODULE="1")
    stepped = pids(project, "stepped")
    assert len(set(stepped)) == 3
    assert {*stepped} < {*pids(project, "imported")}


def pids(project: Project, name: str) -> list[str]:
    return (project.path / f"{name}.txt").read_text().split()
