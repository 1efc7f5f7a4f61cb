"""Who makes and who reads each dataset, and the group that its asset is in by default."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from .model import data_inputs, data_outputs


class Lineage:
    """Finds who makes a dataset, in the same way as it is found for assets: the largest pipeline.

    Args:
        registered: The registered pipelines.
        run: The pipelines that jobs run, which may be parts of these.
    """

    def __init__(self, registered: Mapping[str, Pipeline], run: Iterable[Pipeline]) -> None:
        self._makers: dict[str, Node] = {}
        self._readers: dict[str, list[Node]] = {}
        self._homes: dict[str, list[str]] = {}
        for pipeline in sorted(run, key=lambda pipeline: -len(pipeline.nodes)):
            for node in pipeline.nodes:
                for name in data_outputs(node):
                    self._makers.setdefault(name, node)
                for name in data_inputs(node):
                    self._readers.setdefault(name, []).append(node)
        nodes = {name: one.nodes for name, one in registered.items() if name != "__default__"}
        for name in sorted(nodes, key=lambda name: (len(nodes[name]), name)):
            for node in nodes[name]:
                self._homes.setdefault(node.name, []).append(name)

    def of(self, dataset: str) -> dict[str, Any]:
        """What a plan says of a dataset: its node, the pipelines of this, and the group."""
        if node := self._makers.get(dataset):
            return self.of_node(node)
        groups = {self._group(reader) for reader in self._readers.get(dataset, ())}
        return {"group": groups.pop() if len(groups) == 1 else "external"}

    def of_node(self, node: Node) -> dict[str, Any]:
        """What a plan says of what a node makes."""
        pipelines = tuple(self._homes.get(node.name, ()))
        return {"node": node, "pipelines": pipelines, "group": self._group(node)}

    def _group(self, node: Node) -> str | None:
        if node.namespace:
            return group_name(node.namespace.split("."))
        return group_name([self._homes[node.name][0]]) if node.name in self._homes else None


def group_name(path: Iterable[str]) -> str:
    """Write a path as the name of a group: with slashes, or flat where Dagster has no hierarchy."""
    separator = "/" if groups_are_nested() else "__"
    return separator.join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in path)


@functools.cache
def groups_are_nested() -> bool:
    """Whether this Dagster has groups within groups."""
    return is_group_name("outer/inner")


def is_group_name(value: Any) -> bool:
    """Whether Dagster takes a name for a group."""
    try:
        dg.AssetSpec("any", group_name=value)
    except Exception:  # noqa: BLE001  # it depends on the type of what is given
        return False
    return True
