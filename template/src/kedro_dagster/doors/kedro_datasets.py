"""What is private to kedro-datasets. It limits a step to its partitions.

Without a name, a step would be given all partitions, so the step is refused. ``kedro run`` needs
none of the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import compress

from kedro.io import Version
from kedro.io.core import VERSION_KEY
from kedro_datasets.partitions import PartitionedDataset

from .fallback import needed, unsupported

PACKAGE = "kedro-datasets"

_NAMES = ("_filesystem", "_list_partitions", "_partition_to_path", "_path_to_partition")

_THREADS = 32
"""How many files are asked for at a time: an object store takes 30 ms to say that one is there."""


class HeldDataset(PartitionedDataset):  # type: ignore[misc]  # it is untyped
    """A ``PartitionedDataset`` that can be held to some of its files."""

    def held_paths(self) -> list[str] | None:
        """The files that it is held to; ``None`` where it has all of the folder."""
        raise NotImplementedError

    def refuse_other_versions(self) -> None:
        """Refuse a kedro-datasets that has renamed what a step needs."""
        for name in _NAMES:
            needed(PACKAGE, PartitionedDataset, name)
        needed(PACKAGE, self, "_dataset_config")

    def use_version(self, version: str) -> None:
        """Save all partitions under the version of the run, in each process; if they have any."""
        if VERSION_KEY in self._dataset_config:
            self._dataset_config[VERSION_KEY] = Version(None, version)

    def refuse_others(self, partitions: Iterable[str], paths: Iterable[str]) -> None:
        """Refuse a kedro-datasets that loads other files than it lists."""
        if not set(partitions) <= set(map(self._path_to_partition, paths)):
            raise unsupported(PACKAGE, "PartitionedDataset.load lists files by another name")

    def path_to(self, partition_id: str) -> str:
        """The file of a partition."""
        return str(self._partition_to_path(partition_id))

    def stored_keys(self) -> list[str]:
        """The partitions of all files in the folder, whatever it is held to."""
        self.refuse_other_versions()
        self.release()
        return list(map(self._path_to_partition, super()._list_partitions()))

    def existing(self, paths: Iterable[str]) -> set[str]:
        """Find which of some files are there; several are asked for at once."""
        paths = list(paths)
        if len(paths) < 2:
            return set(filter(self._filesystem.exists, paths))
        # An asynchronous file system serves all threads; of others, fsspec makes one for each
        shared = self._filesystem if self._filesystem.async_impl else None

        def exists(path: str) -> bool:
            return bool((shared or self._filesystem).exists(path))

        with ThreadPoolExecutor(_THREADS, initializer=None if shared else self.release) as threads:
            return set(compress(paths, threads.map(exists, paths)))

    def _list_partitions(self) -> list[str]:
        paths = self.held_paths()
        return list(super()._list_partitions()) if paths is None else paths
