"""Whether the run worker can be forked: some things that hooks open do not survive it."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..doors.kedro import unwrap_cached

_TASKS = Path("/proc/self/task")
_FILES = Path("/proc/self/fd")
_SAFE_THREADS = ("jemalloc", "polars-ooc")
"""Threads that renew themselves in a fork, or do nothing until the library is used."""


@dataclass(frozen=True)
class ProcessState:
    """What a process has open, and a copy of it must not use."""

    threads: frozenset[int]
    sockets: frozenset[str]
    random_state: Any

    @classmethod
    def now(cls) -> ProcessState:
        """What this process has open."""
        threads = frozenset(int(task.name) for task in _TASKS.iterdir())
        return cls(threads, frozenset(_open_files("socket:")), random.getstate())


def reasons_not_to_fork(before: ProcessState, datasets: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Say what has been opened since, by a hook or a dataset, that does not survive a fork."""
    for name, given in datasets:
        dataset = unwrap_cached(given)  # Kedro marks all of these, which keep to their process
        if getattr(dataset, "_SINGLE_PROCESS", False):
            yield f"dataset {name!r} ({type(dataset).__name__}) is not for several processes"
    # Of Spark Connect alone, there is no such class
    spark = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    if spark is not None and spark._active_spark_context is not None:
        yield "a Spark session is open"
    threads = {_native_id(thread): thread for thread in threading.enumerate()}
    for native_id, thread in threads.items():
        if isinstance(thread, threading.Timer) and thread.finished.is_set():
            thread.join()  # such as the event log's, which has been cancelled and is about to end
        elif native_id not in before.threads and thread.is_alive():
            yield f"thread {thread.name!r} is running"
    if names := sorted(set(_threads_of_libraries(before, set(threads)))):
        yield f"a library has started threads ({', '.join(names)})"
    if _open_files("socket:") - before.sockets:
        yield "a network connection is open"


def _native_id(thread: threading.Thread) -> int | None:
    """Of the main thread of a fork, Python still has that of the process it was forked from."""
    return os.getpid() if thread is threading.main_thread() else thread.native_id


def _threads_of_libraries(before: ProcessState, own: set[int | None]) -> Iterator[str]:
    process = (_TASKS.parent / "comm").read_text().strip()
    for task in _TASKS.iterdir():
        name = ""
        with suppress(OSError):  # it may have ended since
            name = (task / "comm").read_text().strip()
        if int(task.name) in own or not name or name.startswith(_SAFE_THREADS):
            continue
        # Threads without names are those of BLAS, which are renewed in a fork; or of DuckDB
        duckdb = "duckdb" in sys.modules and int(task.name) not in before.threads
        if name != process or duckdb:
            yield name if name != process else "duckdb"


def _open_files(kind: str) -> set[str]:
    found = set()
    for file in _FILES.iterdir():
        with suppress(OSError):  # the listing is a file itself
            found.add(str(file.readlink()))
    return {target for target in found if target.startswith(kind)}
