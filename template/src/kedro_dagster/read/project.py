"""Read a Kedro project: its pipelines, the configuration of its catalog, and ``dagster.yml``.

No dataset is built here, and a session and a context only where the pipelines do not load
before the project's hooks have been called, or where it asks for what these put into the catalog.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import click
import kedro.framework.project as kedro_project
from kedro.framework.project import configure_project, settings, validate_settings
from kedro.framework.project import pipelines as registered_pipelines
from kedro.framework.startup import ProjectMetadata, bootstrap_project
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from ..doors import quiet
from ..doors.dagster import hand_to_runs, has_runs_to_come
from ..doors.kedro_session import session_class
from ..errors import KeyPath, ProjectNotFoundError
from .ad_hoc import add_job_asked_for
from .conf_files import find_files, make_loader, read_catalog, read_config, read_dagster_yml
from .dagster_yml import KedroDagsterConfig
from .factories import factories_in, make_jobs, pipelines_of_factories
from .from_hooks import entries_of_hooks
from .hidden import hidden_paths
from .messages import parse_config
from .registry import describe_cause, load_pipelines, pipelines_of_jobs
from .source import ProjectSource, dump, load_outlines

CONF_SOURCE = "KEDRO_CONF_SOURCE"
"""The environment variable that says where the configuration is, as ``KEDRO_ENV`` says which."""


@dataclass(frozen=True)
class KedroProject(ProjectSource):
    """What a Kedro project says before anything runs.

    Args:
        import_failures: Modules that ``find_pipelines`` left out, each with the reason.
        catalog: Answers what a dataset's catalog entry is, factories included.
        parameters: The project's parameters, as ``parameters.yml`` gives them.
        config: The sound part of ``dagster.yml``.
        config_files: Where ``dagster.yml`` was read from, the environment's file first.
        catalog_files: The same for the catalog.
        mistakes: What is wrong in ``dagster.yml``: the keys that lead to it, and a message.
        hidden_parameters: Key paths of the parameters that came through a resolver of its own.
        job_patterns: The pattern of each job that a factory of ``dagster.yml`` gives.
    """

    import_failures: Mapping[str, str]
    catalog: CatalogConfigResolver
    parameters: Mapping[str, Any] = field(repr=False)
    config: KedroDagsterConfig
    config_files: tuple[Path, ...]
    catalog_files: tuple[Path, ...]
    mistakes: Sequence[tuple[KeyPath, str]] = ()
    hidden_parameters: Collection[KeyPath] = ()
    job_patterns: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def source(self) -> ProjectSource:
        """What a run needs of it: no configuration, since all of that is in the plan."""
        return ProjectSource(
            self.path, self.package_name, self.env, self.conf_source, self.pipelines
        )

    def load_all_pipelines(self) -> Mapping[str, Pipeline]:
        """Load all registered pipelines, also those that no job runs."""
        pipelines, _ = load_pipelines(self.package_name, {"__default__"}, self.call_hooks)
        return {**pipelines, **self.pipelines}

    def hand_outlines_to_runs(self) -> None:
        """Let the runs of this code location import only the pipelines they run, if Kedro can."""
        wanted = pipelines_of_jobs(self.config)
        are_asked_for = len(wanted) > 1 and hasattr(registered_pipelines, "set_requested")
        if are_asked_for and has_runs_to_come():  # all of them: groups depend on them
            hand_to_runs(f"kedro_dagster/{self.package_name}", dump(self.pipelines))


def read_project(
    project_path: str | Path | None = None,
    package_name: str | None = None,
    env: str | None = None,
    conf_source: str | Path | None = None,
) -> KedroProject:
    """Bootstrap a Kedro project and read it."""
    quiet.ignore_warnings()
    path, package = _bootstrap(project_path, package_name)
    env = env or os.environ.get("KEDRO_ENV") or None
    source = ProjectSource(path, package, env, _find_conf(conf_source, path), {})
    loader = make_loader(source.conf_source, source.env)
    raw_config, files = read_dagster_yml(loader, path)
    config, mistakes = parse_config(raw_config)
    factories, patterns = factories_in(raw_config), dict[str, str]()
    wanted = pipelines_of_jobs(add_job_asked_for(config)) | pipelines_of_factories(factories)
    pipelines, import_failures = load_outlines(package), dict[str, str]()
    if not wanted <= pipelines.keys():
        pipelines, import_failures = load_pipelines(package, wanted, source.call_hooks)
    if factories:
        content, patterns, of_factories = make_jobs(raw_config, factories, pipelines)
        config, mistakes = parse_config(content)
        mistakes += of_factories
    asked = add_job_asked_for(config)
    # A job that the command line changes is not as its pattern has it
    patterns = {
        job: one for job, one in patterns.items() if asked.jobs.get(job) is config.jobs.get(job)
    }
    parameters = read_config(loader, "parameters")
    return KedroProject(
        path=path,
        package_name=package,
        env=source.env,
        conf_source=source.conf_source,
        pipelines=pipelines,
        import_failures=import_failures,
        catalog=read_catalog(loader, entries_of_hooks(source) if config.assets.from_hooks else {}),
        parameters=parameters,
        hidden_parameters=hidden_paths(loader, "parameters", parameters),
        config=asked,
        config_files=files,
        catalog_files=find_files(loader, "catalog"),
        mistakes=mistakes,
        job_patterns=patterns,
    )


def _bootstrap(project_path: str | Path | None, package_name: str | None) -> tuple[Path, str]:
    """Configure Kedro for the project; find its root folder and the name of its package."""
    root = Path(project_path).resolve() if project_path else _find_root(package_name)
    if not (root / "pyproject.toml").is_file() and package_name:
        # A packaged project: there is no source tree, and conf/ stands in the working folder.
        configure_project(package_name)
        package = package_name
    else:
        try:
            package = _bootstrapped_by_kedro(root) or bootstrap_project(root).package_name
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
    session_class()
    return root, package


def _bootstrapped_by_kedro(root: Path) -> str | None:
    """The package of the project that Kedro's command line has bootstrapped for its command."""
    command = click.get_current_context(silent=True)
    metadata = command.obj if command else None
    if not isinstance(metadata, ProjectMetadata) or metadata.project_path != root:
        return None
    package = metadata.package_name
    if str(kedro_project.PACKAGE_NAME) != package:
        return None
    registered_pipelines.configure(f"{package}.pipeline_registry")  # to be read anew
    return package


def _find_conf(conf_source: str | Path | None, root: Path) -> str:
    """Find the configuration that is asked for, or else that of settings.py."""
    name = "conf_source" if conf_source else CONF_SOURCE
    asked = str(conf_source or os.environ.get(CONF_SOURCE) or "").removeprefix("file://")
    if not asked:
        return str(root / settings.CONF_SOURCE)
    if "://" in asked:
        return asked
    if not Path(asked).exists():
        raise ProjectNotFoundError(
            f"{name}: there is no {Path(asked).absolute()}. Name a folder with configuration, an "
            "archive of one (.zip or .tar.gz), or a URL."
        )
    return str(Path(asked).resolve())


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
