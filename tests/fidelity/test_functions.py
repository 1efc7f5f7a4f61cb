"""Jobs whose nodes have one name and different functions: each job runs its own."""

from __future__ import annotations

import json

import pytest

from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("functions")]

KINDS = [
    "default",
    "keyword_default",
    "partial_of_array",
    "partial_keyword",
    "closure",
    "bound_method",
    "callable_object",
    "global_of_an_exec",
]
PIPELINES = """\
from functools import partial

import numpy as np
from kedro.pipeline import Pipeline, node


def total(array, seed, factor=1):
    return int(array.sum()) * factor + seed


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def scale(self, seed):
        return seed * self.factor

    def __call__(self, seed):
        return -self.scale(seed)


def closure(factor):
    def multiply(seed):
        return seed * factor

    return multiply


def of_an_exec(factor):
    names = {"FACTOR": factor}
    exec("def multiply(seed):\\n    return seed * FACTOR", names)
    return names["multiply"]


def keyword_default(factor):
    def multiply(seed, *, factor=factor):
        return seed * factor

    return multiply


def array(value):  # whose repr leaves out the middle
    found = np.zeros(10_000, dtype=int)
    found[5_000] = value
    return found


MAKE = {
    "default": lambda value: lambda seed, value=value: seed + value,
    "keyword_default": keyword_default,
    "partial_of_array": lambda value: partial(total, array(value)),
    "partial_keyword": lambda value: partial(total, array(1), factor=np.int64(value).item()),
    "closure": closure,
    "bound_method": lambda value: Scale(value).scale,
    "callable_object": Scale,
    "global_of_an_exec": of_an_exec,
}


def register_pipelines():
    return {
        f"{kind}_{value}": Pipeline([node(make(value), "params:seed", "out", name="make")])
        for kind, make in MAKE.items()
        for value in (2, 3)
    }
"""
KEDRO = """\
import json
from pathlib import Path

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

bootstrap_project(Path.cwd())
made = {}
for name in NAMES:
    with KedroSession.create(Path.cwd()) as session:
        session.run(name)
    made[name] = json.loads(Path("data/out.json").read_text())
print(json.dumps(made))
"""
DAGSTER = """\
import json
from pathlib import Path

from shop.definitions import defs

made = {}
for name in NAMES:
    assert defs.resolve_job_def(name).execute_in_process().success
    made[name] = json.loads(Path("data/out.json").read_text())
print(json.dumps(made))
"""
NAMES = [f"{kind}_{value}" for kind in KINDS for value in (2, 3)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("functions") / "shop",
        pipelines=PIPELINES,
        catalog="out: {type: json.JSONDataset, filepath: data/out.json}",
        parameters={"seed": 10},
        dagster={"jobs": {name: {"pipeline": {"pipeline_name": name}} for name in NAMES}},
    )


def made(project: Project, script: str) -> dict[str, int]:
    """What each pipeline makes, by its name."""
    printed = project.run("-c", f"NAMES = {NAMES}\n{script}").stdout
    found: dict[str, int] = json.loads(printed.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def by_kedro(project: Project) -> dict[str, int]:
    return made(project, KEDRO)


@pytest.fixture(scope="module")
def by_dagster(project: Project) -> dict[str, int]:
    return made(project, DAGSTER)


@pytest.mark.parametrize("kind", KINDS)
def test_each_job_runs_its_own_function(
    kind: str, by_kedro: dict[str, int], by_dagster: dict[str, int]
) -> None:
    names = [f"{kind}_{value}" for value in (2, 3)]
    assert len({by_kedro[name] for name in names}) == 2
    assert {name: by_dagster[name] for name in names} == {name: by_kedro[name] for name in names}


@pytest.mark.parametrize("name", ["default_3", "partial_of_array_2", "partial_of_array_3"])
def test_a_step_in_a_process_of_its_own_runs_the_function_of_its_job(
    name: str, project: Project, by_kedro: dict[str, int]
) -> None:
    out = project.path / "data" / "out.json"
    out.unlink(missing_ok=True)
    project.execute(name)
    assert json.loads(out.read_text()) == by_kedro[name]
