"""What is told of data with each materialisation: found while it is saved, never by loading it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from kedro.pipeline.node import Node

from ..doors.kedro import raw_parameters, saved_path, strip_transcoding, unwrap_cached
from ..plan.model import DatasetPlan, data_outputs
from ..plan.parameters import flatten_parameters
from ..read.credentials import redactor
from ..read.dagster_yml import FactsOptions
from .checks import COLUMNS, Columns, columns_in, schema_of
from .previews import preview_of, rows_of_preview, table_preview
from .values import Hide, as_table, count_of

if TYPE_CHECKING:
    from .kedro_run import KedroRun

logger = logging.getLogger(__name__)

Metadata: TypeAlias = dict[str, Any]

ROWS = "dagster/row_count"
ROWS_OF_PARTITION = "dagster/partition_row_count"

_SIZE_OF_COLUMN = 190  # in bytes, as Dagster writes it, beside its name and type
_SIZE_OF_OTHERS = 500


@dataclass
class Saved:
    """What is known of data that has been saved: of all of it, and of each partition by its id."""

    whole: Metadata
    partitions: dict[str, Metadata] = field(default_factory=dict)
    spent: float = 0  # seconds in which this was found


class Facts:
    """Keeps what is known of the data that a step loads and saves, and none of the data.

    Nothing that goes wrong here is an error of the run.
    """

    def __init__(self, run: KedroRun) -> None:
        self._run = run
        self._saved: dict[str, Saved] = {}
        self._seconds: dict[str, float] = {}  # in which an input was loaded, by its variant

    @cached_property
    def hide(self) -> Hide:
        """Leaves credentials out of a text, and parameters that no config shows."""
        names = self._run.plan.hidden_parameters
        values = flatten_parameters(raw_parameters(self._run.context)) if names else {}
        hidden = [values[name] for name in names if name in values]
        return redactor([value for value in hidden if not isinstance(value, Mapping)])

    def loaded(self, variant: str, seconds: float) -> None:
        """Take note of how long it took to load a dataset."""
        self._seconds[variant] = seconds

    def saved(self, variant: str, value: Any, seconds: float) -> None:
        """Look at a value that has just been saved."""
        name = strip_transcoding(variant)
        dataset = self._run.plan.datasets.get(name)
        if dataset is None or not (dataset.facts or _compares(dataset)):
            return
        start, before = time.monotonic(), self._saved.get(name)
        try:
            found = self._look(dataset, value, before)
        except Exception as error:  # noqa: BLE001  # whatever a library of the node's raises
            _tell_once(type(value), error)
            found = Saved({})
        if before:
            before.partitions.update(found.partitions)
            found = Saved(found.whole, before.partitions, before.spent)
            seconds += before.whole["save_seconds"]
        found.whole["save_seconds"] = round(seconds, 3)
        found.spent += time.monotonic() - start
        self._saved[name] = found

    def _look(self, dataset: DatasetPlan, value: Any, before: Saved | None) -> Saved:
        look = _Look(dataset, self._run.plan.facts, self.hide, before.spent if before else 0)
        if dataset.partitioning:
            parts = value.items() if isinstance(value, Mapping) else ()
            # A partition may be a function that makes it: nobody calls it here
            return Saved({}, {str(one): look.at(part, ROWS_OF_PARTITION) for one, part in parts})
        if before:  # a generator saves in chunks, and nobody knows if the file has all of them
            kept = (COLUMNS, "preview")
            return Saved({key: before.whole[key] for key in kept if key in before.whole})
        return Saved(look.at(value, ROWS, self._file_of(dataset.name)))

    def node_done(self, node: Node) -> None:
        """Take note that a node has saved all of its outputs."""
        seconds = [self._seconds[name] for name in node.inputs if name in self._seconds]
        for name in data_outputs(node):
            if name in self._saved and seconds:
                self._saved[name].whole["load_seconds"] = round(sum(seconds), 3)

    def of(self, name: str, key: str | None = None) -> Metadata:
        """What is known of a dataset that was saved, or of one of its partitions."""
        saved = self._saved.get(name, Saved({}))
        if not self._run.plan.datasets[name].facts:
            return {}
        file = self._file_of(name, key)
        found = {**saved.whole, **self._run.mlflow}
        if file:
            found["size_bytes"] = file.stat().st_size
        if key is not None:
            dataset = unwrap_cached(self._run.dataset(name))
            return {**found, **saved.partitions.get(dataset.partition_id(key), {})}
        counts = [one.get(ROWS_OF_PARTITION) for one in saved.partitions.values()]
        return {**found, ROWS: sum(counts)} if counts and None not in counts else found

    def columns(self, name: str, key: str | None = None) -> Columns | None:
        """The columns of a table that was saved, if they are to be compared with others."""
        saved = self._saved.get(name, Saved({}))
        if key is not None:
            dataset = unwrap_cached(self._run.dataset(name))
            return columns_in(saved.partitions.get(dataset.partition_id(key), {}))
        return columns_in(saved.whole)

    def _file_of(self, name: str, key: str | None = None) -> Path | None:
        """Where a dataset is saved, if that is on a disk of this machine; none other is asked."""
        dataset = unwrap_cached(self._run.dataset(name))
        path = saved_path(dataset) if key is None else dataset.path_of(key)
        file = Path(path) if path else None
        return file if file and file.is_absolute() and file.is_file() else None

    def forget(self) -> None:
        """Let go of what is known of the datasets of a step."""
        self._saved.clear()
        self._seconds.clear()


class _Look:
    """A look at a value, or at several partitions, within some time and some bytes."""

    def __init__(
        self, dataset: DatasetPlan, limits: FactsOptions, hide: Hide, spent: float
    ) -> None:
        self._deadline = time.monotonic() + limits.milliseconds / 1_000 - spent
        self._limit = limits.kilobytes * 1_000 - _SIZE_OF_OTHERS
        self._rows = rows_of_preview(dataset.metadata)
        self._all_columns = _compares(dataset)
        self._hide = hide

    def at(self, value: Any, rows: str, file: Path | None = None) -> Metadata:
        """Count rows in any case, then tell of columns, then show some rows."""
        table, room = as_table(value), self._limit
        if table is None:
            found = count_of(value)
        else:
            found = {} if table.rows is None else {rows: table.rows}
            if self._all_columns or self._has_time():
                columns = [(self._hide(name), kind) for name, kind in table.columns()]
                room -= sum(_SIZE_OF_COLUMN + len(name) + len(kind) for name, kind in columns)
                if room >= 0 or self._all_columns:
                    found[COLUMNS] = schema_of(dict(columns))
                else:
                    found["columns"], room = len(columns), self._limit
        if self._rows and room > 0 and self._has_time():
            preview = (
                table_preview(table, self._rows, room, self._hide)
                if table
                else preview_of(value, file, self._rows, room, self._hide)
            )
            if preview:
                found["preview"] = preview
        return found

    def _has_time(self) -> bool:
        return time.monotonic() < self._deadline


def _compares(dataset: DatasetPlan) -> bool:
    return bool(dataset.check and dataset.check.schema_drift)


_told = set[type]()


def _tell_once(kind: type, error: Exception) -> None:
    if kind not in _told:
        _told.add(kind)
        message = "Nothing is told of values of %s in this process: %s"
        logger.debug(message, kind.__qualname__, error, exc_info=error)
