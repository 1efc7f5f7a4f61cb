"""Lets Kedro-Viz show a run, if it is installed: it reads how the last one went from a file.

Its hook writes that file for whole runs of Kedro's sequential runner, and warns of any other. Here
the hook is told of each run, as of one that it knows. Where nodes run in other processes, another
object of its class hears of their steps in the run worker.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import dagster as dg
from kedro.pipeline.node import Node
from pluggy import PluginManager

from ..errors import while_handled
from .kedro_run import KedroRun
from .selection import RunSelection

_MODULE = "kedro_viz.integrations.kedro.run_hooks"


@contextmanager
def without_warning() -> Iterator[None]:
    """Leave out its warning that it does not follow a run: it is told of the run next."""
    logger = logging.getLogger(_MODULE)

    def leave_out(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Workflow tracking is disabled")

    logger.addFilter(leave_out)
    try:
        yield
    finally:
        logger.removeFilter(leave_out)


def follow(run: KedroRun, selection: RunSelection) -> VizStatus | None:
    """Tell the hook of a run; give what is to hear of its steps, if the hook does not."""
    hook: Any = _find_hook(run.hook_manager)
    if hook is None:
        return None
    kind = type(hook)
    hook.__dict__.update(kind().__dict__)  # it keeps the events of other runs of its process
    told = hook if run.single_process else kind()
    told.after_catalog_created(catalog=run.catalog)
    pipeline = run.plan.project.imported(selection.pipeline)
    told.before_pipeline_run(run_params={}, pipeline=pipeline)
    return None if run.single_process else VizStatus(told, run, selection)


def _find_hook(hook_manager: PluginManager) -> Any:
    plugins = (plugin for _, plugin in hook_manager.list_name_plugin() if plugin is not None)
    return next((one for one in plugins if type(one).__module__ == _MODULE), None)


class VizStatus:
    """Tells Kedro-Viz of the steps of a run that other processes run.

    A node has run when all of its steps have: it has one for each partition, in a job that fans
    out. Its time is that from the start of its first step to the end of its last.
    """

    def __init__(self, hook: Any, run: KedroRun, selection: RunSelection) -> None:
        self._hook = hook
        self._run = run
        self._selection = selection
        self._nodes: dict[str, list[Node]] = defaultdict(list)
        self._left: dict[str, set[str]] = defaultdict(set)
        self._started: set[str] = set()
        for step, node in selection.tasks:
            self._nodes[step].append(node)
            self._left[node.name].add(step)

    def saw(self, event: dg.DagsterEvent, error: BaseException | None) -> None:
        """Take note of a step: of its start, of its end, or of an error in it."""
        step = str(event.step_key)
        for node in self._running(step):
            if event.event_type is dg.DagsterEventType.STEP_START:
                self._start(node)
            elif event.is_step_success:
                self._left[node.name].discard(step)
                if self._left[node.name] <= self._skipped:
                    self._done(node)
        if event.is_step_failure and error and step in self._nodes:
            tell = partial(self._hook.on_node_error, node=self._nodes[step][0])
            while_handled(error, tell)

    def _running(self, step: str) -> list[Node]:
        """The nodes of a step that the run does not leave out."""
        left_out = self._run.left_out or ()
        skipped = step in self._skipped
        return [] if skipped else [one for one in self._nodes[step] if one.name not in left_out]

    @cached_property
    def _skipped(self) -> set[str]:
        """The steps for other partitions than those of the run."""
        if not (job := self._selection.job):
            return set()
        why = self._run.why_skipped
        return {step.name for step in job.steps if why(step, job.name, step.nodes)}

    def end(self, error: BaseException | None) -> None:
        """Let the file be written."""
        if error is None:
            self._hook.after_pipeline_run()
        else:
            while_handled(error, self._hook.on_pipeline_error)

    def _start(self, node: Node) -> None:
        if node.name not in self._started:
            self._started.add(node.name)
            self._hook.before_node_run(node=node)

    def _done(self, node: Node) -> None:
        for name in node.inputs:
            self._hook.after_dataset_loaded(dataset_name=name, data=name)
        self._hook.after_node_run(node=node)
        for name in node.outputs:
            self._hook.after_dataset_saved(dataset_name=name, data=name)
