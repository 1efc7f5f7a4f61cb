"""The job that a command line asks for: one of ``dagster.yml`` with other options, or a new one.

It comes as text to each process of its run, and a run keeps it as a tag. Like ``dagster.yml`` it is
checked, and it names executors of that file or of Dagster only: no text of a run is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import KedroDagsterError
from .dagster_yml import JobOptions, KedroDagsterConfig, PipelineOptions

AD_HOC = "ad_hoc"
"""The name of a job that ``dagster.yml`` does not have."""


@dataclass(frozen=True)
class AdHocJob:
    """What a command line gives of a job.

    Args:
        name: The job of ``dagster.yml`` that it changes, or a new name.
        pipeline: The fields of :class:`PipelineOptions` that it sets, each a list of names.
        executor: The name of an executor.
    """

    name: str
    pipeline: Mapping[str, list[str]] = field(default_factory=dict)
    executor: str | None = None

    def __post_init__(self) -> None:
        """Refuse a dotted path, which would be imported."""
        if "." in (self.executor or ""):
            raise KedroDagsterError(
                f"--executor: {self.executor!r} is no name. Give that path a name in dagster.yml."
            )

    def to_json(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AdHocJob:
        """Read it again, whoever has written it."""
        try:
            job = TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            raise KedroDagsterError(f"{text!r} describes no job: {error}") from error
        if unknown := job.pipeline.keys() - PipelineOptions.model_fields.keys():
            raise KedroDagsterError(f"{text!r} describes no job: unknown keys {sorted(unknown)}.")
        return job

    def added_to(self, config: KedroDagsterConfig) -> KedroDagsterConfig:
        """Put the job in ``dagster.yml``, or in the place of the one it changes."""
        name, _ = config.preset_jobs.get(self.name, (self.name, ""))  # a preset is as its job
        job = config.jobs.get(name) or JobOptions.model_validate({"pipeline": {}})
        changes: dict[str, Any] = dict(self.pipeline)
        if "pipeline_names" in changes:
            changes["pipeline_name"] = None
        changed: dict[str, Any] = {"executor": self.executor or job.executor}
        if changes:
            changed["pipeline"] = job.pipeline.model_copy(update=changes)
        job = job.model_copy(update=changed)
        return config.model_copy(update={"jobs": {**config.jobs, name: job}})


_asked: ContextVar[AdHocJob | None] = ContextVar("ad_hoc_job", default=None)


@contextmanager
def with_job(job: AdHocJob | None) -> Iterator[None]:
    """Let the project that is read meanwhile have a job of a command line."""
    token = _asked.set(job)
    try:
        yield
    finally:
        _asked.reset(token)


def add_job_asked_for(config: KedroDagsterConfig) -> KedroDagsterConfig:
    """Add the job of the command line, if there is one."""
    job = _asked.get()
    return job.added_to(config) if job else config
