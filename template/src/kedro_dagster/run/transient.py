"""Values in no persisted dataset: how they pass between steps, and when they are released."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any

from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline.node import Node

from .selection import RunSelection


class Transient(Enum):
    """Where the value of a transient dataset is, when it is not handed over."""

    IN_CATALOG = "in the catalog of this process"
    LOST = "in a process that has ended"
    SKIPPED = "nowhere, since the step that makes it was skipped"


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
        self._kept = selection.pipeline.inputs() | selection.pipeline.outputs()
        self._readers = defaultdict[str, set[tuple[str, str]]](set)
        self._from_others: set[str] = set()
        for step, node in selection.tasks:
            self.before(step, (node,))

    def before(self, step: str, nodes: Collection[Node]) -> None:
        """Note what the nodes of a step will read."""
        for node in nodes:
            for name in node.inputs:
                self._readers[name].add((step, node.name))
        read = {name for node in nodes for name in node.inputs}
        self._from_others = read.difference(*(node.outputs for node in nodes))

    def after(self, step: str, node: Node, catalog: CatalogProtocol[Any, Any]) -> None:
        """Release what a node was the last to use."""
        for name in node.inputs:
            self._readers[name].discard((step, node.name))
        self._release({*node.inputs, *node.outputs} - self._from_others, catalog)

    def at_end(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Release what a step had from others, when all of its nodes have run."""
        self._release(self._from_others, catalog)

    def _release(self, names: set[str], catalog: CatalogProtocol[Any, Any]) -> None:
        for name in names - self._kept:
            if not self._readers[name]:
                catalog.release(name)
