"""Processes that start as in Python 3.14, where a forkserver is the default, on any Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("settings")]

DEFAULT = 'import multiprocessing\nmultiprocessing.set_start_method("forkserver")\n'
NODES = """
    import multiprocessing
    import os
    from concurrent.futures import ProcessPoolExecutor


    def square(number):
        return number**2, os.getpid()


    def square_all(count):
        with ProcessPoolExecutor(2) as pool:
            squares, pids = zip(*pool.map(square, range(count)))
        return {"squares": squares, "elsewhere": os.getpid() not in pids}


    def add(made):
        return sum(made["squares"])


    def tell(made, total):
        return {
            **made,
            "sum": total,
            "start_method": multiprocessing.get_start_method(),
            "in_run_worker": os.environ["RUN_WORKER"] == str(os.getpid()),
        }
"""
HOOKS = """
    import os

    from kedro.framework.hooks import hook_impl


    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self):
            os.environ["RUN_WORKER"] = str(os.getpid())
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node

    from shop import nodes


    def register_pipelines():
        return {
            "__default__": Pipeline(
                [
                    node(nodes.square_all, "params:count", "made", name="square_all"),
                    node(nodes.add, "made", "total", name="add"),
                    node(nodes.tell, ["made", "total"], "told", name="tell"),
                ]
            )
        }
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("start_method") / "project",
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        catalog={"told": {"type": "json.JSONDataset", "filepath": "data/told.json"}},
        parameters={"count": 5},
        dagster={
            "jobs": {
                name: {"pipeline": {}, "executor": {name: {}}}
                for name in ("in_process", "multiprocess")
            }
        },
        files={"src/sitecustomize.py": DEFAULT},  # which each process imports when it starts
    )


@pytest.mark.parametrize("job", ["kedro run", "in_process", "multiprocess"])
def test_a_forkserver_is_the_default(project: Project, job: str, tmp_path: Path) -> None:
    copy = project.copy(tmp_path / "project")
    if job == "kedro run":
        copy.kedro("run")
    else:
        copy.execute(job)
    assert json.loads((copy.path / "data" / "told.json").read_text()) == {
        "squares": [0, 1, 4, 9, 16],
        "elsewhere": True,
        "sum": 30,
        "start_method": "forkserver",
        "in_run_worker": job != "multiprocess",
    }
