"""Collects the mistakes in a project's configuration, each with the file that it stands in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property

from ..errors import DagsterConfigError, Hints, KeyPath, Mistake
from .conf_files import KeyIndex
from .project import KedroProject


class Mistakes:
    """What is wrong in ``dagster.yml`` and in the catalog, to be told all at once."""

    def __init__(self, project: KedroProject) -> None:
        self._project = project
        self._hints = Hints()
        self._found: list[Mistake] = []
        for path, message in project.mistakes:
            self.add(path, message)

    def __iter__(self) -> Iterator[Mistake]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self, path: KeyPath, message: str, value: str = "", allowed: Collection[str] | None = None
    ) -> None:
        """Add a mistake in ``dagster.yml``, and name what is allowed and close to the value."""
        self._add(self._dagster_files.file_of(path), path, message, value, allowed)

    def add_in_catalog(
        self, path: KeyPath, message: str, value: str = "", allowed: Collection[str] | None = None
    ) -> None:
        """Add a mistake in the catalog, whose path begins with the name of a dataset."""
        name, catalog = path[0], self._project.catalog
        pattern = None if name in catalog.config else catalog.match_dataset_pattern(name)
        file = self._catalog_files.file_of((pattern or name,))
        self._add(file, path, message, value, allowed)

    def check(self) -> None:
        """Raise an error that tells of all mistakes, if there are any."""
        if self._found:
            raise DagsterConfigError(self._found)

    def _add(
        self, file: str, path: KeyPath, message: str, value: str, allowed: Collection[str] | None
    ) -> None:
        if allowed is not None:
            message = self._hints.add_to(message, value, allowed)
        self._found.append(Mistake(file, path, message))

    @cached_property
    def _dagster_files(self) -> KeyIndex:
        return KeyIndex(self._project.config_files, self._project.path)

    @cached_property
    def _catalog_files(self) -> KeyIndex:
        return KeyIndex(self._project.catalog_files, self._project.path)
