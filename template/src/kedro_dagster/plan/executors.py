"""Dagster's executors, by their names in ``dagster.yml``, and mistakes in their options."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._config.errors import (
    FieldNotDefinedErrorData,
    FieldsNotDefinedErrorData,
    RuntimeMismatchErrorData,
)
from dagster._config.validate import validate_config

from ..errors import KeyPath, did_you_mean
from ..read.dagster_yml import ExecutorOptions
from ..read.mistakes import Mistakes
from ..read.project import KedroProject


@dataclass(frozen=True)
class ExecutorKind:
    """An executor that ``dagster.yml`` can name.

    Args:
        names: What it may be called there.
        path: Where the ``dagster.ExecutorDefinition`` is.
        package: What to install for it.
    """

    names: tuple[str, ...]
    path: str
    package: str = "dagster"


EXECUTOR_KINDS = (
    ExecutorKind(("in_process", "in_process_executor"), "dagster.in_process_executor"),
    ExecutorKind(("multiprocess", "multiprocess_executor"), "dagster.multiprocess_executor"),
    ExecutorKind(("dask", "dask_executor"), "dagster_dask.dask_executor", "dagster-dask"),
    ExecutorKind(("celery", "celery_executor"), "dagster_celery.celery_executor", "dagster-celery"),
    ExecutorKind(("docker", "docker_executor"), "dagster_docker.docker_executor", "dagster-docker"),
    ExecutorKind(
        ("k8s", "k8s_executor", "k8s_job", "k8s_job_executor"),
        "dagster_k8s.k8s_job_executor",
        "dagster-k8s",
    ),
    ExecutorKind(
        ("celery_docker", "celery_docker_executor"),
        "dagster_celery_docker.celery_docker_executor",
        "dagster-celery-docker",
    ),
    ExecutorKind(
        ("celery_k8s", "celery_k8s_executor", "celery_k8s_job", "celery_k8s_job_executor"),
        "dagster_celery_k8s.celery_k8s_job_executor",
        "dagster-celery-k8s",
    ),
)

_POD_TAG = "dagster-k8s/config"


def check_executors(project: KedroProject, mistakes: Mistakes) -> None:
    """Look for mistakes in the executors that jobs use."""
    executors: dict[KeyPath, ExecutorOptions] = {}
    for name, job in project.config.jobs.items():
        if isinstance(job.executor, ExecutorOptions):
            executors["jobs", name, "executor"] = job.executor
        elif job.executor in project.config.executors:
            executors["executors", job.executor] = project.config.executors[job.executor]
    for path, options in executors.items():
        try:
            definition = import_executor(options.kind)
        except ValueError as error:
            mistakes.add(path, str(error))
        else:
            schema = definition.config_schema.config_type
            _check_options((*path, options.kind), schema, options.options, mistakes)
    _check_pods(project, mistakes)


def _check_pods(project: KedroProject, mistakes: Mistakes) -> None:
    """Look for mistakes in the pods of single nodes, if an executor has loaded dagster-k8s."""
    k8s = sys.modules.get("dagster_k8s.job")
    if k8s is None:
        return
    for name, options in project.config.nodes.items():
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
    """Hold options against Dagster's own schema, and say what is wrong in plain words."""
    for error in validate_config(schema, options).errors or ():
        keys, data = tuple(error.stack.levels), error.error_data
        unknown: Sequence[str] = ()
        if isinstance(data, FieldNotDefinedErrorData):
            unknown = [data.field_name]
        elif isinstance(data, FieldsNotDefinedErrorData):
            unknown = data.field_names
        for name in unknown:
            known = _option_names(schema, keys)
            mistakes.add((*path, *keys, name), "unknown key.", name, known)
        if unknown:
            continue
        if isinstance(data, RuntimeMismatchErrorData) and data.config_type_snap.given_name:
            wanted = data.config_type_snap.given_name
            message = f"{data.value_rep} is not valid: its type must be {wanted}."
            mistakes.add((*path, *keys), message)
        else:
            mistakes.add((*path, *keys), error.message.replace("root:", ""))


def _option_names(schema: Any, keys: Iterable[str]) -> Collection[str]:
    for key in keys:
        schema = schema.fields[key].config_type
        while hasattr(schema, "inner_type"):
            schema = schema.inner_type
        schema = getattr(schema, "non_scalar_type", schema)  # where {env: NAME} may stand
    return getattr(schema, "fields", {})


def import_executor(name: str) -> dg.ExecutorDefinition:
    """Import an executor by its name in ``dagster.yml``."""
    kinds = {known: kind for kind in EXECUTOR_KINDS for known in kind.names}
    kind = kinds.get(name) or ExecutorKind((name,), name, name.partition(".")[0])
    module, _, attribute = kind.path.rpartition(".")
    if not module:
        raise ValueError(
            f"there is no executor {name!r}. {did_you_mean(name, kinds)} Any other is named by "
            "its dotted path."
        )
    try:
        definition = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"executor {name!r} needs a package that is not installed ({error}). Install it: "
            f"pip install {kind.package}"
        ) from error
    except AttributeError as error:
        raise ValueError(f"there is no {attribute!r} in module {module}.") from error
    if not isinstance(definition, dg.ExecutorDefinition):
        raise ValueError(f"{name!r} is no dagster.ExecutorDefinition, but {definition!r}.")
    return definition
