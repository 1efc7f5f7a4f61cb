"""Refuses config of a run that would evaluate or import something, or read files elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.io.core import parse_dataset_definition

from ..doors import kedro as kedro_door
from ..errors import KeyPath, RunConfigError, leaves

_NAMES_CODE: Mapping[str, tuple[str, ...]] = {
    "type": (),
    "comparison_func": (),
    "validator": (),
    "dataset": ("CachedDataset", "PartitionedDataset"),
    "backend": ("PickleDataset",),
}
"""The keys of a catalog entry whose values are imported, with the classes that import them: by
default, all do."""


def check_runtime_params(params: Mapping[str, Any]) -> None:
    """Refuse interpolations, which OmegaConf would evaluate with any resolver of the project."""
    for path, value in leaves(params):
        if isinstance(value, str) and "${" in value:
            raise RunConfigError(
                ("runtime_params", *path),
                f"{value!r} is an interpolation, and none is evaluated that comes with a run. "
                "Write its value, or write it in conf.",
            )


def check_load_versions(versions: Mapping[str, Any]) -> None:
    """Refuse versions that lead out of the folder of a dataset."""
    for name, version in versions.items():
        if not (isinstance(version, str) and is_file_name(version)):
            raise RunConfigError(
                ("load_versions", name),
                f"{version!r} is no version. Write one like 2024-01-31T12.00.00.000Z.",
            )


def check_start_method(executor_config: Mapping[str, Any]) -> None:
    """Refuse modules that the processes of steps would import first."""
    for path, value in leaves(executor_config):
        if "preload_modules" in path:
            raise dg.DagsterInvariantViolationError(
                f"execution.config.{'.'.join(path)}: {value!r} would be imported, and no run "
                "chooses that. Write it in dagster.yml, in the executor of the job."
            )


def is_file_name(text: str) -> bool:
    """Whether a text is the name of a file or folder, and no path."""
    return text not in ("", ".", "..") and not {"/", "\\", "\0"}.intersection(text)


def check_classes(loader: AbstractConfigLoader, conf_source: str, env: str | None) -> None:
    """Refuse runtime parameters that change which class or module the catalog names."""
    planning_loader = kedro_door.planning_config_loader(conf_source, env)
    try:
        planned = dict(leaves(kedro_door.read_leniently(planning_loader, "catalog")))
        found = dict(leaves(loader["catalog"]))
    except MissingConfigException:
        return
    changed = [path for path, value in found.items() if value != planned.get(path)]
    for path in sorted(changed, key=lambda path: path[-1] != "type"):  # others depend on it
        if _names_code(path, found):
            raise RunConfigError(
                ("runtime_params",),
                f"with them, {'.'.join(path)} of the catalog would be {found[path]!r}, and no run "
                "chooses the code that is imported. Write it in conf, for an environment.",
            )


def _names_code(path: KeyPath, catalog: Mapping[KeyPath, Any]) -> bool:
    owners = _NAMES_CODE.get(path[-1])
    if not owners:
        return owners is not None
    owner = catalog.get((*path[:-1], "type"))
    bases = parse_dataset_definition({"type": owner})[0].__mro__ if owner else ()
    return any(base.__name__ in owners for base in bases)
