"""Partition keys as plain data, without Dagster: ``kedro_dagster.datasets`` imports this."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from string import Formatter

from ..errors import BadValueError


@dataclass(frozen=True)
class PartitionScope:
    """The partitions of a dataset that a step may touch.

    Args:
        keys: Their keys.
        optional: Whether a key without a file, or that is not returned, is no error.
    """

    keys: tuple[str, ...]
    optional: bool = False


def check_key(key: str, *where: str) -> None:
    """Refuse a key that would lead out of the dataset's folder, or to the file of another key."""
    folders = key.replace("\\", "/").split("/")
    if not folders[0] or ".." in folders:
        raise BadValueError(where, f"{key!r} leads out of the dataset's folder.")
    if {"", "."}.intersection(folders):
        raise BadValueError(
            where, f"{key!r} is no plain path: write it without empty folders and '.'."
        )


def check_layout(layout: str, dimensions: Sequence[str]) -> None:
    """Refuse a layout by which two partitions could have one file."""
    plain = "/".join(f"{{{name}}}" for name in dimensions)
    if set(_fields(layout)) != set(dimensions):
        raise BadValueError(
            ("layout",), f"{layout!r} must name each dimension and nothing else, as in {plain!r}."
        )
    check_key(layout, "layout")
    for name, separator in _separators(layout).items():
        if not separator:
            raise BadValueError(
                ("layout",),
                f"{layout!r} has nothing between '{{{name}}}' and what follows it, so two "
                f"partitions could have one file. Write {plain!r}.",
            )


def check_part(layout: str, name: str, part: str, *where: str) -> None:
    """Refuse a part of a key, of one dimension, by which two keys could have one path."""
    check_key(part, *where)
    for character in ("/", "\\", _separators(layout).get(name, "/")):
        if character in part:
            raise BadValueError(
                where,
                f"the key {part!r} of {name!r} holds {character!r}, which separates folders or "
                f"dimensions in {layout!r}: two partitions could have one file. Choose another "
                "separator, or name the key without it.",
            )


def lay_out(layout: str, parts: Mapping[str, str], *where: str) -> str:
    """Make the path of a key out of its parts, one for each dimension."""
    for name, part in parts.items():
        check_part(layout, name, part, *where)
    path = layout.format_map(parts)
    check_key(path, *where)
    return path


def read_layout(layout: str, path: str) -> dict[str, str]:
    """Find the parts of a key in its path; none where the layout makes no such path."""
    pieces = list(Formatter().parse(layout))
    pattern = "".join(re.escape(text) + ("(.+?)" if name else "") for text, name, *_ in pieces)
    found = re.fullmatch(pattern, path)
    names = (name for _, name, *_ in pieces if name)
    return dict(zip(names, found.groups(), strict=True)) if found else {}


def _fields(layout: str) -> list[str]:
    """The dimensions that a layout names, in order; none where it cannot be read."""
    try:
        pieces = list(Formatter().parse(layout))
    except ValueError:
        return []
    if any(spec or conversion for _, _, spec, conversion in pieces):
        return []  # these may leave out a part of the key
    return [name for _, name, _, _ in pieces if name is not None]


def _separators(layout: str) -> dict[str, str]:
    """The character behind each dimension, by which a path could be read from left to right.

    The last dimension needs none: what remains is its part.
    """
    pieces = list(Formatter().parse(layout))
    found: dict[str, str] = {}
    for (_, name, *_), (following, *_) in pairwise([*pieces, ("", None, None, None)]):
        if name is not None:
            found.setdefault(name, following[:1])
    found.popitem()
    return found
