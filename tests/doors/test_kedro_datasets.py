"""A partitioned dataset on a kedro-datasets that has renamed what the helper needs of it."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import kedro_datasets.partitions
import pytest
from kedro.io import DatasetError
from kedro_datasets.partitions import PartitionedDataset

from kedro_dagster import datasets
from kedro_dagster.doors import kedro_datasets as kedro_datasets_door
from kedro_dagster.errors import UnsupportedVersionError
from kedro_dagster.read.partition_keys import PartitionScope

KEYS = ("a", "b", "c")
PRIVATE = (
    "_dataset_config",
    "_filesystem",
    "_list_partitions",
    "_partition_to_path",
    "_path_to_partition",
)
Make = Callable[..., Any]


def renamed(name: str) -> type[PartitionedDataset]:
    """``PartitionedDataset`` as it is when kedro-datasets has renamed a private name."""
    module = sys.modules[PartitionedDataset.__module__]
    code = re.sub(rf"\b{name}\b", f"_renamed{name}", inspect.getsource(module))
    other = ModuleType(module.__name__)
    exec(compile(code, str(module.__file__), "exec"), vars(other))  # noqa: S102
    found: type[PartitionedDataset] = other.PartitionedDataset
    return found


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a dataset of the folder on a kedro-datasets that has renamed a name."""
    for key in KEYS:
        (tmp_path / f"{key}.json").write_text(json.dumps(key))

    def make(name: str, **options: Any) -> Any:
        monkeypatch.setattr(kedro_datasets.partitions, "PartitionedDataset", renamed(name))
        for module in (datasets.__name__, kedro_datasets_door.__name__):
            monkeypatch.delitem(sys.modules, module)
        on_other_version = importlib.import_module(datasets.__name__)
        return on_other_version.DagsterPartitionedDataset(
            path=str(tmp_path), dataset="json.JSONDataset", filename_suffix=".json", **options
        )

    return make


def stored(folder: Path) -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", PRIVATE)
def test_a_step_is_refused_that_cannot_be_held_to_its_partitions(make: Make, name: str) -> None:
    dataset = make(name)
    with (
        pytest.raises(
            UnsupportedVersionError, match=rf"not fit kedro-datasets .+PartitionedDataset.+{name}"
        ),
        dataset.in_scope(PartitionScope(("b",)), "events", "clean"),
    ):
        raise AssertionError(f"the node runs, and is given {sorted(dataset.load())}")


@pytest.mark.parametrize("name", PRIVATE)
def test_outside_of_dagster_it_works_as_before(make: Make, name: str, tmp_path: Path) -> None:
    dataset = make(name, overwrite=True)
    assert {key: load() for key, load in dataset.load().items()} == {key: key for key in KEYS}
    dataset.save({"d": 1})
    assert stored(tmp_path) == {"d": 1}


@pytest.mark.parametrize("name", ["_overwrite", "_invalidate_caches", "_path"])
def test_a_step_needs_no_other_name(make: Make, name: str, tmp_path: Path) -> None:
    dataset = make(name, overwrite=True)
    with dataset.in_scope(PartitionScope(("b",)), "events", "clean"):
        assert list(dataset.load()) == ["b"]
        dataset.save({"b": 1})
    assert stored(tmp_path) == {"a": "a", "b": 1, "c": "c"}
    assert dataset.stored_keys() == list(KEYS)


def test_a_step_is_refused_that_is_given_other_partitions(make: Make) -> None:
    dataset = make("_list_partitions")
    kedro_datasets.partitions.PartitionedDataset._list_partitions = None  # kept, and not called
    with (
        dataset.in_scope(PartitionScope(("b",)), "events", "clean"),
        pytest.raises(DatasetError, match="lists files by another name"),
    ):
        dataset.load()
