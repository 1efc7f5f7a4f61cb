"""A whole Kedro project as one Dagster code location."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ..doors.dagster import has_runs_to_come
from ..doors.merge import gives_way
from ..plan.make import make_plan
from ..plan.preflight import preflight
from ..plan.rename import rename_steps
from ..plan.select import select_assets
from ..read.project import read_project
from ..run.executor import with_kedro_hooks
from ..run.resources import make_resources
from .after import job_sensor
from .assets import CatalogTranslator
from .jobs import PipelineTranslator, executor_definition
from .ops import NodeTranslator
from .sensors import new_partitions_sensor, pipeline_error_sensor

if TYPE_CHECKING:
    from ..doors.dagster import UnresolvedAssetJobDefinition

logger = logging.getLogger(__name__)


class KedroProjectTranslator:
    """Reads a Kedro project, plans it, and renders it as Dagster definitions.

    Args:
        project_path: The project's root; by default the one around the package, or around the
            working folder.
        package_name: Import name of the project's package; by default read from its
            ``pyproject.toml``.
        env: Kedro configuration environment; by default ``KEDRO_ENV``, or the project's own.
        conf_source: A folder, an archive or a URL with the configuration; by default
            ``KEDRO_CONF_SOURCE``, or the project's own.
        catalog_translator: Makes the asset specs.
        node_translator: Makes the ops and the assets.
        pipeline_translator: Makes the jobs and schedules.

    Raises:
        KedroDagsterError: The project, or its ``dagster.yml``, is not as it must be.
    """

    def __init__(
        self,
        project_path: str | Path | None = None,
        package_name: str | None = None,
        env: str | None = None,
        *,
        conf_source: str | Path | None = None,
        catalog_translator: type[CatalogTranslator] = CatalogTranslator,
        node_translator: type[NodeTranslator] = NodeTranslator,
        pipeline_translator: type[PipelineTranslator] = PipelineTranslator,
    ) -> None:
        self.project = read_project(project_path, package_name, env, conf_source)
        plan = make_plan(self.project)
        catalog = catalog_translator(plan)
        plan = rename_steps(plan, node_translator(plan, catalog).get_op_name)
        self.plan = select_assets(plan, catalog.spec, self.project)
        self.catalog = catalog_translator(self.plan)
        self.nodes = node_translator(self.plan, self.catalog)
        self.pipelines = pipeline_translator(self.plan, self.nodes)
        longest = max((len(job.steps) for job in plan.jobs.values()), default=0)
        limit = longest + len(plan.asset_steps) + 1_000
        # Dagster goes along a chain of steps by recursion, and failed in one of 2,500
        sys.setrecursionlimit(max(sys.getrecursionlimit(), limit))

    @cached_property
    def assets(self) -> Mapping[str, dg.AssetsDefinition | dg.AssetSpec]:
        """The assets by the names of their datasets; several may be one multi-asset."""
        found: dict[str, dg.AssetsDefinition | dg.AssetSpec] = {}
        for step in self.plan.asset_steps.values():
            found.update(dict.fromkeys(step.upstream, self.nodes.assets(step)))
        return {**found, **{name: self.catalog.spec(name) for name in self.plan.external}}

    @cached_property
    def jobs(self) -> Mapping[str, dg.JobDefinition | UnresolvedAssetJobDefinition]:
        """The jobs by name."""
        make = self.pipelines
        return {
            name: make.asset_job(job) if job.assets else make.job(job)
            for name, job in self.plan.jobs.items()
        }

    @cached_property
    def schedules(self) -> Mapping[str, dg.ScheduleDefinition]:
        """The schedules by the names of their jobs."""
        jobs = self.plan.jobs.items()
        return {name: self.pipelines.schedule(job) for name, job in jobs if job.schedule}

    @cached_property
    def sensors(self) -> Mapping[str, dg.SensorDefinition]:
        """The sensors by name: those of ``dagster.yml``, and ``kedro_on_pipeline_error``."""
        watching = [new_partitions_sensor(self.plan, *one) for one in self.plan.sensors.items()]
        jobs = self.plan.jobs.values()
        after = [job_sensor(self.plan, job, self.jobs) for job in jobs if job.after]
        found = (pipeline_error_sensor(self.plan), *watching, *after)
        return {sensor.name: sensor for sensor in found}

    @cached_property
    def resources(self) -> Mapping[str, Any]:
        """The resources by name, which all assets and jobs need.

        There is no ``io_manager`` among them: one that is merged in carries the transient datasets
        between processes.
        """
        return make_resources(self.plan, self.catalog.asset_keys)

    @cached_property
    def executor(self) -> dg.ExecutorDefinition:
        """The executor of assets, and of the jobs that name none."""
        return gives_way(
            executor_definition(self.plan.asset_executor, self.plan),
            lambda other: with_kedro_hooks(other, self.plan),
        )

    def to_definitions(self) -> dg.Definitions:
        """Render the project.

        Returns:
            The definitions, with all that this translator has.
        """
        if has_runs_to_come() is not False:
            for warning in preflight(self.plan):
                logger.warning(warning)
        self.project.hand_outlines_to_runs()
        return dg.Definitions(
            assets=list({id(one): one for one in self.assets.values()}.values()),
            asset_checks=list(self.nodes.checks()),
            jobs=list(self.jobs.values()),
            schedules=list(self.schedules.values()),
            sensors=list(self.sensors.values()),
            resources=self.resources,
            executor=self.executor,
        )
