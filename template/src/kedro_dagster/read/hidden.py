"""Finds values that came through a resolver of the project's own: Dagster must not store them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kedro.config import AbstractConfigLoader

from ..doors import kedro as kedro_door
from ..doors.omegaconf import can_tell
from ..errors import KeyPath

_EVERYTHING: frozenset[KeyPath] = frozenset({()})


def hidden_paths(
    loader: AbstractConfigLoader, kind: str, content: Mapping[str, Any]
) -> frozenset[KeyPath]:
    """Find the values of a configuration that a resolver gave, such as one that reads a vault.

    The configuration is read once more, with placeholders for what resolvers gave. A value that
    differs then came through one, even as a part of a text or from another place in the file.
    """
    if not can_tell():
        return _EVERYTHING
    results = kedro_door.resolved_by(loader)
    if not results:
        return frozenset()
    try:
        other = kedro_door.planning_config_loader(str(loader.conf_source), loader.env, results)
        return frozenset(_differences(content, kedro_door.read_leniently(other, kind)))
    except Exception:  # noqa: BLE001  # something does not work with a placeholder
        return _EVERYTHING


def without_hidden(value: Any, path: KeyPath, hidden: Collection[KeyPath]) -> Any:
    """Remove from a value what came through a resolver, or is part of what did."""

    def shown(items: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        for key, inner in items:
            place = (*path, str(key))
            if not any(place[:length] in hidden for length in range(len(place) + 1)):
                yield key, without_hidden(inner, place, hidden)

    if isinstance(value, dict):
        return dict(shown(iter(value.items())))
    if isinstance(value, list):
        return [inner for _, inner in shown(enumerate(value))]
    return value


def _differences(value: Any, other: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The innermost keys at which two configurations differ."""
    if isinstance(value, dict) and isinstance(other, dict):
        for key, inner in value.items():
            yield from _differences(inner, other.get(key), (*path, str(key)))
    elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        for index, pair in enumerate(zip(value, other, strict=True)):
            yield from _differences(*pair, (*path, str(index)))
    elif repr(value) != repr(other):  # for which 1 and true differ, and two NaN do not
        yield path
