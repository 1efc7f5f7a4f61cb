"""Kedro datasets as Dagster assets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

import dagster as dg
from kedro.io.core import is_parameter
from kedro.pipeline.node import Node
from pydantic_core import from_json, to_json

from ..plan.model import DatasetPlan, ProjectPlan
from ..plan.names import KEDRO_IO_MANAGER
from ..plan.partitions import mapping_of_asset
from .source_code import code_references, docstring_of


class CatalogTranslator:
    """Makes the asset spec of each persisted dataset; derive from it to make others."""

    def __init__(self, plan: ProjectPlan) -> None:
        self.plan = plan

    def get_asset_key(self, dataset: DatasetPlan) -> dg.AssetKey:
        """The key of a dataset's asset: its name split on dots, unless the catalog gives another.

        Args:
            dataset: The dataset.

        Returns:
            The key, which no other dataset's asset has.
        """
        return dataset.asset.key

    def get_group_name(self, dataset: DatasetPlan) -> str | None:
        """The group: that of the catalog entry, or the namespace or pipeline of its node.

        Args:
            dataset: The dataset.

        Returns:
            The name of the group; ``None`` for Dagster's default group.
        """
        return dataset.asset.group_name or dataset.metadata.get("group_name") or dataset.group

    def get_description(self, dataset: DatasetPlan) -> str | None:
        """The description: that of the catalog entry, or of the function that makes the dataset.

        Args:
            dataset: The dataset.

        Returns:
            The description, as Markdown.
        """
        said = dataset.asset.description or dataset.metadata.get("description")
        return said or (docstring_of(dataset.node) if dataset.node else None)

    def get_tags(self, dataset: DatasetPlan) -> Mapping[str, str]:
        """The tags: those of the node that makes the dataset, and those of the catalog entry.

        Args:
            dataset: The dataset.

        Returns:
            The tags, without those by which Dagster stores kinds.
        """
        said = dataset.asset.replace_attributes(kinds=set()).tags if dataset.asset.tags else {}
        return {**tags_of([dataset.node] if dataset.node else []), **said}

    def get_owners(self, dataset: DatasetPlan) -> list[str]:
        """The owners, which the catalog entry names.

        Args:
            dataset: The dataset.

        Returns:
            E-mail addresses, and teams such as ``team:data``.
        """
        return list(dataset.asset.owners)

    def get_kinds(self, dataset: DatasetPlan) -> set[str]:
        """The kinds: those of the catalog entry, or those that the dataset's type tells.

        Args:
            dataset: The dataset.

        Returns:
            The words for which Dagster shows icons.
        """
        return dataset.asset.kinds or set(dataset.kinds)

    def get_metadata(self, dataset: DatasetPlan) -> Mapping[str, Any]:
        """The metadata: type and address, node, pipelines, parameters, and all that an entry says.

        Args:
            dataset: The dataset.

        Returns:
            The metadata by key.
        """
        node, own = dataset.node, dict(dataset.metadata)
        for key in ("dagster", "description", "group_name"):
            own.pop(key, None)
        found: dict[str, Any] = {"kedro/type": dataset.type, **dataset.address}
        if node:
            found["kedro/node"] = node.name
            found["kedro/pipelines"] = list(dataset.pipelines)
            found["kedro/parameters"] = list(filter(is_parameter, node.inputs))
            found["dagster/code_references"] = code_references(node, self.plan.project.url_of)
        # The entry's as JSON, which Dagster stores
        own = from_json(to_json(own, fallback=str, inf_nan_mode="strings"))
        shown = {key: value for key, value in found.items() if value}
        return {**shown, **own, **dataset.asset.metadata}

    def get_automation_condition(self, dataset: DatasetPlan) -> dg.AutomationCondition[Any] | None:
        """The condition under which Dagster makes the asset by itself: that of the catalog entry.

        Args:
            dataset: The dataset.

        Returns:
            The condition, if there is any.
        """
        return dataset.asset.automation_condition

    def get_asset_spec(self, dataset: DatasetPlan) -> dg.AssetSpec:
        """Describe a dataset's asset.

        Args:
            dataset: The dataset.

        Returns:
            The spec, made of what the other methods give. The assets that it is made from are
            added to it.
        """
        definition = dataset.partitioning.definition if dataset.partitioning else None
        return dataset.asset.replace_attributes(
            key=self.get_asset_key(dataset),
            description=self.get_description(dataset),
            group_name=self.get_group_name(dataset),
            tags=self.get_tags(dataset),
            owners=self.get_owners(dataset),
            kinds=self.get_kinds(dataset),
            metadata=self.get_metadata(dataset),
            automation_condition=self.get_automation_condition(dataset),
            partitions_def=definition or dataset.asset.partitions_def,
        ).with_io_manager_key(KEDRO_IO_MANAGER)

    @cached_property
    def _specs(self) -> Mapping[str, dg.AssetSpec]:
        datasets = self.plan.datasets.items()
        return {name: self.get_asset_spec(one) for name, one in datasets if one.persisted}

    @cached_property
    def asset_keys(self) -> Mapping[str, dg.AssetKey]:
        """The key of each persisted dataset's asset, by the dataset's name."""
        return {name: spec.key for name, spec in self._specs.items()}

    def spec(
        self, name: str, upstream: Iterable[str] = (), wholly: Collection[str] = ()
    ) -> dg.AssetSpec:
        """The spec of a dataset's asset, with the assets it is made from; some of them wholly."""
        datasets, deps, spec = self.plan.datasets, [], self._specs[name]
        target = datasets[name].partitioning
        said = {dep.asset_key for dep in spec.deps}
        for source in upstream:
            if self.asset_keys[source] in said:
                continue
            partitioning, mapping = datasets[source].partitioning, None
            if partitioning:
                mapping = mapping_of_asset(partitioning, target, name, wholly=source in wholly)
            deps.append(dg.AssetDep(self.asset_keys[source], partition_mapping=mapping))
        return spec.merge_attributes(deps=deps)


def tags_of(nodes: Iterable[Node]) -> dict[str, str]:
    """The Kedro tags of some nodes, in the characters that Dagster allows."""
    tags = sorted({tag for node in nodes for tag in node.tags})
    return {re.sub(r"[^A-Za-z0-9_.-]", "_", tag)[:63]: "" for tag in tags}
