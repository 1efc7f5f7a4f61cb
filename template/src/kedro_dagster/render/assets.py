"""Kedro datasets as Dagster assets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import dagster as dg

from ..plan.model import DatasetKind, DatasetPlan, ProjectPlan
from ..plan.names import KEDRO_IO_MANAGER


class CatalogTranslator:
    """Makes the asset spec of each persisted dataset; derive from it to make others.

    Args:
        plan: The project's plan.
    """

    def __init__(self, plan: ProjectPlan) -> None:
        self.plan = plan

    def get_asset_key(self, dataset: DatasetPlan) -> dg.AssetKey:
        """The key of a dataset's asset: its name split on dots."""
        return dg.AssetKey(dataset.asset_key)

    def get_asset_spec(self, dataset: DatasetPlan, upstream: Iterable[str] = ()) -> dg.AssetSpec:
        """Describe a dataset's asset.

        Args:
            dataset: The dataset.
            upstream: Names of the datasets it is made from.

        Returns:
            The spec, with the description, group and metadata of the catalog entry.
        """
        metadata = {str(key): _json(value) for key, value in dataset.metadata.items()}
        description = metadata.pop("description", None)
        group = metadata.pop("group_name", None)
        return dg.AssetSpec(
            key=self.get_asset_key(dataset),
            deps=[self._dependency(self.plan.datasets[name], dataset) for name in upstream],
            partitions_def=dataset.partitioning.definition if dataset.partitioning else None,
            description=description,
            group_name=group,
            kinds=_kinds(dataset),
            metadata={"kedro/type": dataset.type, **metadata},
        ).with_io_manager_key(KEDRO_IO_MANAGER)

    def _dependency(self, upstream: DatasetPlan, downstream: DatasetPlan) -> dg.AssetDep:
        partitioning = upstream.partitioning
        mapping = None
        if partitioning and downstream.partitioning:  # a pattern may match any dataset
            mapping = partitioning.mapping_to(downstream.name)
        return dg.AssetDep(self.get_asset_key(upstream), partition_mapping=mapping)

    def external_assets(self) -> list[dg.AssetSpec]:
        """The assets that no node of the translated pipelines makes, such as raw data."""
        return [self.get_asset_spec(self.plan.datasets[name]) for name in self.plan.external]


def _kinds(dataset: DatasetPlan) -> set[str]:
    """What the UI marks an asset with: ``csv`` for ``pandas.CSVDataset``."""
    if dataset.kind is not DatasetKind.PERSISTED:
        return set()
    name = dataset.type.rpartition(".")[2].removesuffix("Dataset").lower()
    return {name} if name else set()


def _json(value: Any) -> Any:
    """Write metadata in JSON, as Dagster stores it."""
    return json.loads(json.dumps(value, default=str))
