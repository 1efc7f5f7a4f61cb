"""How the multiprocess executor starts its processes: workers, or a process for each step."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

import dagster as dg

PRELOADED = (
    "__main__",  # else each child of a console script imports the script again
    "kedro.framework.session",
    f"{__package__.rpartition('.')[0]}.render.code_location",
)
"""Modules that the fork server imports before it forks steps. None is of the project: one that
fails without a main module would end the run."""


def start_method_of_workers(context: dg.InitExecutorContext) -> str | None:
    """How to start workers that stay; ``None`` where ``dagster.yml`` wants a process a step."""
    if any(_options(context).get("start_method") or {}):
        return None
    # Windows has no fork, and libraries of macOS crash in a forked process. The variable is that
    # by which Kedro's ParallelRunner is told how to start its workers
    can_fork = sys.platform != "darwin" and "fork" in multiprocessing.get_all_start_methods()
    by_kedro = os.environ.get("KEDRO_MP_CONTEXT", "fork")
    return "fork" if can_fork and by_kedro == "fork" else "spawn"


def preload(context: dg.InitExecutorContext) -> dg.InitExecutorContext:
    """Let the steps that a fork server forks find Dagster loaded, unless modules are named."""
    options = _options(context)
    if (options.get("start_method") or {}).get("forkserver") != {}:
        return context
    method = {"forkserver": {"preload_modules": list(PRELOADED)}}
    options = {**options, "start_method": method}
    inner = "multiprocess" in context.executor_config
    return context._replace(executor_config={"multiprocess": options} if inner else options)


def _options(context: dg.InitExecutorContext) -> Any:
    """The options of the executor, which the default one has a level down."""
    config: Any = context.executor_config
    return config.get("multiprocess", config)
