"""What the function of a node says of itself: where it stands, and its docstring."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from kedro.pipeline.node import Node

from ..read.source import OutlinedNode


def function_of(node: Node) -> Any:
    """The function that a person wrote for a node, without decorators and partial arguments."""
    if isinstance(node, OutlinedNode):  # it is not imported here
        return None
    function: Any = None
    inner: Any = node.func
    while inner is not function:
        function = inspect.unwrap(inner)
        inner = function.func if isinstance(function, functools.partial) else function
    if not inspect.isroutine(function) and not inspect.isclass(function):
        call = type(function).__call__  # of an object that can be called
        function = call if inspect.isfunction(call) else function
    return getattr(function, "__func__", function)  # of a method


def docstring_of(node: Node) -> str | None:
    """The first paragraph of the docstring of a node's function."""
    text = getattr(function_of(node), "__doc__", None)
    return inspect.cleandoc(text).split("\n\n")[0] if isinstance(text, str) and text else None


def code_references(
    node: Node, url_of: Callable[[Path], str | None]
) -> dg.CodeReferencesMetadataValue | None:
    """Where a node's function stands: in a file, and in the repository on the web."""
    code = getattr(function_of(node), "__code__", None)
    if code is None:  # it is not written in Python
        return None
    file, line = Path(code.co_filename), code.co_firstlineno
    if not file.is_absolute():  # such as that of a notebook
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        found: list[Any] = [dg.LocalFileCodeReference(file_path=str(file), line_number=line)]
        if url := url_of(file):
            found.append(dg.UrlCodeReference(url=f"{url}#L{line}"))
        return dg.CodeReferencesMetadataValue(code_references=found)
