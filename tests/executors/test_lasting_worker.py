"""Many runs, a step at a time, in one process: as in a worker of Dask or Celery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects import make_project

pytestmark = pytest.mark.slow

NODES = """
    from kedro.framework.hooks import hook_impl


    class Value:
        pass


    def make():
        return Value()


    def use(value):
        return [isinstance(value, Value)]


    class ProjectHooks:
        contexts = 0

        @hook_impl
        def after_context_created(self):
            ProjectHooks.contexts += 1

        @hook_impl
        def after_catalog_created(self, catalog):
            catalog["from_hook"] = 1
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node

    from . import nodes


    def register_pipelines():
        first = node(nodes.make, None, "value", name="make")
        second = node(nodes.use, "value", "used", name="use")
        third = node(lambda used, data: [used, data], ["used", "from_hook"], "end", name="end")
        return {"__default__": Pipeline([first, second, third])}
"""
SCRIPT = """
import gc, json

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_plan

from kedro_dagster.run.kedro_run import KedroRun
from kedro_dagster.run.identity import new_identity
from shop.definitions import defs
from shop.nodes import ProjectHooks, Value


def execute(dagster_run, step):
    plan = create_execution_plan(job, step_keys_to_execute=[step])
    events = execute_plan(plan, job, instance, dagster_run)
    assert not [event for event in events if event.is_step_failure]


def start():
    dagster_run = instance.create_run_for_job(job.get_definition())
    new_identity(instance, dagster_run.run_id, single_process=False)
    return dagster_run


def living(kind):
    gc.collect()
    return len([one for one in gc.get_objects() if type(one) is kind])


job = InMemoryJob(defs.resolve_job_def("job"))
seen = {"values": [], "runs": []}
with dg.DagsterInstance.get() as instance:
    for _ in range(4):
        dagster_run = start()
        for step in ("make", "use", "end"):
            execute(dagster_run, step)
            seen["values"].append(living(Value))
        seen["runs"].append(living(KedroRun))
    seen["contexts of 4 runs"] = ProjectHooks.contexts
    one, other = start(), start()
    for step in ("make", "use", "end"):
        execute(one, step)
        execute(other, step)
    seen["contexts of 2 runs in turns"] = ProjectHooks.contexts - seen["contexts of 4 runs"]
print(json.dumps(seen))
"""


def test_a_run_has_one_context_and_nothing_of_it_stays_behind(tmp_path: Path) -> None:
    project = make_project(
        tmp_path / "project",
        pipelines=PIPELINES,
        nodes=NODES,
        settings="from .nodes import ProjectHooks\n\nHOOKS = (ProjectHooks(),)\n",
        catalog={
            "end": {"type": "json.JSONDataset", "filepath": "end.json"},
            "used": {
                "type": "CachedDataset",
                "dataset": {"type": "json.JSONDataset", "filepath": "used.json"},
            },
            "from_hook": {"type": "MemoryDataset"},
        },
        dagster={"jobs": {"job": {"pipeline": {}, "executor": {"multiprocess": {}}}}},
    )
    seen = json.loads(project.run("-c", SCRIPT).stdout.splitlines()[-1])
    assert max(seen.pop("runs")) <= 2  # the last one, and what Dagster holds of the one before
    assert seen == {
        "values": [0] * 12,
        "contexts of 4 runs": 4,
        "contexts of 2 runs in turns": 6,
    }
    assert json.loads((project.path / "end.json").read_text()) == [[True], 1]
