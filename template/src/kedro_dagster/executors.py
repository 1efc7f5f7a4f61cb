"""Dagster's executors, by their names in ``dagster.yml``."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._check import not_none
from dagster._config.errors import (
    FieldNotDefinedErrorData,
    FieldsNotDefinedErrorData,
    RuntimeMismatchErrorData,
)
from dagster._config.post_process import post_process_config
from dagster._config.validate import validate_config

from .config import ExecutorOptions
from .errors import Mistake, did_you_mean
from .project import KedroProject


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


def executor_definition(options: ExecutorOptions) -> dg.ExecutorDefinition:
    """Find an executor and configure it.

    Args:
        options: Its kind and its config.

    Returns:
        The executor, not yet wrapped.

    Raises:
        ValueError: There is no such executor, or its package is not installed.
    """
    definition = _import_executor(options.kind)

    def options_of_run(_: Any) -> Mapping[str, Any]:
        """Give the options as they are written: Dagster reads ``{env: NAME}`` when a run starts."""
        if missing := list(_missing_variables(definition, options)):
            raise dg.DagsterInvariantViolationError("\n".join(missing))
        return options.options

    return definition.configured(options_of_run, name=definition.name)


def refuse_threads(executor: Any) -> None:
    """Refuse to run on Dask workers with several threads, where Dagster would wait for ever.

    Dagster is not made for several steps in one process at a time: two of them were seen to wait
    for each other's locks of ``logging`` in any job. ``dask worker`` has a thread for each core.

    Args:
        executor: Any executor.

    Raises:
        dagster.DagsterInvariantViolationError: A worker of its scheduler has several threads.
    """
    if getattr(executor, "cluster_type", None) != "existing":
        return
    from dask.distributed import Client  # noqa: PLC0415  # it is there with the executor

    with Client(executor.cluster_configuration["address"]) as client:
        crowded = [worker for worker, threads in client.nthreads().items() if threads > 1]
    if crowded:
        raise dg.DagsterInvariantViolationError(
            f"Dask worker {crowded[0]} has several threads, in which Dagster's steps wait for each "
            "other without end. Start workers with one thread: "
            "dask worker <scheduler> --nworkers 4 --nthreads 1"
        )


def check_executors(project: KedroProject) -> list[Mistake]:
    """Look for mistakes in the executors that jobs use.

    Args:
        project: The project.

    Returns:
        The mistakes, each at the key in ``dagster.yml`` where it stands.
    """
    mistakes = []
    executors: dict[tuple[str, ...], ExecutorOptions] = {}
    for name, job in project.config.jobs.items():
        if isinstance(job.executor, ExecutorOptions):
            executors["jobs", name, "executor"] = job.executor
        elif job.executor in project.config.executors:
            executors["executors", job.executor] = project.config.executors[job.executor]
    for path, options in executors.items():
        try:
            definition = _import_executor(options.kind)
        except ValueError as error:
            mistakes.append(project.mistake(path, str(error)))
        else:
            mistakes += [
                project.mistake((*path, options.kind, *keys), message)
                for keys, message in _option_faults(
                    definition.config_schema.config_type, options.options
                )
            ]
    return [*mistakes, *_faulty_pods(project)]


def _faulty_pods(project: KedroProject) -> Iterator[Mistake]:
    """Look for mistakes in the pods of single nodes, if an executor has loaded dagster-k8s."""
    k8s = sys.modules.get("dagster_k8s.job")
    if k8s is None:
        return
    for name, options in project.config.nodes.items():
        tag = options.tags.get(_POD_TAG)
        if not tag:
            continue
        try:
            faults = list(_option_faults(k8s.USER_DEFINED_K8S_JOB_CONFIG_SCHEMA, json.loads(tag)))
            if not faults:
                k8s.get_user_defined_k8s_config({_POD_TAG: tag})
        except json.JSONDecodeError:
            faults = [((), f"{tag!r} is not valid here. Write keys with values.")]
        except Exception as error:  # noqa: BLE001  # it knows nothing more special
            faults = [((), f"{error}.")]
        for keys, message in faults:
            yield project.mistake(("nodes", name, "tags", _POD_TAG, *keys), message)


def _missing_variables(
    definition: dg.ExecutorDefinition, options: ExecutorOptions
) -> Iterator[str]:
    """Say in a line each what Dagster would say with a traceback."""
    schema = not_none(definition.config_schema.config_type)
    for error in post_process_config(schema, options.options).errors or ():
        keys = ".".join((options.kind, *error.stack.levels))
        message = getattr(error.error_data, "message", error.message)
        yield f"Option {keys} of dagster.yml: {message.partition('Error: ')[2].strip()}"


def _option_faults(
    schema: Any, options: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Hold options against Dagster's own schema, and say what is wrong in plain words."""
    for error in validate_config(schema, options).errors or ():
        keys, data = tuple(error.stack.levels), error.error_data
        unknown: Sequence[str] = ()
        if isinstance(data, FieldNotDefinedErrorData):
            unknown = [data.field_name]
        elif isinstance(data, FieldsNotDefinedErrorData):
            unknown = data.field_names
        for name in unknown:
            known = did_you_mean(name, _option_names(schema, keys))
            yield (*keys, name), f"unknown key. {known}"
        if unknown:
            continue
        if isinstance(data, RuntimeMismatchErrorData) and data.config_type_snap.given_name:
            wanted = data.config_type_snap.given_name
            yield keys, f"{data.value_rep} is not valid: its type must be {wanted}."
        else:
            yield keys, error.message.replace("root:", "")


def _option_names(schema: Any, keys: Iterable[str]) -> Iterable[str]:
    for key in keys:
        schema = schema.fields[key].config_type
        while hasattr(schema, "inner_type"):
            schema = schema.inner_type
        schema = getattr(schema, "non_scalar_type", schema)  # where {env: NAME} may stand
    return getattr(schema, "fields", {})


def _import_executor(name: str) -> dg.ExecutorDefinition:
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
