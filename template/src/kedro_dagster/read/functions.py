"""Which functions are the same: two nodes may be equal to Kedro and run different code."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any


def function_key(function: Any) -> Hashable:
    """Tell functions apart: two nodes may be equal to Kedro and run different code."""
    if isinstance(function, functools.partial):
        return (
            function_key(function.func),
            repr(function.args),
            repr(sorted(function.keywords.items())),
        )
    code = getattr(function, "__code__", None)
    if code is None or function.__closure__:
        return id(function)
    return function.__module__, code
