"""Pipelines without their functions, so that a run imports only the pipelines that it runs.

The code server imports the pipelines of all jobs. Their outlines go along with each run, as
Dagster's reconstruction metadata: the definitions are made of these, and the functions are filled
in of the pipelines that the run is of.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, NoReturn

from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.kedro import node_arguments
from ..errors import PipelineLoadError
from .functions import function_key


class NotImported:
    """Stands for the function of a node whose pipeline is not imported."""

    def __init__(self, name: str, module: str) -> None:
        self.__name__ = name  # Kedro calls nodes by it that have no name
        self.__module__ = module

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Fail: a node runs after its function is filled in."""
        raise RuntimeError(f"The function {self.__name__} is not imported.")


def send_to_runs(package_name: str, pipelines: Mapping[str, Pipeline]) -> None:
    """Give the processes of runs the outlines of pipelines, unless a node is more than one."""
    context = DefinitionsLoadContext.get()
    if context.load_type is not DefinitionsLoadType.INITIALIZATION:
        return  # they go along with the run anyway
    text = dump(pipelines)
    if text is not None:
        context.add_to_pending_reconstruction_metadata(_key(package_name), text)


def dump(pipelines: Mapping[str, Pipeline]) -> str | None:
    """Write pipelines down."""
    functions: dict[Hashable, int] = {}
    signs: list[tuple[str, str, bool]] = []
    nodes: dict[str, int] = {}
    found: dict[str, list[int]] = {name: [] for name in pipelines}
    for name, pipeline in pipelines.items():
        for node in pipeline.nodes:
            arguments = node_arguments(node)
            function = _function_of(node)
            if arguments is None or not hasattr(function, "__name__"):
                return None
            key = function_key(node.func)
            if key not in functions:
                functions[key] = len(signs)
                in_part = isinstance(node.func, partial)
                signs.append((function.__name__, function.__module__, in_part))
            entry = json.dumps([functions[key], arguments])
            found[name].append(nodes.setdefault(entry, len(nodes)))
    return json.dumps(
        {"functions": signs, "nodes": list(map(json.loads, nodes)), "pipelines": found}
    )


def load(package_name: str) -> dict[str, Pipeline]:
    """Read what the code server has written."""
    context = DefinitionsLoadContext.get()
    if context.load_type is not DefinitionsLoadType.RECONSTRUCTION:
        return {}
    text = context.reconstruction_metadata.get(_key(package_name))
    if text is None:
        return {}
    content = json.loads(text)
    functions = [
        partial(NotImported(name, module)) if in_part else NotImported(name, module)
        for name, module, in_part in content["functions"]
    ]
    nodes = [Node(functions[index], **arguments) for index, arguments in content["nodes"]]
    return {
        name: Pipeline([nodes[index] for index in indices])
        for name, indices in content["pipelines"].items()
    }


def is_imported(node: Node) -> bool:
    """Whether a node has its function."""
    return not isinstance(_function_of(node), NotImported)


def restore_functions(name: str, pipeline: Pipeline, imported: Pipeline) -> None:
    """Give the nodes of an outline their functions."""
    functions = {node.name: node.func for node in imported.nodes}
    if missing := [node.name for node in pipeline.nodes if node.name not in functions]:
        raise PipelineLoadError(
            f"Pipeline {name!r} has no node {missing[0]!r} any more: it is not the one that the "
            "code location has loaded. Reload the code location."
        )
    for node in pipeline.nodes:
        if not is_imported(node):  # else it is shared with a pipeline that has been imported
            node.func = functions[node.name]


def _key(package_name: str) -> str:
    return f"kedro_dagster/{package_name}"


def _function_of(node: Node) -> Any:
    return node.func.func if isinstance(node.func, partial) else node.func
