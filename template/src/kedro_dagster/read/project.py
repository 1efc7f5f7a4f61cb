"""Read a Kedro project: its pipelines, the configuration of its catalog, and ``dagster.yml``.

Nothing is built here: no session, no context, no dataset. All of these belong to a run.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from kedro.framework.project import configure_project, settings, validate_settings
from kedro.framework.project import pipelines as registered_pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from ..doors import quiet
from ..errors import KeyPath, ProjectNotFoundError
from .conf_files import find_files, make_loader, read_catalog, read_config, read_dagster_yml
from .dagster_yml import KedroDagsterConfig
from .hidden import hidden_paths
from .messages import parse_config
from .outlines import load, send_to_runs
from .registry import describe_cause, load_pipelines, pipelines_of_jobs
from .source import ProjectSource, call_hooks, conf_source


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
        hidden_parameters: Key paths of those that came through a resolver of its own.
        config: The sound part of ``dagster.yml``.
        config_files: Where ``dagster.yml`` was read from, the environment's file first.
        catalog_files: The same for the catalog.
        mistakes: What is wrong in ``dagster.yml``: the keys that lead to it, and a message.
    """

    path: Path
    package_name: str
    env: str | None
    pipelines: Mapping[str, Pipeline]
    import_failures: Mapping[str, str]
    catalog: CatalogConfigResolver
    parameters: Mapping[str, Any] = field(repr=False)
    config: KedroDagsterConfig
    config_files: tuple[Path, ...]
    catalog_files: tuple[Path, ...]
    mistakes: Sequence[tuple[KeyPath, str]] = ()
    hidden_parameters: Collection[KeyPath] = ()

    def load_all_pipelines(self) -> Mapping[str, Pipeline]:
        """Load all registered pipelines, also those that no job runs."""
        pipelines, _ = load_pipelines(self.package_name, {"__default__"}, self._call_hooks)
        return {**pipelines, **self.pipelines}

    def hand_outlines_to_runs(self) -> None:
        """Let the runs of this code location import only the pipelines they run, if Kedro can."""
        wanted = pipelines_of_jobs(self.config)
        if len(wanted) > 1 and hasattr(registered_pipelines, "set_requested"):
            send_to_runs(self.package_name, {name: self.pipelines[name] for name in wanted})

    def _call_hooks(self) -> None:
        call_hooks(self.path, self.package_name, self.env)

    @cached_property
    def source(self) -> ProjectSource:
        """What a run needs of it."""
        return ProjectSource(
            self.path, self.package_name, self.env, conf_source(self.path), self.pipelines
        )


def read_project(
    project_path: str | Path | None = None,
    package_name: str | None = None,
    env: str | None = None,
) -> KedroProject:
    """Bootstrap a Kedro project and read it."""
    quiet.ignore_warnings()
    path, package = _bootstrap(project_path, package_name)
    env = env or os.environ.get("KEDRO_ENV") or None
    loader = make_loader(conf_source(path), env)
    raw_config, files = read_dagster_yml(loader, path)
    config, mistakes = parse_config(raw_config)
    wanted = pipelines_of_jobs(config)
    pipelines, import_failures = load(package), dict[str, str]()
    if not wanted <= pipelines.keys():
        pipelines, import_failures = load_pipelines(
            package, wanted, partial(call_hooks, path, package, env)
        )
    parameters = read_config(loader, "parameters")
    return KedroProject(
        path=path,
        package_name=package,
        env=env,
        pipelines=pipelines,
        import_failures=import_failures,
        catalog=read_catalog(loader),
        parameters=parameters,
        hidden_parameters=hidden_paths(loader, "parameters", parameters),
        config=config,
        config_files=files,
        catalog_files=find_files(loader, "catalog"),
        mistakes=mistakes,
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
        _ = settings.CONF_SOURCE  # which validates the values
    except Exception as error:
        raise ProjectNotFoundError(
            f"The settings of the Kedro project, {package}.settings, cannot be imported: "
            f"{describe_cause(error)}"
        ) from error
    return root, package


def _find_root(package_name: str | None) -> Path:
    if package_name:
        spec = _find_spec(package_name)
        if spec is None:
            raise ProjectNotFoundError(
                f"There is no Python package {package_name!r}. Install the project, or start "
                "Python with its source folder on PYTHONPATH."
            )
        for folder in spec.submodule_search_locations or ():  # several without an __init__.py
            if root := find_kedro_project(Path(folder)):
                return Path(root)
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError):  # of a package around it
        return None
