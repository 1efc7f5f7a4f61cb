"""What ``nodes:`` in ``dagster.yml`` says of a node, and of the nodes that share a step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..errors import Hints, KeyPath
from ..read.dagster_yml import NodeOptions
from ..read.step_words import StepWords
from .model import Nodes, StepSettings, data_outputs

_WILDCARD = re.compile(r"[*?]|\[.+\]")

_PARTITIONS = ("partitions",)

_FOR_ALL, _TAG, _NAMESPACE, _PATTERN, _DATASET, _NAME = range(6)


class _Choice(NamedTuple):
    """A value of a setting for a node, from a key under ``nodes``; ``None`` takes it away.

    The rank is how specific the key is: of which kind, then how deep or long.
    """

    rank: tuple[int, int]
    key: str
    value: Any


class NodeOptionsResolver:
    """Finds the settings of steps: each one from the most specific key that gives it.

    What catalog entries say of the node that makes them has ``dataset:<name>`` as its key.
    ``mistakes`` has the keys for which there is no node.
    """

    def __init__(
        self,
        entries: Mapping[str, NodeOptions],
        pipelines: Iterable[Pipeline],
        datasets: Mapping[str, StepWords],
    ) -> None:
        nodes = [node for pipeline in pipelines for node in pipeline.nodes] if entries else []
        known = {key for node in nodes for key in _keys(node)}
        names = {node.name for node in nodes}
        self._values = {key: dict(_settings(options)) for key, options in entries.items()}
        for name, words in datasets.items():
            given = words.model_dump(include={"pool", "retry_policy"}, exclude_unset=True)
            self._values[f"dataset:{name}"] = {(key,): getattr(words, key) for key in given}
        self._patterns = [key for key in entries if key not in known and _WILDCARD.search(key)]
        self.mistakes: dict[KeyPath, str] = {}
        hints, kinds = Hints(), ("tag", "namespace")
        alike = {kind: {one for one in known if one.startswith(f"{kind}:")} for kind in kinds}
        for key in entries:
            kind, message = key.partition(":")[0], ""
            if key in self._patterns:
                if not any(fnmatchcase(name, key) for name in names):
                    kind, message = "node", "no node has a name like this."
            elif key not in known:
                message = f"there is no {kind if kind in alike else 'node'} of this name."
            if message:
                self.mistakes["nodes", key] = hints.add_to(message, key, alike.get(kind) or names)

    def settings_of(self, nodes: Nodes, mistakes: dict[KeyPath, str]) -> StepSettings:
        """Find the settings of the nodes that share a step.

        A value from the pattern ``*`` yields to one that another node of the step has from any
        other key. Otherwise the nodes must agree, and a difference is added to the mistakes.
        """
        found: dict[KeyPath, tuple[Node, _Choice]] = {}
        for node in nodes if self._values else ():
            for path, choice in self._of_node(node, mistakes).items():
                if path == _PARTITIONS:  # which is each node's own
                    continue
                if path not in found or found[path][1].rank[0] == _FOR_ALL:
                    found[path] = node, choice
                    continue
                first, chosen = found[path]
                if choice.rank[0] != _FOR_ALL and choice.value != chosen.value:
                    place = ("nodes", choice.key, *path)
                    mistakes.setdefault(
                        place,
                        f"nodes {first.name!r} and {node.name!r} share a step, and "
                        f"{first.name!r} has another value (from {chosen.key!r}). Give both the "
                        "same, or make two steps of them: save what passes between them, or "
                        "leave out 'group_by'.",
                    )
        tags = sorted((path[1], one.value) for path, (_, one) in found.items() if path[1:])
        others = {path[0]: one.value for path, (_, one) in found.items() if not path[1:]}
        return StepSettings(tags=tuple(tags), **others)

    def whole_nodes(self, nodes: Iterable[Node]) -> frozenset[str]:
        """The names of the nodes that run once, with all partitions of their datasets."""
        if not any(_PARTITIONS in values for values in self._values.values()):
            return frozenset()
        settings = ((node.name, self._of_node(node, {})) for node in nodes)
        return frozenset(name for name, found in settings if _PARTITIONS in found)

    def _of_node(self, node: Node, mistakes: dict[KeyPath, str]) -> dict[KeyPath, _Choice]:
        """The settings of a node, by their key path within an entry of ``nodes``."""
        found: dict[KeyPath, _Choice] = {}
        for rank, key in sorted(self._matching(node), reverse=True):
            for path, value in self._values[key].items():
                choice = found.setdefault(path, _Choice(rank, key, value))
                if choice.rank == rank and choice.value != value:
                    place = ("nodes", key, *path)
                    mistakes.setdefault(
                        place,
                        f"node {node.name!r} has another value from {choice.key!r}, which is as "
                        "specific. Write this setting under the node's name.",
                    )
        return {path: choice for path, choice in found.items() if choice.value is not None}

    def _matching(self, node: Node) -> Iterator[tuple[tuple[int, int], str]]:
        yield from ((rank, key) for key, rank in _keys(node).items() if key in self._values)
        for name in data_outputs(node):
            if (key := f"dataset:{name}") in self._values:
                yield (_DATASET, 0), key
        for pattern in self._patterns:
            if fnmatchcase(node.name, pattern):
                length = len(re.sub("[*?]", "", pattern))
                yield (_PATTERN if length else _FOR_ALL, length), pattern


def _keys(node: Node) -> dict[str, tuple[int, int]]:
    """The keys under ``nodes`` that mean a node, except patterns, and how specific each is."""
    return {
        **{f"tag:{tag}": (_TAG, 0) for tag in node.tags},
        **{
            f"namespace:{prefix}": (_NAMESPACE, prefix.count("."))
            for prefix in node.namespace_prefixes
            if prefix
        },
        node.name: (_NAME, 0),
    }


def _settings(options: NodeOptions) -> Iterator[tuple[KeyPath, Any]]:
    """The settings that are given. Each tag is a setting of its own."""
    for name in options.model_fields_set - {"tags"}:
        yield (name,), getattr(options, name)
    for tag, value in options.tags.items():
        yield ("tags", tag), value
