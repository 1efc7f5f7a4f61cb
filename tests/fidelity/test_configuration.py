"""A run takes its configuration from the files as they are when it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from projects import Project, make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(OmegaConfigLoader, "_read_raw_config"), reason="needs Kedro 1.7"
    ),
]

PIPELINES = """\
from pathlib import Path
from kedro.pipeline import Pipeline, node

CONF = Path("conf/base")


def change(text):
    for file in (CONF / "parameters.yml", CONF / "catalog.yml"):
        file.write_text(file.read_text().replace("early", "late"))
    return text


def register_pipelines():
    first = node(change, "params:text", "changed", name="change")
    given = ["changed", "params:text", "params:more"]
    second = node(lambda _, *texts: texts, given, "out", name="write")
    return {"__default__": Pipeline([first, second])}
"""
MULTIPROCESS = ("-m", "dagster", "job", "execute", "-m", "shop.definitions", "-j", "everything")
KEDRO = ("-m", "kedro", "run")
TWICE = """\
import dagster as dg


def everything():
    from shop.definitions import defs

    return defs.get_job_def("everything")


if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        for _ in range(2):
            dg.execute_job(dg.reconstructable(everything), instance, raise_on_error=True)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(
        tmp_path / "project",
        pipelines=PIPELINES,
        catalog={
            "changed": {"type": "json.JSONDataset", "filepath": "data/changed.json"},
            "out": {"type": "json.JSONDataset", "filepath": "data/early.json"},
        },
        parameters={"text": "early"},
        dagster={"jobs": {"everything": {"pipeline": {}, "executor": {"multiprocess": {}}}}},
        files={
            "conf/base/parameters_more.yml": 'more: "${runtime_params:more, none}"\n',
            "twice.py": TWICE,
            "run.yaml": "resources: {kedro: {config: {runtime_params: {more: given}}}}\n",
        },
    )


@pytest.mark.parametrize(
    "command",
    [(*KEDRO, "--params", "more=given"), (*MULTIPROCESS, "-c", "run.yaml")],
    ids=["kedro run", "multiprocess"],
)
def test_what_a_node_writes_to_conf_is_for_the_next_run(
    project: Project, command: tuple[str, ...]
) -> None:
    project.run(*command)
    assert json.loads((project.path / "data" / "early.json").read_text()) == ["early", "given"]
    assert "late" in (project.path / "conf" / "base" / "catalog.yml").read_text()


def test_the_next_run_of_one_process_reads_conf_anew(project: Project) -> None:
    """Python keeps the process from which the steps of its first run were forked."""
    project.run("twice.py")
    assert json.loads((project.path / "data" / "early.json").read_text()) == ["early", "none"]
    assert json.loads((project.path / "data" / "late.json").read_text()) == ["late", "none"]
