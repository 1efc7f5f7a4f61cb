"""Ends a step that takes too long, by an error in its code: Kedro's error hooks hear of it."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import StepTimeoutError

tell: Callable[[str], object] = str
"""Gets each step whose limit begins: a worker says so, to be killed where the step heeds none."""


@contextmanager
def time_limit(step: str, seconds: float) -> Iterator[None]:
    """Raise an error in what runs meanwhile, if it has not ended after some seconds."""
    message = f"Step {step!r} took longer than its timeout in dagster.yml, {seconds:g} seconds."
    in_main_thread = threading.current_thread() is threading.main_thread()
    by_alarm = in_main_thread and hasattr(signal, "setitimer")
    tell(step)
    with (_by_alarm if by_alarm else _from_another_thread)(message, seconds):
        yield


@contextmanager
def _by_alarm(message: str, seconds: float) -> Iterator[None]:
    """A signal ends calls that wait too, such as for a file or a socket."""

    def end(*_: Any) -> None:
        raise StepTimeoutError(message)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _from_another_thread(message: str, seconds: float) -> Iterator[None]:
    """Only the main thread gets signals: elsewhere, Python itself raises between two calls."""

    class TimedOutError(StepTimeoutError):
        def __init__(self) -> None:  # Python makes it of the class
            super().__init__(message)

    thread, lock, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), threading.Event()

    def end() -> None:
        with lock:
            if not over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimedOutError))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over.set()
