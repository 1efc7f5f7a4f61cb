"""The life of a Kedro run: the pipeline hooks, around all nodes and wherever these run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import filterfalse
from typing import Any

import dagster as dg
from kedro import __version__ as kedro_version
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from ..doors import kedro as kedro_door
from ..doors.kedro_runner import suggest_resume, with_missing_outputs
from ..errors import RunConfigError, StepFailedError, while_handled
from ..plan.model import ProjectPlan, partitioned_in
from ..plan.preflight import SHOWN
from ..plan.runners import NOT_FOR_PARTITIONS, is_async, make_runner, runs_in_order
from ..plan.side_effects import RUN_THEM, nodes_in_no_asset
from ..read.credentials import redacted_errors
from . import mlflow_run, viz_status
from .event_log import event_log
from .identity import PARENT_RUN_ID_TAG, close_hooks, lost_with, new_identity, open_hooks
from .kedro_run import KedroRun, publish_run
from .partitions import check_partitions
from .progress import how_to_resume
from .run_state import Place, changes_of_hooks
from .selection import RunOptions, RunSelection, planned_steps, select_nodes
from .transient import Release

logger = logging.getLogger(__name__)

# In the order in which Kedro tells them
_FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")


class PipelineHooks:
    """Calls the pipeline hooks of a run, as ``KedroSession.run`` does."""

    def __init__(self, run: KedroRun, selection: RunSelection) -> None:
        self.run = run
        self.selection = selection
        self.running = selection
        """What of it runs, where only missing outputs are made."""
        self.failure: BaseException | None = None
        self.began = False
        self.ended = False
        self.left: set[str] = set()
        self.viz: viz_status.VizStatus | None = None
        self.changes: Mapping[Place, Any] = {}
        """What ``before_pipeline_run`` has changed."""

    def before_pipeline_run(self) -> dict[str, str]:
        """Call the hook; give tags for what it has opened."""
        run = self.run
        try:
            with ExitStack() as stack:
                if not run.single_process:  # else there is nobody to be told
                    changes = changes_of_hooks(run.hook_manager, run.catalog)
                    self.changes = stack.enter_context(changes)
                stack.enter_context(viz_status.without_warning())
                run.hook_manager.hook.before_pipeline_run(**self._arguments())
        except BaseException:
            with mlflow_run.closing(run.hook_manager, "FAILED"):
                raise
        run.mlflow_joined = True
        self.viz = viz_status.follow(run, self.selection)
        tags = mlflow_run.opened(run.hook_manager)
        run.tags = {**run.tags, **tags}
        return tags

    def warn_of_nodes_in_no_asset(self) -> None:
        """Say what a run of all assets leaves out."""
        plan = self.run.plan
        all_assets = {name for step in plan.asset_steps.values() for name in step.upstream}
        if self.selection.job or not all_assets.issubset(self.selection.assets):
            return
        if left := nodes_in_no_asset(plan):
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            logger.warning(
                "This run makes all assets. Nodes in no asset do not run: %s%s. %s",
                ", ".join(left[:SHOWN]),
                more,
                RUN_THEM,
            )

    def end(self) -> None:
        """Call the last hook of the run: which one depends on how it went."""
        if self.ended:
            return
        self.ended = True  # an error of the hook is none of the pipeline
        if self.viz:
            self.viz.end(self.failure)
        if self.failure is None:
            self._after_pipeline_run()
        else:
            self.on_pipeline_error(self.failure)

    def end_after(self, steps: Iterable[str]) -> None:
        """End by itself when the last of these steps has run."""
        self.left = set(steps)

        def step_done(step_key: str) -> None:
            self.left.discard(step_key)
            if not self.left:
                self.end()

        self.run.on_step_done = step_done

    def _after_pipeline_run(self) -> None:
        outputs = self.running.pipeline.outputs()
        result = {name: self.run.get_dataset(name) for name in outputs}
        with mlflow_run.closing(self.run.hook_manager, "FINISHED"):
            self.run.hook_manager.hook.after_pipeline_run(run_result=result, **self._arguments())

    def on_pipeline_error(self, error: BaseException) -> None:
        """Call the hook for a run that failed, in whatever process."""
        with mlflow_run.closing(self.run.hook_manager, "FAILED"):
            hook = self.run.hook_manager.hook
            while_handled(error, partial(hook.on_pipeline_error, **self._arguments()))

    def say_how_to_go_on(self, dagster_run_id: str) -> None:
        """Log of a run that failed what Kedro logs of one, and what it is in Dagster."""
        job, run = self.selection.job, self.run
        # Kedro says nothing of a run that was cancelled, and a runner has done so itself
        if job and runs_in_order(run.runner_options(job)) and isinstance(self.failure, Exception):
            left = {
                node.name
                for step, node in self.running.tasks
                if step and step not in run.steps_done and (step, node.name) not in run.nodes_done
            }
            pipeline = self.running.pipeline
            done = [node for node in pipeline.nodes if node.name not in left]
            suggest_resume(pipeline, done, run.catalog)
        if dagster_run_id:
            command = f" or by `{how_to_resume(dagster_run_id)}`" if job else ""
            logger.warning(
                "In Dagster, re-execute this run from failure, in its UI%s: that runs what has not "
                "run, and makes again what was in memory.",
                command,
            )

    def _arguments(self) -> dict[str, Any]:
        return {
            "run_params": self.run_params(),
            "pipeline": self.run.plan.project.imported(self.selection.pipeline),
            "catalog": self.run.catalog,
        }

    def run_params(self) -> dict[str, Any]:
        """What Kedro's pipeline hooks are told of the run; as there, what is not given is empty."""
        run, selection = self.run, self.selection
        job = selection.job
        filters = {key: value or [] for key, value in job.options.filters.items()} if job else {}
        names = [node.name for node in selection.pipeline.nodes]
        runner = run.runner_options(job)
        whole = job is not None and not job.select and selection.pipeline is job.pipeline
        return {
            kedro_door.RUN_ID_PARAM: run.run_id,
            "project_path": run.plan.project.path.as_posix(),
            "env": run.context.env,
            "kedro_version": kedro_version,
            **{name: filters.get(name, []) for name in _FILTERS},
            **({} if whole else {"node_names": names}),
            "load_versions": dict(run.options.load_versions),
            "runtime_params": dict(run.options.runtime_params),
            **kedro_door.pipelines_param(selection.pipeline_names if job else []),
            "namespaces": filters.get("node_namespaces", []),
            "runner": runner.type if runner else selection.executor,
            "only_missing_outputs": run.options.misses_only(job),
        }


@contextmanager
def pipeline_hooks(
    run: KedroRun,
    selection: RunSelection,
    instance: dg.DagsterInstance,
    dagster_run_id: str,
    log: dg.DagsterLogManager,
    *,
    state: str = "",
) -> Iterator[PipelineHooks]:
    """Stand around all nodes of a run: the one place where its pipeline hooks are called.

    The run's tags say how far the hooks have come, for whoever finds it when this process has
    been killed: the run-failure sensor, or a run worker that resumes it, from some ``state``.
    """
    hooks = PipelineHooks(run, selection)
    hooks.ended = state == "closed"
    with event_log(log, instance):
        if state in ("open", "closed"):
            join_mlflow(run, instance, dagster_run_id)
        else:
            open_hooks(instance, dagster_run_id, hooks.before_pipeline_run())
            hooks.warn_of_nodes_in_no_asset()
    try:
        check_partitions(run.plan, selection, instance, dagster_run_id)
        with event_log(log, instance):
            hooks.running = _what_is_missing(run, selection)
            _say_if_async(run, selection)
        if run.single_process:
            run.release = Release(hooks.running)
        _check_inputs_and_build(run, hooks.running)
        hooks.began = True
        with publish_run(dagster_run_id, run):
            yield hooks
    except GeneratorExit:
        raise  # Dagster has let go of the run: it is not over
    except BaseException as error:
        hooks.failure = hooks.failure or error
        _end(hooks, instance, dagster_run_id, log)
        raise
    _end(hooks, instance, dagster_run_id, log)


def _what_is_missing(run: KedroRun, selection: RunSelection) -> RunSelection:
    """What of a run a runner would run: all, unless ``only_missing_outputs`` leaves some out."""
    job, pipeline = selection.job, selection.pipeline
    if not run.options.misses_only(job):
        return selection
    if job is None or job.assets:
        message = "this is for jobs" if job is None else "this job makes assets"
        message = f"{message}. Choose the assets that are missing."
        raise RunConfigError(("only_missing_outputs",), message)
    if job.partitioning:
        raise RunConfigError(("only_missing_outputs",), NOT_FOR_PARTITIONS)
    if run.left_out is None:  # else this process resumes what another has begun
        options = run.runner_options(job)
        runner = make_runner(options) if options else SequentialRunner()
        kept = with_missing_outputs(runner, pipeline, run.catalog)
        run.left_out = frozenset(node.name for node in (pipeline - kept).nodes)
    return selection.only(Pipeline(run.nodes_to_run(pipeline.nodes, job)))


def _say_if_async(run: KedroRun, selection: RunSelection) -> None:
    """Log in the words of Kedro's runner that datasets load and save in threads."""
    options = run.runner_options(selection.job)
    if runs_in_order(options) and is_async(options):
        runner_log = logging.getLogger(SequentialRunner.__module__)
        runner_log.info("Asynchronous mode is enabled for loading and saving data.")


def _check_inputs_and_build(run: KedroRun, selection: RunSelection) -> None:
    """Build the datasets of the pipeline, as Kedro's runners do before the first node."""
    pipeline, job = selection.pipeline, selection.job
    if run.options.partition_keys is not None:
        if job is None or job.assets:
            raise ValueError("partition_keys: this is for jobs of ops; pick partitions of assets.")
        run.steps_of_keys(job.name)
    known = {name for name in pipeline.datasets() if name in run.catalog}
    if job:  # where a part of it runs, an earlier run has made the rest
        known |= job.pipeline.all_outputs()
    if job and PARENT_RUN_ID_TAG in run.tags:  # that run has stored what is in no file
        known.update(name for step in job.steps for name in step.outputs)
    for name in pipeline.datasets():
        run.get_dataset(name)
    names = filterfalse(is_parameter, pipeline.datasets())
    for name in partitioned_in(map(kedro_door.strip_transcoding, names), run.plan.datasets):
        kedro_door.unwrap_cached(run.dataset(name)).refuse_other_versions()
    if missing := pipeline.inputs() - known:
        raise ValueError(
            f"Pipeline input(s) {missing} not found in the {type(run.catalog).__name__}"
        )


def _end(hooks: PipelineHooks, instance: dg.DagsterInstance, dagster_run_id: str, log: Any) -> None:
    with event_log(log, instance), ExitStack() as stack:
        stack.callback(close_hooks, instance, dagster_run_id)
        stack.callback(hooks.run.close, hooks.failure)
        stack.callback(hooks.end)
        if hooks.failure and hooks.began and not hooks.ended:
            stack.callback(hooks.say_how_to_go_on, "" if instance.is_ephemeral else dagster_run_id)
        if hooks.failure:  # the sensor is not to call on_pipeline_error again, if it is killed
            close_hooks(instance, dagster_run_id)


def open_alone(
    plan: ProjectPlan,
    instance: dg.DagsterInstance,
    dagster_run: dg.DagsterRun,
    log: dg.DagsterLogManager,
    options: RunOptions,
) -> Iterator[KedroRun]:
    """Stand in for the executor, which ``execute_in_process`` and ``materialize`` replace.

    ``after_pipeline_run`` is then called within the last step, where an error of a hook still
    fails the run.
    """
    run_id, job_name = dagster_run.run_id, dagster_run.job_name
    steps = planned_steps(instance, dagster_run)
    selection = select_nodes(plan, job_name, "in_process", steps)
    names = selection.pipeline_names if selection else ["__default__"]
    identity = new_identity(instance, run_id, single_process=True)
    run = KedroRun(plan, identity, options, names, single_process=True)
    if selection is None:
        with publish_run(run_id, run):
            yield run
        return
    with redacted_errors(), pipeline_hooks(run, selection, instance, run_id, log) as hooks:
        hooks.end_after(plan.kedro_steps(job_name).keys() & steps)
        try:
            yield run
        finally:
            if not hooks.ended:  # nobody tells a resource why it is closed
                early = StepFailedError("The run ended early.")
                skips = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SKIPPED)
                if run.errors or hooks.left - {str(one.step_key) for one in skips}:
                    hooks.failure = next(iter(run.errors.values()), early)
                _end(hooks, instance, run_id, log)


@contextmanager
def in_mlflow_run(
    run: KedroRun, instance: dg.DagsterInstance, dagster_run_id: str
) -> Iterator[None]:
    """Let nodes write to the MLflow run, whichever process has opened it."""
    joined = join_mlflow(run, instance, dagster_run_id)
    run.mlflow = mlflow_run.told_of_run(run.hook_manager, run.tags)
    try:
        yield
    finally:
        mlflow_run.leave(run.hook_manager, joined)
        run.mlflow_joined = not joined


def join_mlflow(run: KedroRun, instance: dg.DagsterInstance, dagster_run_id: str) -> bool:
    """Take part in the MLflow run, if there is one, that another process has opened."""
    catalog, hook = run.catalog, mlflow_run.find_hook(run.hook_manager)
    if hook is None or run.mlflow_joined:
        return False
    dagster_run = instance.get_run_by_id(dagster_run_id)
    assert dagster_run is not None
    steps, parent = planned_steps(instance, dagster_run), dagster_run.parent_run_id
    lost = parent is not None and lost_with(instance, parent)
    # Nothing here knows the name of the executor; kedro-mlflow leaves out what is empty
    selection = select_nodes(run.plan, dagster_run.job_name, "", steps, lost)
    assert selection is not None
    params = PipelineHooks(run, selection).run_params()
    pipeline = run.plan.project.imported(selection.pipeline)
    mlflow_run.join(hook, dagster_run.tags, params, pipeline, catalog)
    run.mlflow_joined = True
    return True
