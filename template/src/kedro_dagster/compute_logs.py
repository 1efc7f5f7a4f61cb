"""Dagster's local compute logs without a process, for ``compute_logs`` in ``dagster.yaml``.

Dagster's own manager starts four processes for each step, to show in the terminal what goes to
the step's files. Here a thread does it, and for the workers of a run the run worker does.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg

from .doors.compute_logs import CapturedLogContext, LocalComputeLogManager

INTERVAL = 0.2
"""Seconds after which the terminal shows what is in a file."""

PATIENCE = 5.0
"""Seconds for which a step waits at its end for a terminal that takes nothing more."""


class KedroComputeLogManager(LocalComputeLogManager):
    """Writes the files of Dagster's own manager, and takes its configuration.

    Without ``base_dir``, the files are where Dagster has them by default.
    """

    _leaves_terminal = False

    @classmethod
    def config_type(cls) -> Any:
        """The options of Dagster's own manager."""
        options: Any = super().config_type()
        return {**options, "base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> KedroComputeLogManager:
        """Make one of what ``dagster.yaml`` says."""
        return cls(inst_data=inst_data, **{"base_dir": "", **config_value})

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Belong to an instance, in whose folder the files are."""
        super().register_instance(instance)
        self._base_dir = self._base_dir or instance.storage_directory()

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Write to files what this process and its children print."""
        if os.name != "posix":
            with super().capture_logs(log_key) as context:
                yield context
            return
        complete = Path(self.get_captured_local_path(log_key, "complete"))
        complete.parent.mkdir(parents=True, exist_ok=True)
        with closing(_Mirror()) as mirror, ExitStack() as redirected:
            for extension, *streams in (
                ("out", sys.__stdout__, sys.stdout),
                ("err", sys.__stderr__, sys.stderr),
            ):
                path = self.get_captured_local_path(log_key, extension)
                for terminal in redirected.enter_context(_redirected(streams, path))[-1:]:
                    if not self._leaves_terminal:
                        mirror.follow(path, terminal, complete)
            yield CapturedLogContext(log_key)
        complete.touch()

    def leave_terminal(self) -> None:
        """Let the process that this one was forked from show what is captured here."""
        self._leaves_terminal = True

    @contextmanager
    def terminal(self, run_id: str) -> Iterator[Callable[[dg.DagsterEvent], None]]:
        """Show what the steps of a run capture elsewhere; gives what is to be told their events."""
        with closing(_Mirror()) as mirror:

            def tell(event: dg.DagsterEvent) -> None:
                captured = event.event_type_value == dg.DagsterEventType.LOGS_CAPTURED.value
                if captured and os.name == "posix":
                    key = self.build_log_key_for_run(run_id, event.logs_captured_data.file_key)
                    complete = Path(self.get_captured_local_path(key, "complete"))
                    for extension, descriptor in (("out", 1), ("err", 2)):
                        path = self.get_captured_local_path(key, extension)
                        mirror.follow(path, descriptor, complete)

            yield tell


@contextmanager
def _redirected(streams: Iterable[Any], path: str) -> Iterator[list[int]]:
    """Let streams write to a file; gives descriptors of where they wrote before."""
    before = {descriptor: os.dup(descriptor) for descriptor in dict.fromkeys(_flush(streams))}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in before:
        os.dup2(file, descriptor)
    os.close(file)
    try:
        yield list(before.values())
    finally:
        _flush(streams)
        for descriptor, terminal in before.items():
            os.dup2(terminal, descriptor)
            os.close(terminal)


def _flush(streams: Iterable[Any]) -> list[int]:
    """Write what is still in the memory of streams; gives the descriptors that they have."""
    descriptors = []
    for stream in streams:
        with suppress(AttributeError, OSError, ValueError):  # none, closed, or only in memory
            stream.flush()
            descriptors.append(stream.fileno())
            stream.reconfigure(line_buffering=True)  # so that a crash loses nothing
    with suppress(AttributeError, OSError, ValueError):  # of C libraries; macOS has another name
        libc = ctypes.CDLL(None)
        libc.fflush(ctypes.c_void_p.in_dll(libc, "stdout"))
    return descriptors


class _Mirror(threading.Thread):
    """Shows what comes into files, as ``tail`` does."""

    def __init__(self) -> None:
        super().__init__(name="kedro-terminal", daemon=True)
        self._closed = threading.Event()
        self._files: list[tuple[int, int, Path]] = []

    def follow(self, path: str, terminal: int, complete: Path) -> None:
        """Show what is in a file, and what comes, until there is another file."""
        with suppress(OSError):  # there is no terminal
            shown = os.dup(terminal)
            self._files.append((os.open(path, os.O_RDONLY), shown, complete))
        if self.ident is None:
            self.start()

    def run(self) -> None:
        """Look what has come."""
        closed = False
        while not closed:
            closed = self._closed.wait(INTERVAL)
            for file in list(self._files):
                source, terminal, complete = file
                last = closed or complete.exists()
                with suppress(OSError):  # the terminal has gone
                    while text := os.read(source, 1 << 16):
                        while text:
                            text = text[os.write(terminal, text) :]
                if last:
                    self._files.remove(file)
                    os.close(source)
                    os.close(terminal)

    def close(self) -> None:
        """Show the rest."""
        self._closed.set()
        if self.ident is not None:
            self.join(PATIENCE)
