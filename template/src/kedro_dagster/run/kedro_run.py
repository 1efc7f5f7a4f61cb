"""A Kedro run inside a Dagster run: one, whatever the number of processes.

The *run worker* is the process that stands around all steps, as ``KedroSession.run`` stands
around a runner: it calls the pipeline hooks. Processes that are forked from it continue its
session. Any other has a session, a context, a hook manager and a catalog of its own, under the
identity and with the state of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, cached_property, partial
from itertools import islice
from typing import Any, TypeAlias

import dagster as dg
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node
from pluggy import PluginManager

from ..doors import kedro as kedro_door
from ..errors import TransientDataError
from ..plan.chosen_keys import steps_for_keys
from ..plan.model import JobPlan, Nodes, ProjectPlan, StepPlan
from ..plan.runners import runner_of_run
from ..read.credentials import redact_path, redacted_errors, remember_credentials
from ..read.dagster_yml import RunnerOptions
from . import mlflow_run, run_state
from .checks import Verdicts
from .facts import Facts
from .launched import check_classes
from .selection import RunOptions
from .transient import Release

# By the id of their Dagster run
_runs: dict[str, KedroRun] = {}  # those whose hooks are called in this process
_kept: dict[str, KedroRun] = {}  # that of the last step in a process that is for steps only

ResourceDefs: TypeAlias = Mapping[str, dg.ResourceDefinition]

_LEFT_OUT: run_state.Place = ("nodes", "which nodes are left out")

# Packages whose objects are the same in another process
_SAFE_TO_PASS = {"builtins", "datetime", "decimal", "numpy", "pandas", "polars", "pyarrow"}


@dataclass(eq=False, repr=False)
class KedroRun:
    """What one process has of a Kedro run."""

    plan: ProjectPlan
    run_id: str
    options: RunOptions
    pipeline_names: list[str]
    _: KW_ONLY
    single_process: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    load_state: Callable[[ResourceDefs], Mapping[run_state.Place, bytes]] | None = None
    job_resources: ResourceDefs = field(default_factory=dict)  # by which the state is loaded
    release: Release | None = None
    mlflow_joined: bool = False
    mlflow: Mapping[str, Any] = field(default_factory=dict)  # what is told of its MLflow run
    on_step_done: Callable[[str], None] | None = None
    errors: dict[str, BaseException] = field(default_factory=dict)  # by step
    in_memory: set[str] = field(default_factory=set)  # datasets that were made in this process
    crossed: dict[str, str] = field(default_factory=dict)  # classes, by dataset from elsewhere
    used: set[str] = field(default_factory=set)  # datasets to release after the step
    steps_done: set[str] = field(default_factory=set)
    nodes_done: set[tuple[str, str]] = field(default_factory=set)  # in this process, by step
    _read: Mapping[str, Any] = field(default_factory=dict, init=False)

    @cached_property
    def steps_of_keys(self) -> Callable[[str], frozenset[str]]:
        """Which steps of a job run, by its name, where the run is limited to partition keys."""
        keys = self.options.partition_keys
        return cache(lambda job_name: steps_for_keys(self.plan.jobs[job_name], keys))

    @cached_property
    def facts(self) -> Facts:
        """What is known of the data that the nodes of a step load and save."""
        return Facts(self)

    @cached_property
    def verdicts(self) -> Verdicts:
        """What validators have said of that data."""
        return Verdicts(self)

    # Built on first use: Dagster also opens resources to look at a run that is over

    @cached_property
    def _session(self) -> KedroSession:
        project, values = self.plan.project, self._configuration
        project.import_pipelines(self.pipeline_names)
        return kedro_door.open_session(
            project_path=str(project.path),
            package_name=project.package_name,
            conf_source=project.conf_source,
            run_id=self.run_id,
            env=project.env,
            runtime_params=self.options.runtime_params,
            configure=partial(run_state.set_configuration_early, values) if values else None,
        )

    @cached_property
    def _state(self) -> Mapping[run_state.Place, bytes]:
        return self.load_state(self.job_resources) if self.load_state else {}

    @cached_property
    def left_out(self) -> frozenset[str] | None:
        """The names of nodes that do not run; the run worker sets it, and others find it."""
        found: frozenset[str] | None = run_state.unpack(self._state, "nodes", {}).get(_LEFT_OUT[1:])
        return found

    @cached_property
    def _configuration(self) -> Mapping[run_state.Place, Any]:
        """What stands in the configuration of this run, and would not when it is read again."""
        return run_state.unpack(self._state, "config", {})

    @cached_property
    def hook_manager(self) -> PluginManager:
        """The hooks of the project and of its plugins."""
        return kedro_door.hook_manager_of(self._session)

    @cached_property
    def context(self) -> KedroContext:
        """The project's context; ``after_context_created`` has been called."""
        context = self._session.load_context()
        run_state.set_configuration(context.config_loader, self._configuration)
        remember_credentials(context.config_loader)
        return context

    @cached_property
    def catalog(self) -> CatalogProtocol[Any, Any]:
        """The catalog of this process; ``after_catalog_created`` has been called."""
        context = self.context
        if self.options.runtime_params:
            project = self.plan.project
            check_classes(context.config_loader, project.conf_source, project.env)
        read_once: AbstractContextManager[Mapping[str, Any]] = nullcontext({})
        if not self.single_process:
            read_once = run_state.configuration_read_once(context.config_loader)
        # An error of validation would show the values of hidden parameters
        with redacted_errors(self.plan.hidden_values), read_once as self._read:
            catalog = kedro_door.create_catalog(
                context, self.pipeline_names, self.run_id, self.options.load_versions
            )
        references = self._references(catalog)
        for (name,), dataset in run_state.unpack(self._state, "dataset", references).items():
            catalog[name] = dataset
        attributes = run_state.unpack(self._state, "hook", references)
        run_state.set_attributes(self.hook_manager, attributes)
        return catalog

    def close(self, error: BaseException | None) -> None:
        """Close the session of the run worker, as ``kedro run`` does at its end."""
        self._session.__exit__(
            type(error) if error else None, error, getattr(error, "__traceback__", None)
        )

    def runner_options(self, job: JobPlan | None) -> RunnerOptions | None:
        """The Kedro runner of the steps: that of this run, or else that of its job."""
        if self.options.runner is None:
            return job.runner if job else None
        return runner_of_run(self.options.runner, job, self.plan.datasets)

    def pack_state(
        self, changes: Mapping[run_state.Place, Any]
    ) -> tuple[dict[run_state.Place, bytes], dict[run_state.Place, str]]:
        """Pickle what other processes of the run would not find by themselves."""
        loader = self.context.config_loader
        again = {kind: loader[kind] for kind in self._read}
        values = {**changes, **run_state.changed_configuration(self._read, again)}
        if self.left_out is not None:
            values[_LEFT_OUT] = self.left_out
        return run_state.pack(values, self._references(self.catalog))

    def _references(self, catalog: Any) -> run_state.References:
        return {
            "catalog": catalog,
            "context": self.context,
            "config_loader": self.context.config_loader,
            "hook_manager": self.hook_manager,
        }

    def step_done(self, step_key: str) -> None:
        """Take note that a step has run."""
        self.errors.pop(step_key, None)
        self.steps_done.add(step_key)
        if self.on_step_done:
            self.on_step_done(step_key)

    def why_skipped(self, step: StepPlan, job_name: str, nodes: Nodes) -> str:
        """Why a step does not run, of whose nodes some may be left out."""
        limited = self.options.partition_keys is not None
        if limited and step.name not in self.steps_of_keys(job_name):
            return "The partitions of this step are not among those of the run."
        if step.nodes and not nodes:
            return "only_missing_outputs: what this step makes is there, or is not needed."
        return ""

    def nodes_to_run(self, nodes: Iterable[Node], job: JobPlan | None) -> Nodes:
        """Leave out those nodes that are left out where only missing outputs are made."""
        if not self.options.misses_only(job):
            return tuple(nodes)
        if self.left_out is None:
            raise TransientDataError(
                "only_missing_outputs: this process does not know which nodes the run leaves out. "
                "The log of the run says why it could not be stored for it."
            )
        return tuple(node for node in nodes if node.name not in self.left_out)

    def put(self, name: str, value: Any) -> None:
        """Give a transient dataset the value it has in another process."""
        self.dataset(name).save(value)
        if kind := _doubtful_class(value):
            self.crossed[name] = f"{kind.__module__}.{kind.__qualname__}"
        self.used.add(self.plan.datasets[name].variants[0])

    def forget_step(self) -> None:
        """Let go of the data and errors of a step, in a process that will run others."""
        for name in self.used:
            self.catalog.release(name)
        for about_step in (self.used, self.in_memory, self.errors, self.crossed):
            about_step.clear()
        self.facts.forget()

    def location(self, name: str, key: str | None = None) -> dict[str, Any]:
        """Say where a dataset, or one of its partitions, is saved; a side effect is nowhere."""
        if not self.plan.datasets[name].variants:
            return {}
        dataset = kedro_door.unwrap_cached(self.dataset(name))
        path = kedro_door.saved_path(dataset) if key is None else dataset.path_of(key)
        found: dict[str, Any] = {"path": dg.MetadataValue.path(redact_path(path))} if path else {}
        if self.plan.datasets[name].versioned:
            found["version"] = self.run_id
        return {**found, **mlflow_run.saved_model(dataset)}

    def dataset(self, name: str) -> Any:
        """A dataset of the plan, in the catalog of this process."""
        return self.get_dataset(self.plan.datasets[name].variants[0])

    def get_dataset(self, name: str) -> Any:
        """A dataset of the catalog; one that stands nowhere in it is kept in memory."""
        dataset = self.catalog.get(name, fallback_to_runtime_pattern=True)
        kedro_door.share_in_process(dataset)
        return dataset


def _doubtful_class(value: Any) -> type | None:
    """The class of a value, or of one in a collection, that may not work in another process."""
    inner = value.values() if isinstance(value, dict) else value
    parts = islice(inner, 100) if isinstance(value, (dict, list, tuple, set)) else ()
    kinds = (type(one) for one in (value, *parts))
    others = (one for one in kinds if one.__module__.partition(".")[0] not in _SAFE_TO_PASS)
    return next(others, None)


def run_in_this_process(dagster_run_id: str) -> KedroRun | None:
    """The Kedro run that this process has open for a Dagster run."""
    return _runs.get(dagster_run_id)


def kept_run(dagster_run_id: str) -> KedroRun | None:
    """The Kedro run of the last step in this process, if it was of this Dagster run."""
    return _kept.get(dagster_run_id)


def continue_run(dagster_run_id: str, run: KedroRun) -> None:
    """Let the steps of a Dagster run in this process, a fork, take part in its Kedro run."""
    _runs.clear()
    _kept.clear()
    _kept[dagster_run_id] = run


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
