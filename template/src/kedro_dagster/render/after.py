"""The sensors of jobs that start when others have succeeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import dagster as dg

from ..plan.model import JobPlan, ProjectPlan
from ..plan.names import sensor_name
from ..read.dagster_yml import AfterOptions
from ..run.turns import describe_busy, free_turns

if TYPE_CHECKING:
    from ..doors.dagster import UnresolvedAssetJobDefinition

_MOST_RUNS = 100
"""How many runs a tick looks at for a job; those of its partitions that are left have own ticks."""


def job_sensor(
    plan: ProjectPlan,
    job: JobPlan,
    jobs: Mapping[str, dg.JobDefinition | UnresolvedAssetJobDefinition],
) -> dg.SensorDefinition:
    """Make the sensor that starts a job when each of some others has succeeded since its last run.

    Dagster calls it for each run of these that succeeds. What it does depends on what is stored,
    not on that run alone: so of two that end at the same time, one starts the job.
    """

    @dg.run_status_sensor(
        dg.DagsterRunStatus.SUCCESS,
        name=sensor_name(job.name),
        monitored_jobs=[
            dg.JobSelector(location_name=one.location, job_name=one.job)
            if one.location
            else jobs[one.job]
            for one in job.after
        ],
        request_job=jobs[job.name],
        description=(
            f"Starts {job.name} when each of these has succeeded: {', '.join(map(str, job.after))}."
        ),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(
        context: dg.RunStatusSensorContext,
    ) -> Sequence[dg.RunRequest] | dg.SkipReason | None:
        free = free_turns(plan, context.instance, job)
        if free == 0:
            return dg.SkipReason(f"{describe_busy(job)}.")
        stored = _Stored(job.name, job.after, context.instance, context.dagster_run)
        if job.partitioning is None:
            return stored.requests([None])[:free] or stored.waits(None)
        key = context.partition_key
        with dg.partition_loading_context(dynamic_partitions_store=context.instance):
            if key is None or not job.partitioning.definition.has_partition_key(key):
                ended = f"Run {context.dagster_run.run_id} of {context.dagster_run.job_name!r}"
                its = "no partition" if key is None else f"partition {key!r}"
                message = f"{ended} made {its}, and {job.name!r} has others."
                return dg.SkipReason(message)
        return stored.requests([key, *stored.later_keys()])[:free] or stored.waits(key)

    return sensor


@dataclass(frozen=True)
class _Stored:
    """What is stored of the runs of a job, and of those after which it starts.

    A sensor is not told in which code location it is. That is where the run is of that has ended,
    unless it is of a job of another one.
    """

    name: str
    after: tuple[AfterOptions, ...]
    instance: dg.DagsterInstance
    ended: dg.DagsterRun

    def requests(self, keys: Sequence[str | None]) -> list[dg.RunRequest]:
        """Ask for a run of each partition that is due; its key is the runs that it comes after."""
        found = []
        for key in dict.fromkeys(keys):
            runs = self._successes(key).values()
            if None not in runs:
                run_key = ",".join(map(str, runs))  # by which Dagster does not start it twice
                found.append(dg.RunRequest(run_key, partition_key=key))
        return found

    def waits(self, key: str | None) -> dg.SkipReason | None:
        """Say for which jobs this one waits, unless it has started since this run has ended."""
        missing = [one for one, run in self._successes(key).items() if run is None]
        if any(one.job == self.ended.job_name for one in missing):
            return None  # a reason would end the tick, with other runs still to be seen
        jobs = ", ".join(map(str, missing))
        return dg.SkipReason(f"Since the last run of {self.name!r}, none succeeded of: {jobs}.")

    def later_keys(self) -> list[str]:
        """The partitions that the same job has made since: a backfill ends many runs a tick."""
        (record,) = self.instance.get_run_records(dg.RunsFilter([self.ended.run_id]))
        end = datetime.fromtimestamp(record.end_time or 0, timezone.utc)
        job = AfterOptions(job=self.ended.job_name, location=_location(self.ended))
        runs = self._runs(job, None, success=True, since=end)
        keys = (one.dagster_run.tags.get("dagster/partition") for one in runs)
        return list(filter(None, keys))

    def _successes(self, key: str | None) -> dict[AfterOptions, str | None]:
        """The latest run of each job that has succeeded since the last run of this one, if any."""
        own = self._runs(AfterOptions(job=self.name), key)
        last = next((one.create_timestamp for one in own), None)
        found = {}
        for one in self.after:
            runs = self._runs(one, key, success=True, since=last)
            ids = (
                run.dagster_run.run_id
                for run in runs
                if last is None or (run.end_time or 0) > last.timestamp()
            )
            found[one] = next(ids, None)
        return found

    def _runs(
        self,
        job: AfterOptions,
        key: str | None,
        *,
        success: bool = False,
        since: datetime | None = None,
    ) -> list[dg.RunRecord]:
        """The last runs of a job, the latest first."""
        filters = dg.RunsFilter(
            job_name=job.job,
            statuses=[dg.DagsterRunStatus.SUCCESS] if success else [],
            tags={"dagster/partition": key} if key else {},
            updated_after=since,
        )
        records = self.instance.get_run_records(filters, limit=_MOST_RUNS)
        return [one for one in records if self._is_of(job, one)]

    def _is_of(self, job: AfterOptions, record: dg.RunRecord) -> bool:
        """Whether a run is of the code location of a job."""
        location, ended = _location(record.dagster_run), _location(self.ended)
        if job.location:
            return location == job.location
        others = {one.location for one in self.after if one.location}
        return location not in others if ended in others else location == ended


def _location(run: dg.DagsterRun) -> str | None:
    """The code location of a run; ``None`` for one that no server has launched."""
    origin = run.remote_job_origin
    return origin.repository_origin.code_location_origin.location_name if origin else None
