"""``Definitions.merge`` refuses two executors: here, ours gives way to another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import dagster as dg

from .fallback import or_else

Wrap: TypeAlias = Callable[[dg.ExecutorDefinition], dg.ExecutorDefinition]

_wraps: WeakKeyDictionary[dg.ExecutorDefinition, Wrap] = WeakKeyDictionary()
"""What is put around the other one, by the executor that gives way."""


def gives_way(executor: dg.ExecutorDefinition, wrap: Wrap) -> dg.ExecutorDefinition:
    """Let an executor that a project merges with this one take its place, in a wrapper."""
    _patch_merge()
    _wraps[executor] = wrap
    return executor


@cache
def _patch_merge() -> None:
    definitions: Any = dg.Definitions
    merge = definitions.merge

    @wraps(merge)
    def merge_giving_way(*def_sets: dg.Definitions) -> Any:
        given = [one.executor for one in def_sets if one.executor is not None]
        ours: Any = next(
            (one for one in given if isinstance(one, dg.ExecutorDefinition) and one in _wraps), None
        )
        other = next((one for one in given if one is not ours), None)
        replace = ours and other and _replace()
        if not (other and replace):
            return merge(*def_sets)
        same = [replace(one, executor=other) if one.executor is ours else one for one in def_sets]
        if not isinstance(other, dg.ExecutorDefinition):
            other = dg.ExecutorDefinition.hardcoded_executor(other)
        return replace(merge(*same), executor=_wraps[ours](other))

    definitions.merge = staticmethod(merge_giving_way)


@or_else("dagster", "an executor in other Definitions is refused beside Kedro's", default=None)
def _replace() -> Callable[..., dg.Definitions] | None:
    from dagster_shared.record import copy  # noqa: PLC0415  # it may be gone

    return copy
