"""The pipelines of the project's registry, and why one is missing."""

from __future__ import annotations

import importlib.util
import logging
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

from kedro.framework import project as kedro_project
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines as registered_pipelines
from kedro.framework.project import settings
from kedro.pipeline import Pipeline

from ..errors import PipelineLoadError
from .dagster_yml import KedroDagsterConfig

logger = logging.getLogger(__name__)


def pipelines_of_jobs(config: KedroDagsterConfig) -> set[str]:
    """The pipelines that the jobs name."""
    return {name for job in config.jobs.values() for name in job.pipeline.names}


def load_pipelines(
    package: str, wanted: set[str], call_hooks: Callable[[], None]
) -> tuple[dict[str, Pipeline], dict[str, str]]:
    """Load the pipelines that jobs name, and find modules that fail for those that are missing.

    ``kedro run`` loads the registry after it has called hooks. Most projects do not need that, and
    hooks may be slow, so they are called only where the registry fails without.
    """
    try:
        pipelines = _load(package, wanted)
        failures = _failures(package, wanted, pipelines)
        # No hook installs a package
        reasons = [one for one in failures.values() if not one.startswith("ModuleNotFoundError")]
        if not (reasons and _has_hooks()):
            return pipelines, failures
        reason = reasons[0]
    except PipelineLoadError as error:
        if not _has_hooks():
            raise
        reason = str(error)
    logger.warning(
        "The pipelines could not be loaded at first: %s. So the project's hooks are called, as "
        "`kedro run` does before it loads them.",
        reason,
    )
    registered_pipelines.configure(f"{package}.pipeline_registry")  # else it is not loaded again
    try:
        call_hooks()
        pipelines = _load(package, wanted)
    except Exception as error:
        cause = describe_cause(error.__cause__ or error)
        raise PipelineLoadError(
            f"The pipelines of {package!r} cannot be loaded, with the project's hooks called "
            f"before: {cause}"
        ) from error
    return pipelines, _failures(package, wanted, pipelines)


def _has_hooks() -> bool:
    """Whether ``kedro run`` calls any code of the project or of its plugins before the registry."""
    plugins = {plugin.name for plugin in entry_points(group="kedro.hooks")} - {"kedro-telemetry"}
    return bool(settings.HOOKS or plugins) or settings.CONTEXT_CLASS is not KedroContext


def _load(package: str, wanted: set[str]) -> dict[str, Pipeline]:
    """Import only these pipelines, as ``kedro run`` does, if this Kedro can.

    All are loaded where one has no module of its own: a registry may make it out of others.
    """
    if hasattr(registered_pipelines, "set_requested"):
        if wanted <= _modules(package).keys():
            registered_pipelines.set_requested(sorted(wanted))
            with suppress(PipelineLoadError):
                pipelines = load_registry(package)
                if wanted <= pipelines.keys():
                    return pipelines
        registered_pipelines.set_requested(None)
    return load_registry(package)


def load_registry(package: str) -> dict[str, Pipeline]:
    """Load the registered pipelines: all, or those that have been requested."""
    try:
        return dict(registered_pipelines)
    except Exception as error:
        message = f"The pipelines of {package!r} cannot be loaded: {describe_cause(error)}"
        # A registry may index what find_pipelines() has left out with a warning
        for module, reason in _import_failures(_modules(package).values()).items():
            message += f"; module {module} fails on import: {reason}"
        raise PipelineLoadError(message) from error


def _failures(package: str, wanted: set[str], found: Mapping[str, Pipeline]) -> dict[str, str]:
    """The modules of pipelines that are wanted and not registered, each with the reason."""
    return _import_failures(
        module
        for name, module in _modules(package).items()
        if name not in found and (name in wanted or "__default__" in wanted)
    )


def _import_failures(modules: Iterable[str]) -> dict[str, str]:
    failures = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  # whatever the user's module raises
            failures[module] = describe_cause(error)
    return failures


def _modules(package: str) -> dict[str, str]:
    """The pipelines that ``find_pipelines()`` looks for, each with its module."""
    try:
        spec = importlib.util.find_spec(f"{package}.pipelines")
    except ImportError:
        return {}
    return {
        path.name: f"{package}.pipelines.{path.name}"
        for folder in (spec and spec.submodule_search_locations) or ()
        for path in sorted(Path(folder).iterdir())
        if path.is_dir() and not path.name.startswith((".", "__"))
    }


def failed_import(name: str, failures: Mapping[str, str]) -> str:
    """Say why a pipeline is not registered, where its module fails on import."""
    for module, reason in failures.items():
        if module.rpartition(".")[2] == name:
            return f"module {module} fails on import: {reason}"
    return ""


def describe_cause(error: BaseException) -> str:
    """An error as one line: its class, its message and the line of the user's code."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    if error.__cause__:
        return f"{text.rstrip('.')}, because of {describe_cause(error.__cause__)}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame)]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _is_own(frame: traceback.FrameSummary) -> bool:
    """Whether a line is the user's, not one of Python, of an installed package or of this one."""
    file, package = Path(frame.filename), sys.modules.get(str(kedro_project.PACKAGE_NAME))
    if any(file.is_relative_to(folder) for folder in getattr(package, "__path__", ())):
        return True  # also where the project is installed
    installed = {"site-packages", "dist-packages"}.intersection(file.parts)
    others = (sysconfig.get_path("stdlib"), Path(__file__).parents[1])
    return file.is_file() and not installed and not any(file.is_relative_to(one) for one in others)
