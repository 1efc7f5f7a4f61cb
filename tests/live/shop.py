"""A small Kedro project that writes down its hook calls, and fails where it is told to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from projects import Project, make_project

ASSETS = ("cleaned", "total", "report")

NODES = '''
"""Nodes that fail on request: a fault says at which node, and what is to happen there."""

import logging
import os
import signal
import threading
import time
from pathlib import Path

import dagster

logger = logging.getLogger(__name__)
deaf = logging.getLogger("deaf")
deaf.propagate = False
deaf.setLevel("INFO")


def strike(fault, place):
    if fault.get("at") != place or Path(fault.get("until", "")).is_file():
        return
    kind = fault.get("kind", "raise")
    if kind == "raise":
        raise ArithmeticError(f"fault at {place}")
    if kind == "retry":
        Path(fault["until"]).touch()
        raise dagster.RetryRequested(max_retries=1)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        Path(fault["started"]).touch()
        while True:
            time.sleep(0.1)


def clean(sales, factor, fault):
    strike(fault, "clean")
    return [value * factor for value in sales]


def double(cleaned, fault):
    strike(fault, "double")
    return [value * 2 for value in cleaned]


def add(doubled, fault):
    strike(fault, "add")
    return sum(doubled)


def write(total, title, fault):
    strike(fault, "write")
    return {"title": title, "total": total}


def check(report, fault):
    strike(fault, "check")


def talk(records):
    logger.info("plain %s of %d", "message", records)
    logger.debug("below the level of its logger")
    logging.getLogger("a.library").warning("from a library")
    logging.getLogger("a.library").info("below the level of the root")
    deaf.info("from a logger that does not propagate")
    logger.log(25, "at a level of its own")
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("with a traceback")
    thread = threading.Thread(target=logger.info, args=("from a thread",))
    thread.start()
    thread.join()
    dagster.get_dagster_logger().info("from Dagster's own logger")
    for number in range(records):
        logger.info("record %d", number)
    return records
'''

PIPELINES = """
from kedro.pipeline import Pipeline, node

from . import nodes


def register_pipelines():
    sums = Pipeline(
        [
            node(nodes.clean, ["sales", "params:factor", "params:fault"], "cleaned", name="clean"),
            node(nodes.double, ["cleaned", "params:fault"], "doubled", name="double"),
            node(nodes.add, ["doubled", "params:fault"], "total", name="add"),
            node(nodes.write, ["total", "params:title", "params:fault"], "report", name="write"),
            node(nodes.check, ["report", "params:fault"], None, name="check"),
        ]
    )
    talk = Pipeline([node(nodes.talk, "params:records", "records", name="speak")])
    return {"__default__": sums, "talk": talk}
"""

HOOKS = '''
"""Each call of a hook becomes a line of the file in TRACE."""

import json
import logging
import os

from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)


class ProjectHooks:
    def _note(self, hook, run_id=None, **facts):
        line = {"hook": hook, "pid": os.getpid(), "run_id": run_id, **facts}
        with open(os.environ["TRACE"], "a") as file:
            file.write(json.dumps(line) + "\\n")
        if self.fault.get("at") == hook:
            raise LookupError(f"fault at {hook}")

    @hook_impl
    def after_context_created(self, context):
        self.fault = context.params["fault"]
        self._note("after_context_created")

    @hook_impl
    def after_catalog_created(self, catalog, save_version):
        self._note("after_catalog_created", save_version)

    @hook_impl
    def before_pipeline_run(self, run_params, pipeline, catalog):
        logger.warning("a hook logs")
        self._pipeline("before_pipeline_run", run_params, pipeline)

    @hook_impl
    def after_pipeline_run(self, run_params, run_result, pipeline, catalog):
        self._pipeline("after_pipeline_run", run_params, pipeline, result=sorted(run_result))

    @hook_impl
    def on_pipeline_error(self, error, run_params, pipeline, catalog):
        self._pipeline(
            "on_pipeline_error",
            run_params,
            pipeline,
            error=type(error).__name__,
            class_name=getattr(error, "cls_name", None),
            message=str(error),
            catalog=sorted(catalog),
        )

    def _pipeline(self, hook, run_params, pipeline, **facts):
        nodes = [node.name for node in pipeline.nodes]
        params = run_params["runtime_params"]
        self._note(hook, run_params["run_id"], nodes=nodes, runtime_params=params, **facts)

    @hook_impl
    def before_node_run(self, node, run_id):
        self._note("before_node_run", run_id, node=node.name)

    @hook_impl
    def after_node_run(self, node, run_id):
        self._note("after_node_run", run_id, node=node.name)

    @hook_impl
    def on_node_error(self, error, node, run_id):
        self._note("on_node_error", run_id, node=node.name)

    @hook_impl
    def before_dataset_loaded(self, dataset_name, node):
        self._note("before_dataset_loaded", node=node.name, dataset=dataset_name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name, data, node):
        self._note("after_dataset_loaded", node=node.name, dataset=dataset_name)

    @hook_impl
    def before_dataset_saved(self, dataset_name, data, node):
        self._note("before_dataset_saved", node=node.name, dataset=dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name, data, node):
        self._note("after_dataset_saved", node=node.name, dataset=dataset_name)
'''

LOGGING = """
version: 1
disable_existing_loggers: false
formatters:
  brief: {format: "%(levelname)s %(name)s %(message)s"}
handlers:
  file: {class: logging.FileHandler, filename: project.log, formatter: brief}
loggers:
  kedro: {level: INFO}
  deaf: {handlers: [file]}
root: {handlers: [file]}
"""

DAGSTER_YAML = """
telemetry: {enabled: false}
run_monitoring: {enabled: true, poll_interval_seconds: 2}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 4, dequeue_interval_seconds: 1}
compute_logs: {module: kedro_dagster.compute_logs, class: KedroComputeLogManager}
"""


class Call(NamedTuple):
    """A call of a hook."""

    hook: str
    node: str | None
    dataset: str | None


def make_shop(path: Path) -> Project:
    """Write the project."""

    def saved(name: str, *, versioned: bool = True) -> dict[str, Any]:
        return {"type": "json.JSONDataset", "filepath": f"data/{name}.json", "versioned": versioned}

    report = "${runtime_params:report_file, data/report.json}"
    return make_project(
        path,
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        catalog={
            "sales": saved("sales", versioned=False),
            "cleaned": saved("cleaned"),
            "total": saved("total"),
            "report": {"type": "json.JSONDataset", "filepath": report},
        },
        parameters={"factor": 2, "title": "Sales", "fault": {}, "records": 3},
        dagster={
            "executors": {"one": {"in_process": {}}, "many": {"multiprocess": {}}},
            "schedules": {
                "minutely": {"cron_schedule": "* * * * *", "runtime_params": {"title": "Tick"}}
            },
            "jobs": {
                "in_process": {"pipeline": {}, "executor": "one"},
                "multiprocess": {"pipeline": {}, "executor": "many"},
                "scheduled": {"pipeline": {}, "executor": "many", "schedule": "minutely"},
                "first": {"pipeline": {"node_names": "clean"}, "executor": "one"},
                "second": {
                    "pipeline": {"node_names": ["double", "add"]},
                    "executor": "many",
                    "after": "first",
                },
                "talk": {"pipeline": {"pipeline_name": "talk"}, "executor": "one"},
                "talk_apart": {"pipeline": {"pipeline_name": "talk"}, "executor": "many"},
            },
        },
        files={
            "data/sales.json": "[1, 2, 3]",
            "conf/logging.yml": LOGGING,
            ".dagster/dagster.yaml": DAGSTER_YAML,
        },
    )


def trace(file: Path) -> list[dict[str, Any]]:
    """Read the calls of all hooks, each with the run that it belongs to.

    A call that is not told its run belongs to that of the call before in its process, but for
    the first of a process or run, which belongs to that of the next.
    """
    lines: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    run_ids: dict[int, str | None] = {}
    for line in lines:
        if line["hook"] != "after_context_created":
            line["run_id"] = run_ids[line["pid"]] = line["run_id"] or run_ids.get(line["pid"])
    for line in reversed(lines):
        line["run_id"] = run_ids[line["pid"]] = line["run_id"] or run_ids.get(line["pid"])
    return lines


def calls(lines: list[dict[str, Any]]) -> list[Call]:
    """The calls of hooks, without what tells one run from another."""
    return [Call(line["hook"], line.get("node"), line.get("dataset")) for line in lines]


def saved_versions(project: Project, dataset: str) -> set[str]:
    """The versions of a dataset that are saved."""
    return {folder.name for folder in (project.path / "data" / f"{dataset}.json").iterdir()}


def runtime_params(**params: Any) -> Mapping[str, Any]:
    """The run config that gives a run parameters of its own."""
    return {"resources": {"kedro": {"config": {"runtime_params": params}}}}
