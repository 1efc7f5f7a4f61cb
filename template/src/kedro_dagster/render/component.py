"""A Kedro project as a component of a ``dg`` project."""

# No `from __future__ import annotations`: Dagster makes the schema of defs.yaml of the annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import click
import dagster as dg
from dagster.components import scaffold_component
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from kedro.utils import is_kedro_project
from pydantic import BaseModel, Field

from ..errors import KedroDagsterError
from ..plan.model import AssetStepPlan, DatasetPlan, StepPlan
from .assets import CatalogTranslator
from .code_location import KedroProjectTranslator
from .jobs import PipelineTranslator
from .ops import NodeTranslator

_ALL = "*"


class _ScaffoldParams(BaseModel):
    project_path: str | None = Field(
        None, description="Folder of the Kedro project; by default that of the dg project."
    )


class _Scaffolder(dg.Scaffolder[_ScaffoldParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_ScaffoldParams]:
        return _ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[_ScaffoldParams]) -> None:
        root = request.project_root or Path.cwd()
        folder = Path(request.params.project_path or root).resolve()
        if not is_kedro_project(folder):
            raise click.BadParameter(
                f"{folder} is not a Kedro project. Name the folder of one, such as ../shop.",
                param_hint="--project-path",
            )
        path = Path(os.path.relpath(folder, root.resolve())).as_posix()
        project = "{{ context.project_root }}" + (f"/{path}" if path != "." else "")
        scaffold_component(request, {"project": project})


def _resolve_project(context: dg.ResolutionContext, path: str) -> str:
    return str(context.resolve_source_relative_path(path))


def _resolve_conf_source(context: dg.ResolutionContext, path: str | None) -> str | None:
    return _resolve_project(context, path) if path and "://" not in path else path


def _resolve_op(context: dg.ResolutionContext, model: Any) -> Callable[[StepPlan], OpSpec]:
    """Leave what is said of ops until the steps are known, which it may name."""

    def of(step: StepPlan) -> OpSpec:
        said: OpSpec = OpSpec.resolve_from_model(context.with_scope(step=step), model)
        return said

    return of


@dg.scaffold_with(_Scaffolder)
@dataclass
class KedroProjectComponent(dg.Component, dg.Resolvable):
    """The assets, jobs, schedules and sensors of a Kedro project.

    ``dg scaffold defs kedro_dagster.KedroProjectComponent NAME --project-path PATH`` writes its
    ``defs.yaml``. A class that is derived from it may name translators of its own.
    """

    project: Annotated[
        str,
        dg.Resolver(
            _resolve_project,
            description="The folder of the Kedro project; a relative one is beside defs.yaml.",
            examples=["{{ context.project_root }}/../shop"],
        ),
    ]
    env: Annotated[
        str | None,
        dg.Resolver.default(
            description="Kedro's environment; by default KEDRO_ENV, or the project's own.",
            examples=["prod"],
        ),
    ] = None
    conf_source: Annotated[
        str | None,
        dg.Resolver(
            _resolve_conf_source,
            description="A folder, an archive or a URL with the configuration; by default "
            "KEDRO_CONF_SOURCE, or the project's own.",
            examples=["{{ context.project_root }}/conf"],
        ),
    ] = None
    select: Annotated[
        str,
        dg.Resolver.default(
            description="Which assets, in Dagster's selection syntax; Kedro tags are Dagster tags.",
            examples=["group:training or tag:daily"],
        ),
    ] = _ALL
    op: Annotated[
        Callable[[StepPlan], OpSpec] | None,
        dg.Resolver(
            _resolve_op,
            model_field_type=OpSpec.model(),
            description="What all ops have; it may name the 'step'.",
            examples=[{"name": "shop_{{ step.name }}", "tags": {"team": "data"}, "pool": "kedro"}],
        ),
    ] = None
    translation: Annotated[
        TranslationFn[DatasetPlan] | None,
        TranslationFnResolver[DatasetPlan](lambda dataset: {"dataset": dataset}),
    ] = None

    catalog_translator: ClassVar[type[CatalogTranslator]] = CatalogTranslator
    node_translator: ClassVar[type[NodeTranslator]] = NodeTranslator
    pipeline_translator: ClassVar[type[PipelineTranslator]] = PipelineTranslator

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Render the project.

        Args:
            context: Where the component stands, and beside which others.

        Returns:
            The definitions.

        Raises:
            KedroDagsterError: The project, or what is said of it, is not as it must be.
        """
        both = context.component_tree.get_all_components(of_type=KedroProjectComponent)
        if len(both) > 1:
            raise KedroDagsterError(
                "A code location has one Kedro project, since Kedro configures its process for it, "
                f"and here are {' and '.join(repr(one.project) for one in both)}. Make another dg "
                "project for the other."
            )
        kedro = KedroProjectTranslator(
            self.project,
            env=self.env,
            conf_source=self.conf_source,
            catalog_translator=_translated(self.catalog_translator, self.translation)
            if self.translation
            else self.catalog_translator,
            node_translator=_with_op(self.node_translator, self.op)
            if self.op
            else self.node_translator,
            pipeline_translator=self.pipeline_translator,
        )
        whole = kedro.to_definitions()
        return whole if self.select == _ALL else _selected(kedro, whole, self.select)


def _translated(
    base: type[CatalogTranslator], translation: TranslationFn[DatasetPlan]
) -> type[CatalogTranslator]:
    class Translated(base):  # type: ignore[misc, valid-type]
        def get_asset_spec(self, dataset: DatasetPlan) -> dg.AssetSpec:
            return translation(super().get_asset_spec(dataset), dataset)

    return Translated


def _with_op(
    base: type[NodeTranslator], said: Callable[[StepPlan], OpSpec]
) -> type[NodeTranslator]:
    """What ``dagster.yml`` and the catalog say of single nodes comes before what is said of all."""

    class WithOp(base):  # type: ignore[misc, valid-type]
        def get_op_name(self, step: StepPlan) -> str:
            return said(step).name or super().get_op_name(step)

        def get_tags(self, step: StepPlan) -> dict[str, str]:
            return {**super().get_tags(step), **(said(step).tags or {})}

        def get_description(self, step: StepPlan) -> str:
            return said(step).description or super().get_description(step)

        def get_pool(self, step: StepPlan) -> str | None:
            return super().get_pool(step) or said(step).pool

        def get_backfill_policy(self, asset_step: AssetStepPlan) -> dg.BackfillPolicy | None:
            own = super().get_backfill_policy(asset_step)
            return own or said(asset_step.step).backfill_policy

    return WithOp


def _selected(kedro: KedroProjectTranslator, whole: dg.Definitions, select: str) -> dg.Definitions:
    """The definitions with some of the assets, and with those that come from elsewhere for them."""
    keys, chosen = kedro.catalog.asset_keys, _select(whole, select)
    for job in kedro.plan.jobs.values():
        if left := [name for name in job.assets if keys[name] not in chosen]:
            raise KedroDagsterError(
                f"select: {select!r} leaves out what job {job.name!r} makes: {', '.join(left)}. "
                "Select that too, or leave 'target: assets' out of the job."
            )
    made = [
        replace(step, upstream={name: step.upstream[name] for name in names})
        for step in kedro.plan.asset_steps.values()
        if (names := [name for name in step.upstream if keys[name] in chosen])
    ]
    read = {source for step in made for upstream in step.upstream.values() for source in upstream}
    external = [one for one in kedro.plan.external if one in read or keys[one] in chosen]
    shown = chosen | {keys[name] for name in external}
    checks = kedro.nodes.checks()
    return dg.Definitions(
        assets=[*map(kedro.nodes.assets, made), *map(kedro.catalog.spec, external)],
        asset_checks=[one for one in checks if {key.asset_key for key in one.check_keys} <= shown],
        jobs=whole.jobs,
        schedules=whole.schedules,
        sensors=whole.sensors,
        resources=whole.resources,
        executor=whole.executor,
    )


def _select(whole: dg.Definitions, select: str) -> set[dg.AssetKey]:
    graph = whole.resolve_asset_graph()
    try:
        chosen = dg.AssetSelection.from_string(select).resolve(graph)
    except dg.DagsterError as error:
        raise KedroDagsterError(f"select: {error}") from error
    if not chosen:
        keys = sorted(repr(key.to_user_string()) for key in graph.materializable_asset_keys)
        shown = ", ".join([*keys[:20], "..."] if len(keys) > 20 else keys)
        raise KedroDagsterError(f"select: {select!r} selects none of the assets: {shown}.")
    return set(chosen)
