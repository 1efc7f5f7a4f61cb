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

from kedro_dagster.run.processes import SPAWNED, choose_start_method, forks_workers
from projects import Project, make_project

DEFAULTS = {"max_concurrent": None, "retries": {"enabled": {}}}
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


def chosen(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    context, note = choose_start_method(executor_context(config))
    return dict(context.executor_config), note


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("KEDRO_MP_CONTEXT", raising=False)


@pytest.mark.parametrize("given", [{}, {"start_method": {"forkserver": {}}}])
def test_each_step_is_forked_from_a_process_that_has_dagster_loaded(given: dict[str, Any]) -> None:
    config, note = chosen({**DEFAULTS, **given})
    modules = config["start_method"]["forkserver"]["preload_modules"]
    assert modules[0] == "__main__"
    assert modules[-1] == "kedro_dagster.render.code_location"
    assert note == ""


def test_the_default_executor_has_its_options_one_level_down() -> None:
    config, _ = chosen({"multiprocess": DEFAULTS})
    assert "forkserver" in config["multiprocess"]["start_method"]


@pytest.mark.parametrize("given", [{"spawn": {}}, {"forkserver": {"preload_modules": ["pandas"]}}])
def test_a_start_method_of_dagster_yml_stays(given: dict[str, Any]) -> None:
    config = {**DEFAULTS, "start_method": given}
    assert chosen(config) == (config, "")


def test_macos_spawns_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert chosen(DEFAULTS) == (DEFAULTS, SPAWNED)


def test_a_platform_without_fork_spawns_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert chosen(DEFAULTS) == (DEFAULTS, SPAWNED)


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        ({}, "", True),
        ({}, "fork", True),
        ({}, "spawn", False),
        ({"start_method": {"spawn": {}}}, "fork", False),
        ({"start_method": {"forkserver": {}}}, "fork", False),
    ],
)
def test_workers_are_kept_unless_somebody_chooses_otherwise(
    given: dict[str, Any], variable: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("KEDRO_MP_CONTEXT", variable)
    assert forks_workers(executor_context({**DEFAULTS, **given})) is expected


def test_the_variable_of_parallel_runner_spawns_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDRO_MP_CONTEXT", "spawn")
    assert chosen(DEFAULTS) == ({**DEFAULTS, "start_method": {"spawn": {}}}, "")


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
