"""``kedro dagster check``: what is wrong with a project, found without a server or a run."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.io.core import parse_dataset_definition

from ..doors import kedro as kedro_door
from ..errors import DagsterConfigError, KedroDagsterError, KeyPath, Mistake
from ..plan.model import ProjectPlan
from ..plan.preflight import preflight
from ..read.credentials import redact, remember
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.registry import describe_cause
from ..render.code_location import KedroProjectTranslator
from .definitions import load_repository

_UNRESOLVED = re.compile(r"<([\w.]+:[^<>]*)>")
"""What stands in configuration in the place of a resolver's value, where there is none."""


@dataclass(frozen=True)
class Report:
    """What is wrong, and what may become so."""

    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Write it as data that JSON has."""
        return {
            "ok": not self.mistakes,
            "mistakes": [
                {"file": one.file, "key": ".".join(one.path), "message": one.message}
                for one in self.mistakes
            ],
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Write it for people."""
        if not self.mistakes:
            return "Nothing is wrong."
        return str(DagsterConfigError(self.mistakes))


def check(project_path: str, *, deep: bool = False) -> Report:
    """Look for mistakes; ``deep`` builds each dataset, with the credentials of this machine."""
    try:
        translator = KedroProjectTranslator(project_path)
    except DagsterConfigError as error:
        return Report(error.mistakes)
    except KedroDagsterError as error:
        return Report((Mistake("", (), str(error)),))
    project, plan = translator.project, translator.plan
    mistakes = Mistakes(project)
    names = _names(project, plan)
    found = list(_types(project, names))
    if deep:
        found += _deep(project, names - {path[0] for path, _ in found})
    for path, message in sorted(found):
        mistakes.add_in_catalog(path, message)
    others = []
    try:
        load_repository(project.package_name)
    except KedroDagsterError as error:
        others.append(Mistake("", (), str(error)))
    return Report((*mistakes, *others), tuple(map(str, preflight(plan))))


def _names(project: KedroProject, plan: ProjectPlan) -> set[str]:
    """The datasets of all jobs, and those that stand in the catalog for others."""
    catalog = project.catalog
    used = {name for dataset in plan.datasets.values() for name in dataset.variants}
    return {name for name in used | catalog.config.keys() if catalog.resolve_pattern(name)}


def _types(project: KedroProject, names: Collection[str]) -> Iterator[tuple[KeyPath, str]]:
    """Of each dataset, import the class; give those that cannot be, and why."""
    for name in names:
        for keys, entry in _entries(project.catalog.resolve_pattern(name), (name,)):
            try:
                parse_dataset_definition(copy.deepcopy(entry))
            except Exception as error:  # noqa: BLE001  # an import of a user's module
                yield (*keys, "type"), f"{redact(_one_line(error))}."


def _entries(entry: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """A catalog entry, and the one that it wraps."""
    if isinstance(entry, str):
        entry = {"type": entry}
    if isinstance(entry, dict) and "type" in entry:
        yield keys, entry
        yield from _entries(entry.get("dataset"), (*keys, "dataset"))


def _deep(project: KedroProject, names: Collection[str]) -> Iterator[tuple[KeyPath, str]]:
    """Build each dataset, and look whether its credentials are there."""
    context = project.context()
    loader = context.config_loader
    credentials = _read(loader, "credentials")
    remember(credentials)
    entries = _read(loader, "catalog").items()
    missing = [one for entry in entries for one in _missing_credentials(*entry, credentials)]
    yield from missing
    if missing:  # Kedro builds no catalog then
        return
    built = kedro_door.catalog_outside_of_runs(context)
    for name in names:
        try:
            built.get(name)
        except Exception as error:  # noqa: BLE001  # whatever the class of a dataset raises
            yield (name,), f"cannot be built: {redact(_one_line(error))}."


def _read(loader: AbstractConfigLoader, kind: str) -> dict[str, Any]:
    try:
        return dict(kedro_door.read_leniently(loader, kind))
    except MissingConfigException:
        return {}


def _missing_credentials(
    name: str, entry: Any, credentials: Mapping[str, Any]
) -> Iterator[tuple[KeyPath, str]]:
    for keys, inner in _entries(entry, (name,)):
        own = inner.get("credentials")
        if not isinstance(own, str):
            continue
        if own not in credentials:
            yield (*keys, "credentials"), f"there are no credentials {own!r}."
        elif unresolved := _UNRESOLVED.findall(str(credentials[own])):
            what = ", ".join(f"${{{one}}}" for one in dict.fromkeys(unresolved))
            yield (*keys, "credentials"), f"credentials {own!r} need {what}, which has no value."


def _one_line(error: Exception) -> str:
    return " ".join(describe_cause(error).split()).rstrip(".")
