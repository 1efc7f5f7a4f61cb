"""A plan with other names of steps, as a translator of the user's own gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain

from ..errors import KedroDagsterError
from .model import ProjectPlan, StepPlan
from .names import op_name


def rename_steps(plan: ProjectPlan, name_of: Callable[[StepPlan], str]) -> ProjectPlan:
    """Give the steps of jobs and of assets other names, wherever the plan speaks of them."""
    assets = list(plan.asset_steps.values())
    steps = (*(job.steps for job in plan.jobs.values()), (one.step for one in assets))
    if all(name_of(step) == step.name for step in chain(*steps)):
        return plan
    names = _named((one.step for one in assets), name_of, "the assets")
    of_assets = {one.name: name for name, one in names.items()}
    jobs = {}
    for name, job in plan.jobs.items():
        if job.assets:
            own = [(of_assets[one.name], one) for one in job.steps]
            renamed = [replace(one, name=step, op=step) for step, one in own]
        else:
            named = _named(job.steps, name_of, f"job {name!r}").items()
            renamed = [replace(one, name=step, op=op_name(job.root, step)) for step, one in named]
        jobs[name] = replace(job, steps=tuple(renamed))
    asset_steps = {
        name: replace(one, step=replace(one.step, name=name, op=name))
        for name, one in zip(names, assets, strict=True)
    }
    return replace(plan, jobs=jobs, asset_steps=asset_steps)


def _named(
    steps: Iterable[StepPlan], name_of: Callable[[StepPlan], str], where: str
) -> dict[str, StepPlan]:
    found: dict[str, StepPlan] = {}
    for step in steps:
        name = name_of(step)
        if (other := found.setdefault(name, step)) is not step:
            raise KedroDagsterError(
                f"get_op_name calls two steps of {where} {name!r}: {other.name!r} and "
                f"{step.name!r}. Give each its own name."
            )
    return found
