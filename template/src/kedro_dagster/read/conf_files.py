"""Reads the project's configuration files, and finds in which of them a key stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import yaml
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.project import settings
from kedro.io import CatalogConfigResolver, DataCatalog
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import UnsupportedInterpolationType

from ..doors import kedro as kedro_door
from ..errors import CatalogConfigError, DagsterConfigError, KeyPath, Mistake
from .credentials import remember, remember_urls
from .dagster_yml import KedroDagsterConfig
from .hidden import hidden_paths, without_hidden


def make_loader(conf_source: str, env: str | None) -> AbstractConfigLoader:
    """Make the project's config loader, which reads ``globals.yml`` at once."""
    try:
        return kedro_door.planning_config_loader(conf_source, env)
    except Exception as error:
        raise CatalogConfigError(
            f"{settings.CONFIG_LOADER_CLASS.__name__}, the CONFIG_LOADER_CLASS of settings.py, "
            f"cannot read the configuration: {error}"
        ) from error


def read_config(loader: AbstractConfigLoader, key: str) -> Mapping[str, Any]:
    """Read a kind of configuration, such as ``catalog``; empty where there is none."""
    try:
        content: Mapping[str, Any] = kedro_door.read_leniently(loader, key)
    except MissingConfigException:
        return {}
    except Exception as error:  # whatever a loader of the project's own raises
        raise CatalogConfigError(f"The {key} configuration cannot be read: {error}") from error
    return content


def read_catalog(
    loader: AbstractConfigLoader, of_hooks: Mapping[str, Any]
) -> CatalogConfigResolver:
    """Read the entries and patterns of the catalog, without what may be secret in them."""
    content = {**read_config(loader, "catalog"), **of_hooks}
    remember_urls(content)
    entries = {name: _without_credentials(entry) for name, entry in content.items()}
    described = {
        name: entry["metadata"]
        for name, entry in content.items()
        if isinstance(entry, dict) and isinstance(entry.get("metadata"), dict)
    }
    hidden = hidden_paths(loader, "catalog", content)
    no_address = {path[:1] for path in hidden if not path[1:] or _ADDRESS.intersection(path)}
    for name, entry in entries.items():
        if isinstance(entry, dict) and not no_address.isdisjoint(((), (name,))):
            entry[NO_ADDRESS] = True
    for name, metadata in described.items():
        shown = without_hidden(metadata, (name, "metadata"), hidden)
        # A place in the UI: without it, the asset would move
        _keep(shown, metadata, "group_name")
        _keep(shown.get("dagster"), metadata.get("dagster"), "group_name", "key", "key_prefix")
        entries[name]["metadata"] = shown
    runtime_patterns = DataCatalog.default_runtime_patterns
    try:
        return CatalogConfigResolver(
            entries,
            None,
            getattr(settings.DATA_CATALOG_CLASS, "default_runtime_patterns", runtime_patterns),
        )
    except Exception as error:
        raise CatalogConfigError(f"The catalog configuration cannot be read: {error}") from error


NO_ADDRESS = "kedro_dagster: address"
"""A key for planning: the asset of this entry must not tell where its data is."""

_SUFFIXES = (".yml", ".yaml", ".json")

_RUNTIME_PARAM = re.compile(r"\$\{\s*runtime_params\s*:\s*([\w.]+)")

_ADDRESS = {"filepath", "path", "url", "table_name", "table", "database", "schema"}


def _keep(shown: Any, content: Any, *keys: str) -> None:
    if isinstance(shown, dict) and isinstance(content, dict):
        shown.update((key, content[key]) for key in keys if key in content)


def _without_credentials(entry: Any) -> Any:
    """Leave credentials out of an entry: a run reads them when it starts."""
    if not isinstance(entry, dict):
        return entry
    if not isinstance(entry.get("credentials"), str):  # not a name, but the credentials
        remember(entry.get("credentials"))
    return {
        key: _without_credentials(value) for key, value in entry.items() if key != "credentials"
    }


def read_dagster_yml(
    loader: AbstractConfigLoader, root: Path
) -> tuple[Mapping[str, Any], tuple[Path, ...]]:
    """Read the content of ``dagster.yml``, and which files it stands in."""
    patterns: dict[str, list[str]] | None = getattr(loader, "config_patterns", None)
    if patterns is not None:
        patterns.setdefault("dagster", _patterns_of("dagster"))
    files = find_files(loader, "dagster")
    try:
        return _dagster_section(loader, files), files
    except (KeyError, MissingConfigException):
        raise DagsterConfigError([_missing(loader, files, root)]) from None
    except Exception as error:  # whatever a loader of the project's own raises
        raise DagsterConfigError([_syntax_mistake(error, files, root)]) from error


def _dagster_section(loader: AbstractConfigLoader, files: Sequence[Path]) -> Mapping[str, Any]:
    content: dict[str, Any] = {}
    try:
        content = loader["dagster"]
    except (KeyError, MissingConfigException):
        if hasattr(loader, "config_patterns") or not files:
            raise
        # A loader that is not derived from Kedro's need not know this kind of file. So it is read
        # here, by Kedro's default rule: a section replaces the same one of an earlier file
        for file in reversed(files):
            content.update(yaml.safe_load(file.read_text("utf-8")) or {})
    return content


def _patterns_of(kind: str) -> list[str]:
    """Kedro's default patterns for the files of a kind of configuration."""
    return [f"{kind}*", f"{kind}*/**", f"**/{kind}*"]


def find_files(loader: AbstractConfigLoader, kind: str) -> tuple[Path, ...]:
    """The files of a kind of configuration, those of the environment that wins first."""
    source = Path(loader.conf_source)
    if source.is_file():  # an archive
        return (source,)
    return tuple(file for env in _environments(loader) for file in _files_in(loader, env, kind))


def runtime_params_asked_for(conf_source: str) -> set[str] | None:
    """The names that stand in ``${runtime_params:...}``; ``None`` where the files are elsewhere."""
    if not Path(conf_source).is_dir():
        return None
    files = [file for file in Path(conf_source).rglob("*.*") if file.suffix in _SUFFIXES]
    texts = (file.read_text("utf-8", "replace") for file in files if file.is_file())
    return {name for text in texts for name in _RUNTIME_PARAM.findall(text)}


def _files_in(loader: AbstractConfigLoader, env: str, kind: str) -> list[Path]:
    """The files that Kedro reads: none that are hidden, such as in ``.ipynb_checkpoints``."""
    source, files = Path(loader.conf_source), fsspec.filesystem("file")
    patterns = getattr(loader, "config_patterns", {}).get(kind, _patterns_of(kind))
    hides = getattr(loader, "ignore_hidden", True)
    found = {
        Path(name)
        for pattern in patterns
        for name in files.glob((source / env / pattern).as_posix())
    }
    return sorted(
        file
        for file in found
        if file.suffix in _SUFFIXES
        and file.is_file()
        and not (hides and any(part[0] == "." for part in file.relative_to(source).parts))
    )


def _environments(loader: AbstractConfigLoader) -> list[str]:
    """The environments, the one that wins first. An empty name means ``conf`` itself."""
    base = str(getattr(loader, "base_env", "base"))
    env = loader.env or str(getattr(loader, "default_run_env", "local"))
    return list(dict.fromkeys([env, base]))


def _missing(loader: AbstractConfigLoader, files: Sequence[Path], root: Path) -> Mistake:
    """Say why there is no ``dagster.yml``, or why Kedro does not read it."""
    source = Path(loader.conf_source)
    folders = {env: source / env for env in _environments(loader)}
    for env, folder in folders.items():
        if files and source.is_dir() and not folder.is_dir():
            return Mistake(
                relative_path(folder, root),
                (),
                f"there is no such folder, and Kedro reads the environment {env!r} from it. "
                "Create it, or choose another environment with --env or KEDRO_ENV.",
            )
    others = [
        folder.name
        for folder in (sorted(source.iterdir()) if source.is_dir() else ())
        if folder.name not in folders and _files_in(loader, folder.name, "dagster")
    ]
    advice = "Write"
    if others:
        advice = (
            f"There is one in environment {' and '.join(map(repr, others))}: choose it with "
            f"--env {others[0]} or KEDRO_ENV={others[0]}. Or write"
        )
    places = [relative_path(folder / "dagster.yml", root) for folder in folders.values()]
    return Mistake(
        "dagster.yml",
        (),
        f"there is none. {advice} {' or '.join(reversed(places))}, with at least "
        "'jobs: {default: {pipeline: {pipeline_name: __default__}}}'.",
    )


def _syntax_mistake(error: Exception, files: Sequence[Path], root: Path) -> Mistake:
    """Say in which file and where a ``dagster.yml`` cannot be read."""
    for file in files:
        name, content = relative_path(file, root), None
        if file.suffix not in _SUFFIXES:
            continue  # an archive
        try:
            content = OmegaConf.load(file)
        except yaml.YAMLError as found:
            mark = getattr(found, "problem_mark", None)
            line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            problem = getattr(found, "problem", None) or str(found).splitlines()[0]
            return Mistake(name, (), f"{line}{problem}.")
        except Exception as found:  # noqa: BLE001  # what OmegaConf raises for a wrong key or value
            if not isinstance(found, OSError) or found.errno:  # that is for a single value
                continue
        if not isinstance(content, DictConfig) or not all(isinstance(key, str) for key in content):
            known = ", ".join(map(repr, KedroDagsterConfig.model_fields))
            return Mistake(name, (), f"its top level must have the keys {known}.")
    full_key = getattr(error, "full_key", None)
    path = tuple(full_key.split(".")) if full_key else ()
    file_name = KeyIndex(files, root).file_of(path) if path else "dagster.yml"
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnsupportedInterpolationType):
        message += (
            ". Give the resolver to Kedro in CONFIG_LOADER_ARGS of settings.py: no hook has been "
            "called when this file is read."
        )
    return Mistake(file_name, path, message)


@dataclass(frozen=True)
class KeyIndex:
    """Tells in which of some files a key stands; parses each file once."""

    files: Sequence[Path]
    root: Path

    def file_of(self, path: KeyPath) -> str:
        """The file that holds a key, the environment's before the base's."""
        for start in (path[:2], path[:1]):
            if start in self._holders:
                return self._holders[start]
        return relative_path(self.files[-1], self.root) if self.files else "conf"

    @cached_property
    def _holders(self) -> Mapping[KeyPath, str]:
        holders: dict[KeyPath, str] = {}
        for file in self.files:
            name = relative_path(file, self.root)
            with suppress(yaml.YAMLError, UnicodeDecodeError):
                for key, value in _items(yaml.compose(file.read_text("utf-8"), Loader=_LOADER)):
                    for path in ((key,), *((key, inner) for inner, _ in _items(value))):
                        holders.setdefault(path, name)
        return holders


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _items(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            yield key.value, value


def relative_path(file: Path, root: Path) -> str:
    """Write a path as the user knows it: relative to the project."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
