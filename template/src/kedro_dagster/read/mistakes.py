"""Collects the mistakes in a project's configuration, each with the file that it stands in."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..errors import DagsterConfigError, Hints, KeyPath, Mistake
from .conf_files import KeyIndex
from .project import KedroProject


class Mistakes:
    """What is wrong in ``dagster.yml`` and in the catalog, to be told all at once."""

    def __init__(self, project: KedroProject) -> None:
        self._catalog = project.catalog
        self._patterns = project.job_patterns
        self._dagster_files = KeyIndex(project.config_files, project.path)
        self._catalog_files = KeyIndex(project.catalog_files, project.path)
        self._hints = Hints()
        self._found: list[Mistake] = []
        for path, message in project.mistakes:
            self.add(path, message)

    def __iter__(self) -> Iterator[Mistake]:
        return iter(dict.fromkeys(self._found))  # a factory's jobs have its mistakes in common

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self, path: KeyPath, message: str, value: str = "", allowed: Collection[str] | None = None
    ) -> None:
        """Add a mistake in ``dagster.yml``, with the allowed values that are close to its value."""
        if allowed is not None:
            message = self._hints.add_to(message, value, allowed)
        if path[:1] == ("jobs",) and len(path) > 1:
            path = ("jobs", self._patterns.get(path[1], path[1]), *path[2:])
        self._found.append(Mistake(self._dagster_files.file_of(path), path, message))

    def add_in_catalog(
        self, path: KeyPath, message: str, value: str = "", allowed: Collection[str] | None = None
    ) -> None:
        """Add a mistake in the catalog, whose path begins with the name of a dataset."""
        if allowed is not None:
            message = self._hints.add_to(message, value, allowed)
        name = path[0]
        pattern = (
            None if name in self._catalog.config else self._catalog.match_dataset_pattern(name)
        )
        file = self._catalog_files.file_of((pattern or name,))
        self._found.append(Mistake(file, path, message))

    def check(self) -> None:
        """Raise an error that tells of all mistakes, if there are any."""
        if self._found:
            raise DagsterConfigError(self)
