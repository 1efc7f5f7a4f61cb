"""The pipelines of the project's registry, and why one is missing."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kedro.framework.project import pipelines as registered_pipelines
from kedro.pipeline import Pipeline

from ..errors import PipelineLoadError
from .dagster_yml import KedroDagsterConfig


def pipelines_of_jobs(config: KedroDagsterConfig) -> set[str]:
    """The pipelines that the jobs name."""
    return {name for job in config.jobs.values() for name in job.pipeline.names}


def load_pipelines(package: str, wanted: set[str]) -> tuple[dict[str, Pipeline], dict[str, str]]:
    """Load the pipelines that jobs name, and keep what ``find_pipelines`` only warns of."""
    pipelines, caught = _load_selected(package, wanted) or load_registry(package)
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
            pipelines, caught = load_registry(package)
            if wanted <= pipelines.keys() and not _import_failures(caught):
                return pipelines, caught
    select(None)
    return None


def load_registry(package: str) -> tuple[dict[str, Pipeline], list[warnings.WarningMessage]]:
    """Load the registered pipelines, and catch what is warned of meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return dict(registered_pipelines), caught
        except Exception as error:
            raise PipelineLoadError(
                f"The pipelines of {package!r} cannot be loaded: {describe_cause(error)}"
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
    """Say why a pipeline is not registered, if it is for its module."""
    for module, reason in failures.items():
        if module.rpartition(".")[2] == name:
            return f"module {module} fails on import: {reason}"
    return ""


def describe_cause(error: BaseException) -> str:
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
