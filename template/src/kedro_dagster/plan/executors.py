"""Finds executors by their names in ``dagster.yml``, and mistakes in their options."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from ..errors import KeyPath, did_you_mean
from ..read.dagster_yml import ExecutorOptions, KedroDagsterConfig
from ..read.mistakes import Mistakes
from ..read.registry import describe_cause

_PATHS = {
    "in_process": "dagster.in_process_executor",
    "multiprocess": "dagster.multiprocess_executor",
    "dask": "dagster_dask.dask_executor",
    "celery": "dagster_celery.celery_executor",
    "docker": "dagster_docker.docker_executor",
    "k8s": "dagster_k8s.k8s_job_executor",
    "k8s_job": "dagster_k8s.k8s_job_executor",
    "celery_docker": "dagster_celery_docker.celery_docker_executor",
    "celery_k8s": "dagster_celery_k8s.celery_k8s_job_executor",
    "celery_k8s_job": "dagster_celery_k8s.celery_k8s_job_executor",
}

EXECUTORS = {**_PATHS, **{f"{name}_executor": path for name, path in _PATHS.items()}}
"""Where the ``dagster.ExecutorDefinition`` of a name is; of any other, the name is the path."""

UNRESOLVED = "FAILED_POST_PROCESSING"
"""Dagster's reason for a value that it cannot give: that of a variable which is not set."""

_POD_TAG = "dagster-k8s/config"


def executors_used(
    config: KedroDagsterConfig,
) -> Iterator[tuple[KeyPath, str | ExecutorOptions | None]]:
    """What materialisations and jobs say of their executor, and where they say it."""
    yield ("assets", "executor"), config.assets.executor
    for name, job in config.jobs.items():
        yield ("jobs", name, "executor"), job.executor


def find_executor(
    config: KedroDagsterConfig, path: KeyPath, executor: str | ExecutorOptions | None
) -> tuple[KeyPath, ExecutorOptions] | None:
    """An executor, and where it is written; ``None`` where nothing has its name."""
    if isinstance(executor, ExecutorOptions):
        return path, executor
    if executor in config.executors:
        return ("executors", executor), config.executors[executor]
    if executor and (executor in EXECUTORS or "." in executor):  # one of Dagster's own
        return path, ExecutorOptions.model_validate(executor)
    return None


def check_executors(config: KedroDagsterConfig, mistakes: Mistakes) -> None:
    """Look for mistakes in the executors that are used."""
    used = executors_used(config)
    found = dict(filter(None, (find_executor(config, *reference) for reference in used)))
    for path, executor in found.items():
        try:
            schema = import_executor(executor.kind).config_schema
        except ValueError as error:
            mistakes.add(path, str(error))
        else:
            _check_options((*path, executor.kind), schema, executor.options, mistakes)
    _check_pods(config, mistakes)


def _check_pods(config: KedroDagsterConfig, mistakes: Mistakes) -> None:
    """Look for mistakes in the pods of nodes, if an executor has imported dagster-k8s."""
    k8s = sys.modules.get("dagster_k8s.job")
    if k8s is None:
        return
    for name, options in config.nodes.items():
        tag = options.tags.get(_POD_TAG)
        if not tag:
            continue
        path, before = ("nodes", name, "tags", _POD_TAG), len(mistakes)
        try:
            schema = k8s.USER_DEFINED_K8S_JOB_CONFIG_SCHEMA
            _check_options(path, schema, json.loads(tag), mistakes)
            if len(mistakes) == before:
                k8s.get_user_defined_k8s_config({_POD_TAG: tag})
        except json.JSONDecodeError:
            mistakes.add(path, f"{tag!r} is not valid here. Write keys with values.")
        except Exception as error:  # noqa: BLE001  # it knows nothing more special
            mistakes.add(path, f"{error}.")


def _check_options(
    path: KeyPath, schema: Any, options: Mapping[str, Any], mistakes: Mistakes
) -> None:
    """Check options against Dagster's own schema, and say what is wrong in plain words."""
    for error in option_errors(schema, options):
        inner, data, kind = error.stack.levels[1:], error.error_data, error.reason.name
        place = (*path, *inner)
        if kind == UNRESOLVED:
            continue  # a variable that is not set here may be set where runs are
        if kind in ("FIELD_NOT_DEFINED", "FIELDS_NOT_DEFINED"):
            for name in getattr(data, "field_names", None) or [data.field_name]:
                mistakes.add((*place, name), "unknown key.", name, _option_names(schema, inner))
        elif kind == "RUNTIME_TYPE_MISMATCH" and data.config_type_snap.given_name:
            wanted = data.config_type_snap.given_name
            mistakes.add(place, f"{data.value_rep} is not valid: its type must be {wanted}.")
        else:
            mistakes.add(place, error.message.replace("root:config:", ""))


def option_errors(schema: Any, options: Mapping[str, Any]) -> Sequence[Any]:
    """What Dagster says of options for this schema, where it resolves them as for a run."""
    op = dg.OpDefinition(lambda: None, "options", config_schema=schema)
    return op.configured(dict(options), name="options").apply_config_mapping({}).errors or ()


def _option_names(schema: Any, keys: Iterable[str]) -> Collection[str]:
    schema = getattr(schema, "config_type", schema)
    for key in keys:
        schema = schema.fields[key].config_type
        while hasattr(schema, "inner_type"):
            schema = schema.inner_type
        schema = getattr(schema, "non_scalar_type", schema)  # where {env: NAME} may stand
    return getattr(schema, "fields", {})


def import_executor(name: str) -> dg.ExecutorDefinition:
    """Import an executor by its name in ``dagster.yml``."""
    module, _, attribute = EXECUTORS.get(name, name).rpartition(".")
    if not module:
        raise ValueError(
            f"there is no executor {name!r}. {did_you_mean(name, EXECUTORS)} Any other is named by "
            "its dotted path."
        )
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and "." not in missing:
            raise ValueError(
                f"executor {name!r} needs a package that is not installed ({error}). Install it: "
                f"pip install {missing.replace('_', '-')}"
            ) from error
        raise ValueError(
            f"executor {name!r} cannot be imported: {describe_cause(error)}"
        ) from error
    definition = getattr(imported, attribute, None)
    if definition is None:
        raise ValueError(f"there is no {attribute!r} in module {module}.")
    if not isinstance(definition, dg.ExecutorDefinition):
        raise ValueError(f"{name!r} is no dagster.ExecutorDefinition, but {definition!r}.")
    return definition
