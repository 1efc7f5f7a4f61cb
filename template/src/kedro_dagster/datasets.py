"""The two datasets for the catalog of a Kedro project that runs on Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets.partitions import PartitionedDataset

from .doors.kedro_datasets import HeldDataset
from .read.partition_keys import PartitionScope, check_key, lay_out, read_layout

# Partition ids that a node is to make or is given: by the thread that runs it, and by dataset
_ids_in_scope: dict[int, dict[str, tuple[str, ...]]] = {}


def partition_ids(dataset: str) -> tuple[str, ...] | None:
    """Find the partitions of a dataset that the running node is to make, or is given.

    It is for nodes that cannot tell from their inputs, such as one that downloads a day.

    Args:
        dataset: The dataset's name in the catalog.

    Returns:
        Partition ids; ``None`` in ``kedro run``, where a node makes all there are.

    Raises:
        DatasetError: It is asked in a thread of one of several nodes that run at once.
    """
    own = _ids_in_scope.get(get_ident())
    # A thread that a node has started knows nothing of the node: it is the one that runs
    nodes = [own] if own else list(_ids_in_scope.values())
    found = {ids[dataset] for ids in nodes if dataset in ids}
    if len(found) > 1:
        raise DatasetError(
            f"partition_ids({dataset!r}): several nodes run in this process at once, and this "
            "thread may be of any of them. Ask in the node's function, and hand the ids on."
        )
    return next(iter(found), None)


class DagsterPartitionedDataset(HeldDataset):
    """Kedro's ``PartitionedDataset``, whose partitions are Dagster's.

    Outside of Dagster it is a ``PartitionedDataset``. In a step it holds just the partitions that
    the step is about, whose paths are computed: the folder is not listed.

    Args:
        partition: The partitions: ``type``, such as ``dagster.DailyPartitionsDefinition``, and
            its arguments.
        partition_mappings: By the name or pattern of a dataset made from this one, how the
            partitions map: ``type``, such as ``dagster.StaticPartitionMapping``, and arguments.
        layout: The path of a partition of a ``MultiPartitionsDefinition`` in terms of its
            dimensions, such as ``{region}/{date}``; by default the key as it is.
        missing: What becomes of the steps that read a partition without data: they ``fail``, as
            by default, or Dagster is to ``skip`` them.
        **arguments: What ``PartitionedDataset`` takes.
    """

    dagster_kind = "partitioned"

    def __init__(
        self,
        *,
        partition: Mapping[str, Any] | str | None = None,
        partition_mappings: Mapping[str, Any] | None = None,
        partition_mapping: Mapping[str, Any] | None = None,
        layout: str | None = None,
        missing: str = "fail",  # noqa: ARG002  # the plan reads it
        **arguments: Any,
    ) -> None:
        arguments["dataset"] = _current_spelling(arguments.get("dataset"))
        # To overwrite is to empty the folder, which would remove the partitions of other steps. So
        # this dataset never does. Outside of steps, a plain one saves in its place
        super().__init__(**{**arguments, "overwrite": False})
        overwrites = arguments.get("overwrite")
        self._overwriting = PartitionedDataset(**arguments) if overwrites else None
        self._folder = str(arguments["path"])
        self._partition = partition
        self._partition_mappings = partition_mappings or partition_mapping
        self._layout = layout
        self._scope: PartitionScope | None = None
        self._saved: set[str] = set()

    @contextmanager
    def in_scope(
        self, scope: PartitionScope, name: str, node: str, in_chunks: bool = False
    ) -> Iterator[None]:
        """Hold just some partitions while a node runs, which may save them one after the other."""
        self.refuse_other_versions()
        ids = tuple(map(self.partition_id, scope.keys))
        before, self._scope, self._saved = self._scope, scope, set()
        self._name, self._in_chunks = name, in_chunks
        self._node = node
        self._about = f"Node {node!r}, dataset {name!r}"
        thread = get_ident()
        others = _ids_in_scope.get(thread, {})
        _ids_in_scope[thread] = {**others, name: ids}
        try:
            yield
            if in_chunks:
                self._check_saved(self._saved)
        finally:
            _ids_in_scope[thread] = others
            self._scope = before

    def partition_id(self, key: str) -> str:
        """The id of a Dagster key: the key, or with a layout the path that its dimensions make."""
        dimensions = getattr(key, "keys_by_dimension", None)
        if self._layout and dimensions:
            return lay_out(self._layout, dimensions, self._folder)
        check_key(key, self._folder)
        return key

    def path_of(self, key: str) -> str:
        """The file of a partition key."""
        return self.path_to(self.partition_id(key))

    def key_of(self, partition_id: str) -> str:
        """The Dagster key of an id, which may be one of no partition."""
        dimensions = read_layout(self._layout, partition_id) if self._layout else {}
        return "|".join(dimensions[name] for name in sorted(dimensions)) or partition_id

    def take_saved(self) -> set[str]:
        """The ids of the partitions that have been saved since this was last asked."""
        saved, self._saved = self._saved, set()
        return saved

    def load(self) -> dict[str, Callable[[], Any]]:
        """Give a load function for each partition: those in scope, or all in the folder."""
        scope = self._scope
        if scope and not scope.keys:
            return {}  # such as where a mapping has nothing before the first window
        paths = {key: self.path_of(key) for key in scope.keys} if scope else {}
        if scope and not scope.optional:
            existing = self.existing(paths.values())
            for key, path in paths.items():
                if path not in existing:
                    raise DatasetError(
                        f"{self._about}: partition {key!r} has no file {path}. "
                        "Make that partition first, or write 'missing: skip' in the catalog entry, "
                        "so that what depends on it is skipped."
                    )
        partitions: dict[str, Callable[[], Any]] = super().load()
        if scope:
            self.refuse_others(partitions, paths.values())
        return partitions

    def save(self, data: dict[str, Any]) -> None:
        """Save partitions, lazily where the data is callable."""
        if self._scope is not None:
            self._check_saved(set(data), complete=not self._in_chunks)
        self._saved.update(data)
        if self._scope is None and self._overwriting:
            self._overwriting.save(data)
            self.release()
        else:
            super().save(data)

    def _check_saved(self, got: set[str], complete: bool = True) -> None:
        expected = {self.partition_id(key) for key in self._scope.keys} if self._scope else set()
        if self._scope and self._scope.optional:
            complete = False
        if got - expected or (complete and expected - got):
            raise DatasetError(
                f"{self._about}: the node is to return partitions {sorted(expected)}, and "
                f"returned {sorted(got)}. What it is to return, it can ask: "
                f"kedro_dagster.datasets.partition_ids({self._name!r}). If it makes all partitions "
                f"at once: 'nodes: {{{self._node}: {{partitions: all}}}}' in dagster.yml, or "
                "'partitions: all' on the job."
            )

    def held_paths(self) -> list[str] | None:
        """The files of the partitions in scope."""
        if self._scope is None:
            return None
        paths = sorted(map(self.path_of, self._scope.keys))  # as in the folder
        return sorted(self.existing(paths)) if self._scope.optional else paths

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "partition": self._partition}


def _current_spelling(dataset: Any) -> Any:
    """Read the older names of dataset classes, which ended in ``DataSet``."""
    if isinstance(dataset, str) and dataset.endswith("DataSet"):
        return f"{dataset.removesuffix('DataSet')}Dataset"
    if isinstance(dataset, dict) and "type" in dataset:
        return {**dataset, "type": _current_spelling(dataset["type"])}
    return dataset


NOTHING_OUTPUT = "nothing"
"""A value for a node to return for a :class:`DagsterNothingDataset`; any other does as well."""


class DagsterNothingDataset(AbstractDataset[Any, None]):
    """A dataset without data: it makes one node wait for another.

    Whatever a node returns for it is dropped; as an input it is ``None``.

    Args:
        metadata: Any metadata; ``description`` and ``group_name`` are those of the asset.
    """

    dagster_kind = "nothing"

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata
        # Around the method of a class, Kedro refuses None, which is what most such nodes return
        self.save = self._drop  # type: ignore[method-assign]

    def load(self) -> None:
        """Give ``None``."""

    def save(self, data: Any) -> None:
        """Drop the data."""

    def _drop(self, data: Any) -> None:
        """Drop the data, whatever it is."""

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
