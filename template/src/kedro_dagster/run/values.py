"""What the data of a node is, without importing any library: rows, columns and first rows.

A value is of a library only where a node has imported that. Nothing here starts a query, a job of
Spark or the computation of a lazy frame.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Rows: TypeAlias = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Table:
    """A table: what can be told of it at once, and its first rows where they are at hand."""

    rows: int | None
    columns: Callable[[], Sequence[tuple[str, str]]]
    head: Callable[[int, int], Rows] | None = None


def is_a(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class that somebody has imported."""
    kind = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return isinstance(kind, type) and isinstance(value, kind)


def as_table(value: Any) -> Table | None:
    """What a value is as a table; ``None`` if it is none."""
    for (module, name), read in _TABLES.items():
        if is_a(value, module, name):
            return read(value)
    return None


def _pandas(frame: Any) -> Table:
    return Table(
        len(frame),
        lambda: [(str(name), str(kind)) for name, kind in zip(frame, frame.dtypes, strict=True)],
        lambda rows, columns: frame.iloc[:rows, :columns].to_numpy(dtype=object).tolist(),
    )


def _pandas_series(series: Any) -> Table:
    columns = [(str(series.name), str(series.dtype))]
    return Table(
        len(series), lambda: columns, lambda rows, _: [[one] for one in series.iloc[:rows]]
    )


def _polars(frame: Any) -> Table:
    return Table(
        frame.height,
        lambda: [(name, str(kind)) for name, kind in frame.schema.items()],
        lambda rows, columns: frame[:rows, :columns].rows(),
    )


def _polars_lazy(frame: Any) -> Table:
    return Table(None, lambda: [(name, str(one)) for name, one in frame.collect_schema().items()])


def _arrow(table: Any) -> Table:
    def head(rows: int, columns: int) -> Rows:
        few = table.slice(0, rows).select(table.column_names[:columns])
        return list(zip(*(column.to_pylist() for column in few.columns), strict=True))

    columns = [(one.name, str(one.type)) for one in table.schema]
    return Table(table.num_rows, lambda: columns, head)


def _spark(frame: Any) -> Table | None:
    if "connect" in type(frame).__module__:  # it asks a server for its schema
        return None
    fields = frame.schema.fields
    return Table(None, lambda: [(one.name, one.dataType.simpleString()) for one in fields])


def _ibis(table: Any) -> Table:
    return Table(None, lambda: [(name, str(kind)) for name, kind in table.schema().items()])


_TABLES: Mapping[tuple[str, str], Callable[[Any], Table | None]] = {
    ("pandas", "DataFrame"): _pandas,
    ("pandas", "Series"): _pandas_series,
    ("polars", "DataFrame"): _polars,
    ("polars", "LazyFrame"): _polars_lazy,
    ("pyarrow", "Table"): _arrow,
    ("pyspark.sql", "DataFrame"): _spark,
    ("ibis.expr.types", "Table"): _ibis,
}


def count_of(value: Any) -> dict[str, Any]:
    """How much a value is that is no table."""
    if is_a(value, "numpy", "ndarray"):
        return {"shape": str(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, str):
        return {"characters": len(value)}
    if isinstance(value, (dict, list, tuple, set)):
        return {"items": len(value)}
    return {}


Hide: TypeAlias = Callable[[str], str]
"""Replaces in a text what nobody is to read; before it is cut off, lest a part remains."""


def as_json(value: Any, hide: Hide, nodes: int = 500) -> Any:
    """A copy of plain data that JSON can hold, cut off after some number of values."""
    left = iter(range(nodes))

    def copy(one: Any) -> Any:
        if isinstance(one, Mapping):
            few = {as_text(key, hide): copy(item) for (key, item), _ in zip(one.items(), left)}  # noqa: B905
            return few if len(few) == len(one) else {**few, "...": f"{len(one)} in all"}
        if isinstance(one, (list, tuple, set, frozenset)):
            items = [copy(item) for item, _ in zip(one, left)]  # noqa: B905
            return items if len(items) == len(one) else [*items, f"... {len(one)} in all"]
        if type(one).__module__ == "numpy" and not hasattr(one, "__len__"):
            one = one.item()
        return one if _is_plain(one) and hide(str(one)) == str(one) else as_text(one, hide)

    return copy(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return value - value == 0  # JSON has no infinity, and nothing that is not a number
    return value is None or isinstance(value, (bool, int))


_SHORT = {"builtins", "datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo"}


def as_text(value: Any, hide: Hide, length: int = 200) -> str:
    """A value as one short text; of what might be large or ask a server, only the class."""
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        value = json.dumps(as_json(value, hide, 20), ensure_ascii=False)
    elif isinstance(value, (bytes, bytearray)) or not _is_short(type(value)):
        value = f"<{type(value).__name__}>"
    whole = value if isinstance(value, str) else str(value)
    text = hide(whole[: length + _LONGEST_SECRET])
    return text if len(text) <= length else f"{text[:length]}..."


_LONGEST_SECRET = 5_000


def _is_short(kind: type) -> bool:
    """Whether the values of a class are written in some characters: numbers, dates and texts."""
    package = kind.__module__.partition(".")[0]
    scalar = package in ("numpy", "pandas") and not hasattr(kind, "__len__")
    return issubclass(kind, str) or scalar or package in _SHORT
