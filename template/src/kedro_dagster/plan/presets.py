"""The presets of jobs: each is a job with the same steps, whose runs have a config of their own.

The launchpad knows no named run configs: Dagster shows one config for each job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from ..errors import KeyPath
from ..read.conf_files import runtime_params_asked_for
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from .chosen_keys import steps_for_keys
from .model import JobPlan


def merged(options: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run with others in their place; runtime parameters of both stay."""
    params = [one["runtime_params"] for one in (options, others) if one.get("runtime_params")]
    found: Any = OmegaConf.to_container(OmegaConf.merge(*params)) if params else {}
    return {**options, **others, **({"runtime_params": found} if found else {})}


def check_presets(project: KedroProject, jobs: Mapping[str, JobPlan], mistakes: Mistakes) -> None:
    """Look for presets that have the name of another job, or keys that nothing takes."""
    owners: dict[str, KeyPath] = {name: ("jobs", name) for name in project.config.jobs}
    for name, options in project.config.jobs.items():
        for preset, given in options.presets.items():
            place: KeyPath = ("jobs", name, "presets", preset)
            owner = owners.setdefault(f"{name}_{preset}", place)
            if owner is not place:
                message = f"its job is called {f'{name}_{preset}'!r}, as is {'.'.join(owner)}."
                mistakes.add(place, f"{message} Choose another name.")
            _check_params(project, (*place, "runtime_params"), given.runtime_params, mistakes)
            if given.partition_keys is not None and options.target == "assets":
                message = "this is for jobs of ops; pick partitions of assets."
                mistakes.add((*place, "partition_keys"), message)
            elif given.partition_keys is not None and name in jobs:
                try:
                    steps_for_keys(jobs[name], given.partition_keys)
                except ValueError as error:
                    message = str(error).removeprefix("partition_keys: ")
                    mistakes.add((*place, "partition_keys"), message)


def _check_params(
    project: KedroProject, place: KeyPath, given: Mapping[str, Any], mistakes: Mistakes
) -> None:
    unknown = list(_unknown(given, project.parameters))
    asked = runtime_params_asked_for(project.conf_source) if unknown else ()
    if asked is None:  # it is not here to be read
        return
    for path, siblings in unknown:
        name = ".".join(path)
        if any(f"{name}.".startswith(f"{one}.") or one.startswith(f"{name}.") for one in asked):
            continue
        message = f"no parameter has this name, and nothing asks for ${{runtime_params:{name}}}."
        mistakes.add((*place, *path), message, path[-1], {*siblings, *asked})


def _unknown(
    given: Mapping[str, Any], parameters: Mapping[Any, Any], path: KeyPath = ()
) -> Iterator[tuple[KeyPath, list[str]]]:
    """The keys that the parameters do not have, each with those that stand beside it."""
    known = {str(key): value for key, value in parameters.items()}
    for key, value in given.items():
        inner = known.get(str(key))
        if str(key) not in known:
            yield (*path, str(key)), list(known)
        elif isinstance(value, Mapping) and isinstance(inner, Mapping) and inner:
            yield from _unknown(value, inner, (*path, str(key)))
