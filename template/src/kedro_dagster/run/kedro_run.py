"""A Kedro run inside a Dagster run: one, whatever the number of processes.

The *run worker* is the process that stands around all steps, as ``KedroSession.run`` stands
around a runner: it calls the pipeline hooks. Each process that runs nodes has a session, a
context, a hook manager and a catalog of its own; their identity is one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from typing import Any

import dagster as dg
from dagster._check import not_none
from dagster._core.storage.tags import PARENT_RUN_ID_TAG
from kedro import __version__ as kedro_version
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io import CachedDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline.node import Node
from kedro.runner.task import Task
from pluggy import PluginManager

from ..doors import kedro as kedro_door
from ..doors.kedro import strip_transcoding
from ..plan.model import ProjectPlan, StepPlan, is_parameter
from ..plan.partitions import steps_for_keys
from ..read.partition_keys import PartitionScope
from . import mlflow_run, parameters
from .identity import CATALOG_TAG, lost_with, pack_datasets, unpack_datasets
from .selection import RunOptions, RunSelection, planned_steps, select_nodes
from .transient import ElsewhereDataset, Release

logger = logging.getLogger(__name__)


_runs: dict[str, KedroRun] = {}
"""The Kedro runs that are open in this process, by the id of their Dagster run."""


_kept: dict[str, KedroRun] = {}
"""Of a process that runs single steps, the Kedro run of the last one."""


class KedroRun:
    """A Kedro run, in one of the processes it takes."""

    def __init__(
        self,
        plan: ProjectPlan,
        run_id: str,
        options: RunOptions,
        pipeline_names: list[str],
        *,
        single_process: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self.run_id = run_id
        self.options = options
        self.single_process = single_process
        self._pipeline_names = pipeline_names
        self._tags = tags or {}
        self.errors: dict[str, BaseException] = {}
        self.in_memory: set[str] = set()
        self._used: set[str] = set()
        self.finished = False
        self._tracked = False
        self._last: tuple[RunSelection, set[str]] | None = None
        self._release: Release | None = None
        self._concerned = cache(
            lambda job_name: steps_for_keys(plan.jobs[job_name], options.partition_keys)
        )

    # Built on first use: Dagster also opens resources to look at a run that is over

    @cached_property
    def _session(self) -> KedroSession:
        project = self.plan.project
        project.import_pipelines(self._pipeline_names)
        return kedro_door.open_session(
            project_path=str(project.path),
            package_name=project.package_name,
            conf_source=project.conf_source,
            run_id=self.run_id,
            env=project.env,
            runtime_params=self.options.runtime_params,
        )

    @cached_property
    def hook_manager(self) -> PluginManager:
        """The hooks of the project and of its plugins."""
        return kedro_door.hook_manager_of(self._session)

    @cached_property
    def context(self) -> KedroContext:
        """The project's context; ``after_context_created`` has been called."""
        return self._session.load_context()

    @cached_property
    def catalog(self) -> CatalogProtocol[Any, Any]:
        """The catalog of this process; ``after_catalog_created`` has been called."""
        catalog = kedro_door.create_catalog(
            self.context, self._pipeline_names, self.run_id, self.options.load_versions
        )
        for name, dataset in unpack_datasets(self._tags.get(CATALOG_TAG, ""), self.run_id).items():
            catalog[name] = dataset
        return catalog

    # Around all nodes: what KedroSession.run and AbstractRunner.run do

    def start(self, scope: RunSelection) -> dict[str, str]:
        """Call ``before_pipeline_run``."""
        before = kedro_door.datasets_in(self.catalog)
        try:
            self.hook_manager.hook.before_pipeline_run(
                run_params=self.run_params(scope), pipeline=scope.pipeline, catalog=self.catalog
            )
        except BaseException:
            with mlflow_run.closing(self.hook_manager, "FAILED"):
                raise
        self._tracked = True
        tags = mlflow_run.opened(self.hook_manager)
        if self.single_process:
            self._release = Release(scope)
        elif changed := {
            name: dataset
            for name, (dataset, data) in kedro_door.datasets_in(self.catalog).items()
            if name not in before or before[name][0] is not dataset or before[name][1] is not data
        }:
            tags = {**tags, CATALOG_TAG: pack_datasets(changed, self.run_id)}
        return tags

    def join(self, instance: dg.DagsterInstance, dagster_run_id: str) -> bool:
        """Take part in the MLflow run, if there is one, that another process has opened."""
        catalog, hook = self.catalog, mlflow_run.find_hook(self.hook_manager)
        if hook is None or self._tracked:
            return False
        dagster_run = not_none(instance.get_run_by_id(dagster_run_id))
        steps, parent = planned_steps(instance, dagster_run), dagster_run.parent_run_id
        lost = parent is not None and lost_with(instance, parent)
        # Nothing here knows the name of the executor; kedro-mlflow leaves out what is empty
        scope = not_none(select_nodes(self.plan, dagster_run.job_name, "", steps, lost))
        mlflow_run.join(hook, dagster_run.tags, self.run_params(scope), scope.pipeline, catalog)
        self._tracked = True
        return True

    @contextmanager
    def mlflow_joined(self, instance: dg.DagsterInstance, dagster_run_id: str) -> Iterator[None]:
        """Let nodes write to the MLflow run, whichever process has opened it."""
        joined = self.join(instance, dagster_run_id)
        try:
            yield
        finally:
            mlflow_run.leave(self.hook_manager, joined)
            self._tracked = not joined

    def check_inputs_and_build(self, scope: RunSelection) -> None:
        """Build the datasets of the pipeline, as Kedro's runners do before the first node."""
        if self.options.partition_keys is not None:
            if scope.job is None:
                raise ValueError("partition_keys: this is for jobs; pick partitions of the assets.")
            self._concerned(scope.job.name)
        known = {name for name in scope.pipeline.datasets() if name in self.catalog}
        if scope.job:  # of a part of a job, Dagster hands over what an earlier run has made
            known |= scope.job.pipeline.all_outputs()
        if scope.job and PARENT_RUN_ID_TAG in self._tags:  # which has stored what is not saved
            known.update(name for step in scope.job.steps for name in step.outputs)
        self._build(scope.pipeline.datasets())
        if missing := scope.pipeline.inputs() - known:
            raise ValueError(
                f"Pipeline input(s) {missing} not found in the {type(self.catalog).__name__}"
            )

    def finish(self, scope: RunSelection) -> None:
        """Call ``after_pipeline_run`` with the datasets that are the pipeline's outputs."""
        self.finished = True  # an error of this hook is none of the pipeline
        result = {
            name: self.catalog.get(name, fallback_to_runtime_pattern=True)
            for name in scope.pipeline.outputs()
        }
        with mlflow_run.closing(self.hook_manager, "FINISHED"):
            self.hook_manager.hook.after_pipeline_run(
                run_params=self.run_params(scope),
                run_result=result,
                pipeline=scope.pipeline,
                catalog=self.catalog,
            )

    def finish_after(self, scope: RunSelection, steps: Iterable[str]) -> None:
        """Finish by itself when the last of these steps has run."""
        self._last = scope, set(steps)

    def step_done(self, step_key: str) -> None:
        """Take note that a step has run."""
        self.errors.pop(step_key, None)
        if self._last:
            scope, left = self._last
            left.discard(step_key)
            if not left and not self.finished:
                self.finish(scope)

    def fail(self, scope: RunSelection, error: BaseException) -> None:
        """Call ``on_pipeline_error``."""
        with mlflow_run.closing(self.hook_manager, "FAILED"):
            self.hook_manager.hook.on_pipeline_error(
                error=error,
                run_params=self.run_params(scope),
                pipeline=scope.pipeline,
                catalog=self.catalog,
            )

    def run_params(self, scope: RunSelection) -> dict[str, Any]:
        """What Kedro's pipeline hooks are told of the run; as there, what is not given is empty."""
        options = scope.job.options.pipeline if scope.job else None
        filters = {key: value or [] for key, value in options.filters.items()} if options else {}
        names = [node.name for node in scope.pipeline.nodes]
        whole = scope.job is not None and scope.pipeline is scope.job.pipeline
        return {
            "run_id": self.run_id,
            "project_path": self.plan.project.path.as_posix(),
            "env": self.context.env,
            "kedro_version": kedro_version,
            "tags": filters.get("tags", []),
            "from_nodes": filters.get("from_nodes", []),
            "to_nodes": filters.get("to_nodes", []),
            "node_names": filters.get("node_names", []) if whole else names,
            "from_inputs": filters.get("from_inputs", []),
            "to_outputs": filters.get("to_outputs", []),
            "load_versions": dict(self.options.load_versions),
            "runtime_params": dict(self.options.runtime_params),
            "pipeline_names": scope.pipeline_names if scope.job else [],
            "namespaces": filters.get("node_namespaces", []),
            "runner": scope.executor,
            "only_missing_outputs": False,
        }

    # The nodes: what AbstractRunner._run does

    def run_nodes(
        self,
        step: str,
        nodes: Iterable[Node],
        changed: Mapping[str, Any],
        scopes: Callable[[Node], Mapping[str, PartitionScope]],
        done: Callable[[Node, Mapping[str, PartitionScope]], None],
    ) -> None:
        """Run nodes in order, each through Kedro's own ``Task``."""
        nodes = tuple(nodes)
        self._build(name for node in nodes for name in (*node.inputs, *node.outputs))
        self._used.update(name for node in nodes for name in node.outputs)
        self._used.update(
            name
            for node in nodes
            for name in node.inputs
            if not is_parameter(name) and self.plan.datasets[strip_transcoding(name)].persisted
        )
        if not self.single_process:
            for name in {name for node in nodes for name in node.inputs}:
                kedro_door.pin_version(self.catalog.get(name), self.run_id)
        if self._release:
            self._release.before(step, nodes)
        with self._parameters(nodes, changed):
            for node in nodes:
                found = scopes(node)
                with self._partitions(node, found):
                    Task(
                        node=node,
                        catalog=self.catalog,
                        is_async=False,
                        hook_manager=self.hook_manager,
                        run_id=self.run_id,
                    ).execute()
                logger.info("Completed node: %s", node.name)
                done(node, found)
                self.in_memory.update(map(strip_transcoding, node.outputs))
                if self._release:
                    self._release.after(step, node, self.catalog)
        if self._release:
            self._release.at_end(self.catalog)

    def skips(self, step: StepPlan, job_name: str) -> bool:
        """Whether a step is for other partitions than those that the run is limited to."""
        if self.options.partition_keys is None:
            return False
        return step.name not in self._concerned(job_name)

    def put(self, name: str, value: Any) -> None:
        """Give a transient dataset the value it has in another process."""
        self._dataset(name).save(value)
        self._used.add(self.plan.datasets[name].variants[0])

    def get(self, name: str) -> Any:
        """Take the value of a transient dataset, for another process."""
        return self._dataset(name).load()

    def find(self, name: str, load: Callable[[], Any]) -> None:
        """Let hooks find the value of a transient dataset, which is loaded when they ask for it."""
        kedro_door.replace_quietly(self.catalog, name, ElsewhereDataset(load))

    def forget_step(self) -> None:
        """Let go of the data and errors of a step, in a process that will run others."""
        for name in self._used:
            self.catalog.release(name)
        self._used.clear()
        self.in_memory.clear()
        self.errors.clear()

    @contextmanager
    def _partitions(self, node: Node, scopes: Mapping[str, PartitionScope]) -> Iterator[None]:
        """Let the partitioned datasets in the catalog hold just the partitions in scope."""
        in_chunks = inspect.isgeneratorfunction(node.func)
        with ExitStack() as stack:
            for variant in dict.fromkeys((*node.inputs, *node.outputs)):
                name = strip_transcoding(variant)
                if name not in scopes:
                    continue
                dataset = self.catalog.get(variant)
                if isinstance(dataset, CachedDataset):  # what it keeps is of one scope
                    dataset.release()
                    stack.callback(dataset.release)
                chunks = in_chunks and variant in node.outputs
                partitioned = kedro_door.unwrap_cached(dataset)
                stack.enter_context(partitioned.in_scope(scopes[name], name, node.name, chunks))
            yield

    def location(self, name: str, key: str | None = None) -> dict[str, Any]:
        """Say where a dataset, or one of its partitions, is saved."""
        dataset = kedro_door.unwrap_cached(self._dataset(name))
        path = kedro_door.saved_path(dataset) if key is None else dataset.path_of(key)
        found: dict[str, Any] = {"path": dg.MetadataValue.path(path)} if path else {}
        if self.plan.datasets[name].versioned:
            found["version"] = self.run_id
        return found

    def _build(self, names: Iterable[str]) -> None:
        """Build datasets; one that stands nowhere in the catalog is kept in memory."""
        for name in names:
            self._get(name)

    def _dataset(self, name: str) -> Any:
        return self._get(self.plan.datasets[name].variants[0])

    def _get(self, name: str) -> Any:
        dataset = self.catalog.get(name, fallback_to_runtime_pattern=True)
        kedro_door.share_in_process(dataset)
        return dataset

    @contextmanager
    def _parameters(self, nodes: tuple[Node, ...], changed: Mapping[str, Any]) -> Iterator[None]:
        """Let the nodes find other values of parameters in the catalog.

        The values are built by Kedro, typed and validated; the catalog is put back after, since
        it serves the other nodes of the process.
        """
        if not changed:
            yield
            return
        raw = kedro_door.raw_parameters(self.context)
        for name, value in changed.items():
            if name == "parameters":
                raw = dict(value)
            else:
                parameters.assign(raw, name.removeprefix("params:"), value)
        values = kedro_door.parameters_with(self.context, raw)
        taken = {name for node in nodes for name in node.inputs if is_parameter(name)}
        datasets: dict[str, Any] = {
            name: self.catalog.get(name)
            for name in taken
            if name in values and any(_overlap(name, other) for other in changed)
        }
        for name in datasets:
            # A new dataset: unlike the one that is there, it can be given None
            kedro_door.replace_quietly(self.catalog, name, MemoryDataset(values[name]))
        try:
            yield
        finally:
            for name, dataset in datasets.items():
                kedro_door.replace_quietly(self.catalog, name, dataset)


def _overlap(name: str, other: str) -> bool:
    """Whether a change of one parameter is a change of the other: one holds the other."""
    if "parameters" in (name, other):
        return True
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def run_in_this_process(dagster_run_id: str) -> KedroRun | None:
    """The Kedro run that this process has open for a Dagster run."""
    return _runs.get(dagster_run_id)


@contextmanager
def reuse_run(dagster_run_id: str, make: Callable[[], KedroRun]) -> Iterator[KedroRun]:
    """Run a step in a process that may run others: Dask and Celery have processes that last.

    Hooks hear of a context and of a catalog once for all steps of a run. The last run is kept,
    and no other: hooks that remember their context remember that one, and memory does not grow.
    """
    if dagster_run_id not in _kept:
        _kept.clear()
        _kept[dagster_run_id] = make()
    run = _kept[dagster_run_id]
    try:
        yield run
    finally:
        run.forget_step()


@contextmanager
def publish_run(dagster_run_id: str, run: KedroRun) -> Iterator[KedroRun]:
    """Let the steps of a Dagster run in this process find its Kedro run."""
    _runs[dagster_run_id] = run
    try:
        yield run
    finally:
        del _runs[dagster_run_id]
