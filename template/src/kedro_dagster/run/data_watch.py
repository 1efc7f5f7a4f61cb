"""Stands before the ``load`` and ``save`` of a catalog while the nodes of a step run.

Hooks see the data of a node before Kedro has validated it, and whoever registers one is seen by
the project's own; so the catalog is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .kedro_run import KedroRun


@dataclass(frozen=True)
class _Watched:
    """A method of a catalog with something around it; in another process, the method alone."""

    method: Callable[..., Any]
    around: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.around(self.method, *arguments, **options)

    def __reduce__(self) -> Any:
        return getattr, (self.method.__self__, self.method.__name__)  # type: ignore[attr-defined]


@contextmanager
def watching(run: KedroRun) -> Iterator[None]:
    """Look at what nodes, and hooks around them, load and save through the catalog."""
    if not (run.plan.facts.enabled or run.verdicts.wanted):
        yield
        return
    catalog, facts, verdicts = run.catalog, run.facts, run.verdicts

    def load(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if not arguments:
            return method(**options)
        start, name = time.perf_counter(), arguments[0]
        with verdicts.listening(name, "load"):
            value = method(*arguments, **options)
        facts.loaded(name, time.perf_counter() - start)
        verdicts.loaded(name, value)
        return value

    def save(method: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if len(arguments) < 2:
            method(*arguments, **options)
            return
        start, (name, value) = time.perf_counter(), arguments[:2]
        with verdicts.listening(name, "save", value):
            method(*arguments, **options)
            value = verdicts.value
        facts.saved(name, value, time.perf_counter() - start)

    watched = {"load": load, "save": save}
    for name, around in watched.items():
        setattr(catalog, name, _Watched(getattr(catalog, name), around))
    try:
        yield
    finally:
        for name in watched:
            delattr(catalog, name)
