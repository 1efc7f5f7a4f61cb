"""A project that uses all of Kedro at once, and the ways in which it is run.

Its hooks write down each of their calls, so that a Dagster run can be held against ``kedro run``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import yaml

from projects import KEDRO, OMEGACONF, Project, make_project

TOKEN = "s3cret"  # noqa: S105
RUN_ID = "run_id" if KEDRO >= (1, 3) else "session_id"
"""What ``run_params`` calls the identity of a run."""

RUNTIME_PARAMS = {"stage": "prod"}
RUN_CONFIG = {"resources": {"kedro": {"config": {"runtime_params": RUNTIME_PARAMS}}}}

PIPELINES = """
    from functools import partial

    from kedro.pipeline import Pipeline, node, pipeline

    from shop import nodes


    def register_pipelines():
        modular = pipeline(
            [
                node(nodes.first, ["seed_value", "params:alpha"], "halfway", name="first"),
                node(nodes.second, "halfway", "result", name="second"),
            ],
            namespace="ns",
            inputs="seed_value",
        )
        main = Pipeline(
            [
                node(nodes.seed, None, "seed_value", name="seed"),
                node(nodes.stream_rows, "params:count", "rows", name="stream_rows"),
                node(nodes.count_rows, "rows", "row_count", name="count_rows", tags="counting"),
                node(nodes.fit, ["row_count", "params:model"], "model", name="fit"),
                node(nodes.evaluate, ["model", "params:training"], "fit_metrics", name="evaluate"),
                node(
                    nodes.read_increments,
                    "increments",
                    "increments_seen",
                    confirms="increments",
                    name="read_increments",
                ),
                node(nodes.make_table, None, "table@json", name="make_table"),
                node(len, "table@text", "text_length", name="measure"),
                node(partial(nodes.scale, factor=3), "row_count", "scaled", name="scale"),
                node(lambda value: {"lambda": value}, "scaled", "anything at all"),
                node(nodes.keep, ["secret", "parameters"], "secret_report", name="use_secret"),
                node(nodes.keep, ["hooked", "params:resolved"], "hooked_report", name="use_hooked"),
                node(nodes.keep, ["late", "params:late"], "late_report", name="use_late"),
                node(nodes.add, ["row_count", "text_length"], "total", name="add"),
                node(nodes.publish, ["total", "seed_value"], None, name="publish"),
                node(nodes.add, ["text_length", "params:count"], "last_value", name="tail"),
            ]
        )
        return {"__default__": main + modular, "modular": modular}
"""

NODES = """
    import dataclasses
    import json
    import logging

    from pydantic import BaseModel


    class Model(BaseModel):
        depth: int
        name: str = "tree"


    @dataclasses.dataclass
    class Training:
        rate: float
        epochs: int = 2


    def seed():
        return {"seed": 42}


    def stream_rows(count):
        for row in range(count):
            yield f"row {row}\\n"


    def count_rows(rows):
        return len(rows.splitlines())


    def fit(row_count, model: Model):
        return {"rows": row_count, "model": dict(model), "type": type(model).__name__}


    def evaluate(model, training: Training):
        return {"model": model, "training": repr(training)}


    def read_increments(increments):
        return sorted(increments)


    def make_table():
        return {"a": [1, 2, 3]}


    def scale(value, factor):
        return value * factor


    def keep(*values):
        return json.loads(json.dumps(values, default=str))


    def add(one, other):
        return one + other


    def publish(total, seed):
        logging.getLogger(__name__).info("published %s %s", total, seed)


    def first(seed_value, alpha):
        return {"seed": seed_value, "alpha": alpha}


    def second(halfway):
        return {"halfway": halfway}


    def check_seed(value):
        if value != {"seed": 42}:
            raise ValueError(f"not the seed: {value}")
        return value


    class SeedValidator:
        def validate(self, data):
            return {**check_seed(data), "validated": True} if "validated" not in data else data
"""

DATASETS = """
    from pathlib import Path

    from kedro.io import AbstractDataset


    class SecretDataset(AbstractDataset):
        def __init__(self, filepath, credentials, metadata=None):
            self._filepath, self._token = Path(filepath), credentials["token"]

        def load(self):
            return f"{self._filepath.read_text()} opened with {self._token}"

        def save(self, data):
            raise NotImplementedError

        def _describe(self):
            return {"filepath": self._filepath, "odd": object()}
"""

HOOKS = """
    import json
    import os

    from kedro.framework.hooks import hook_impl
    from kedro.io import MemoryDataset
    from omegaconf import OmegaConf


    def write(hook, **fields):
        line = json.dumps({"hook": hook, "pid": os.getpid(), **fields}, default=str)
        with open(os.environ["TRACE"], "a") as file:
            file.write(line + "\\n")


    class TraceHooks:
        @hook_impl
        def after_context_created(self, context):
            OmegaConf.register_new_resolver("whisper", str.lower, replace=True)
            write("after_context_created", env=context.env, params=context._runtime_params)

        @hook_impl
        def after_catalog_created(
            self, catalog, conf_catalog, conf_creds, parameters, save_version, load_versions
        ):
            catalog["hooked"] = {"by": "after_catalog_created"}
            write(
                "after_catalog_created",
                save_version=save_version,
                load_versions=load_versions,
                entries=sorted(conf_catalog),
                credentials=sorted(conf_creds),
                parameters=sorted(parameters),
            )

        @hook_impl
        def before_pipeline_run(self, run_params, pipeline, catalog):
            catalog["late"] = MemoryDataset({"by": "before_pipeline_run"})
            catalog["params:late"] = 7
            write(
                "before_pipeline_run", run_params=run_params, nodes=[n.name for n in pipeline.nodes]
            )

        @hook_impl
        def after_pipeline_run(self, run_params, run_result, pipeline, catalog):
            write(
                "after_pipeline_run",
                run_params=run_params,
                nodes=[n.name for n in pipeline.nodes],
                results=sorted(run_result),
                last=run_result["last_value"].load() if "last_value" in run_result else None,
            )

        @hook_impl
        def on_pipeline_error(self, error, run_params, pipeline, catalog):
            write("on_pipeline_error", error=repr(error))

        @hook_impl
        def before_node_run(self, node, catalog, inputs, is_async, run_id):
            told = {"inputs": inputs, "is_async": is_async, "run_id": run_id}
            write("before_node_run", node=node.name, **told)

        @hook_impl
        def after_node_run(self, node, catalog, inputs, outputs, is_async, run_id):
            write("after_node_run", node=node.name, run_id=run_id)

        @hook_impl
        def on_node_error(self, error, node, catalog, inputs, is_async, run_id):
            write("on_node_error", node=node.name, error=repr(error))

        @hook_impl
        def before_dataset_loaded(self, dataset_name, node):
            write("before_dataset_loaded", node=node.name, dataset=dataset_name)

        @hook_impl
        def after_dataset_loaded(self, dataset_name, data, node):
            write("after_dataset_loaded", node=node.name, dataset=dataset_name)

        @hook_impl
        def before_dataset_saved(self, dataset_name, data, node):
            write("before_dataset_saved", node=node.name, dataset=dataset_name, data=data)

        @hook_impl
        def after_dataset_saved(self, dataset_name, data, node):
            write("after_dataset_saved", node=node.name, dataset=dataset_name)


    class TerseHooks:
        \"\"\"Hooks that take fewer arguments than their specification.\"\"\"

        @hook_impl
        def after_catalog_created(self):
            write("terse after_catalog_created")

        @hook_impl
        def before_node_run(self, inputs):
            if "ns.halfway" in inputs:
                return {"ns.halfway": {**inputs["ns.halfway"], "replaced": True}}

        @hook_impl
        def after_pipeline_run(self, run_result):
            write("terse after_pipeline_run", results=sorted(run_result))
"""

SETTINGS = """
    from shop.hooks import TerseHooks, TraceHooks

    HOOKS = (TraceHooks(), TerseHooks())
    CONFIG_LOADER_ARGS = {
        "base_env": "base",
        "default_run_env": "local",
        "custom_resolvers": {"shout": str.upper},
    }
"""

CATALOG = """
    _folder: data

    rows:
      type: text.TextDataset
      filepath: ${_folder}/rows.txt
      fs_args: {open_args_save: {mode: a}}
    seed_value:
      type: json.JSONDataset
      filepath: data/seed.json
      <validator>
    model:
      type: json.JSONDataset
      filepath: data/model.json
      versioned: true
    "{name}_metrics":
      type: json.JSONDataset
      filepath: data/{name}/metrics.json
      versioned: true
    increments:
      type: partitions.IncrementalDataset
      path: data/increments
      dataset: text.TextDataset
      filename_suffix: .txt
    table@json:
      type: json.JSONDataset
      filepath: data/table.json
    table@text:
      type: text.TextDataset
      filepath: data/table.json
    text_length:
      type: CachedDataset
      dataset: {type: json.JSONDataset, filepath: data/length.json}
    secret:
      type: shop.datasets.SecretDataset
      filepath: data/sealed.txt
      credentials: safe
    total:
      type: json.JSONDataset
      filepath: ${runtime_params:folder, data}/total_${runtime_params:stage}_${globals:suffix}.json
    last_value:
      type: MemoryDataset
    row_count:
      type: MemoryDataset
    scaled:
      type: MemoryDataset
      copy_mode: assign
    late:
      type: MemoryDataset
    hooked:
      type: MemoryDataset
    ns.halfway:
      type: MemoryDataset
    "{anything}":
      type: json.JSONDataset
      filepath: data/other/{anything}.json
"""

VALIDATOR = 'validator: {class: shop.nodes.SeedValidator, "on": [save]}'
SEED = {"seed": 42, "validated": True}
if KEDRO < (1, 6):  # which has no validators
    VALIDATOR, SEED = "", {"seed": 42}

PARAMETERS = """
    count: 5
    stage: ${runtime_params:stage}
    model: {depth: 3}
    training: {rate: 0.5}
    resolved: ["${shout:loud}", "${whisper:QUIET}", "${globals:suffix}"]
    ns: {alpha: 0.1}
"""

JOBS: dict[str, dict[str, Any]] = {
    "in_process": {"executor": {"in_process": {}}},
    "multiprocess": {"executor": "multiprocess"},
    "by_memory": {
        "pipeline": {"to_outputs": ["total", "model", "anything at all"]},
        "executor": "multiprocess",
        "group_by": "memory",
    },
    "by_namespace": {
        "pipeline": {"node_namespaces": ["ns"]},
        "executor": "multiprocess",
        "group_by": "namespace",
    },
    "by_pipeline": {"executor": "multiprocess", "group_by": "pipeline"},
    "assets_in_process": {
        "target": "assets",
        "pipeline": {
            "to_outputs": [
                *("total", "model", "anything at all", "fit_metrics", "ns.result"),
                *("increments_seen", "secret_report", "hooked_report", "late_report"),
            ]
        },
        "executor": {"in_process": {}},
    },
}
SELECTED = {"target": "assets", "select": "*", "executor": "multiprocess"}

SCRIPT = """
    import sys

    import dagster as dg
    import yaml

    from shop.definitions import defs

    way, config = sys.argv[1], yaml.safe_load(open("run_config.yml"))
    with dg.DagsterInstance.get() as instance:
        if way == "execute_in_process":
            job = defs.resolve_job_def("multiprocess")
            result = job.execute_in_process(run_config=config, instance=instance)
        else:
            result = dg.materialize(
                defs.assets,
                selection=dg.AssetSelection.all() if way == "*" else [dg.AssetKey(way)],
                instance=instance,
                run_config=config,
                resources=defs.resources,
            )
    sys.exit(not result.success)
"""


def make_rich_project(path: Path) -> Project:
    """Write the project."""
    return make_project(
        path,
        pipelines=PIPELINES,
        nodes=NODES,
        hooks=HOOKS,
        settings=SETTINGS,
        catalog=dedent(CATALOG).replace("<validator>", VALIDATOR),
        parameters=dedent(PARAMETERS),
        dagster={
            "executors": {"multiprocess": {"multiprocess": {"max_concurrent": 2}}},
            "jobs": {
                **({"selected": SELECTED} if OMEGACONF >= (2, 4) else {}),
                **{
                    name: {"pipeline": {"pipeline_name": "__default__"}, **options}
                    for name, options in JOBS.items()
                },
            },
        },
        files={
            "src/shop/datasets.py": DATASETS,
            "conf/base/globals.yml": "suffix: world\n",
            "conf/local/credentials.yml": "safe: {token: '${oc.env:SHOP_TOKEN}'}\n",
            "data/sealed.txt": "letter",
            "data/increments/2024.txt": "old",
            "data/increments/2025.txt": "new",
            "launch.py": SCRIPT,
            "run_config.yml": yaml.safe_dump(RUN_CONFIG),
        },
    )


NEEDED = {
    "by_namespace": {"seed.json": json.dumps(SEED, indent=2)},
    "materialize_one": {"rows.txt": "".join(f"row {row}\n" for row in range(5))},
}
"""Files that are there before a run of a part of the project."""

Call = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a run of the project has left behind."""

    project: Project

    @cached_property
    def trace(self) -> list[Call]:
        """The calls of hooks, in order."""
        lines = (self.project.path / "trace.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def calls(self, *hooks: str) -> list[Call]:
        """The calls of some hooks."""
        return [call for call in self.trace if call["hook"] in hooks]

    def call(self, hook: str) -> Call:
        """The one call of a hook."""
        (call,) = self.calls(hook)
        return call

    @cached_property
    def of_nodes(self) -> dict[str, list[Call]]:
        """The calls of node and dataset hooks by node, without what differs between runs."""
        found: dict[str, list[Call]] = {}
        for call in self.trace:
            if "node" in call:
                found.setdefault(call["node"], []).append(comparable(call))
        return found

    @cached_property
    def run_id(self) -> str:
        """The run's identity, as the pipeline hooks are told."""
        run_id: str = self.call("before_pipeline_run")["run_params"][RUN_ID]
        return run_id

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The content of all data by its path, in which the run's version is written so."""
        data = self.project.path / "data"
        return {
            str(file.relative_to(data)).replace(self.run_id, "<version>"): file.read_bytes()
            for file in sorted(data.rglob("*"))
            if file.is_file()
        }

    @cached_property
    def dagster_run(self) -> dg.DagsterRun:
        """The one Dagster run."""
        home = str(self.project.dagster_home)
        with dg.DagsterInstance.from_config(home) as instance:
            (run,) = instance.get_runs()
        return run


def comparable(call: Call) -> Call:
    """A call of a hook without process and identity."""
    return {key: value for key, value in call.items() if key not in ("pid", "run_id")}


def launcher(way: str) -> Callable[[Project, dict[str, str]], object]:
    """Find out how to run the project in one of the ways."""
    config = ("-c", "run_config.yml")
    if way == "kedro":
        return lambda project, env: project.kedro("run", "--params", "stage=prod", **env)
    if way in JOBS or way == "selected":
        return lambda project, env: project.execute(way, *config, **env)
    if way == "asset_cli":
        arguments = ("-m", "dagster", "asset", "materialize", "-m", "shop.definitions")
        options = ("--select", "*", "--config-json", json.dumps(RUN_CONFIG))
        return lambda project, env: project.run(*arguments, *options, **env)
    selection = {"materialize_all": "*", "materialize_one": "model"}.get(way, way)
    return lambda project, env: project.run("launch.py", selection, **env)


def launch(project: Project, way: str) -> Outcome:
    """Run the project in one of the ways; those that run a part of it find what they need."""
    trace = project.path / "trace.jsonl"
    for name, content in NEEDED.get(way, {}).items():
        (project.path / "data" / name).write_text(content, encoding="utf-8")
    launcher(way)(project, {"TRACE": str(trace), "SHOP_TOKEN": TOKEN})
    return Outcome(project)


def nodes_of(calls: Iterable[Call]) -> list[str]:
    """The nodes in the order they ran."""
    return [call["node"] for call in calls if call["hook"] == "before_node_run"]
