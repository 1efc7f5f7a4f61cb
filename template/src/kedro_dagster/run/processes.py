"""How the multiprocess executor starts the processes of its steps, where nobody says how.

Each step has a process of its own. A spawned one imports Python, Dagster and the whole project,
which takes seconds; one that is forked from a process which has all that loaded, next to nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import zlib
from base64 import b85decode, b85encode
from importlib.metadata import entry_points
from typing import Any

from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.executor.init import InitExecutorContext
from dagster._serdes import deserialize_value, serialize_value

from ..plan.names import KEDRO

PRELOADED = (
    "__main__",  # else each child of a console script imports the script again
    "dagster._cli",
    "dagster._core.executor.multiprocess",
    # what a step needs to open the Dagster instance
    "dagster._core.instance.factory",
    "dagster._core.storage.event_log",
    "dagster._core.storage.fs_io_manager",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.migration.utils",
    "dagster._core.system_config.composite_descent",
    "dagster._core.workspace.autodiscovery",
    "upath.implementations.local",
    # what Kedro imports when it puts the first parameter into a catalog, if it is installed
    "pandas",
)
"""What the steps' processes are forked from has loaded, beside the job and what that imports."""


SPAWNED = (
    "The processes of the steps are spawned, and each imports the project: on this platform none "
    "can be forked safely. With 'start_method: {spawn: {}}' the executor does so without a note."
)


_JOB = "KEDRO_DAGSTER_PRELOADED_JOB"


_LONGEST_VARIABLE = 100_000  # Linux takes 128 KB


def choose_start_method(context: InitExecutorContext) -> tuple[InitExecutorContext, str]:
    """Let the multiprocess executor fork its steps from a process that has the job loaded.

    Kedro's plugins are loaded there too, as each session needs them: mlflow alone takes seconds.
    """
    config = dict(context.executor_config)
    options: Any = config.get("multiprocess", config)
    start_method = options.get("start_method") or {}
    if "spawn" in start_method or any(start_method.values()):
        return context, ""
    if not start_method and not _can_fork():
        return context, SPAWNED
    if isinstance(context.job, ReconstructableJob):  # else the executor refuses it
        _ask_to_preload(context.job)
    plugins = (plugin.module for plugin in entry_points(group="kedro.hooks"))
    modules = [*PRELOADED, *plugins, f"{__package__}.preload"]
    options = {**options, "start_method": {"forkserver": {"preload_modules": modules}}}
    config = {"multiprocess": options} if "multiprocess" in config else options
    return context._replace(executor_config=config), ""


def forks_workers(context: InitExecutorContext) -> bool:
    """Whether the multiprocess executor keeps workers: nobody has chosen how it starts steps."""
    config: Any = context.executor_config
    options = config.get("multiprocess", config)
    # The variable by which Kedro's ParallelRunner is told how to start its workers
    by_kedro = os.environ.get("KEDRO_MP_CONTEXT", "fork")
    return not options.get("start_method") and by_kedro == "fork" and _can_fork()


def _can_fork() -> bool:
    """Windows has no fork, and libraries of macOS crash in a forked process."""
    return sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()


def _ask_to_preload(job: ReconstructableJob) -> None:
    """Name the run's job to the process to come, which is told nothing but names of modules."""
    text = b85encode(zlib.compress(serialize_value(job).encode())).decode()
    if len(text) < _LONGEST_VARIABLE:
        os.environ[_JOB] = text


def preload_job() -> None:
    """Load the run's job as a step does: its definitions, and the functions of its nodes."""
    if text := os.environ.pop(_JOB, ""):
        job = deserialize_value(zlib.decompress(b85decode(text)).decode(), ReconstructableJob)
        definition = job.get_definition()
        resource = definition.resource_defs.get(KEDRO)
        if plan := getattr(resource, "plan", None):  # it is a KedroResource
            plan.project.import_pipelines(plan.pipeline_names(definition.name))
