"""Values in no persisted dataset: how they pass between steps, and when they are released."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline.node import Node

from .selection import RunSelection


class Transient(Enum):
    """Where the value of a transient dataset is, when it is not handed over."""

    IN_CATALOG = "in the catalog of this process"
    LOST = "in a process that has ended"


class ElsewhereDataset(MemoryDataset):
    """A transient dataset whose value is stored by another process."""

    def __init__(self, find: Callable[[], Any]) -> None:
        super().__init__()
        self._find = find

    def load(self) -> Any:
        """Find the value when it is asked for the first time."""
        if not self._exists():
            self.save(self._find())
        return super().load()


class Release:
    """Releases a dataset after its last use, by the rule of Kedro's runners.

    What a step has from others is released when all of its nodes have run: it may be tried again.
    """

    def __init__(self, selection: RunSelection) -> None:
        self._waiting: dict[str, set[tuple[str, str]]] = {}
        self._from_others: set[str] = set()
        for step, node in selection.tasks:
            self.before(step, (node,))
        self._inputs, self._outputs = selection.pipeline.inputs(), selection.pipeline.outputs()

    def before(self, step: str, nodes: tuple[Node, ...]) -> None:
        """Note what the nodes of a step will read."""
        for node in nodes:
            for name in node.inputs:
                self._waiting.setdefault(name, set()).add((step, node.name))
        read = {name for node in nodes for name in node.inputs}
        self._from_others = read.difference(*(node.outputs for node in nodes))

    def at_end(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Release what a step had from others, when all of its nodes have run."""
        for name in self._from_others - self._inputs:
            if not self._waiting[name]:
                catalog.release(name)

    def after(self, step: str, node: Node, catalog: CatalogProtocol[Any, Any]) -> None:
        """Release what a node was the last to use."""
        for name in node.inputs:
            self._waiting[name].discard((step, node.name))
            if not self._waiting[name] and name not in self._inputs | self._from_others:
                catalog.release(name)
        for name in node.outputs:
            if not self._waiting.get(name) and name not in self._outputs:
                catalog.release(name)
