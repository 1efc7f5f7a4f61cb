"""What is private to kedro-datasets: by it, a step is held to its partitions.

There is no plain way to fall back to: a step would be given all partitions. So a step is refused
where a name is gone; ``kedro run`` needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import compress

from kedro_datasets.partitions import PartitionedDataset

from ..errors import UnsupportedVersionError

_NAMES = ("_filesystem", "_list_partitions", "_partition_to_path", "_path_to_partition")


_THREADS = 32
"""How many files are asked for at a time: an object store takes 30 ms to say that one is there."""


class HeldDataset(PartitionedDataset):  # type: ignore[misc]  # it is untyped
    """A ``PartitionedDataset`` that can be held to some of its files."""

    def held_paths(self) -> list[str] | None:
        """The files that it is held to; ``None`` where it has all of the folder."""
        raise NotImplementedError

    @staticmethod
    def refuse_other_versions() -> None:
        """Refuse a kedro-datasets that has renamed what a step needs."""
        for name in _NAMES:
            if not hasattr(PartitionedDataset, name):
                raise unsupported(f"has no PartitionedDataset.{name}")

    def path_to(self, partition_id: str) -> str:
        """The file of a partition."""
        return str(self._partition_to_path(partition_id))

    def id_of(self, path: str) -> str:
        """The partition that a file holds."""
        return str(self._path_to_partition(path))

    def files_in_folder(self) -> list[str]:
        """All files, whatever it is held to."""
        self.release()
        return list(super()._list_partitions())

    def existing(self, paths: Iterable[str]) -> set[str]:
        """Of some files, those that are there; several are asked for at once."""
        paths = list(paths)
        if len(paths) < 2:
            return set(filter(self._filesystem.exists, paths))
        # Of others than the asynchronous ones, fsspec makes one for each thread
        shared = self._filesystem if self._filesystem.async_impl else None

        def exists(path: str) -> bool:
            return bool((shared or self._filesystem).exists(path))

        with ThreadPoolExecutor(_THREADS, initializer=None if shared else self.release) as threads:
            return set(compress(paths, threads.map(exists, paths)))

    def _list_partitions(self) -> list[str]:
        paths = self.held_paths()
        return list(super()._list_partitions()) if paths is None else paths


def unsupported(reason: str) -> UnsupportedVersionError:
    """Say why a step cannot be held to its partitions, and what to do."""
    return UnsupportedVersionError(
        f"kedro-datasets {version('kedro-datasets')} {reason}, so a step of Dagster cannot be held "
        "to its partitions. Install an earlier version, or get a helper that fits with `copier "
        "update`. `kedro run` is as before."
    )
