"""The two datasets for the catalog of a Kedro project that runs on Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version
from kedro.io.core import VERSION_KEY
from kedro_datasets.partitions import PartitionedDataset

from .read.partition_keys import PartitionScope, check_key

_ids_in_scope: ContextVar[Mapping[str, tuple[str, ...]]] = ContextVar("ids_in_scope")


def partition_ids(dataset: str) -> tuple[str, ...] | None:
    """Find the partitions of a dataset that the running node is to make, or is given.

    It is for nodes that cannot tell from their inputs, such as one that downloads a day.

    Args:
        dataset: The dataset's name in the catalog.

    Returns:
        Partition ids; ``None`` in ``kedro run``, where a node makes all there are.
    """
    return _ids_in_scope.get({}).get(dataset)


class DagsterPartitionedDataset(PartitionedDataset):  # type: ignore[misc]  # it is untyped
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
        **arguments: What ``PartitionedDataset`` takes.
    """

    dagster_kind = "partitioned"
    _overwrite: bool

    def __init__(
        self,
        *,
        partition: Mapping[str, Any] | str | None = None,
        partition_mappings: Mapping[str, Any] | None = None,
        partition_mapping: Mapping[str, Any] | None = None,
        layout: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**{**arguments, "dataset": _current_spelling(arguments.get("dataset"))})
        self._partition = partition
        self._partition_mappings = partition_mappings or partition_mapping
        self._layout = layout
        self._scope: PartitionScope | None = None
        self._saved: set[str] = set()

    @contextmanager
    def in_scope(
        self, scope: PartitionScope, name: str, node: str, in_chunks: bool = False
    ) -> Iterator[None]:
        """Hold just some partitions for as long as a node runs.

        Args:
            scope: The partitions.
            name: The dataset's name in the catalog.
            node: The node's name.
            in_chunks: Whether the node saves its partitions one chunk after the other.

        Raises:
            DatasetError: The node has not saved all chunks.
        """
        ids = tuple(map(self.partition_id, scope.keys))
        before, self._scope, self._saved = self._scope, scope, set()
        self._name, self._in_chunks = name, in_chunks
        self._about = f"Node {node!r}, dataset {name!r}"
        token = _ids_in_scope.set({**_ids_in_scope.get({}), name: ids})
        try:
            yield
            if in_chunks:
                self._check_saved(self._saved)
        finally:
            _ids_in_scope.reset(token)
            self._scope = before

    def use_version(self, version: str) -> None:
        """Save all partitions under one version, in whatever process; if they have versions.

        Args:
            version: The version of the run.
        """
        if VERSION_KEY in self._dataset_config:
            self._dataset_config[VERSION_KEY] = Version(None, version)

    def partition_id(self, key: str) -> str:
        """The partition id, as in the dict that a node gets or returns, of a Dagster key.

        Args:
            key: A partition key.

        Returns:
            The key, or where there is a layout the path that its dimensions make.
        """
        check_key(key, str(self._path))
        dimensions = getattr(key, "keys_by_dimension", None)
        return self._layout.format_map(dimensions) if self._layout and dimensions else key

    def stored_keys(self) -> list[str]:
        """The partition ids of all files in the folder, whatever is in scope."""
        self._invalidate_caches()
        return [self._path_to_partition(path) for path in super()._list_partitions()]

    def path_of(self, key: str) -> str:
        """The file of a partition key."""
        return str(self._partition_to_path(self.partition_id(key)))

    def load(self) -> dict[str, Callable[[], Any]]:
        """Give a load function for each partition: those in scope, or all in the folder."""
        if self._scope and not self._scope.keys:
            return {}  # what a mapping says of the first window of all, for one
        if self._scope and not self._scope.optional:
            for key in self._scope.keys:
                if not self._filesystem.exists(self.path_of(key)):
                    raise DatasetError(
                        f"{self._about}: partition {key!r} has no file {self.path_of(key)}. "
                        "Make that partition first."
                    )
        partitions: dict[str, Callable[[], Any]] = super().load()
        return partitions

    def save(self, data: dict[str, Any]) -> None:
        """Save partitions, lazily where the data is callable."""
        overwrite: bool = self._overwrite
        if self._scope is not None:
            self._check_saved(set(data), complete=not self._in_chunks)
            self._saved.update(data)
            self._overwrite = False  # it would empty the whole folder
        try:
            super().save(data)
        finally:
            self._overwrite = overwrite

    def _check_saved(self, got: set[str], complete: bool = True) -> None:
        expected = {self.partition_id(key) for key in self._scope.keys} if self._scope else set()
        if got - expected or (complete and expected - got):
            raise DatasetError(
                f"{self._about}: the node is to return partitions {sorted(expected)}, and "
                f"returned {sorted(got)}. What it is to return, it can ask: "
                f"kedro_dagster.datasets.partition_ids({self._name!r})."
            )

    def _list_partitions(self) -> list[str]:
        if self._scope is None:
            return list(super()._list_partitions())
        paths = sorted(self.path_of(key) for key in self._scope.keys)  # as in the folder
        if self._scope.optional:
            return [path for path in paths if self._filesystem.exists(path)]
        return paths

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "partition": self._partition}


def _current_spelling(dataset: Any) -> Any:
    """Read the older names of dataset classes, which ended in ``DataSet``."""
    if isinstance(dataset, str) and dataset.endswith("DataSet"):
        return f"{dataset.removesuffix('DataSet')}Dataset"
    if isinstance(dataset, dict) and "type" in dataset:
        return {**dataset, "type": _current_spelling(dataset["type"])}
    return dataset


class DagsterNothingDataset(AbstractDataset[Any, None]):
    """A dataset without data: it makes one node wait for another.

    Whatever a node returns for it is dropped; as an input it is ``None``.

    Args:
        metadata: Any metadata; ``description`` and ``group_name`` are those of the asset.
    """

    dagster_kind = "nothing"

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def load(self) -> None:
        """Give ``None``."""

    def save(self, data: Any) -> None:
        """Drop the data."""

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}


# Kedro's wrapper around save refuses None, which is what most such nodes return
DagsterNothingDataset.save = DagsterNothingDataset.save.__wrapped__  # type: ignore[method-assign,attr-defined]
