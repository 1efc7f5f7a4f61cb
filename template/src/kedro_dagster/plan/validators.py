"""What is checked of a dataset, by what its catalog entry says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..doors.kedro_validation import validator_of


@dataclass(frozen=True)
class ValidatorPlan:
    """A ``validator`` of a catalog entry: its class path, and when and how Kedro applies it."""

    variant: str
    path: str
    on: tuple[str, ...]
    warns: bool


@dataclass(frozen=True)
class CheckPlan:
    """What is checked of a dataset: by its validators, and whether its columns stay the same."""

    validators: tuple[ValidatorPlan, ...]
    schema_drift: bool = False

    @property
    def blocks(self) -> bool:
        """Whether data that fails stops the run."""
        return any(not one.warns for one in self.validators)

    @property
    def on_save(self) -> bool:
        """Whether it is made while the dataset is saved, and so by the step that makes it."""
        return self.schema_drift or any("save" in one.on for one in self.validators)


def plan_check(entries: Mapping[str, Mapping[str, Any]]) -> CheckPlan | None:
    """The check that the validators of a dataset are, one for each of its transcodings."""
    validators = []
    for variant, entry in entries.items():
        spec = validator_of(variant, entry)
        if spec and spec.enabled:
            warns = spec.severity == "warn"
            validators.append(ValidatorPlan(variant, spec.class_path, spec.on, warns))
    return CheckPlan(tuple(validators)) if validators else None
