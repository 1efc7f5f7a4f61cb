"""``kedro dagster run``: a job in this process, recorded where Dagster's UI shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import dagster as dg

from .. import KedroProjectTranslator  # first: it imports Kedro quietly
from ..errors import DagsterConfigError, KedroDagsterError, KeyPath, did_you_mean
from ..plan.chosen_keys import steps_for_keys
from ..plan.model import JobPlan, ProjectPlan
from ..plan.names import KEDRO
from ..plan.presets import merged
from ..plan.runners import NOT_FOR_PARTITIONS
from ..read.ad_hoc import AD_HOC, AdHocJob, with_job
from ..read.dagster_yml import PipelineOptions
from ..run.progress import watched_by
from ..run.selection import RunOptions
from .definitions import load_repository
from .terminal import display, echo_summary

JOB_TAG = "kedro/job"  # of a run whose job is not as dagster.yml has it

_FIELDS = {"pipelines": "pipeline_names", "namespaces": "node_namespaces"}
"""Options of ``kedro run`` that have another name in ``dagster.yml``."""

_OPTIONS = {
    "pipeline_names": "pipelines",
    "node_namespaces": "namespaces",
    "node_names": "nodes",
    "is_async": "async",
}
"""And what these are called on the command line."""


@dataclass(frozen=True)
class Request:
    """What ``kedro dagster run`` is asked for; ``resume`` is a run, or empty for the last one."""

    job: str | None
    partition: str | None
    executor: str | None
    resume: str | None
    preset: str | None
    options: Mapping[str, Any]

    def ad_hoc(self) -> AdHocJob | None:
        """The job that its options describe, if ``dagster.yml`` does not have it."""
        given = {_FIELDS.get(name, name): value for name, value in self.options.items() if value}
        if name := given.pop("pipeline", None):  # of a Kedro that runs one
            given["pipeline_names"] = [name]
        fields = PipelineOptions.model_fields
        pipeline = {name: list(given[name]) for name in fields if name in given}
        if not (pipeline or self.executor):
            return None
        return AdHocJob(self.job or (AD_HOC if pipeline else ""), pipeline, self.executor)

    def run_options(self) -> dict[str, Any]:
        """The config of the resource of the run."""
        given = {"runtime_params": self.options.get("params"), **self.options}
        arguments = dict(given.get("runner_params") or {})
        if given.get("is_async"):
            arguments["is_async"] = True
        if given.get("runner") or arguments:
            given["runner"] = {"type": given.get("runner") or "SequentialRunner", **arguments}
        known = RunOptions.model_fields
        return {name: value for name, value in given.items() if name in known and value}


def run_job(instance: dg.DagsterInstance, request: Request, project_path: str) -> bool:
    """Run a job as it is asked for, in the terminal; give whether all went well."""
    if request.resume is not None:
        return _resume(instance, request, project_path)
    ad_hoc = request.ad_hoc()
    if ad_hoc is None or not ad_hoc.name or request.job or request.preset:
        plan = _plan(project_path)
        name = request.job or _default_job(plan)
        if request.preset:
            name = _preset_job(plan, name, request.preset)
        ad_hoc = replace(ad_hoc, name=name) if ad_hoc else None
        if ad_hoc and name not in plan.jobs:
            raise KedroDagsterError(f"There is no job {name!r}. {did_you_mean(name, plan.jobs)}")
    if ad_hoc:
        plan = _plan(project_path, ad_hoc)
        name = ad_hoc.name
    execution, options = _Execution(instance, plan, name, ad_hoc), request.run_options()
    definition = execution.partitions
    if definition and options.get("only_missing_outputs"):
        raise KedroDagsterError(f"--only-missing-outputs: {NOT_FOR_PARTITIONS}")
    if request.partition is None:
        return execution.run(options, {})
    if definition is None:
        wanted = _keys_of_fan_out(plan.jobs.get(name), name, request.partition)
        return execution.run({**options, "partition_keys": wanted}, {})
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        keys = _keys_between(definition, name, request.partition)
        of_keys = [definition.get_tags_for_partition_key(key) for key in keys]
    return all(execution.run(options, tags) for tags in of_keys)


@dataclass(frozen=True)
class _Execution:
    """Executes a job in this process."""

    instance: dg.DagsterInstance
    plan: ProjectPlan
    name: str
    ad_hoc: AdHocJob | None

    @property
    def partitions(self) -> dg.PartitionsDefinition[str] | None:
        job = self.plan.jobs.get(self.name)
        return job.partitioning.definition if job and job.partitioning else None

    def run(
        self,
        options: Mapping[str, Any],
        tags: Mapping[str, str],
        parent: dg.DagsterRun | None = None,
    ) -> bool:
        """Run the job, or what is left of an earlier run of it."""
        if self.partitions and "dagster/partition" not in tags:
            raise KedroDagsterError(
                f"Job {self.name!r} runs one partition at a time: say which one, with --partition "
                "KEY, or --partition START...END for several runs."
            )
        ad_hoc = self.ad_hoc.to_json() if self.ad_hoc else None
        source: Any = (self.plan.project.package_name, self.name, ad_hoc)
        job = dg.build_reconstructable_job(__name__, job_of_command.__name__, source)
        definition, since = job.get_definition(), time.monotonic()
        with display() as shown, watched_by(shown.show):
            result = dg.execute_job(
                job,
                instance=self.instance,
                run_config=None if parent else _run_config(definition, options),
                tags={**tags, **({JOB_TAG: ad_hoc} if ad_hoc else {})},
                reexecution_options=dg.ReexecutionOptions.from_failure(parent.run_id, self.instance)
                if parent
                else None,
            )
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        echo_summary(result.all_events, run, since)
        return run.is_success


@lru_cache(maxsize=1)  # Dagster asks several times
def job_of_command(package: str, name: str, ad_hoc: str | None) -> dg.JobDefinition:
    """Make the job of a run of this command again, in whatever process its steps run."""
    with with_job(AdHocJob.from_json(ad_hoc) if ad_hoc else None):
        repository = load_repository(package)
    if not repository.has_job(name):
        names = [one for one in repository.job_names if not one.startswith("__")]
        raise KedroDagsterError(f"There is no job {name!r}. {did_you_mean(name, names)}")
    return repository.get_job(name)


def _run_config(job: dg.JobDefinition, options: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run: that of the job, with some options."""
    config = dict(job.run_config or {})
    if job.loggers.keys() == {"console"} and "loggers" not in config:
        # Dagster would print each event, and once more each line that Kedro logs
        config["loggers"] = {"console": {"config": {"log_level": "CRITICAL"}}}
    if options:
        resources = config.get("resources", {})
        own = resources.get(KEDRO, {}).get("config", {})
        config["resources"] = {**resources, KEDRO: {"config": merged(own, options)}}
    return config


def _plan(project_path: str, job: AdHocJob | None = None) -> ProjectPlan:
    """Plan the project; mistakes in a job of the command line are told in its words."""
    try:
        with with_job(job):
            return KedroProjectTranslator(project_path).plan
    except DagsterConfigError as error:
        given: dict[KeyPath, str] = {}
        if job:
            given = {("pipeline", name): _as_option(name) for name in job.pipeline}
            given[("executor",)] = "--executor"
        told = [
            f"{given[one.path[2:]]}: {one.message}"
            for one in error.mistakes
            if job and one.path[2:] in given and f"{job.name}_".startswith(f"{one.path[1]}_")
        ]
        if len(told) < len(error.mistakes):
            raise
        raise KedroDagsterError("\n".join(told)) from error


def _as_option(name: str) -> str:
    return f"--{_OPTIONS.get(name, name).replace('_', '-')}"


def _default_job(plan: ProjectPlan) -> str:
    """The job that is meant where none is named."""
    jobs = {name: job for name, job in plan.jobs.items() if not job.preset}
    whole = [name for name, job in jobs.items() if _is_default(job)]
    (*names,) = whole if len(whole) == 1 else jobs
    if len(names) != 1:
        raise KedroDagsterError(
            f"Say which job: kedro dagster run JOB. The jobs: {', '.join(plan.jobs) or 'none'}."
        )
    return str(names[0])


def _preset_job(plan: ProjectPlan, name: str, preset: str) -> str:
    """The job that a preset of a job is."""
    of_job = {
        job.preset.name: job.name
        for job in plan.jobs.values()
        if job.preset and job.preset.job == name
    }
    if preset not in of_job:
        hint = did_you_mean(preset, of_job)
        raise KedroDagsterError(f"--preset: job {name!r} has no preset {preset!r}. {hint}")
    return of_job[preset]


def _is_default(job: JobPlan) -> bool:
    whole = not (job.select or any(job.options.filters.values()))
    return whole and job.options.names == ["__default__"]


def _bounds(partition: str) -> tuple[str, ...]:
    """A partition key, or the two ends of a range."""
    return tuple(partition.split("...", 1))


def _keys_of_fan_out(job: JobPlan | None, name: str, partition: str) -> Any:
    """The partitions of a job that fans out, as the config of a run names them."""
    bounds = _bounds(partition)
    wanted = dict(zip(("start", "end"), bounds, strict=True)) if len(bounds) > 1 else list(bounds)
    if job is None:
        raise KedroDagsterError(f"--partition: job {name!r} is not of dagster.yml.")
    try:
        steps_for_keys(job, wanted)
    except ValueError as error:
        raise KedroDagsterError(str(error).replace("partition_keys", "--partition", 1)) from error
    return wanted


def _keys_between(
    definition: dg.PartitionsDefinition[str], name: str, partition: str
) -> Sequence[str]:
    """The partitions of a job that runs one at a time."""
    keys = list(map(str, definition.get_partition_keys()))
    bounds = _bounds(partition)
    for key in bounds:
        if key not in keys:
            hint = did_you_mean(key, keys[-1000:])
            raise KedroDagsterError(f"--partition: job {name!r} has no partition {key!r}. {hint}")
    start, end = bounds[0], bounds[-1]
    if not (wanted := keys[keys.index(start) : keys.index(end) + 1]):
        raise KedroDagsterError(
            f"--partition: job {name!r} has no partition from {start!r} to {end!r}: {end!r} is "
            "first."
        )
    return wanted


def _resume(instance: dg.DagsterInstance, request: Request, project_path: str) -> bool:
    """Run what is left of a run that has failed, and what was in its memory only."""
    asked = {**request.options, "partition": request.partition, "preset": request.preset}
    if given := ", ".join(_as_option(name) for name, value in asked.items() if value):
        raise KedroDagsterError(f"--resume goes on with the options of the run: leave out {given}.")
    parent = run_to_resume(instance, request)
    ad_hoc = AdHocJob.from_json(tag) if (tag := parent.tags.get(JOB_TAG)) else None
    if request.executor:
        ad_hoc = replace(ad_hoc or AdHocJob(""), name=parent.job_name, executor=request.executor)
    if ad_hoc and ad_hoc.name != parent.job_name:
        raise KedroDagsterError(f"Tag {JOB_TAG} of run {parent.run_id} is of another job.")
    execution = _Execution(instance, _plan(project_path, ad_hoc), parent.job_name, ad_hoc)
    kept = {key: value for key, value in parent.tags.items() if key.startswith("dagster/partition")}
    return execution.run({}, kept, parent)


def run_to_resume(instance: dg.DagsterInstance, request: Request) -> dg.DagsterRun:
    """Find a run by its id or how that begins, or the last one."""
    asked = request.resume or ""
    whole = [asked] if len(asked) == 36 else None  # which finds a run however old it is
    runs = instance.get_runs(dg.RunsFilter(whole, request.job), limit=1000)
    found = [run for run in runs if run.run_id.startswith(asked)]
    of_job = f" of job {request.job!r}" if request.job else ""
    if not found:
        begins = f" whose id begins with {request.resume!r}" if request.resume else ""
        raise KedroDagsterError(f"--resume: there is no run{of_job}{begins}.")
    run = found[0]
    if run.job_name.startswith("__"):
        raise KedroDagsterError(
            f"--resume: run {run.run_id} is no run of a job, but materialises assets. Re-execute "
            "it from failure in the UI: kedro dagster dev."
        )
    if run.status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        which = f"run {run.run_id}" if request.resume else f"the last run{of_job}, {run.run_id},"
        raise KedroDagsterError(
            f"--resume: {which} did not fail: it is {run.status.value.lower()}. "
            "Runs that failed are in the UI; name one."
        )
    return run
