"""Kedro datasets as Dagster assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import dagster as dg
from pydantic_core import from_json, to_json

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
        """The key of a dataset's asset: its name split on dots.

        Args:
            dataset: The dataset.

        Returns:
            The key, which no other dataset's asset has.
        """
        return dg.AssetKey(dataset.asset_key)

    def get_asset_spec(self, dataset: DatasetPlan) -> dg.AssetSpec:
        """Describe a dataset's asset.

        Args:
            dataset: The dataset.

        Returns:
            The spec, with the description, group and metadata of the catalog entry. The assets
            that it is made from are added to it.
        """
        metadata = {str(key): _json(value) for key, value in dataset.metadata.items()}
        description = metadata.pop("description", None)
        group = metadata.pop("group_name", None)
        return dg.AssetSpec(
            key=self.get_asset_key(dataset),
            partitions_def=dataset.partitioning.definition if dataset.partitioning else None,
            description=description,
            group_name=group,
            kinds=_kinds(dataset),
            metadata={"kedro/type": dataset.type, **metadata},
        ).with_io_manager_key(KEDRO_IO_MANAGER)

    @cached_property
    def _specs(self) -> Mapping[str, dg.AssetSpec]:
        datasets = self.plan.datasets.items()
        return {name: self.get_asset_spec(one) for name, one in datasets if one.persisted}

    @cached_property
    def asset_keys(self) -> Mapping[str, dg.AssetKey]:
        """The key of each persisted dataset's asset, by the dataset's name."""
        return {name: spec.key for name, spec in self._specs.items()}

    def spec(self, name: str, upstream: Iterable[str] = ()) -> dg.AssetSpec:
        """The spec of a dataset's asset, with the assets it is made from."""
        return self._specs[name].merge_attributes(
            deps=[self._dependency(source, self.plan.datasets[name]) for source in upstream]
        )

    def _dependency(self, upstream: str, downstream: DatasetPlan) -> dg.AssetDep:
        partitioning = self.plan.datasets[upstream].partitioning
        mapping = None
        if partitioning and downstream.partitioning:  # a pattern may match any dataset
            mapping = partitioning.mapping_to(downstream.name)
        return dg.AssetDep(self.asset_keys[upstream], partition_mapping=mapping)

    def external_assets(self) -> list[dg.AssetSpec]:
        """The assets that no node of the translated pipelines makes, such as raw data."""
        return [self.spec(name) for name in self.plan.external]


def _kinds(dataset: DatasetPlan) -> set[str]:
    """What the UI marks an asset with: ``csv`` for ``pandas.CSVDataset``."""
    if dataset.kind is not DatasetKind.PERSISTED:
        return set()
    name = dataset.type.rpartition(".")[2].removesuffix("Dataset").lower()
    return {name} if name else set()


def _json(value: Any) -> Any:
    """Write metadata in JSON, as Dagster stores it."""
    return from_json(to_json(value, fallback=str, inf_nan_mode="strings"))
