"""Asset checks: how validators of the catalog judge data, and whether its columns have changed.

A validator is applied by Kedro, where it loads and saves. What it says is recorded here.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from ..doors import kedro_validation
from ..doors.kedro import strip_transcoding
from ..plan.model import DatasetPlan, StepPlan
from ..plan.validators import ValidatorPlan
from .values import Hide, as_json, as_table, as_text

if TYPE_CHECKING:
    from .kedro_run import KedroRun

logger = logging.getLogger(__name__)

NAME = "validation"
"""The one check of a dataset."""

COLUMNS = "dagster/column_schema"

Columns: TypeAlias = Mapping[str, str]
"""The types of the columns of a table, by their names."""


@dataclass(frozen=True)
class Verdict:
    """What a validator has said of a dataset, in the words of Kedro's ``ValidationResult``."""

    validator: ValidatorPlan
    mode: str
    result: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the data is not known to be bad."""
        return self.result["status"] in ("passed", "skipped")


class Verdicts:
    """Keeps what validators say while a step loads and saves, until it is recorded."""

    def __init__(self, run: KedroRun) -> None:
        self._run = run
        self._said: deque[tuple[str, str, Exception | None]] = deque()
        self.columns: dict[str, Columns] = {}  # of tables that were loaded
        self._here = threading.local()  # a thread saves one dataset at a time
        self.wanted = any(dataset.check for dataset in run.plan.datasets.values())

    @contextmanager
    def listening(self, variant: str, mode: str, value: Any = None) -> Iterator[None]:
        """Listen to the validator of a dataset that this thread loads or saves."""
        tell = partial(self._tell, variant)
        kedro_validation.watch_validator(self._run.catalog, variant, mode, tell)
        self._here.value, self._here.mode = value, mode
        try:
            yield
        finally:
            self._here.value = self._here.mode = None

    @property
    def value(self) -> Any:
        """What this thread has saved, as the validator has given it back."""
        return self._here.value

    def _tell(self, variant: str, value: Any, error: Exception | None) -> None:
        if mode := getattr(self._here, "mode", None):  # else, a hook loads it outside of steps
            self._here.value = value
            self._said.append((variant, mode, error))

    def loaded(self, variant: str, value: Any) -> None:
        """Take note of the columns of a table that no node makes, if they are to be compared."""
        name = strip_transcoding(variant)
        dataset = self._run.plan.datasets.get(name)
        if not (dataset and dataset.check and dataset.check.schema_drift):
            return
        try:
            if name in self._run.plan.external and (table := as_table(value)):
                self.columns[name] = dict(table.columns())
        except Exception as error:  # noqa: BLE001  # no error of the node that loads it
            logger.debug("The columns of %r are not known: %s", name, error)

    def take(self) -> dict[str, list[Verdict]]:
        """What was said since it was asked for, the last of each validator, by dataset."""
        latest: dict[str, tuple[str, Exception | None]] = {}
        while self._said:
            variant, mode, error = self._said.popleft()
            latest[variant] = mode, error
        found: dict[str, list[Verdict]] = {}
        datasets, names = self._run.plan.datasets, set(map(strip_transcoding, latest))
        for dataset in (datasets[name] for name in sorted(names & datasets.keys())):
            for validator in dataset.check.validators if dataset.check else ():
                if validator.variant in latest:
                    mode, error = latest[validator.variant]
                    result = kedro_validation.result_of(
                        validator.variant, validator.path, mode, error
                    )
                    found.setdefault(dataset.name, []).append(Verdict(validator, mode, result))
        return found


def validate_now(run: KedroRun, dataset: DatasetPlan) -> tuple[list[Verdict], Columns | None]:
    """Load a dataset, and have its validators judge it; tell its columns too."""
    assert dataset.check is not None
    validators = {one.variant: one for one in dataset.check.validators}
    verdicts, columns = list[Verdict](), None
    for variant in validators or dataset.variants[:1]:
        data = run.get_dataset(variant).load()
        if validator := validators.get(variant):
            mode = "load" if "load" in validator.on else "save"
            result = kedro_validation.validate(run.catalog, variant, data, mode)
            verdicts.append(Verdict(validator, mode, result))
        if table := as_table(data):
            columns = dict(table.columns())
        run.catalog.release(variant)
    return verdicts, columns


def drift(before: Columns | None, now: Columns | None) -> str | None:
    """Say how the columns of a table have changed; ``None`` if they have not."""
    if before is None or now is None:
        return None
    changes = [
        *(f"added: {name}" for name in now if name not in before),
        *(f"removed: {name}" for name in before if name not in now),
        *(
            f"{name}: {before[name]} -> {kind}"
            for name, kind in now.items()
            if before.get(name, kind) != kind
        ),
    ]
    return "; ".join(changes) or None


def has_failed(instance: dg.DagsterInstance, key: dg.AssetKey, run_id: str) -> bool:
    """Whether a step of a run has told that the check of a dataset has failed."""
    return any(
        record.run_id == run_id and not getattr(record.evaluation, "passed", True)
        for record in _history(instance, key)
    )


def columns_before(instance: dg.DagsterInstance, key: dg.AssetKey) -> Columns | None:
    """The columns of a table as Dagster knows it: by its last materialisation, or its check."""
    event = instance.get_latest_materialization_event(key)
    made = event.asset_materialization if event else None
    if made and (found := columns_in(made.metadata)) is not None:
        return found
    for record in _history(instance, key):  # the last one may only be planned
        if (found := columns_in(getattr(record.evaluation, "metadata", {}))) is not None:
            return found
    return None


def _history(instance: dg.DagsterInstance, key: dg.AssetKey) -> Sequence[Any]:
    check, storage = dg.AssetCheckKey(key, NAME), instance.event_log_storage
    return storage.get_asset_check_execution_history(check, limit=5)


def columns_in(metadata: Mapping[str, Any]) -> Columns | None:
    """The columns of a table in some metadata."""
    found = metadata.get(COLUMNS)
    schema = getattr(found, "value", found)  # as Dagster gives it back, or as it is given
    return None if schema is None else {one.name: one.type for one in schema.columns}


def evaluation(
    dataset: DatasetPlan,
    key: dg.AssetKey,
    verdicts: Sequence[Verdict],
    hide: Hide,
    *,
    columns: Columns | None,
    changes: str | None,
    partitions: Sequence[str],
    partition: str | None,
) -> dg.AssetCheckEvaluation:
    """Make the event by which Dagster knows how a check has gone."""
    assert dataset.check is not None
    failed = [one for one in verdicts if not one.passed]
    texts = [str(one.result["message"] or one.result["status"]) for one in failed]
    texts += [f"Columns have changed: {hide(changes)}"] if changes else []
    metadata: dict[str, Any] = {
        f"result of {one.validator.path}": dg.MetadataValue.json(as_json(one.result, hide))
        for one in verdicts
    }
    if verdicts:
        metadata["on"] = verdicts[-1].mode
    if dataset.check.schema_drift and columns is not None:
        metadata[COLUMNS] = schema_of(columns)
    if partitions:
        metadata["partition" if len(partitions) == 1 else "partitions"] = ", ".join(partitions)
    blocks = any(not one.validator.warns for one in failed)
    severity = dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN
    of_partition: Any = {"partition": partition} if partition and _TELL_PARTITION else {}
    told = f"Partition {', '.join(partitions)}: " if partitions and texts else ""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=NAME,
        passed=not texts,
        metadata=metadata,
        severity=severity if texts else dg.AssetCheckSeverity.ERROR,
        description=as_text(told + "\n".join(texts), hide, 2_000) if texts else None,
        blocking=dataset.check.blocks,
        **of_partition,
    )


def schema_of(columns: Columns) -> dg.TableSchema:
    """The columns of a table in Dagster's words."""
    return dg.TableSchema(columns=[dg.TableColumn(*one) for one in columns.items()])


_TELL_PARTITION = hasattr(dg.AssetCheckEvaluation, "partition")  # 1.12 has none


def reads_first(name: str, step: StepPlan, steps: Iterable[StepPlan], keys: Sequence[str]) -> bool:
    """Whether no other step is before one to read a dataset, or some of its partitions."""
    for one in steps:
        scope = one.scopes.get(name)
        if name in one.inputs and (not keys or scope is None or set(keys) & set(scope.keys)):
            return one.name == step.name
    return True
