"""The executor of materialisations: one of dagster.yml, or one that the project merges in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from fidelity.conftest import MakeProject
from kedro_dagster import KedroProjectTranslator
from kedro_dagster.doors import fallback
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.describe import describe
from projects import Project

pytestmark = pytest.mark.xdist_group("asset_executor")

PIPELINES = """\
import os

from kedro.pipeline import Pipeline, node


def register_pipelines():
    return {
        "__default__": Pipeline([
            node(os.getpid, None, "first", name="first"),
            node(lambda first: [first, os.getpid()], "first", "second", name="second"),
        ])
    }
"""
HOOKS = """\
import os

from kedro.framework.hooks import hook_impl


class ProjectHooks:
    @hook_impl
    def before_pipeline_run(self):
        with open("hooks.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
"""
MERGED = """\
import dagster as dg

from shop import definitions

executor = dg.multiprocess_executor.configured({"max_concurrent": 1})
defs = dg.Definitions.merge(dg.Definitions(executor=executor), definitions.defs)
"""
IN_PROCESS = {
    "executors": {"writer": {"in_process": {}}},
    "assets": {"executor": "writer"},
    "jobs": {"all": {"pipeline": {}}},
}


@pytest.fixture(scope="module")
def project(json_project: MakeProject) -> Project:
    return json_project(
        *("first", "second"),
        pipelines=PIPELINES,
        dagster=IN_PROCESS,
        hooks=HOOKS,
        files={
            "src/shop/merged.py": MERGED,
            "conf/wrong/dagster.yml": "assets: {executor: writter, speed: 1}\n",
        },
    )


def processes(project: Project, *command: str) -> tuple[int, int, int]:
    """The run worker of one run, as its only pipeline hook tells, and those of its nodes."""
    hooks = project.path / "hooks.txt"
    hooks.unlink(missing_ok=True)
    project.run("-m", "dagster", *command)
    (worker,) = map(int, hooks.read_text().split())
    first, second = json.loads((project.path / "data/second.json").read_text())
    return worker, first, second


@pytest.mark.slow
def test_it_is_that_of_dagster_yml_and_jobs_keep_theirs(project: Project) -> None:
    module = ("-m", "shop.definitions")
    worker, *nodes = processes(project, "job", "execute", "-j", "__ASSET_JOB", *module)
    assert nodes == [worker, worker]
    worker, *nodes = processes(project, "job", "execute", "-j", "all", *module)
    assert worker not in nodes


@pytest.mark.slow
def test_one_that_the_project_merges_in_wins_and_has_the_hooks_around_it(project: Project) -> None:
    merged = ("-m", "shop.merged")
    worker, *nodes = processes(project, "job", "execute", "-j", "__ASSET_JOB", *merged)
    assert worker not in nodes


@pytest.fixture(scope="module")
def kedro(project: Project) -> KedroProjectTranslator:
    return KedroProjectTranslator(project.path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "own", [dg.in_process_executor, dg.multiprocess_executor, dg.multi_or_in_process_executor]
)
def test_the_order_does_not_matter(
    kedro: KedroProjectTranslator, own: dg.ExecutorDefinition, first: bool
) -> None:
    parts = [dg.Definitions(executor=own), kedro.to_definitions()]
    merged = dg.Definitions.merge(*(parts if first else reversed(parts)))
    job = merged.resolve_implicit_global_asset_job_def()
    assert job.executor_def.name == own.name
    assert merged.resolve_job_def("all").executor_def.name == "multi_or_in_process_executor"
    others = dg.Definitions.merge(dg.Definitions(), parts[1])
    assert others.executor is parts[1].executor


def test_an_executor_that_is_built_wins_too(kedro: KedroProjectTranslator) -> None:
    class Built(dg.Executor):
        retries = step_dependency_config = None

        def execute(self, *_: object) -> Iterator[dg.DagsterEvent]:
            yield from ()

    merged = dg.Definitions.merge(kedro.to_definitions(), dg.Definitions(executor=Built()))
    executor = merged.resolve_implicit_global_asset_job_def().executor_def
    creation: Any = executor.executor_creation_fn
    assert isinstance(creation(None).inner, Built)


def test_two_executors_of_the_project_are_still_refused(kedro: KedroProjectTranslator) -> None:
    two = [
        dg.Definitions(executor=one) for one in (dg.in_process_executor, dg.multiprocess_executor)
    ]
    with pytest.raises(dg.DagsterInvariantViolationError, match="both have an executor"):
        dg.Definitions.merge(kedro.to_definitions(), *two)


def test_without_a_way_to_copy_definitions_dagster_refuses(
    kedro: KedroProjectTranslator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback._told.clear()
    parts = [kedro.to_definitions(), dg.Definitions(executor=dg.in_process_executor)]
    monkeypatch.delattr("dagster_shared.record.copy")
    with pytest.raises(dg.DagsterInvariantViolationError, match="both have an executor"):
        dg.Definitions.merge(*parts)
    assert fallback._told


def test_the_plan_shows_it(kedro: KedroProjectTranslator) -> None:
    assert "\nAssets (executor in_process)\n" in describe(kedro.plan)


def test_a_mistake_is_told(project: Project) -> None:
    with pytest.raises(DagsterConfigError) as error:
        KedroProjectTranslator(project.path, env="wrong")
    unknown, undefined = str(error.value).splitlines()[1:]
    assert unknown.startswith("  - conf/wrong/dagster.yml: assets.speed: unknown key.")
    assert undefined == (
        "  - conf/wrong/dagster.yml: assets.executor: 'writter' is not defined in 'executors'. "
        "Did you mean 'writer'?"
    )
