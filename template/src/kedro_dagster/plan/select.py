"""Narrows jobs of assets to those that they select, in Dagster's own syntax for that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import dagster as dg
from kedro.pipeline import Pipeline

from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from ..read.values import HOW_TO_SELECT, selection_of
from .asset_jobs import check_assets, with_assets
from .model import JobPlan, ProjectPlan


def select_assets(
    plan: ProjectPlan, spec: Callable[[str, Collection[str]], dg.AssetSpec], project: KedroProject
) -> ProjectPlan:
    """Let each job of assets make those that it selects, or tell of all mistakes in that.

    What is selected depends on the specs, which a translator gives for a dataset and for those
    that it is made from.
    """
    selecting = {name: job for name, job in plan.jobs.items() if job.select}
    if not selecting:
        return plan
    mistakes, jobs = Mistakes(project), dict(plan.jobs)
    made = {
        name: spec(name, upstream)
        for step in plan.asset_steps.values()
        for name, upstream in step.upstream.items()
    }
    external = [dg.AssetsDefinition(specs=[spec(name, ())]) for name in plan.external]
    assets = [*map(_made, made.values()), *external]
    for name, job in selecting.items():
        if job.preset:  # which makes what its job does, and comes after it
            root = jobs[job.preset.job]
            jobs[name] = replace(
                job,
                pipeline=root.pipeline,
                steps=root.steps,
                assets=root.assets,
                partitioning=root.partitioning,
            )
            continue
        own = {one: made[one] for one in job.assets}
        pipeline = job.pipeline if project.config.jobs[name].names_pipeline else None
        of_what = "pipeline" if pipeline else "project"
        before, chosen = len(mistakes), _chosen(job, own, assets, of_what, mistakes)
        if len(mistakes) > before:
            continue
        narrowed = with_assets(job, chosen, plan.asset_steps.values(), plan.datasets)
        check_assets(narrowed, pipeline, plan.asset_steps, plan.datasets, mistakes)
        nodes = {id(node): node for step in narrowed.steps for node in step.nodes}
        try:
            jobs[name] = replace(narrowed, pipeline=Pipeline(list(nodes.values())))
        except Exception as error:  # noqa: BLE001  # Kedro has several for nodes that clash
            message = (
                f"{job.select!r} selects what no pipeline can hold: {error} Make several jobs."
            )
            mistakes.add(("jobs", name, "select"), message)
    mistakes.check()
    return replace(plan, jobs=jobs)


def _made(spec: dg.AssetSpec) -> dg.AssetsDefinition:
    """A definition of an asset: Dagster selects among those, and takes no specs there."""
    op = dg.OpDefinition(lambda: None, "make", outs={"made": dg.Out(dg.Nothing)})
    return dg.AssetsDefinition(node_def=op, keys_by_output_name={"made": spec.key}, specs=[spec])


def _chosen(
    job: JobPlan,
    own: Mapping[str, dg.AssetSpec],
    assets: Sequence[dg.AssetsDefinition],
    of_what: str,
    mistakes: Mistakes,
) -> list[str]:
    """The datasets of a job that it selects."""
    place, text = ("jobs", job.name, "select"), str(job.select)
    selection = selection_of(text)
    assert selection is not None, "it was read before"
    try:
        keys = selection.materializable().resolve(assets)
    except dg.DagsterInvalidSubsetError:
        mistakes.add(place, f"{text!r} names an asset that is not there.", text, _words(own))
    except Exception:  # noqa: BLE001  # what only the UI knows is refused in several ways
        mistakes.add(place, f"{text!r} asks for what only Dagster's UI knows. {HOW_TO_SELECT}")
    else:
        chosen = [name for name, spec in own.items() if spec.key in keys]
        if not chosen:
            message = f"{text!r} selects no asset of the {of_what}."
            mistakes.add(place, message, text, _words(own))
        return chosen
    return []


def _words(specs: Mapping[str, dg.AssetSpec]) -> set[str]:
    """What a selection of some assets may say."""
    found = {spec.key.to_user_string() for spec in specs.values()}
    for spec in specs.values():
        found.update(f"tag:{tag}" for tag in spec.tags if not tag.startswith("dagster/"))
        found.update(f"kind:{kind}" for kind in spec.kinds)
        found.update([f"group:{spec.group_name}"] if spec.group_name else ())
    return found
