"""Each option of ``kedro run`` does in its place on Dagster what it does there."""

from __future__ import annotations

import json
import re
from typing import Any

import dagster as dg
import pytest
from kedro.framework.cli.project import run

from projects import KEDRO, REPOSITORY, Project, make_project

pytestmark = pytest.mark.skipif(KEDRO < (1, 7), reason="the options are those of the newest")

ROW = re.compile(r"^\| `(--[a-z-]+)` \| (?:`(\w+)`)? ?\|", re.MULTILINE)
TABLE = dict(ROW.findall((REPOSITORY / "docs/kedro-run-options.md").read_text("utf-8")))
INSTALLED = {max(option.opts, key=len): option.name for option in run.params}

LINE = "Asynchronous mode is enabled for loading and saving data."
ASYNC = {"type": "SequentialRunner", "is_async": True}
THREADS = {"group_by": "pipeline", "runner": "ThreadRunner"}
CASES: dict[str, dict[str, Any]] = {
    "--pipelines": {"args": ["part"], "pipeline": {"pipeline_names": ["part"]}},
    "--pipeline": {"args": ["part"], "pipeline": {"pipeline_name": "part"}},
    "--tags": {"args": ["quick"], "pipeline": {"tags": ["quick"]}, "command": []},
    "--nodes": {"args": ["second"], "pipeline": {"node_names": ["second"]}},
    "--from-nodes": {"args": ["third"], "pipeline": {"from_nodes": ["third"]}},
    "--to-nodes": {"args": ["second"], "pipeline": {"to_nodes": ["second"]}},
    "--from-inputs": {"args": ["mid"], "pipeline": {"from_inputs": ["mid"]}},
    "--to-outputs": {"args": ["mid"], "pipeline": {"to_outputs": ["mid"]}},
    "--namespaces": {"args": ["ns"], "pipeline": {"node_namespaces": ["ns"]}},
    "--params": {"args": ["rate=3"], "config": {"runtime_params": {"rate": 3}}},
    "--load-versions": {"args": ["old:v1"], "config": {"load_versions": {"old": "v1"}}},
    "--only-missing-outputs": {
        "args": [],
        "job": {"only_missing_outputs": True},
        "config": {"only_missing_outputs": True},
        "command": ["all"],
    },
    "--runner": {"args": ["ThreadRunner"], "job": THREADS, "command": ["grouped"]},
    "--runner-params": {
        "args": ["is_async=True"],
        "job": {"runner": ASYNC},
        "config": {"runner": ASYNC},
        "command": ["all"],
    },
    "--async": {"args": [], "command": ["all"]},
    "--env": {"args": ["other"], "translator": {"env": "other"}},
    "--conf-source": {"args": ["else"], "translator": {"conf_source": "else"}},
    "--config": {"args": ["run.yml"], "command": ["all"]},
}
PIPELINES = """
    from kedro.pipeline import Pipeline, node

    def grow(*values):
        return list(values)

    def register_pipelines():
        first = node(grow, ["raw", "old", "params:rate"], "left", name="first", tags="quick")
        part = Pipeline([first, node(grow, "left", "mid", name="second")])
        rest = Pipeline([
            node(grow, ["mid", "params:rate"], "out", name="third"),
            node(grow, "left", "ns.end", name="fourth", namespace="ns"),
        ])
        return {"__default__": part + rest, "part": part}
"""
HOOKS = """
    import os
    import threading

    from kedro.framework.hooks import hook_impl

    trace = []

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self, run_params):
            trace.append(dict(run_params))

        @hook_impl
        def before_node_run(self, node):
            trace.append(node.name)

        @hook_impl
        def after_dataset_loaded(self, dataset_name):
            in_pool = threading.current_thread().name.startswith("ThreadPool")
            trace.append([dataset_name, in_pool])
            if file := os.environ.get("TRACE"):
                with open(file, "a") as lines:
                    print(dataset_name, in_pool, file=lines)
"""
SCRIPT = """
import json
import logging
import os
import shutil
from pathlib import Path

import dagster as dg
from click.testing import CliRunner
from kedro.framework.cli.project import run
from kedro.framework.startup import bootstrap_project

metadata = bootstrap_project(Path.cwd())
from kedro_dagster import KedroProjectTranslator
from kedro_dagster.cli import dagster_group
from shop.definitions import defs
from shop.hooks import trace

logging.root.handlers.clear()  # a terminal takes a fifth of the time
lines = []

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

logging.getLogger("kedro.runner").addHandler(Lines())
logging.getLogger("kedro.runner").setLevel("INFO")

def clean():
    shutil.rmtree("data", ignore_errors=True)
    shutil.copytree("before", "data")
    os.environ.pop("KEDRO_ENV", None)
    trace.clear()
    lines.clear()

def taken():
    params, *rest = trace
    for name in ("run_id", "session_id", "runner"):
        params.pop(name, None)
    if "pipeline_names" in params:
        params["pipeline_names"] = params["pipeline_names"] or ["__default__"]
    params = {name: value or [] for name, value in params.items()}
    files = {
        str(file.parts[1]): file.read_text()
        for file in sorted(Path("data").rglob("*.json")) if file.parts[1] != "old.json"
    }
    said = [line for line in lines if line.startswith(("Asynchronous", "Running"))]
    return json.loads(json.dumps({"params": params, "trace": rest, "files": files, "said": said}))

def invoke(command, *arguments):
    clean()
    result = CliRunner().invoke(command, arguments, obj=metadata)
    if result.exit_code:
        raise AssertionError(result.output) from result.exception
    return taken()

def execute(definitions, job, config):
    clean()
    run_config = {
        "resources": {"kedro": {"config": config}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_job_def(job).execute_in_process(run_config, instance)
    return taken()

found = {}
for option, case in CASES.items():
    name = "of" + option.replace("-", "_")
    arguments = [option, *case["args"]]
    kedro, ways = invoke(run, *arguments), {}
    for form in ("pipeline", "job"):
        if form in case:
            ways[form] = execute(defs, name, {})
    if "config" in case:
        ways["config"] = execute(defs, "all", case["config"])
    if "translator" in case:
        made = KedroProjectTranslator(package_name="shop", **case["translator"]).to_definitions()
        ways["translator"] = execute(made, "all", {})
    if "command" in case:
        options = ["--executor", "in_process", *arguments]
        ways["command"] = invoke(dagster_group, "run", *case["command"], *options)
    found[option] = {"kedro": kedro, "ways": ways}
Path("found.json").write_text(json.dumps(found))
"""


def test_the_table_has_the_options_of_kedro_run() -> None:
    assert INSTALLED.keys() <= TABLE.keys()
    assert CASES.keys() == TABLE.keys()
    keys = {option: name for option, name in INSTALLED.items() if option != "--config"}
    assert {option: TABLE[option] for option in keys} == keys


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By option: what ``kedro run`` did with it, and what each place of it on Dagster did."""
    cases = {option: case for option, case in CASES.items() if option in INSTALLED}
    jobs = {
        f"of{option.replace('-', '_')}": {
            "pipeline": case.get("pipeline", {}),
            "executor": "in_process",
            **case.get("job", {}),
        }
        for option, case in cases.items()
    }
    grouped = {"pipeline": {}, "executor": "in_process", "group_by": "pipeline"}
    before = {name: f'["{name} of before"]' for name in ("raw", "left", "mid")}
    catalog = {
        name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
        for name in ("raw", "left", "mid", "out", "ns.end")
    }
    old = {"type": "json.JSONDataset", "filepath": "data/old.json", "versioned": True}
    project = make_project(
        tmp_path_factory.mktemp("options") / "shop",
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={**catalog, "old": old},
        parameters={"rate": 1},
        dagster={
            "jobs": {
                **jobs,
                "processes": {"pipeline": {}, "runner": ASYNC},
                "all": {**grouped, "group_by": None},
                "grouped": grouped,
            },
        },
        files={
            **{f"before/{name}.json": text for name, text in before.items()},
            **{f"before/old.json/v{n}/old.json": f'"v{n}"' for n in (1, 2)},
            "conf/other/parameters.yml": "rate: 5\n",
            "run.yml": "run: {tags: quick, params: {rate: 9}}\n",
        },
    )
    elsewhere = Project(project.path / "else", "shop")
    elsewhere.path.mkdir()
    (project.path / "conf/base").rename(project.path / "kept")
    for folder in ("conf/base", "else/base"):
        (project.path / folder).mkdir()
        for file in (project.path / "kept").iterdir():
            (project.path / folder / file.name).write_text(file.read_text())
    (elsewhere.path / "local").mkdir()
    (elsewhere.path / "base/parameters.yml").write_text("rate: 7\n")
    project.run("-c", f"CASES = {cases}\n{SCRIPT}", COLUMNS="400")
    content: dict[str, Any] = json.loads((project.path / "found.json").read_text())
    trace = project.path / "trace.txt"
    project.execute("processes", TRACE=str(trace))
    content["processes"] = sorted(trace.read_text().splitlines())
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        (record,) = instance.get_runs(dg.RunsFilter(job_name="processes"))
        said = [entry.user_message for entry in instance.all_logs(record.run_id)]
    content["said"] = said.count(LINE)
    return content


@pytest.mark.slow
@pytest.mark.xdist_group("run_options_of_kedro")
@pytest.mark.parametrize("option", [option for option in CASES if option in INSTALLED])
def test_an_option_does_what_it_does_for_kedro_run(found: dict[str, Any], option: str) -> None:
    kedro, ways = found[option]["kedro"], found[option]["ways"]
    assert ways
    for way, dagster in ways.items():
        for one in (kedro, dagster):
            one["trace"].sort(key=str)  # threads have no order
            if way in ("translator", "command"):  # these say in which environment
                one["params"]["env"] = dagster["params"]["env"]
        assert dagster == kedro, way


@pytest.mark.slow
@pytest.mark.xdist_group("run_options_of_kedro")
def test_datasets_load_and_save_in_threads_in_other_processes_too(found: dict[str, Any]) -> None:
    kedro = found["--async"]["kedro"]
    assert kedro["said"] == [LINE]
    loaded = sorted(f"{one[0]} {one[1]}" for one in kedro["trace"] if isinstance(one, list))
    assert {line.split()[1] for line in loaded} == {"True"}
    assert found["processes"] == loaded
    assert found["said"] == 1
