"""The model of what an entry of the catalog says of the step that makes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from . import values
from .dagster_yml import Options, RetryOptions


class BackfillOptions(Options):
    """How a backfill runs the partitions of an asset: a ``dagster.BackfillPolicy``."""

    type: Literal["single_run", "multi_run"]
    max_partitions_per_run: int = Field(default=1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class CheckOptions(Options):
    """What is checked of a dataset, beside what its validator checks."""

    schema_drift: bool = False


class StepWords(Options):
    """What an entry of the catalog says of the step that makes it, below ``metadata: dagster:``.

    ``facts`` says whether it tells of the data, and ``check`` what it checks of it.

    It stands there beside the words for which Dagster has a model.
    """

    backfill_policy: BackfillOptions | None = None
    retry_policy: RetryOptions | None = None
    pool: values.Pool | None = None
    facts: bool = True
    check: CheckOptions = Field(default_factory=CheckOptions)
