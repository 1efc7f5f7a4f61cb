"""What the datasets are: persisted, transient, partitioned or nothing."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import dagster as dg
from kedro.io import CachedDataset, DatasetError, MemoryDataset, SharedMemoryDataset
from kedro.io.core import is_parameter, parse_dataset_definition
from kedro.pipeline import Pipeline

from ..doors.kedro import strip_transcoding
from ..errors import BadValueError, KeyPath
from ..read.dagster_yml import AssetsOptions
from ..read.mistakes import Mistakes
from ..read.partition_entry import read_partitioning
from ..read.project import KedroProject
from ..read.registry import describe_cause
from .asset_words import read_words
from .kinds import address_of, kinds_of, type_of
from .lineage import Lineage, is_group_name
from .model import DatasetKind, DatasetPlan
from .names import identifier
from .validators import CheckPlan, plan_check

KindOfType: TypeAlias = Callable[[str], DatasetKind | str | None]


def plan_datasets(
    project: KedroProject, pipelines: Collection[Pipeline], mistakes: Mistakes
) -> dict[str, DatasetPlan]:
    """Look every dataset up in the catalog's configuration; import each class once."""
    variants: dict[str, set[str]] = defaultdict(set)
    for pipeline in pipelines:
        for name in pipeline.datasets():
            if not is_parameter(name):
                variants[strip_transcoding(name)].add(name)
    kind_of = functools.lru_cache(maxsize=None)(_kind_of_type)
    lineage = Lineage(project.pipelines, pipelines)
    plans = {}
    for name, names in sorted(variants.items()):
        entries = {one: dict(project.catalog.resolve_pattern(one)) for one in sorted(names)}
        try:
            plan = _plan_dataset(name, entries, kind_of, lineage)
        except BadValueError as error:
            mistakes.add_in_catalog((min(entries), *error.path), error.message)
            continue
        plans[name] = plan
        place = (plan.variants[0], "metadata")
        for keys, message in _metadata_mistakes(entries[place[0]].get("metadata")):
            mistakes.add_in_catalog((*place, *keys), message)
        if plan.persisted:
            plans[name] = _with_words(plan, project.config.assets, mistakes)
    _check_keys(plans, mistakes)
    return plans


def _with_words(plan: DatasetPlan, options: AssetsOptions, mistakes: Mistakes) -> DatasetPlan:
    """Add what the entry says of the asset in Dagster's own words."""
    base = dg.AssetSpec([*options.key_prefix, *plan.name.split(".")])
    facts = plan.facts and options.facts.enabled
    words = plan.metadata.get("dagster")
    if words is None:
        return replace(plan, said=base, facts=facts)

    def tell(keys: KeyPath, message: str) -> None:
        mistakes.add_in_catalog((plan.variants[0], "metadata", "dagster", *keys), message)

    said, step_words = read_words(words, base, tell)
    check = plan.check
    if step_words:
        facts = facts and step_words.facts
        if step_words.check.schema_drift and plan.kind is not DatasetKind.NOTHING:
            check = replace(check or CheckPlan(()), schema_drift=True)
        for key in () if plan.node else step_words.model_fields_set - {"facts", "check"}:
            tell((key,), "no node makes this dataset, so there is no step to have it.")
    return replace(plan, said=said, facts=facts, check=check, step_words=step_words)


def _check_keys(plans: Mapping[str, DatasetPlan], mistakes: Mistakes) -> None:
    """Look for datasets that would be one asset."""
    found: dict[dg.AssetKey, DatasetPlan] = {}
    for plan in plans.values():
        other = found.setdefault(plan.asset.key, plan) if plan.persisted else plan
        if other is not plan:
            message = f"dataset {other.name!r} is asset {plan.asset.key.to_user_string()!r} too."
            faulty = plan if "dagster" in plan.metadata else other
            mistakes.add_in_catalog((faulty.variants[0], "metadata", "dagster", "key"), message)


def _plan_dataset(
    name: str, entries: Mapping[str, Mapping[str, Any]], kind_of: KindOfType, lineage: Lineage
) -> DatasetPlan:
    """Plan a dataset, which has a catalog entry for each of its transcodings."""
    kinds = {variant: _kind(entry, kind_of) for variant, entry in entries.items()}
    variants = sorted(entries, key=lambda variant: kinds[variant] is DatasetKind.TRANSIENT)
    entry, kind, partitioning = entries[variants[0]], kinds[variants[0]], None
    if kind is DatasetKind.PARTITIONED:
        cached = entry.get("dataset")  # it may stand inside of a CachedDataset
        if not isinstance(cached, Mapping) or "partition" not in cached:
            cached = entry
        partitioning = read_partitioning(cached)
    metadata = entry.get("metadata")
    data = entry if kind in (DatasetKind.PERSISTED, DatasetKind.PARTITIONED) else None
    return DatasetPlan(
        name=name,
        identifier=identifier(name),
        kind=kind,
        variants=tuple(variants),
        type=type_of(entry),
        versioned=bool(entry.get("versioned")),
        metadata=metadata if isinstance(metadata, Mapping) else {},
        partitioning=partitioning,
        stays="copy_mode: assign" if entry.get("copy_mode") == "assign" else "",
        facts=data is not None,
        check=plan_check(entries) if data else None,
        kinds=kinds_of(data) if data else (),
        address=address_of(data) if data else {},
        **lineage.of(name),
    )


def _metadata_mistakes(metadata: Any) -> Iterator[tuple[KeyPath, str]]:
    """Find what Dagster would refuse in the ``metadata`` of a catalog entry."""
    if not isinstance(metadata, Mapping):
        if metadata is not None:
            yield (), f"{metadata!r} is not valid here. Write keys with values."
        return
    description, group = metadata.get("description"), metadata.get("group_name")
    if description is not None and not isinstance(description, str):
        yield ("description",), f"{description!r} is no text. Write it in quotes."
    if group is not None and not is_group_name(group):
        yield ("group_name",), f"{group!r} is no group name: use letters, digits and underscores."


def _kind(entry: Mapping[str, Any], kind_of: KindOfType) -> DatasetKind:
    if entry.get("type") is None:
        raise BadValueError(("type",), "this key is required.")
    name = type_of(entry)
    kind = kind_of(name)
    if kind is None:  # a CachedDataset is what it wraps
        wrapped = entry.get("dataset")
        return _kind(wrapped if isinstance(wrapped, dict) else {"type": wrapped}, kind_of)
    if isinstance(kind, str):
        raise BadValueError(("type",), f"{name!r} cannot be imported: {kind}")
    return kind


def _kind_of_type(type_name: str) -> DatasetKind | str | None:
    """The kind of a class; ``None`` for one that wraps another, a message where there is none."""
    try:
        dataset_class, _ = parse_dataset_definition({"type": type_name})
    except DatasetError as error:
        return str(error).splitlines()[0].rstrip(":")
    except Exception as error:  # noqa: BLE001  # an import of a user's module
        return describe_cause(error)
    if issubclass(dataset_class, CachedDataset):
        return None
    if issubclass(dataset_class, (MemoryDataset, SharedMemoryDataset)) or dataset_class._EPHEMERAL:
        return DatasetKind.TRANSIENT
    return DatasetKind(getattr(dataset_class, "dagster_kind", "persisted"))
