"""Pipelines without their functions, so that a run imports only the pipelines that it runs.

The code server imports the pipelines of all jobs. Their outlines go along with each run, as
Dagster's reconstruction metadata: the run's definitions are made of these, and the nodes that it
runs are taken from the pipelines that it imports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.dagster import hand_to_runs, handed_over, has_runs_to_come
from ..errors import PipelineLoadError


class OutlinedNode(Node):
    """A node of a pipeline that is not imported: all that a plan asks of it."""

    def __init__(
        self,
        *,
        name: str,
        text: str,
        inputs: list[str],
        outputs: list[str],
        tags: Iterable[str],
        namespace: str | None,
    ) -> None:
        super().__init__(_not_imported, inputs, outputs, tags=tags, namespace=namespace)
        self._given_name, self._given_text = name, text

    @property
    def name(self) -> str:
        """The node's name, with its namespace."""
        return self._given_name

    def __str__(self) -> str:
        return self._given_text


def _not_imported(*_: Any) -> NoReturn:
    raise RuntimeError("A node of a pipeline that is not imported cannot run.")


def send_to_runs(package_name: str, pipelines: Mapping[str, Pipeline]) -> None:
    """Give the processes of runs the outlines of pipelines."""
    if has_runs_to_come():
        hand_to_runs(_key(package_name), dump(pipelines))


def dump(pipelines: Mapping[str, Pipeline]) -> str:
    """Write pipelines down; a node that several of them hold is one in what is read."""
    places: dict[int, int] = {}
    nodes: list[dict[str, Any]] = []
    for node in (node for pipeline in pipelines.values() for node in pipeline.nodes):
        if id(node) not in places:
            places[id(node)] = len(nodes)
            nodes.append(
                {
                    "name": node.name,
                    "text": str(node),
                    "inputs": node.inputs,
                    "outputs": node.outputs,
                    "tags": sorted(node.tags),
                    "namespace": node.namespace,
                }
            )
    found = {
        name: [places[id(node)] for node in pipeline.nodes] for name, pipeline in pipelines.items()
    }
    return json.dumps({"nodes": nodes, "pipelines": found})


def load(package_name: str) -> dict[str, Pipeline]:
    """Read what the code server has written."""
    text = handed_over(_key(package_name))
    if text is None:
        return {}
    content = json.loads(text)
    nodes = [OutlinedNode(**entry) for entry in content["nodes"]]
    return {
        name: Pipeline([nodes[index] for index in indices])
        for name, indices in content["pipelines"].items()
    }


def find_nodes(name: str, outline: Pipeline, imported: Pipeline) -> dict[int, Node]:
    """Find what runs for each node of an outline, by its identity: Kedro's equality is less."""
    nodes = {node.name: node for node in imported.nodes}
    if missing := [node.name for node in outline.nodes if node.name not in nodes]:
        raise PipelineLoadError(
            f"Pipeline {name!r} has no node {missing[0]!r} any more: it is not the one that the "
            "code location has loaded. Reload the code location."
        )
    return {id(node): nodes[node.name] for node in outline.nodes}


def _key(package_name: str) -> str:
    return f"kedro_dagster/{package_name}"
