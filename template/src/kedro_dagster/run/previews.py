"""Previews of data for the page of an asset: tables, JSON and pictures, each within a size."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from .values import Hide, Table, as_json, as_text, is_a

Preview: TypeAlias = dg.MetadataValue[Any] | None

ROWS = 5
COLUMNS = 20
_POINTS = 1_000  # of a Plotly figure: more are no preview
_PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}
_SIZES = ((540, 60), (400, 50), (270, 40), (180, 40))  # in pixels, and the quality of a JPEG


def rows_of_preview(metadata: Mapping[str, Any]) -> int | None:
    """How many rows a preview has, by what the catalog says for Kedro-Viz; ``None`` for none."""
    viz = metadata.get("kedro-viz")
    options: Mapping[str, Any] = viz if isinstance(viz, Mapping) else {}
    if options.get("preview") is False:
        return None
    arguments = options.get("preview_args")
    rows = arguments.get("nrows", ROWS) if isinstance(arguments, Mapping) else ROWS
    return rows if isinstance(rows, int) and rows > 0 else ROWS


def preview_of(value: Any, file: Path | None, rows: int, room: int, hide: Hide) -> Preview:
    """Show a value that has just been saved, in so many bytes at the most.

    A picture is that of the file: to draw it once more would take as long as to save it.
    """
    if file and file.suffix.lower() in _PICTURES:
        return _picture(file, room)
    if is_a(value, "plotly.basedatatypes", "BaseFigure"):
        return _json(_plotly(value), room, hide)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _json(as_json(value, hide), room)
    if is_a(value, "numpy", "ndarray"):
        return None if value.dtype.hasobject else _text(hide(str(value[:rows])), room)
    return _text(as_text(value, hide, room), room) if isinstance(value, (str, int, float)) else None


def table_preview(table: Table, rows: int, room: int, hide: Hide) -> Preview:
    """Show the first rows of a table, fewer of them where they are long."""
    names = [name for name, _ in table.columns()]
    if table.head is None or not names:
        return None
    more = [f"... {len(names) - COLUMNS} more"] if len(names) > COLUMNS else []
    shown = [*names[:COLUMNS], *more]
    lines, left = list[str](), room
    for row in (shown, ["---"] * len(shown), *table.head(rows, COLUMNS)):
        line = _line(row if len(lines) < 2 else [*row, *more], hide)
        left -= _size(line)
        if left < 0:
            break
        lines.append(line)
    return dg.MetadataValue.md("\n".join(lines)) if len(lines) > 1 else None


def _line(cells: Sequence[Any], hide: Hide) -> str:
    texts = (" ".join(as_text(cell, hide).split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def _text(text: str, room: int) -> Preview:
    while (size := _size(text)) > room:
        text = text[: len(text) * room // size]
    return dg.MetadataValue.text(text) if text else None


def _size(value: Any) -> int:
    return len(json.dumps(value))  # as Dagster writes it


def _json(value: Any, room: int, hide: Hide = str) -> Preview:
    text = json.dumps(value, ensure_ascii=False)
    fits = _size(value) <= room and hide(text) == text
    return dg.MetadataValue.json(value) if fits else _text(hide(text), room)


def _plotly(figure: Any) -> Any:
    """A figure as JSON, or what it is made of where it has many points."""
    traces = figure.data
    if sum(map(_points_of, traces)) > _POINTS:
        return {"data": [{"type": trace.type, "name": trace.name} for trace in traces]}
    return json.loads(figure.to_json())


def _points_of(trace: Any) -> int:
    values: Iterator[Any] = (trace[name] for name in trace)
    return sum(len(value) for value in values if hasattr(value, "__len__"))


def _picture(path: Path, room: int) -> Preview:
    """A picture in a file, smaller if needed."""
    room = room * 3 // 4 - 100  # of which base64 makes a third more
    if path.stat().st_size <= room:
        return _shown(path.read_bytes(), _PICTURES[path.suffix.lower()])
    images = sys.modules.get("PIL.Image")
    if images is None or room <= 0:
        return None
    with images.open(path) as image:
        image.thumbnail((_SIZES[0][0],) * 2, reducing_gap=2.0)
        paper = images.new("RGB", image.size, "white")
        whole = image.convert("RGBA")
        paper.paste(whole, mask=whole)
    for size, quality in _SIZES:
        paper.thumbnail((size, size))
        buffer = BytesIO()
        paper.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= room:
            return _shown(buffer.getvalue(), "jpeg")
    return None


def _shown(content: bytes, kind: str) -> dg.MetadataValue[Any]:
    text = base64.b64encode(content).decode()
    return dg.MetadataValue.md(f"![preview](data:image/{kind};base64,{text})")
