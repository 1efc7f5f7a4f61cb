"""The jobs of a plan: what ``dagster.yml`` says of each, with its steps or its assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from kedro.pipeline import Pipeline

from ..read.dagster_yml import JobOptions, KedroDagsterConfig, LoggerOptions, ScheduleOptions
from ..read.mistakes import Mistakes
from ..read.project import KedroProject
from .asset_jobs import assets_of, check_assets, with_assets
from .executors import find_executor
from .model import AssetStepPlan, JobPlan, Nodes, PresetPlan, StepPlan
from .names import ONE_RUN_TAG
from .partitions import driving_dataset, job_partitioning
from .runners import NOT_FOR_PARTITIONS, check_runner
from .steps import StepPlanner, cycle_of_groups, group_nodes

Groups: TypeAlias = Sequence[tuple[str, Nodes]]
"""The nodes of each step of a job, with its label."""


@dataclass(frozen=True)
class JobPlanner:
    """Plans the jobs of a project.

    Args:
        project: The project.
        steps: Plans the steps.
        asset_steps: The steps of the asset layer, for jobs that make assets.
        whole: By job, the names of its nodes that run once, with all partitions.
        mistakes: What is wrong with jobs; added to.
    """

    project: KedroProject
    steps: StepPlanner
    asset_steps: Sequence[AssetStepPlan]
    whole: Mapping[str, frozenset[str]]
    mistakes: Mistakes

    def plan(
        self, pipelines: Mapping[str, Pipeline], *, datasets_are_known: bool
    ) -> dict[str, JobPlan]:
        """Plan each job and its presets; without the datasets, only look for mistakes."""
        config, jobs = self.project.config, dict[str, JobPlan]()
        for name, pipeline in pipelines.items():
            options = config.jobs[name]
            groups = group_nodes(options.group_by, pipeline, self.steps.datasets, self.steps.labels)
            self._check_groups(name, groups)
            job = self._plan_one(name, pipeline, groups) if datasets_are_known else None
            if job is None:
                continue
            jobs[name] = self._let_make_assets(job) if options.target == "assets" else job
            for preset, given in options.presets.items():
                made = replace(
                    jobs[name],
                    name=f"{name}_{preset}",
                    description=given.description,
                    schedule=_schedule_of(config, given.schedule),
                    after=(),
                    preset=PresetPlan(name, preset, given.run_options),
                )
                jobs.setdefault(made.name, made)
        return jobs

    def _check_groups(self, name: str, groups: Groups) -> None:
        if cycle := cycle_of_groups([group for _, group in groups]):
            path = " -> ".join("+".join(node.name for node in group) for group in cycle)
            message = f"this grouping makes steps wait for each other: {path}."
            advice = "Group by 'pipeline', or leave group_by out."
            self.mistakes.add(("jobs", name, "group_by"), f"{message} {advice}")

    def _plan_one(self, name: str, pipeline: Pipeline, groups: Groups) -> JobPlan | None:
        config, whole = self.project.config, self.whole[name]
        options, datasets = config.jobs[name], self.steps.datasets
        partitioning, steps = None, tuple[StepPlan, ...]()
        try:
            if options.target == "ops":
                partitioning, fans_out = job_partitioning(options, pipeline, datasets, whole)
                steps = self.steps.job_steps(name, groups, fans_out, whole)
            for node in pipeline.nodes if options.target == "assets" else ():
                if node.name not in whole:  # a node that writes other partitions is refused
                    driving_dataset(node, datasets)
        except ValueError as error:
            self.mistakes.add(("jobs", name, "pipeline"), str(error))
            return None
        if partitioning and options.only_missing_outputs:
            self.mistakes.add(("jobs", name, "only_missing_outputs"), NOT_FOR_PARTITIONS)
        check_runner(name, options, pipeline, datasets, self.mistakes)
        executor = find_executor(config, ("jobs", name, "executor"), options.executor)
        waits = options.max_concurrent_runs == 1 and options.when_busy == "queue"
        return JobPlan(
            name=name,
            options=options.pipeline,
            pipeline=pipeline,
            steps=steps,
            select=options.select,
            partitioning=partitioning,
            whole=whole,
            executor=executor[1] if executor else None,
            runner=options.runner,
            only_missing_outputs=options.only_missing_outputs,
            schedule=_schedule_of(config, options.schedule),
            after=options.starts_after,
            loggers=_loggers_of(config, options),
            description=options.description,
            tags={**options.tags, **({ONE_RUN_TAG: name} if waits else {})},
            max_concurrent_runs=options.max_concurrent_runs,
            when_busy=options.when_busy,
            pattern=self.project.job_patterns.get(name),
        )

    def _let_make_assets(self, job: JobPlan) -> JobPlan:
        """Let a job make the assets of its pipeline; what it selects of them, their specs tell."""
        datasets = self.steps.datasets
        if self.project.config.jobs[job.name].names_pipeline:
            names = assets_of(job.pipeline, self.asset_steps)
        else:
            names = [name for step in self.asset_steps for name in step.upstream]
        job = with_assets(job, names, self.asset_steps, datasets)
        if not job.assets:
            message = "its nodes make no asset. Give what they make a catalog entry, or leave out"
            self.mistakes.add(("jobs", job.name, "target"), f"{message} 'target'.")
        elif job.select is None:
            by_name = {one.step.name: one for one in self.asset_steps}
            check_assets(job, job.pipeline, by_name, datasets, self.mistakes)
        return job


def _schedule_of(
    config: KedroDagsterConfig, schedule: str | ScheduleOptions | None
) -> ScheduleOptions | None:
    return config.schedules.get(schedule) if isinstance(schedule, str) else schedule


def _loggers_of(config: KedroDagsterConfig, options: JobOptions) -> Mapping[str, LoggerOptions]:
    """The loggers of a job by name; one that is written in the job is named by its position."""
    found = {}
    for index, logger in enumerate(options.loggers):
        if isinstance(logger, LoggerOptions):
            found[f"logger_{index}"] = logger
        elif logger in config.loggers:
            found[logger] = config.loggers[logger]
    return found
