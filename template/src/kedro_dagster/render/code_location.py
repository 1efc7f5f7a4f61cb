"""A whole Kedro project as one Dagster code location."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import dagster as dg

from ..doors.dagster import has_runs_to_come
from ..doors.merge import gives_way
from ..plan.make import make_plan
from ..plan.preflight import preflight
from ..read.project import read_project
from ..run.executor import with_kedro_hooks
from ..run.resources import make_resources
from .assets import CatalogTranslator
from .jobs import PipelineTranslator, executor_definition
from .ops import NodeTranslator
from .sensors import new_partitions_sensor, pipeline_error_sensor

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
        self.plan = make_plan(self.project)
        self.catalog = catalog_translator(self.plan)
        self.nodes = node_translator(self.plan, self.catalog)
        self.pipelines = pipeline_translator(self.plan, self.nodes)

    def to_definitions(self) -> dg.Definitions:
        """Render the project.

        Returns:
            The definitions. There is no ``io_manager`` among the resources: one that is merged in
            carries the transient datasets between processes.
        """
        plan, jobs = self.plan, self.plan.jobs.values()
        made = [self.nodes.assets(step) for step in plan.asset_steps.values()]
        watching = [new_partitions_sensor(plan, *named) for named in plan.sensors.items()]
        if has_runs_to_come() is not False:
            for warning in preflight(plan):
                logger.warning(warning)
        self.project.hand_outlines_to_runs()
        longest = max((len(job.steps) for job in jobs), default=0) + len(plan.asset_steps)
        # Dagster goes along a chain of steps by recursion, and failed in one of 2,500
        sys.setrecursionlimit(max(sys.getrecursionlimit(), longest + 1_000))
        return dg.Definitions(
            assets=[*made, *map(self.catalog.spec, plan.external)],
            jobs=[self.pipelines.job(job) for job in jobs],
            schedules=[self.pipelines.schedule(job) for job in jobs if job.schedule],
            sensors=[pipeline_error_sensor(plan), *watching],
            resources=make_resources(plan, self.catalog.asset_keys),
            executor=gives_way(
                executor_definition(plan.asset_executor, plan),
                lambda other: with_kedro_hooks(other, plan),
            ),
        )
