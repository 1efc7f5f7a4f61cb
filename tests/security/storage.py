"""Search all that Dagster has stored, decoded, for texts that must not be there."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

DEEPEST = 6
"""How often one encoding may stand inside another: more than Dagster does."""

DECODERS: tuple[Callable[[bytes], bytes], ...] = (
    zlib.decompress,
    gzip.decompress,
    lambda content: base64.b64decode(content, validate=True),
    base64.b85decode,
    binascii.unhexlify,
)


def places_of(secrets: Iterable[str], home: Path) -> dict[str, list[str]]:
    """Where each text stands in a Dagster home: the files, and of a database the columns."""
    pattern = re.compile("|".join(map(re.escape, secrets)))
    found: dict[str, set[str]] = {}
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        name = file.relative_to(home).as_posix()
        content = file.read_bytes()
        places = [(name, content)]
        if content.startswith(b"SQLite format 3\0"):
            places += [(f"{name}: {column}", value) for column, value in cells(file)]
        for place, value in places:
            for secret in texts_in(value, pattern):
                found.setdefault(secret, set()).add(place)
    return {secret: sorted(places) for secret, places in found.items()}


def cells(database: Path) -> Iterator[tuple[str, Any]]:
    """Every cell of a database, by table and column."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            names = [column[0] for column in rows.description]
            for row in rows:
                yield from (
                    (f"{table}.{name}", cell) for name, cell in zip(names, row, strict=True)
                )


def texts_in(value: Any, pattern: re.Pattern[str], depth: int = DEEPEST) -> set[str]:
    """The texts of a pattern that a value holds, in whatever way it is encoded."""
    if isinstance(value, dict):
        parts: list[Any] = [part for pair in value.items() for part in pair]
    elif isinstance(value, list):
        parts = value
    else:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        found = set(pattern.findall(text))
        encoded = value if isinstance(value, bytes) else text.encode()
        parts = list(decoded(encoded, text)) if depth else []
        return found.union(*(texts_in(part, pattern, depth - 1) for part in parts))
    return set().union(*(texts_in(part, pattern, depth) for part in parts))


def decoded(content: bytes, text: str) -> Iterator[Any]:
    """What a value is, if it is JSON, compressed, or bytes written as text."""
    if text[:1] in ("{", "[", '"'):
        with contextlib.suppress(ValueError):
            yield json.loads(text)
    for part in {content, content.rpartition(b" ")[2]}:  # a tag may hold a word before it
        for decode in DECODERS:
            with contextlib.suppress(ValueError, zlib.error, OSError, EOFError):
                if (inner := decode(part)) and inner != part:
                    yield inner
