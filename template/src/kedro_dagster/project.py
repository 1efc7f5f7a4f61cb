"""Read a Kedro project: its pipelines, the configuration of its catalog, and ``dagster.yml``.

Nothing is built here: no session, no context, no dataset. All of these belong to a run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import traceback
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import yaml
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.project import configure_project, settings, validate_settings
from kedro.framework.project import pipelines as registered_pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import CatalogConfigResolver, DataCatalog
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from . import kedro_internals
from .config import KedroDagsterConfig, KeyPath, parse_config
from .errors import (
    CatalogConfigError,
    DagsterConfigError,
    KedroDagsterError,
    Mistake,
    PipelineLoadError,
    ProjectNotFoundError,
)
from .outlines import fill_in, hand_to_runs, is_imported, outlined

_DAGSTER_PATTERNS = ["dagster*", "dagster*/**", "**/dagster*"]


@dataclass(frozen=True)
class KedroProject:
    """What a Kedro project says before anything runs.

    Args:
        path: The project's root folder.
        package_name: Import name of the project's package.
        env: Kedro configuration environment; ``None`` for the project's default.
        pipelines: The registered pipelines by name; at least those of the jobs.
        import_failures: Modules that ``find_pipelines`` left out, each with the reason.
        catalog: Answers what a dataset's catalog entry is, factories included.
        parameters: The project's parameters, as ``parameters.yml`` gives them.
        config: The sound part of ``dagster.yml``.
        config_files: Where ``dagster.yml`` was read from, the environment's file first.
        catalog_files: The same for the catalog.
        mistakes: What is wrong in ``dagster.yml``.
    """

    path: Path
    package_name: str
    env: str | None
    pipelines: Mapping[str, Pipeline]
    import_failures: Mapping[str, str]
    catalog: CatalogConfigResolver
    parameters: Mapping[str, Any]
    config: KedroDagsterConfig
    config_files: tuple[Path, ...]
    catalog_files: tuple[Path, ...]
    mistakes: tuple[Mistake, ...] = field(default=())

    def mistake(self, path: KeyPath, message: str) -> Mistake:
        """Say in which file of ``dagster.yml`` a mistake stands.

        Args:
            path: The keys that lead to it.
            message: What is wrong.

        Returns:
            The mistake, with the file's path relative to the project.
        """
        return Mistake(_file_of(path, self.config_files, self.path), path, message)

    def catalog_mistake(self, name: str, path: KeyPath, message: str) -> Mistake:
        """Say in which file of the catalog a mistake stands.

        Args:
            name: The dataset, which a pattern of the catalog may stand for.
            path: The keys that lead to the mistake in the dataset's entry.
            message: What is wrong.

        Returns:
            The mistake, with the file's path relative to the project.
        """
        pattern = None if name in self.catalog.config else self.catalog.match_dataset_pattern(name)
        file = _file_of((pattern or name,), self.catalog_files, self.path)
        return Mistake(file, (name, *path), message)

    def all_pipelines(self) -> Mapping[str, Pipeline]:
        """Load all registered pipelines, also those that no job runs."""
        if select := getattr(registered_pipelines, "set_requested", None):
            select(None)
        return {**_load_registry(self.package_name)[0], **self.pipelines}

    def hand_outlines_to_runs(self) -> None:
        """Let the runs of this code location import only the pipelines they run, if Kedro can."""
        wanted = _wanted(self.config)
        if len(wanted) > 1 and hasattr(registered_pipelines, "set_requested"):
            hand_to_runs(self.package_name, {name: self.pipelines[name] for name in wanted})

    def import_pipelines(self, names: Collection[str]) -> None:
        """Import pipelines of which only the outlines are known; ``__default__`` are all.

        Args:
            names: The pipelines that a run is of.

        Raises:
            PipelineLoadError: They cannot be imported, or are not what they were.
        """
        known = self.pipelines
        wanted = known.keys() if "__default__" in names else known.keys() & names
        if all(is_imported(node) for name in wanted for node in known[name].nodes):
            return
        imported, failures = _load_pipelines(self.package_name, set(wanted))
        for name in wanted:
            if name not in imported:
                why = failed_import(name, failures) or "reload the code location."
                raise PipelineLoadError(f"Pipeline {name!r} is not registered any more: {why}")
            fill_in(name, known[name], imported[name])

    @cached_property
    def conf_source(self) -> str:
        """The configuration folder, as Kedro's session wants it."""
        return _conf_source(self.path)


def read_project(
    project_path: str | Path | None = None,
    package_name: str | None = None,
    env: str | None = None,
) -> KedroProject:
    """Bootstrap a Kedro project and read it.

    Args:
        project_path: The project's root; by default the one around the package, or around the
            working folder.
        package_name: Import name of the project's package; by default read from its
            ``pyproject.toml``.
        env: Kedro configuration environment; by default ``KEDRO_ENV``, or the project's own.

    Returns:
        The project.

    Raises:
        ProjectNotFoundError: There is no Kedro project there, or its package name is wrong.
        PipelineLoadError: The pipeline registry cannot be imported.
        CatalogConfigError: The catalog's or the parameters' configuration cannot be read.
        DagsterConfigError: ``dagster.yml`` is missing or is not YAML.
    """
    path, package = _bootstrap(project_path, package_name)
    env = env or os.environ.get("KEDRO_ENV") or None
    loader = kedro_internals.planning_config_loader(_conf_source(path), env)
    raw_config, files = _read_dagster_yml(loader, path)
    config, found = parse_config(raw_config)
    wanted = _wanted(config)
    pipelines, import_failures = outlined(package), dict[str, str]()
    if not wanted <= pipelines.keys():
        pipelines, import_failures = _load_pipelines(package, wanted)
    return KedroProject(
        path=path,
        package_name=package,
        env=env,
        pipelines=pipelines,
        import_failures=import_failures,
        catalog=_read_catalog(loader),
        parameters=_read_config(loader, "parameters"),
        config=config,
        config_files=files,
        catalog_files=_find_files(loader, "catalog"),
        mistakes=tuple(
            Mistake(_file_of(where, files, path), where, message) for where, message in found
        ),
    )


def _bootstrap(project_path: str | Path | None, package_name: str | None) -> tuple[Path, str]:
    root = Path(project_path).resolve() if project_path else _find_root(package_name)
    if not (root / "pyproject.toml").is_file() and package_name:
        # A packaged project: there is no source tree, and conf/ stands in the working folder.
        configure_project(package_name)
        package = package_name
    else:
        try:
            package = bootstrap_project(root).package_name
        except (RuntimeError, ValueError, NotADirectoryError) as error:
            raise ProjectNotFoundError(f"{root} is not a Kedro project: {error}") from error
    if _find_spec(package) is None:
        raise ProjectNotFoundError(
            f"{root / 'pyproject.toml'}: tool.kedro.package_name: there is no Python package "
            f"{package!r} in its source folder. Correct the name there."
        )
    try:
        validate_settings()
    except Exception as error:
        raise ProjectNotFoundError(
            f"The settings of the Kedro project, {package}.settings, cannot be imported: "
            f"{_cause(error)}"
        ) from error
    return root, package


def _find_root(package_name: str | None) -> Path:
    if package_name:
        spec = _find_spec(package_name)
        if spec is None or not spec.origin:
            raise ProjectNotFoundError(
                f"There is no Python package {package_name!r}. Install the project, or start "
                "Python with its source folder on PYTHONPATH."
            )
        if root := find_kedro_project(Path(spec.origin).parent):
            return Path(root)
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError):  # of a package around it
        return None


def _conf_source(path: Path) -> str:
    return str(path / settings.CONF_SOURCE)


def _wanted(config: KedroDagsterConfig) -> set[str]:
    """The pipelines that the jobs name."""
    return {name for job in config.jobs.values() for name in job.pipeline.names}


def _load_pipelines(package: str, wanted: set[str]) -> tuple[dict[str, Pipeline], dict[str, str]]:
    """Load the pipelines that jobs name, and keep what ``find_pipelines`` only warns of."""
    pipelines, caught = _load_selected(package, wanted) or _load_registry(package)
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return pipelines, _import_failures(caught)


def _load_selected(
    package: str, wanted: set[str]
) -> tuple[dict[str, Pipeline], list[warnings.WarningMessage]] | None:
    """Import no other pipelines than these, as ``kedro run`` does with a Kedro that can.

    A registry may make a pipeline out of others: it is then not found, and all are to be loaded.
    """
    select = getattr(registered_pipelines, "set_requested", None)
    if select is None:
        return None
    if wanted and "__default__" not in wanted:
        select(sorted(wanted))
        with suppress(PipelineLoadError):
            pipelines, caught = _load_registry(package)
            if wanted <= pipelines.keys() and not _import_failures(caught):
                return pipelines, caught
    select(None)
    return None


def _load_registry(package: str) -> tuple[dict[str, Pipeline], list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return dict(registered_pipelines), caught
        except Exception as error:
            raise PipelineLoadError(
                f"The pipelines of {package!r} cannot be loaded: {_cause(error)}"
            ) from error


def _import_failures(caught: list[warnings.WarningMessage]) -> dict[str, str]:
    failures = {}
    for text in (str(warning.message) for warning in caught):
        if "An error occurred while importing the '" in text:
            frames = re.findall(r'File "(.+)", line (\d+)', text)
            where = " ({}, line {})".format(*frames[-1]) if frames else ""
            failures[text.split("'")[1]] = text.strip().splitlines()[-1] + where
    return failures


def failed_import(name: str, failures: Mapping[str, str]) -> str:
    """Say why a pipeline is not registered, if it is for its module.

    Args:
        name: The pipeline.
        failures: The modules that ``find_pipelines`` left out, each with the reason.

    Returns:
        The module and the reason, or nothing.
    """
    for module, reason in failures.items():
        if module.rpartition(".")[2] == name:
            return f"module {module} fails on import: {reason}"
    return ""


def _cause(error: BaseException) -> str:
    """An error as one line: its class, its message and the line of code it comes from."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and Path(frame.filename) != Path(__file__)
    ]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _read_config(loader: AbstractConfigLoader, key: str) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = kedro_internals.read_leniently(loader, key)
    except MissingConfigException:
        return {}
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise CatalogConfigError(f"The {key} configuration cannot be read: {error}") from error
    return content


def _read_catalog(loader: AbstractConfigLoader) -> CatalogConfigResolver:
    entries = {
        name: _without_credentials(entry) for name, entry in _read_config(loader, "catalog").items()
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


def _read_dagster_yml(
    loader: AbstractConfigLoader, root: Path
) -> tuple[Mapping[str, Any], tuple[Path, ...]]:
    patterns = getattr(loader, "config_patterns", None)
    if patterns is None:
        raise KedroDagsterError(
            f"{type(loader).__name__}, the CONFIG_LOADER_CLASS of settings.py, has no "
            "config_patterns, by which dagster.yml is found. Derive it from OmegaConfigLoader."
        )
    patterns.setdefault("dagster", _DAGSTER_PATTERNS)
    files = _find_files(loader, "dagster")
    try:
        raw = kedro_internals.read_leniently(loader, "dagster")
    except MissingConfigException:
        raw = None
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, AttributeError) as error:
        raise DagsterConfigError([_syntax_mistake(error, files, root)]) from error
    if raw is None or not files:
        folders = " or ".join(
            _shown(Path(loader.conf_source) / name / "dagster.yml", root)
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


def _find_files(loader: AbstractConfigLoader, kind: str) -> tuple[Path, ...]:
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
            return Mistake(_shown(file, root), (), f"{line}{found.problem}.")
        if not isinstance(content, DictConfig) or not all(isinstance(key, str) for key in content):
            known = ", ".join(map(repr, KedroDagsterConfig.model_fields))
            return Mistake(_shown(file, root), (), f"its top level must have the keys {known}.")
    path = tuple(str(getattr(error, "full_key", None) or "").split("."))
    file_name = _file_of(path, files, root) if path != ("",) else "dagster.yml"
    return Mistake(file_name, path if path != ("",) else (), str(error).splitlines()[0])


def _file_of(path: KeyPath, files: tuple[Path, ...], root: Path) -> str:
    """The file that holds a key, the environment's before the base's."""
    if not files:
        return "conf"
    for file in files:
        content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for key in path[:2]:
            if not isinstance(content, dict) or key not in content:
                break
            content = content[key]
        else:
            return _shown(file, root)
    return _shown(files[-1], root)


def _shown(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
