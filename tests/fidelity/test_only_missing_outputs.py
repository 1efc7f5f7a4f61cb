"""``only_missing_outputs``: Kedro's own filter says which nodes run, in whatever process."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from kedro.runner import AbstractRunner

from projects import Project, make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("only_missing_outputs"),
    pytest.mark.skipif(
        "only_missing_outputs" not in signature(AbstractRunner.run).parameters,
        reason="this Kedro does not have the option",
    ),
]

Case = tuple[dict[str, tuple[str, str]], dict[str, bool]]
CHAIN = {"one": ("input", "b"), "two": ("b", "c")}
LOGGED = {
    "one": ("input", "b"),
    "log_b": ("b", ""),
    "two": ("b", "c"),
    "log_c": ("c", ""),
    "three": ("c", "d"),
}
CASES: dict[str, Case] = {
    "all are missing": ({"one": ("input", "b")}, {"b": False}),
    "the last is there": (CHAIN, {"c": True}),
    "the last is missing": (CHAIN, {"c": False}),
    "the first is there": (CHAIN, {"b": True, "c": False}),
    "the first is missing": (CHAIN, {"b": False, "c": True}),
    "all are there": (CHAIN, {"b": True, "c": True}),
    "two branches": (
        {"a1": ("input", "a"), "a2": ("a", "b"), "c1": ("input", "c"), "c2": ("c", "d")},
        {"a": True, "b": False, "c": True, "d": False},
    ),
    "three branches through memory": (
        {
            "a1": ("input", "m1"),
            "a2": ("m1", "a"),
            "c1": ("input", "m2"),
            "c2": ("m2", "c"),
            "e1": ("input", "m3"),
            "e2": ("m3", "e"),
        },
        {"a": True, "c": False, "e": False},
    ),
    "nobody needs what is in memory": (
        {"a": ("input", "m1"), "both": ("m1,m2", "b"), "c": ("input", "m2")},
        {"b": True},
    ),
    "a dataset factory": ({"one": ("input", "made_x"), "two": ("made_x", "made_y")}, {}),
    "a diamond": (
        {"s": ("", "m"), "l": ("m", "left"), "r": ("m", "right"), "j": ("left,right", "d")},
        {"d": False},
    ),
    "half a diamond": (
        {"s": ("input", "m"), "l": ("m", "left"), "r": ("m", "right"), "j": ("left,right", "d")},
        {"left": True, "right": False, "d": True},
    ),
    "in memory only": ({"one": ("input", "m")}, {}),
    "in memory and missing": (
        {"one": ("input", "m,b"), "two": ("m", "c")},
        {"b": False, "c": True},
    ),
    "in memory and there": ({"one": ("input", "m,b"), "two": ("m", "c")}, {"b": True, "c": False}),
    "two that are there and missing": ({"one": ("input", "b,c")}, {"b": True, "c": False}),
    "no outputs": (
        {"one": ("input", "b"), "log": ("b", ""), "three": ("b", "c")},
        {"b": True, "c": True},
    ),
    "many without outputs": (LOGGED, {"b": True, "c": True, "d": True}),
    "no outputs, from memory": (LOGGED, {"b": False, "d": True}),
    "it cannot be known": ({"one": ("input", "broken")}, {}),
}
WAYS: dict[str, dict[str, Any]] = {
    "steps": {},
    "group": {"group_by": "pipeline"},
    "threads": {"group_by": "pipeline", "runner": "ThreadRunner"},
}
PIPELINES = """
    import json
    from functools import partial
    from pathlib import Path

    from kedro.pipeline import Pipeline, node

    def make(count, *inputs):
        made = tuple(f"made {number}" for number in range(count))
        return made[0] if count == 1 else made or None

    def names(case, text):
        return [f"{case}_{name}" for name in text.split(",") if name]

    def register_pipelines():
        wirings = json.loads((Path(__file__).parent / "wirings.json").read_text())
        return {
            case: Pipeline([
                node(
                    partial(make, len(names(case, outputs))),
                    names(case, inputs) or None,
                    (names(case, outputs) or [None])[0] if "," not in outputs
                    else names(case, outputs),
                    name=f"{case}_{name}",
                )
                for name, (inputs, outputs) in nodes.items()
            ])
            for case, nodes in wirings.items()
        }
"""
DATASETS = """
    from kedro.io import AbstractDataset

    class Flagged(AbstractDataset):
        def __init__(self, there):
            self.there = there

        def load(self):
            return "what is there"

        def save(self, data):
            pass

        def _exists(self):
            if self.there is None:
                raise OSError("the disk is away")
            return self.there

        def _describe(self):
            return {}
"""
HOOKS = """
    from kedro.framework.hooks import hook_impl

    trace = []

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self, run_params, pipeline):
            names = sorted(node.name for node in pipeline.nodes)
            trace.append(["before", run_params["only_missing_outputs"], *names])

        @hook_impl
        def before_node_run(self, node):
            trace.append(["node", node.name])

        @hook_impl
        def after_pipeline_run(self, run_params, run_result, pipeline):
            names = sorted(node.name for node in pipeline.nodes)
            trace.append(["after", *sorted(run_result), *names])

        @hook_impl
        def on_pipeline_error(self, error):
            trace.append(["error", str(error)])
"""
SCRIPT = """
import json
import logging
from contextlib import suppress
from functools import cache
from pathlib import Path

import dagster as dg
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner, ThreadRunner

from shop.definitions import defs
from shop.hooks import trace

logging.root.handlers.clear()  # a terminal takes a fifth of the time
lines = []

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

for name in ("sequential_runner", "thread_runner"):
    logger = logging.getLogger(f"kedro.runner.{name}")
    logger.addHandler(Lines())
    logger.setLevel("DEBUG")

def taken():
    said = [line for line in lines if line.startswith(("Skipping", "Running", "Node '"))]
    found = {"trace": list(trace), "said": said}
    lines.clear()
    trace.clear()
    return found

@cache
def by_kedro(case, runner, asked):
    with suppress(Exception), KedroSession.create(Path.cwd()) as session:
        session.run(case, runner=runner(), only_missing_outputs=asked)
    return taken()

found = {}
with dg.DagsterInstance.ephemeral() as instance:
    for case, ways in CASES.items():
        for way, job in ways.items():
            runner = ThreadRunner if way == "threads" else SequentialRunner
            for asked in (True, False) if case in BOTH else (True,):
                kedro = by_kedro(case, runner, asked)
                config = {
                    "resources": {"kedro": {"config": {"only_missing_outputs": asked}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                }
                definition = defs.resolve_job_def(job)
                definition.execute_in_process(config, instance, raise_on_error=False)
                found[f"{case} {way} {asked}"] = [kedro, taken()]
Path("found.json").write_text(json.dumps(found))
"""
IDS = {case: f"c{number}" for number, case in enumerate(CASES)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By case, way and whether it is asked for: what Kedro did, and what Dagster did."""
    flags = {
        f"{IDS[case]}_{name}": {"type": "shop.datasets.Flagged", "there": there}
        for case, (_, exists) in CASES.items()
        for name, there in {**exists, "input": True}.items()
    }
    factories = {
        "{case}_made_{name}": {"type": "shop.datasets.Flagged", "there": False},
        "{case}_broken": {"type": "shop.datasets.Flagged", "there": None},
    }
    jobs = {
        f"{IDS[case]}_{way}": {
            "pipeline": {"pipeline_name": IDS[case]},
            "executor": "in_process",
            "only_missing_outputs": True,
            **options,
        }
        for case in CASES
        for way, options in WAYS.items()
    }
    project = make_project(
        tmp_path_factory.mktemp("missing") / "shop",
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={**flags, **factories},
        dagster={"jobs": jobs},
        files={
            "src/shop/datasets.py": DATASETS,
            "src/shop/wirings.json": json.dumps(
                {IDS[case]: nodes for case, (nodes, _) in CASES.items()}
            ),
        },
    )
    runs = {IDS[case]: {way: f"{IDS[case]}_{way}" for way in WAYS} for case in CASES}
    project.run("-c", f"CASES, BOTH = {runs}, {[IDS['all are there']]}\n{SCRIPT}")
    content: dict[str, Any] = json.loads((project.path / "found.json").read_text())
    return content


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_what_runs_and_what_is_said_is_what_kedro_runs_and_says(
    found: dict[str, Any], case: str, way: str
) -> None:
    kedro, dagster = found[f"{IDS[case]} {way} True"]
    assert kedro["said"] or case == "it cannot be known"
    if way == "threads":  # they run in no order
        kedro["trace"].sort()
        dagster["trace"].sort()
    assert dagster == kedro


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_not_asked_to_leaves_nothing_out(found: dict[str, Any], way: str) -> None:
    kedro, dagster = found[f"{IDS['all are there']} {way} False"]
    assert dagster == kedro
    assert len([call for call in dagster["trace"] if call[0] == "node"]) == 2
    assert not dagster["said"]


FILES_PIPELINES = """
    import os

    from kedro.pipeline import Pipeline, node

    def grow(value):
        return [*value, len(value)]

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(grow, "raw", "a", name="make_a"),
                node(grow, "a", "m", name="make_m"),
                node(grow, "m", "b", name="make_b"),
                node(grow, "a", "c", name="make_c"),
                node(grow, "m", "d", name="make_d"),
                node(grow, "a", "unused", name="make_unused"),
                node(grow, "unused", "e", name="make_e"),
            ])
        }
"""
FILES_HOOKS = """
    from kedro.framework.hooks import hook_impl

    def note(*words):
        with open("trace.txt", "a") as file:
            print(*words, file=file)

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self, run_params, pipeline):
            note("before", run_params["only_missing_outputs"], len(pipeline.nodes))

        @hook_impl
        def before_node_run(self, node):
            note(node.name)

        @hook_impl
        def after_pipeline_run(self, run_result, pipeline):
            note("after", sorted(run_result), len(pipeline.nodes))
"""
THERE = {name: f'["{name} of before"]' for name in "acde"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("files") / "shop",
        pipelines=FILES_PIPELINES,
        hooks=FILES_HOOKS,
        catalog={
            name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
            for name in ("raw", *"abcde")
        },
        dagster={
            "jobs": {
                "steps": {"pipeline": {}, "only_missing_outputs": True},
                "processes": {
                    "pipeline": {},
                    "group_by": "memory",
                    "executor": {"multiprocess": {"start_method": {"spawn": {}}}},
                },
            }
        },
        files={
            "data/raw.json": "[]",
            **{f"data/{name}.json": text for name, text in THERE.items()},
            "run.yml": "resources: {kedro: {config: {only_missing_outputs: true}}}",
        },
    )


@pytest.fixture(scope="module")
def oracle(rendered: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = rendered.copy(tmp_path_factory.mktemp("oracle") / "shop")
    output = project.kedro("run", "--only-missing-outputs", COLUMNS="400").stdout
    assert "Running 2 out of 7 nodes" in output
    assert trace_of(project)[1:-1] == ["make_m", "make_b"]
    return project


def trace_of(project: Project) -> list[str]:
    return (project.path / "trace.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("job", "method"),
    [("steps", "fork"), ("steps", "spawn"), ("processes", "fork")],
)
def test_steps_in_other_processes_know_which_nodes_are_left_out(
    rendered: Project, oracle: Project, tmp_path: Path, job: str, method: str
) -> None:
    project = rendered.copy(tmp_path / "shop")
    config = () if job == "steps" else ("-c", "run.yml")
    project.execute(job, *config, KEDRO_MP_CONTEXT=method)
    assert trace_of(project) == trace_of(oracle)
    for name in ("raw", *"abcde"):
        file = Path("data") / f"{name}.json"
        assert (project.path / file).read_bytes() == (oracle.path / file).read_bytes()
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        (run,) = instance.get_runs()
        entries = instance.all_logs(run.run_id)
    said = [entry.user_message for entry in entries]
    assert "Running 2 out of 7 nodes" in said
    skips = [line for line in said if line.startswith("only_missing_outputs: ")]
    assert len(skips) == (3 if job == "processes" else 5)
    made = {entry.dagster_event.asset_key for entry in entries if _is_made(entry)}
    assert made == {dg.AssetKey("b")}


def _is_made(entry: dg.EventLogEntry) -> bool:
    event = entry.dagster_event
    return event is not None and event.is_step_materialization


def test_materialisations_refuse_it(rendered: Project, tmp_path: Path) -> None:
    project = rendered.copy(tmp_path / "shop")
    run = project.execute("__ASSET_JOB", "-c", "run.yml", check=False)
    assert run.returncode
    assert "only_missing_outputs: this is for jobs. Choose the assets" in run.stdout + run.stderr
    assert not [line for line in trace_of(project) if line.startswith("make")]
