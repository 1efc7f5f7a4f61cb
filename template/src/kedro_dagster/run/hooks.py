"""The life of a Kedro run where no executor of ours stands around the steps."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
from dagster._check import not_none

from ..errors import StepFailedError
from ..plan.model import ProjectPlan
from .event_log import event_log
from .identity import close_hooks, new_identity, open_hooks
from .kedro_run import KedroRun, publish_run
from .selection import RunOptions, planned_steps, select_nodes


def open_alone(
    plan: ProjectPlan, context: dg.InitResourceContext, options: RunOptions
) -> Iterator[KedroRun]:
    """Stand in for :class:`KedroExecutor`: ``execute_in_process`` and ``materialize`` replace it.

    ``after_pipeline_run`` is then called within the last step, where an error of a hook still
    fails the run.
    """
    instance, dagster_run = instance_of(context), not_none(context.run)
    steps = planned_steps(instance, dagster_run)
    scope = select_nodes(plan, dagster_run.job_name, "in_process", steps)
    names = scope.pipeline_names if scope else ["__default__"]
    identity = new_identity(instance, dagster_run.run_id, single_process=True)
    run = KedroRun(plan, identity, options, names, single_process=True)
    with publish_run(dagster_run.run_id, run):
        if scope is None:
            yield run
            return
        with event_log(not_none(context.log)):
            open_hooks(instance, dagster_run.run_id, run.start(scope))
        run.finish_after(scope, plan.kedro_steps(dagster_run.job_name).intersection(steps))
        try:
            run.check_inputs_and_build(scope)
            yield run
        except Exception as error:
            run.errors[""] = error
            raise
        finally:
            if not run.finished:
                errors = [*run.errors.values(), StepFailedError("The run ended early.")]
                run.fail(scope, errors[0])
            close_hooks(instance, dagster_run.run_id)


def instance_of(context: dg.InitResourceContext) -> dg.DagsterInstance:
    """The Dagster instance, without which there is no run."""
    if context.instance is None:
        raise dg.DagsterInvariantViolationError("A Kedro run needs a Dagster instance.")
    return context.instance
