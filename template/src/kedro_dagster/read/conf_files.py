"""The project's configuration files: their content, and in which of them a key stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.project import settings
from kedro.io import CatalogConfigResolver, DataCatalog
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..doors import kedro as kedro_door
from ..errors import CatalogConfigError, DagsterConfigError, KedroDagsterError, KeyPath, Mistake
from .dagster_yml import KedroDagsterConfig

_DAGSTER_PATTERNS = ["dagster*", "dagster*/**", "**/dagster*"]


def read_config(loader: AbstractConfigLoader, key: str) -> Mapping[str, Any]:
    """Read a kind of configuration, such as ``catalog``; empty where there is none."""
    try:
        content: Mapping[str, Any] = kedro_door.read_leniently(loader, key)
    except MissingConfigException:
        return {}
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise CatalogConfigError(f"The {key} configuration cannot be read: {error}") from error
    return content


def read_catalog(loader: AbstractConfigLoader) -> CatalogConfigResolver:
    """Read the entries and patterns of the catalog, without their credentials."""
    entries = {
        name: _without_credentials(entry) for name, entry in read_config(loader, "catalog").items()
    }
    catalog_class = settings.DATA_CATALOG_CLASS
    patterns = getattr(
        catalog_class, "default_runtime_patterns", DataCatalog.default_runtime_patterns
    )
    try:
        return CatalogConfigResolver(entries, None, patterns)
    except Exception as error:
        raise CatalogConfigError(f"The catalog configuration cannot be read: {error}") from error


def _without_credentials(entry: Any) -> Any:
    """Leave out the names of credentials: these are read when a run starts."""
    if not isinstance(entry, dict):
        return entry
    return {
        key: _without_credentials(value) for key, value in entry.items() if key != "credentials"
    }


def read_dagster_yml(
    loader: AbstractConfigLoader, root: Path
) -> tuple[Mapping[str, Any], tuple[Path, ...]]:
    """Read the content of ``dagster.yml``, and which files it stands in."""
    patterns = getattr(loader, "config_patterns", None)
    if patterns is None:
        raise KedroDagsterError(
            f"{type(loader).__name__}, the CONFIG_LOADER_CLASS of settings.py, has no "
            "config_patterns, by which dagster.yml is found. Derive it from OmegaConfigLoader."
        )
    patterns.setdefault("dagster", _DAGSTER_PATTERNS)
    files = find_files(loader, "dagster")
    try:
        raw = kedro_door.read_leniently(loader, "dagster")
    except MissingConfigException:
        raw = None
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, AttributeError) as error:
        raise DagsterConfigError([_syntax_mistake(error, files, root)]) from error
    if raw is None or not files:
        folders = " or ".join(
            relative_path(Path(loader.conf_source) / name / "dagster.yml", root)
            for name in reversed(_environments(loader))
        )
        raise DagsterConfigError(
            [
                Mistake(
                    "dagster.yml",
                    (),
                    f"there is none. Write {folders}, with at least "
                    "'jobs: {default: {pipeline: {pipeline_name: __default__}}}'.",
                )
            ]
        )
    return raw, files


def _environments(loader: AbstractConfigLoader) -> list[str]:
    """The configuration folders, the one that wins first."""
    base = getattr(loader, "base_env", "") or "base"
    env = loader.env or getattr(loader, "default_run_env", "") or "local"
    return list(dict.fromkeys([env, base]))


def find_files(loader: AbstractConfigLoader, kind: str) -> tuple[Path, ...]:
    """The files of a kind of configuration, those of the environment that wins first."""
    folders = [Path(loader.conf_source) / env for env in _environments(loader)]
    return tuple(
        file
        for folder in folders
        for file in sorted(folder.rglob("*.[yj]*"))
        if file.suffix in (".yml", ".yaml", ".json")
        and any(part.startswith(kind) for part in file.relative_to(folder).parts)
    )


def _syntax_mistake(error: Exception, files: tuple[Path, ...], root: Path) -> Mistake:
    for file in files:
        try:
            content = OmegaConf.load(file)
        except yaml.MarkedYAMLError as found:
            mark = found.problem_mark
            line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            return Mistake(relative_path(file, root), (), f"{line}{found.problem}.")
        if not isinstance(content, DictConfig) or not all(isinstance(key, str) for key in content):
            known = ", ".join(map(repr, KedroDagsterConfig.model_fields))
            return Mistake(
                relative_path(file, root), (), f"its top level must have the keys {known}."
            )
    path = tuple(str(getattr(error, "full_key", None) or "").split("."))
    file_name = KeyIndex(files, root).file_of(path) if path != ("",) else "dagster.yml"
    return Mistake(file_name, path if path != ("",) else (), str(error).splitlines()[0])


class KeyIndex:
    """Tells in which of some files a key stands; parses each file once."""

    def __init__(self, files: Sequence[Path], root: Path) -> None:
        self._files = files
        self._root = root

    def file_of(self, path: KeyPath) -> str:
        """The file that holds a key, the environment's before the base's."""
        for start in (path[:2], path[:1]):
            if start in self._holders:
                return self._holders[start]
        return relative_path(self._files[-1], self._root) if self._files else "conf"

    @cached_property
    def _holders(self) -> Mapping[KeyPath, str]:
        holders: dict[KeyPath, str] = {}
        for file in self._files:
            name = relative_path(file, self._root)
            with suppress(yaml.YAMLError, UnicodeDecodeError):
                for path in _key_paths(yaml.compose(file.read_text("utf-8"), Loader=_LOADER)):
                    holders.setdefault(path, name)
        return holders


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _key_paths(node: yaml.Node | None, depth: int = 2) -> Iterator[KeyPath]:
    """The keys of the outermost mappings."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (key.value,)
                if depth > 1:
                    yield from ((key.value, *path) for path in _key_paths(value, depth - 1))


def relative_path(file: Path, root: Path) -> str:
    """Write a path as the user knows it: relative to the project."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
