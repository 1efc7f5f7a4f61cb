"""Kedro datasets as Dagster assets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

import dagster as dg
from pydantic_core import from_json, to_json

from ..plan.model import DatasetKind, DatasetPlan, ProjectPlan
from ..plan.names import KEDRO_IO_MANAGER
from ..plan.partitions import can_map


class CatalogTranslator:
    """Makes the asset spec of each persisted dataset; derive from it to make others."""

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
        # As JSON, which Dagster stores
        metadata = from_json(to_json(dataset.metadata, fallback=str, inf_nan_mode="strings"))
        description, group = (metadata.pop(key, None) for key in ("description", "group_name"))
        kind = dataset.type.rpartition(".")[2].removesuffix("Dataset").lower()
        plain = dataset.kind is DatasetKind.PERSISTED
        return dg.AssetSpec(
            key=self.get_asset_key(dataset),
            partitions_def=dataset.partitioning.definition if dataset.partitioning else None,
            description=description,
            group_name=group,
            kinds={kind} if kind and plain else set(),  # "csv" for pandas.CSVDataset
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

    def spec(
        self, name: str, upstream: Iterable[str] = (), wholly: Collection[str] = ()
    ) -> dg.AssetSpec:
        """The spec of a dataset's asset, with the assets it is made from; some of them wholly."""
        datasets, deps = self.plan.datasets, []
        target = datasets[name].partitioning
        for source in upstream:
            partitioning, mapping = datasets[source].partitioning, None
            if partitioning and target:
                mapping = partitioning.mapping_to(name)
                if source in wholly or not can_map(partitioning, target, name):
                    mapping = dg.AllPartitionMapping()
            elif partitioning:  # a pattern may match any dataset
                mapping = partitioning.mapping_to_plain(name)
            deps.append(dg.AssetDep(self.asset_keys[source], partition_mapping=mapping))
        return self._specs[name].merge_attributes(deps=deps)
