"""How the multiprocess executor starts processes where it keeps no workers: one for each step."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

import dagster as dg

SPAWNED = (
    "The processes of the steps are spawned, and each imports the project: on this platform none "
    "can be forked safely. With 'start_method: {spawn: {}}' the executor does so without a note."
)

PRELOADED = (
    "__main__",  # else each child of a console script imports the script again
    "kedro.framework.session",
    f"{__package__.rpartition('.')[0]}.render.code_location",
)
"""Modules that the fork server imports before it forks steps. None is of the project: one that
fails without a main module would end the run."""


def forks_workers(context: dg.InitExecutorContext) -> bool:
    """Whether the multiprocess executor keeps workers: nobody has chosen how it starts steps."""
    # The variable by which Kedro's ParallelRunner is told how to start its workers
    by_kedro = os.environ.get("KEDRO_MP_CONTEXT", "fork")
    return not _options(context).get("start_method") and by_kedro == "fork" and _can_fork()


def choose_start_method(context: dg.InitExecutorContext) -> tuple[dg.InitExecutorContext, str]:
    """Let the multiprocess executor fork each step from a process that has Dagster loaded.

    Gives what the executor is created from, and what is to be told in the log of the run.
    """
    start_method = _options(context).get("start_method") or {}
    if not start_method and os.environ.get("KEDRO_MP_CONTEXT") == "spawn":
        return _with_start_method(context, {"spawn": {}}), ""
    if "spawn" in start_method or any(start_method.values()):
        return context, ""
    if not start_method and not _can_fork():
        return context, SPAWNED
    forkserver = {"forkserver": {"preload_modules": list(PRELOADED)}}
    return _with_start_method(context, forkserver), ""


def _options(context: dg.InitExecutorContext) -> Any:
    """The options of the executor, which the default one has a level down."""
    config: Any = context.executor_config
    return config.get("multiprocess", config)


def _with_start_method(context: dg.InitExecutorContext, method: Any) -> dg.InitExecutorContext:
    options = {**_options(context), "start_method": method}
    inner = "multiprocess" in context.executor_config
    return context._replace(executor_config={"multiprocess": options} if inner else options)


def _can_fork() -> bool:
    """Windows has no fork, and libraries of macOS crash in a forked process."""
    return sys.platform != "darwin" and "fork" in multiprocessing.get_all_start_methods()
