"""The project that is measured: one DAG, once for Kedro and once written for Dagster by hand.

Each node reads up to three outputs of the layer above it and one parameter, and saves a JSON file.
"""

from __future__ import annotations

import json
from pathlib import Path

from projects import Project, make_project

OURS = "shop"
BY_HAND = "by_hand"
JOB = "everything"
MULTIPROCESS_JOB = "everything_multiprocess"
SPAWN_JOB = "everything_spawn"
WARM_JOB = "everything_in_warm_workers"
FUSED_JOB = "everything_in_one_step"
NOTHING_JOB = "nothing"
LOGGED = "LOG_LIKE_KEDRO"
"""The environment variable by which the hand-written jobs log the lines that Kedro logs."""

CHECKED, UNCHECKED = "checked", "unchecked"
"""The environments with a check of each asset, and with none."""

WITH_KEDRO = "with_kedro"
"""The module of the hand-written code location that knows its Kedro project."""
PROCESSES = 2
RUNNER = "ThreadRunner"
"""The Kedro runner in the job of one step."""

WARM_EXECUTOR = Path(__file__).with_name("warm_executor.py")

STEPS = '''\
"""The DAG, as a table that the Kedro pipeline and the hand-written code location share."""

from dataclasses import dataclass

SIZE = {size}
WIDTH = 10
SOURCE = "raw"


@dataclass(frozen=True)
class Step:
    """A function call: what it reads and what it saves."""

    name: str
    inputs: tuple[str, ...]
    factor: str
    output: str


def combine(factor: float, *values: dict[str, float]) -> dict[str, float]:
    """Scale the mean of some values."""
    return {{"value": factor * sum(value["value"] for value in values) / len(values)}}


def has_value(data: dict[str, float]) -> None:
    """Judge what a step has made."""
    if "value" not in data:
        raise ValueError("there is no value")


def _inputs(index: int) -> tuple[str, ...]:
    layer, column = divmod(index, WIDTH)
    if layer == 0:
        return (SOURCE,)
    above = (layer - 1) * WIDTH
    return tuple(f"value_{{above + (column + shift) % WIDTH:04}}" for shift in (0, 1, 3))


STEPS = tuple(
    Step(f"step_{{index:04}}", _inputs(index), f"factor_{{index:04}}", f"value_{{index:04}}")
    for index in range(SIZE)
)
'''

PIPELINES = """\
from kedro.pipeline import Node, Pipeline

from shop.steps import STEPS, combine


def register_pipelines() -> dict[str, Pipeline]:
    nodes = [
        Node(
            combine,
            inputs=[f"params:{step.factor}", *step.inputs],
            outputs=step.output,
            name=step.name,
        )
        for step in STEPS
    ]
    return {"__default__": Pipeline(nodes)}
"""

DEFINITIONS_BY_HAND = '''\
"""The same DAG as one writes it with Dagster alone: ops, a job of them, and assets."""

import os
from pathlib import Path

from dagster import (
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    Definitions,
    Field,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    asset,
    graph,
    in_process_executor,
    multiprocess_executor,
    op,
)
from kedro_datasets.json import JSONDataset

from by_hand.warm_executor import warm_executor
from shop.steps import SOURCE, STEPS, Step, combine

DATA = Path(__file__).parents[2] / "data"

# All that a step's process imports; Dagster preloads neither its command line nor its storage.
PRELOAD = [
    "__main__",
    "dagster._cli",
    "dagster._core.executor.multiprocess",
    "dagster._core.instance.factory",
    "dagster._core.storage.event_log",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.workspace.autodiscovery",
    __name__,
]
FORKSERVER = {{"preload_modules": PRELOAD}}


def dataset(name: str) -> JSONDataset:
    return JSONDataset(filepath=str(DATA / f"{{name}}.json"))


def run_step(context: OpExecutionContext, step: Step) -> None:
    log = context.log.info if "{logged}" in os.environ else (lambda *_: None)
    log("Loading data from params:%s (MemoryDataset)...", step.factor)
    factor = context.op_config[step.factor]
    values = []
    for name in step.inputs:
        log("Loading data from %s (JSONDataset)...", name)
        values.append(dataset(name).load())
    log("Running node: %s: combine(%s) -> [%s]", step.name, step.inputs, step.output)
    result = combine(factor, *values)
    log("Saving data to %s (JSONDataset)...", step.output)
    dataset(step.output).save(result)


def config_schema(step: Step) -> dict[str, Field]:
    return {{step.factor: Field(float, default_value=1.0)}}


def step_op(step: Step) -> OpDefinition:
    @op(
        name=step.name,
        ins={{name: In(Nothing) for name in step.inputs if name != SOURCE}},
        out={{step.output: Out(Nothing)}},
        config_schema=config_schema(step),
    )
    def run(context: OpExecutionContext) -> None:
        run_step(context, step)
        context.log_event(AssetMaterialization(step.output))

    return run


def step_asset(step: Step) -> AssetsDefinition:
    @asset(name=step.output, deps=list(step.inputs), config_schema=config_schema(step))
    def run(context: OpExecutionContext) -> None:
        run_step(context, step)

    return run


def job(name: str, executor: object) -> JobDefinition:
    @graph(name=name)
    def steps() -> None:
        done = {{}}
        for step in STEPS:
            inputs = {{name: done[name] for name in step.inputs if name != SOURCE}}
            done[step.output] = OPS[step.name](**inputs)

    return steps.to_job(executor_def=executor)


OPS = {{step.name: step_op(step) for step in STEPS}}


@op
def do_nothing() -> None:
    """What a run of Dagster's costs by itself."""


@graph(name="{nothing_job}")
def nothing() -> None:
    do_nothing()


defs = Definitions(
    assets=[AssetSpec(SOURCE), *(step_asset(step) for step in STEPS)],
    jobs=[
        job("{job}", in_process_executor),
        job(
            "{multiprocess_job}",
            multiprocess_executor.configured(
                {{"max_concurrent": {processes}, "start_method": {{"forkserver": FORKSERVER}}}}
            ),
        ),
        job("{spawn_job}", multiprocess_executor.configured({{"max_concurrent": {processes}}})),
        job("{warm_job}", warm_executor.configured({{"workers": {processes}}})),
        nothing.to_job(executor_def=in_process_executor),
    ],
)
'''


QUIET = """\
version: 1
disable_existing_loggers: false
handlers: {rich: {class: kedro.logging.RichHandler}}
loggers: {kedro: {level: WARNING}, kedro_dagster: {level: WARNING}}
root: {handlers: [rich]}
"""

WITH_KEDRO_DEFINITIONS = '''\
"""The same code location as one writes it that reads its Kedro project first."""

from pathlib import Path

from kedro.framework.project import pipelines, settings
from kedro.framework.startup import bootstrap_project

project = Path.cwd()
bootstrap_project(project)
dict(pipelines)
config = settings.CONFIG_LOADER_CLASS(
    conf_source=str(project / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
)
for section in ("catalog", "parameters"):
    config[section]

from .definitions import defs
'''


def make_workload(path: Path, size: int, logging: str | None = None) -> Project:
    """Write the project with a number of nodes.

    Args:
        path: Where.
        size: The number of nodes.
        logging: The project's ``logging.yml``; by default it has Kedro's own, as new projects do.
    """
    entries = [
        (name, {"type": "json.JSONDataset", "filepath": f"data/{name}.json"})
        for name in ("raw", *(f"value_{index:04}" for index in range(size)))
    ]
    # OmegaConf refuses a file of more than 10,000 YAML nodes
    parts = [dict(entries[start : start + 1000]) for start in range(0, len(entries), 1000)]
    return make_project(
        path,
        package=OURS,
        pipelines=PIPELINES,
        catalog={},
        parameters={f"factor_{index:04}": 1.0 for index in range(size)},
        dagster={
            "executors": {
                "sequential": {"in_process": {}},
                "parallel": {"multiprocess": {"max_concurrent": PROCESSES}},
            },
            "jobs": {
                job: {"pipeline": {"pipeline_name": "__default__"}, "executor": executor}
                for job, executor in ((JOB, "sequential"), (MULTIPROCESS_JOB, "parallel"))
            }
            | {
                FUSED_JOB: {
                    "pipeline": {},
                    "executor": "sequential",
                    "group_by": "pipeline",
                    "runner": RUNNER,
                }
            },
        },
        files={
            "data/raw.json": '{"value": 1.0}',
            **{
                f"conf/base/catalog_{number}.yml": json.dumps(part)
                for number, part in enumerate(parts)
            },
            f"src/{OURS}/steps.py": STEPS.format(size=size),
            f"src/{BY_HAND}/__init__.py": "",
            f"src/{BY_HAND}/definitions.py": DEFINITIONS_BY_HAND.format(
                job=JOB,
                multiprocess_job=MULTIPROCESS_JOB,
                spawn_job=SPAWN_JOB,
                warm_job=WARM_JOB,
                nothing_job=NOTHING_JOB,
                processes=PROCESSES,
                logged=LOGGED,
            ),
            f"src/{BY_HAND}/warm_executor.py": WARM_EXECUTOR.read_text(encoding="utf-8"),
            f"src/{BY_HAND}/{WITH_KEDRO}.py": WITH_KEDRO_DEFINITIONS,
            **({"conf/logging.yml": logging} if logging else {}),
        },
    )


def make_checked_workload(path: Path, size: int) -> Project:
    """Write the project with a job of assets, in one environment with a check of each."""
    project = make_workload(path, size)
    job = {"target": "assets", "pipeline": {}, "executor": {"in_process": {}}}
    for env in (CHECKED, UNCHECKED):
        (path / "conf" / env).mkdir()
        (path / "conf" / env / "dagster.yml").write_text(json.dumps({"jobs": {JOB: job}}))
    for file in (path / "conf" / "base").glob("catalog_*.yml"):
        entries = json.loads(file.read_text())
        for name in entries.keys() - {"raw"}:
            entries[name]["validator"] = {"class": f"{OURS}.steps.has_value", "on": "save"}
        (path / "conf" / CHECKED / file.name).write_text(json.dumps(entries))
    return project


def make_quiet_workload(path: Path, size: int) -> Project:
    """Write the project with a number of nodes, of which Kedro logs nothing."""
    return make_workload(path, size, QUIET)
