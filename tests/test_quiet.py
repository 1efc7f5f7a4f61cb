"""What Kedro and OmegaConf say of each other does not stand before what somebody looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from projects import Project, make_project

PIPELINES = """\
import warnings

from kedro.pipeline import Node, Pipeline, node


def make():
    return 1


def register_pipelines():
    warnings.warn("said by the project")
    nodes = [node(make, None, "a.b", name="first"), Node(list, "a.c", "c.d", name="then")]
    return {"__default__": Pipeline(nodes[:1])}
"""
SETTINGS = """\
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {"upper": str.upper},
}
"""
OTHERS = ("register_new_resolver", "logging configuration", "dataset names contain")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("quiet") / "shop",
        pipelines=PIPELINES,
        settings=SETTINGS,
        parameters="loud: ${upper:a}\n",
        catalog="a.b: {type: json.JSONDataset, filepath: data/b.json}\n",
        dagster="""
            jobs:
              many: {pipeline: {}, executor: multiprocess}
              spawned: {pipeline: {}, executor: {multiprocess: {start_method: {spawn: {}}}}}
            """,
    )


def said(output: str) -> list[str]:
    """What is said by others, as words in a row: Rich breaks lines."""
    words = " ".join(output.split())
    return [text for text in OTHERS if text in words]


def test_the_definitions_load_with_what_the_project_says_alone(project: Project) -> None:
    process = project.run("-c", "import shop.definitions", COLUMNS="200")
    output = process.stdout + process.stderr
    assert not said(output)
    assert "said by the project" in output


def test_a_plan_has_before_it_what_kedros_own_command_says_alone(project: Project) -> None:
    output = project.kedro("dagster", "plan", COLUMNS="200").stdout
    assert said(output) == ["logging configuration"]
    assert output.count("logging configuration") == 1


LOGGING = """\
version: 1
disable_existing_loggers: false
handlers: {rich: {class: kedro.logging.RichHandler}}
loggers: {kedro: {level: INFO}, kedro.framework.project: {level: WARNING}}
root: {handlers: [rich]}
"""


def test_a_plan_has_nothing_of_kedros_before_it_where_the_project_says_so(
    tmp_path: Path, project: Project
) -> None:
    """Kedro says it before it imports anything of the project, so only its own file can."""
    quiet = project.copy(tmp_path / "copy")
    (quiet.path / "conf/logging.yml").write_text(LOGGING)
    output = quiet.kedro("dagster", "plan", COLUMNS="200").stdout
    assert not said(output)
    before, _, _ = output.partition("Job many ")
    assert "said by the project" in before
    assert "logging configuration" not in before


@pytest.mark.parametrize("job", ["many", "spawned"])
def test_no_process_of_a_run_says_it(project: Project, job: str) -> None:
    process = project.execute(job, COLUMNS="200")
    assert "RUN_SUCCESS" in process.stderr
    assert not said(process.stdout + process.stderr)


def test_kedro_run_says_it_as_ever(tmp_path: Path, project: Project) -> None:
    output = project.copy(tmp_path / "copy").kedro("run", COLUMNS="200").stdout
    assert "logging configuration" in said(output)
    assert "dataset names contain" in said(output)
