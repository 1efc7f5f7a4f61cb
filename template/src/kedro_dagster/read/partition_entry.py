"""Dagster's partitions and mappings, read from a catalog entry."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg
from parse import parse  # type: ignore[import-untyped]

from ..errors import BadValueError, KeyPath, did_you_mean
from .partition_keys import check_key, check_layout, check_part


@dataclass(frozen=True)
class Partitioning:
    """How a dataset is partitioned.

    Args:
        definition: Its partitions.
        mappings: How they map to those of other datasets, by the name or the pattern of these.
        skips_missing: Whether what reads a partition without data is skipped, and does not fail.
    """

    definition: dg.PartitionsDefinition[str]
    mappings: Mapping[str, dg.PartitionMapping] = field(default_factory=dict)
    skips_missing: bool = False

    @property
    def is_static(self) -> bool:
        """Whether the keys are known when the code location loads, in every process alike."""
        if isinstance(self.definition, dg.MultiPartitionsDefinition):
            dimensions = self.definition.partitions_defs
            return all(Partitioning(dim.partitions_def).is_static for dim in dimensions)
        return isinstance(self.definition, dg.StaticPartitionsDefinition)

    def mapping_to(self, name: str) -> dg.PartitionMapping | None:
        """The mapping that is given for a downstream dataset; its own name wins over patterns."""
        if name in self.mappings:
            return self.mappings[name]
        found = (mapping for pattern, mapping in self.mappings.items() if parse(pattern, name))
        return next(found, None)

    def mapping_to_plain(self, name: str) -> dg.PartitionMapping | None:
        """The mapping that is given for a downstream dataset without partitions, if it fits one."""
        mapping = self.mapping_to(name)
        try:
            if mapping is not None:  # one without arguments is false
                mapping.validate_partition_mapping(self.definition, None)
        except Exception:  # noqa: BLE001  # a mapping of any kind may refuse in its own way
            return None
        return mapping

    # These are cached: to build them for each of n keys would take n times n steps

    @cached_property
    def static_keys(self) -> frozenset[str]:
        """The keys of static partitions."""
        return frozenset(all_keys(self.definition))

    @cached_property
    def sources(self) -> Mapping[int, Mapping[str, list[str]]]:
        """The upstream keys by the id of a static mapping and a downstream key."""
        found: dict[int, dict[str, list[str]]] = {}
        for mapping in self.mappings.values():
            if type(mapping) is dg.StaticPartitionMapping:
                inverse = found.setdefault(id(mapping), {})
                table = mapping.downstream_partition_keys_by_upstream_partition_key
                for key, targets in table.items():
                    for target in [targets] if isinstance(targets, str) else targets:
                        inverse.setdefault(target, []).append(key)
        return found


def read_partitioning(entry: Mapping[str, Any]) -> Partitioning | None:
    """Read what the catalog entry of a ``DagsterPartitionedDataset`` says of its partitions."""
    config = entry.get("partition")
    if config is None:
        return None
    mappings = entry.get("partition_mappings", entry.get("partition_mapping")) or {}
    if not isinstance(mappings, Mapping):
        raise BadValueError(
            ("partition_mappings",), f"give a mapping by dataset, not {mappings!r}."
        )
    missing = entry.get("missing", "fail")
    if missing not in ("skip", "fail"):
        advice = did_you_mean(str(missing), ("skip", "fail"))
        raise BadValueError(("missing",), f"{missing!r} is not valid here. {advice}")
    definition = _build(config, ("partition",), dg.PartitionsDefinition)
    if (layout := entry.get("layout")) is not None:
        _check_layout(str(layout), definition)
    return Partitioning(
        definition,
        {
            target: _build(mapping, ("partition_mappings", target), dg.PartitionMapping)
            for target, mapping in mappings.items()
        },
        skips_missing=missing == "skip",
    )


def _check_layout(layout: str, definition: dg.PartitionsDefinition[str]) -> None:
    """Refuse a layout by which two partitions would have one file, as far as keys are known."""
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        raise BadValueError(
            ("layout",), "only a MultiPartitionsDefinition has dimensions to lay out."
        )
    check_layout(layout, definition.partition_dimension_names)
    for dimension in definition.partitions_defs:
        inner = dimension.partitions_def
        keys: tuple[str, ...] = ()
        if isinstance(inner, dg.TimeWindowPartitionsDefinition):
            keys = (inner.start.strftime(inner.fmt),)
        elif isinstance(inner, dg.StaticPartitionsDefinition):
            keys = all_keys(inner)
        for key in keys:
            check_part(layout, dimension.name, key, "layout")


def _build(config: Any, where: KeyPath, *bases: type) -> Any:
    """Build a Dagster object from ``{type: dotted.path, **arguments}``, inner ones first."""
    config = {"type": config} if isinstance(config, str) else config
    if not isinstance(config, Mapping) or "type" not in config:
        raise BadValueError(
            where,
            f"give a mapping with a 'type', such as dagster.StaticPartitionsDefinition, not "
            f"{config!r}.",
        )
    path = str(config["type"])
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module or "dagster"), name)
    except Exception as error:
        raise BadValueError((*where, "type"), f"there is no class {path!r} ({error}).") from error
    if not (isinstance(found, type) and issubclass(found, bases)):
        kinds = " or ".join(base.__name__ for base in bases)
        raise BadValueError((*where, "type"), f"{path!r} is no {kinds} of Dagster.")
    given = {str(key): value for key, value in config.items() if key != "type"}
    if "partitions" in given:
        given["partition_keys"] = given.pop("partitions")
    arguments = {name: _argument(name, value, (*where, name)) for name, value in given.items()}
    try:
        return found(**arguments)
    except Exception as error:  # whatever the class has to say of its arguments
        raise BadValueError(where, f"{path} does not take these arguments: {error}") from error


# A catalog may name no other class: its code would run at load, whatever it does
_PARTS = (dg.PartitionsDefinition, dg.PartitionMapping, dg.DimensionPartitionMapping)

_TABLES: Mapping[str, type] = {
    "partitions_defs": dg.PartitionsDefinition,
    "downstream_mappings_by_upstream_dimension": dg.DimensionPartitionMapping,
}


def _argument(name: str, value: Any, where: KeyPath) -> Any:
    """Read an argument of a partitions definition or of a mapping."""
    if name == "partition_keys":
        return _checked_keys(value, where)
    if name == "downstream_partition_keys_by_upstream_partition_key":
        return _text(value)
    if not isinstance(value, Mapping):
        return value
    if name in _TABLES:
        return {key: _build(one, (*where, str(key)), _TABLES[name]) for key, one in value.items()}
    if "type" in value:
        return _build(value, where, *_PARTS)
    return {key: _argument("", inner, (*where, str(key))) for key, inner in value.items()}


def _text(value: Any) -> Any:
    """Write keys as text: in YAML, the key 1 is a number."""
    if isinstance(value, Mapping):
        return {str(key): _text(inner) for key, inner in value.items()}
    return [str(key) for key in value] if isinstance(value, (list, tuple)) else str(value)


def _checked_keys(keys: Any, where: KeyPath) -> list[str]:
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        raise BadValueError(where, f"give a list of one key or more, not {keys!r}.")
    names = [str(key) for key in keys]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise BadValueError(where, f"{', '.join(twice)} is there twice.")
    for name in names:
        check_key(name, *where)
    return names


def all_keys(
    definition: dg.PartitionsDefinition[str], store: dg.DagsterInstance | None = None
) -> tuple[str, ...]:
    """All keys that exist now."""
    with dg.partition_loading_context(dynamic_partitions_store=store):
        return tuple(definition.get_partition_keys(dynamic_partitions_store=store))


def typed_keys(definition: dg.PartitionsDefinition[str], keys: Iterable[str]) -> tuple[str, ...]:
    """Make the keys of a definition from text: a key of several dimensions knows its parts."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return tuple(definition.get_partition_key_from_str(str(key)) for key in keys)
    return tuple(keys)
