"""The two datasets, outside of Dagster and in the scope of a step."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from fsspec import register_implementation  # type: ignore[import-untyped]
from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from kedro.io import DataCatalog, DatasetError
from kedro_datasets.partitions import PartitionedDataset
from kedro_datasets.text import TextDataset

from kedro_dagster.datasets import (
    DagsterNothingDataset,
    DagsterPartitionedDataset,
    partition_ids,
)
from kedro_dagster.read.partition_entry import read_partitioning, typed_keys
from kedro_dagster.read.partition_keys import PartitionScope

JSON: dict[str, Any] = {"dataset": "json.JSONDataset", "filename_suffix": ".json"}
PARTITION = {"type": "dagster.StaticPartitionsDefinition", "partition_keys": ["a", "b", "c"]}


def in_scope(
    dataset: DagsterPartitionedDataset, *keys: str, **options: bool
) -> AbstractContextManager[None]:
    """Hold some partitions, as a step of Dagster does while it runs a node."""
    in_chunks = options.pop("in_chunks", False)
    return dataset.in_scope(PartitionScope(keys, **options), "events", "clean", in_chunks)


@pytest.fixture
def dataset(tmp_path: Path) -> DagsterPartitionedDataset:
    for key in "abc":
        (tmp_path / f"{key}.json").write_text(json.dumps(key))
    return DagsterPartitionedDataset(path=str(tmp_path), partition=PARTITION, **JSON)


class NoteDataset(TextDataset):  # type: ignore[misc]  # it is untyped
    """A dataset with arguments of its own."""

    def __init__(self, path: str, credentials: dict[str, Any]) -> None:
        assert credentials == {"auto_mkdir": True}
        super().__init__(filepath=path)


def loaded(dataset: PartitionedDataset) -> dict[str, Any]:
    return {key: load() for key, load in dataset.load().items()}


# --- Outside of Dagster: Kedro's PartitionedDataset ---------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        JSON,
        {"dataset": {"type": "json.JSONDataset", "save_args": {"indent": 1}}},
        {**JSON, "overwrite": True},
        {**JSON, "save_lazily": False},
        {**JSON, "load_args": {"maxdepth": 1}},
        {**JSON, "fs_args": {"auto_mkdir": True}},
        {**JSON, "metadata": {"owner": "me"}},
        {
            "dataset": {"type": NoteDataset},
            "filepath_arg": "path",
            "credentials": {"auto_mkdir": True},
        },
        {"dataset": {"type": "json.JSONDataset", "versioned": True}, "filename_suffix": ".json"},
    ],
    ids=[
        "filename_suffix",
        "inner_arguments",
        "overwrite",
        "save_lazily",
        "load_args",
        "fs_args",
        "metadata",
        "filepath_arg_and_credentials",
        "versioned",
    ],
)
def test_outside_of_dagster_it_is_a_partitioned_dataset(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    def use(kind: Callable[..., PartitionedDataset], folder: str, **more: Any) -> Any:
        dataset = kind(path=str(tmp_path / folder), **options, **more)
        dataset.save({"a": "1", "sub/b": "2"})
        dataset.save({"c": "3"} if dataset._save_lazily is False else {"c": lambda: "3"})
        before = dataset.exists()
        dataset.release()
        return loaded(dataset), before, dataset.metadata

    ours = use(DagsterPartitionedDataset, "ours", partition=PARTITION, partition_mappings={})
    assert ours == use(PartitionedDataset, "kedro")


def test_without_files_it_fails_as_kedros_does(tmp_path: Path) -> None:
    dataset = DagsterPartitionedDataset(path=str(tmp_path), partition=PARTITION, **JSON)
    with pytest.raises(DatasetError, match="No partitions found"):
        dataset.load()


SEEDS = """
my_partitioned_dataset:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/01_raw/my_data/
  dataset:
    type: pandas.CSVDataSet
  partition:
    type: dagster.StaticPartitionsDefinition
    partition_keys: ["2023-01-01.csv", "2023-01-02.csv", "2023-01-03.csv"]
my_upstream_dataset: &upstream
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/01_raw/upstream/
  dataset:
    type: pandas.CSVDataset
  partition:
    type: dagster.StaticPartitionsDefinition
    partition_keys: ["1.csv", "2.csv", "3.csv"]
  partition_mappings:
    my_downstream_dataset:
      type: dagster.StaticPartitionMapping
      downstream_partition_keys_by_upstream_partition_key:
        1.csv: 10.csv
        2.csv: 20.csv
        3.csv: 30.csv
my_older_dataset:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/01_raw/my_data/
  dataset:
    type: pandas.CSVDataSet
  partition:
    type: dagster.StaticPartitionsDefinition
    partitions:
      - 2023-01-01.csv
      - 2023-01-02.csv
  partition_mapping:
    "{namespace}.partitioned_dataset":
      type: dagster.IdentityPartitionMapping
my_pickles:
  <<: *upstream
  path: data/02_raw/upstream/
  dataset:
    type: pickle.PickleDataset
  partition:
    type: dagster.StaticPartitionsDefinition
    partition_keys: ["A.pkl", "B.pkl", "C.pkl"]
  partition_mappings:
    my_downstream_dataset:
      type: dagster.IdentityPartitionMapping
my_nothing_dataset:
  type: kedro_dagster.datasets.DagsterNothingDataset
  metadata:
    description: "Enforces preprocessing completion before collection."
"""


@pytest.mark.parametrize("name", yaml.safe_load(SEEDS))
def test_the_seeds_yaml_loads(name: str) -> None:
    entries = yaml.safe_load(SEEDS)
    assert DataCatalog.from_config(entries)[name] is not None


def test_the_seeds_yaml_says_how_partitions_map() -> None:
    entries = yaml.safe_load(SEEDS)
    upstream = read_partitioning(entries["my_upstream_dataset"])
    older = read_partitioning(entries["my_older_dataset"])
    assert upstream is not None
    assert older is not None
    assert isinstance(upstream.mapping_to("my_downstream_dataset"), dg.StaticPartitionMapping)
    assert older.definition.get_partition_keys() == ["2023-01-01.csv", "2023-01-02.csv"]
    inferred = older.mapping_to("features.partitioned_dataset")
    assert isinstance(inferred, dg.IdentityPartitionMapping)
    assert older.mapping_to("another_dataset") is None


# --- In the scope of a step ---------------------------------------------------------------------


def test_a_step_is_given_only_its_partitions(dataset: DagsterPartitionedDataset) -> None:
    with in_scope(dataset, "c", "a"):
        assert list(loaded(dataset).items()) == [("a", "a"), ("c", "c")]
    assert list(dataset.load()) == ["a", "b", "c"]


def test_a_node_can_ask_which_partitions_it_is_to_make(dataset: DagsterPartitionedDataset) -> None:
    assert partition_ids("events") is None
    with in_scope(dataset, "b"):
        assert partition_ids("events") == ("b",)
        assert partition_ids("others") is None
    assert partition_ids("events") is None


def test_a_thread_that_a_node_starts_can_ask_as_well(dataset: DagsterPartitionedDataset) -> None:
    with ThreadPoolExecutor(1) as lasting, in_scope(dataset, "a"):
        assert lasting.submit(partition_ids, "events").result() == ("a",)
        with in_scope(dataset, "b"), ThreadPoolExecutor(2) as pool:
            assert list(pool.map(partition_ids, ["events"] * 9)) == [("b",)] * 9
            assert pool.submit(partition_ids, "others").result() is None


def test_a_thread_that_outlives_a_node_asks_for_the_next_one(
    dataset: DagsterPartitionedDataset,
) -> None:
    with ThreadPoolExecutor(1) as lasting:
        for key in "ab":
            with in_scope(dataset, key):
                assert lasting.submit(partition_ids, "events").result() == (key,)
            assert lasting.submit(partition_ids, "events").result() is None


def test_nodes_that_run_at_once_in_threads_have_partitions_of_their_own(
    dataset: DagsterPartitionedDataset, tmp_path: Path
) -> None:
    other = DagsterPartitionedDataset(path=str(tmp_path), partition=PARTITION, **JSON)

    def run() -> tuple[str, ...] | None:
        with in_scope(other, "b"):
            with pytest.raises(DatasetError, match="several nodes run"):
                pool.submit(partition_ids, "events").result()
            return partition_ids("events")

    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as thread, in_scope(dataset, "a"):
        assert thread.submit(run).result() == ("b",)
        assert partition_ids("events") == ("a",)


def test_a_partition_without_a_file_is_named(dataset: DagsterPartitionedDataset) -> None:
    with in_scope(dataset, "a", "missing"), pytest.raises(DatasetError) as caught:
        dataset.load()
    assert str(caught.value) == (
        "Node 'clean', dataset 'events': partition 'missing' has no file "
        f"{dataset.path_of('missing')}. Make that partition first, or write 'missing: skip' in "
        "the catalog entry, so that what depends on it is skipped."
    )


def test_where_all_partitions_are_wanted_those_without_a_file_are_left_out(
    dataset: DagsterPartitionedDataset,
) -> None:
    with in_scope(dataset, "a", "missing", optional=True):
        assert loaded(dataset) == {"a": "a"}


def test_where_nothing_maps_to_a_step_it_is_given_nothing(
    dataset: DagsterPartitionedDataset,
) -> None:
    with in_scope(dataset):
        assert dataset.load() == {}


@pytest.mark.parametrize(
    ("returned", "got"),
    [({"a": 1}, "['a']"), ({"a": 1, "b": 2, "x": 3}, "['a', 'b', 'x']"), ({}, "[]")],
    ids=["a_key_is_missed", "a_key_is_out_of_scope", "nothing"],
)
def test_a_node_that_returns_other_partitions_fails_and_writes_nothing(
    dataset: DagsterPartitionedDataset, returned: dict[str, int], got: str, tmp_path: Path
) -> None:
    with in_scope(dataset, "a", "b"), pytest.raises(DatasetError) as caught:
        dataset.save(returned)
    assert str(caught.value).startswith(
        "Node 'clean', dataset 'events': the node is to return partitions ['a', 'b'], and "
        f"returned {got}."
    )
    assert {file.name: json.loads(file.read_text()) for file in tmp_path.iterdir()} == {
        "a.json": "a",
        "b.json": "b",
        "c.json": "c",
    }


def test_a_generator_saves_its_partitions_in_chunks(dataset: DagsterPartitionedDataset) -> None:
    with in_scope(dataset, "a", "b", in_chunks=True):
        dataset.save({"a": "new a"})
        dataset.save({"b": "new b"})
    assert loaded(dataset) == {"a": "new a", "b": "new b", "c": "c"}


@pytest.mark.parametrize("chunks", [[], [{"a": 1}]], ids=["no_chunk", "too_few"])
def test_a_generator_that_misses_a_partition_fails(
    dataset: DagsterPartitionedDataset, chunks: list[dict[str, int]]
) -> None:
    with (
        pytest.raises(DatasetError, match="is to return"),
        in_scope(dataset, "a", "b", in_chunks=True),
    ):
        list(map(dataset.save, chunks))


def test_an_error_of_the_node_is_not_hidden_by_its_missing_partitions(
    dataset: DagsterPartitionedDataset,
) -> None:
    with pytest.raises(ZeroDivisionError), in_scope(dataset, "a", in_chunks=True):
        raise ZeroDivisionError


def test_callables_are_saved_lazily(dataset: DagsterPartitionedDataset) -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        assert loaded(dataset).keys() == {"a", "b"}
        return f"new {key}"

    with in_scope(dataset, "a", "b"):
        dataset.save({key: lambda key=key: make(key) for key in "ab"})
    assert made == ["a", "b"]
    assert loaded(dataset) == {"a": "new a", "b": "new b", "c": "c"}


def test_overwrite_spares_the_partitions_of_other_steps(tmp_path: Path) -> None:
    dataset = DagsterPartitionedDataset(
        path=str(tmp_path), partition=PARTITION, overwrite=True, **JSON
    )
    dataset.save({"a": 1, "b": 2})
    with in_scope(dataset, "b"):
        dataset.save({"b": 3})
    assert loaded(dataset) == {"a": 1, "b": 3}


def test_partitions_of_a_versioned_dataset_are_in_scope(tmp_path: Path) -> None:
    def in_a_new_run() -> DagsterPartitionedDataset:
        inner = {"type": "json.JSONDataset", "versioned": True}
        options = {**JSON, "dataset": inner}
        return DagsterPartitionedDataset(path=str(tmp_path), partition=PARTITION, **options)

    in_a_new_run().save({"a": 1, "b": 2})
    dataset = in_a_new_run()
    with in_scope(dataset, "a"):
        dataset.save({"a": 3})
        assert loaded(dataset) == {"a": 3}
    assert loaded(dataset) == {"a": 3, "b": 2}


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "..\\x"])
def test_a_key_cannot_lead_out_of_the_folder(dataset: DagsterPartitionedDataset, key: str) -> None:
    with pytest.raises(ValueError, match="leads out of the dataset's folder"):
        in_scope(dataset, key).__enter__()
    assert list(dataset.load()) == ["a", "b", "c"]


@pytest.mark.parametrize("key", ["../x", "a/../../x", "..\\x"])
def test_a_node_cannot_write_out_of_the_folder(
    dataset: DagsterPartitionedDataset, key: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="outside the dataset directory"):
        dataset.save({key: 1})
    with in_scope(dataset, "a"), pytest.raises(DatasetError, match="is to return"):
        dataset.save({key: 1})
    assert not list(tmp_path.parent.glob("x*"))


def test_the_layout_makes_folders_of_dimensions(tmp_path: Path) -> None:
    definition = dg.MultiPartitionsDefinition(
        {
            "region": dg.StaticPartitionsDefinition(["eu", "us"]),
            "date": dg.DailyPartitionsDefinition("2024-01-01"),
        }
    )
    dataset = DagsterPartitionedDataset(
        path=str(tmp_path), partition={}, layout="{region}/{date}", **JSON
    )
    (key,) = typed_keys(definition, ["2024-01-02|eu"])
    with in_scope(dataset, key):
        dataset.save({"eu/2024-01-02": 1})
        assert loaded(dataset) == {"eu/2024-01-02": 1}
    assert loaded(dataset) == {"eu/2024-01-02": 1}
    assert (tmp_path / "eu" / "2024-01-02.json").read_text() == "1"


FILES = dg.MultiPartitionsDefinition(
    {
        "a": dg.DynamicPartitionsDefinition(name="a"),
        "b": dg.DynamicPartitionsDefinition(name="b"),
    }
)


@pytest.mark.parametrize(
    ("key", "layout", "message"),
    [
        ("..|evil", "{a}/{b}", "'..' leads out of the dataset's folder"),
        ("x|..", "{b}/{a}", "'..' leads out of the dataset's folder"),
        ("x/y|z", "{a}/{b}", "the key 'x/y' of 'a' holds '/'"),
        ("x|y/z", "{a}/{b}", "the key 'y/z' of 'b' holds '/'"),
        ("x|y\\z", "{a}/{b}", r"the key 'y.+z' of 'b' holds "),
        ("x-y|z", "{a}-{b}", "the key 'x-y' of 'a' holds '-'"),
    ],
)
def test_a_key_that_comes_up_in_a_run_has_no_other_keys_file(
    tmp_path: Path, key: str, layout: str, message: str
) -> None:
    folder = tmp_path / "folder"
    dataset = DagsterPartitionedDataset(path=str(folder), partition={}, layout=layout, **JSON)
    (typed,) = typed_keys(FILES, [key])
    with pytest.raises(ValueError, match=message):
        in_scope(dataset, typed).__enter__()
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "layout", ["{a}-{b}", "{a}--{b}", "{b}-{a}/{b}", "{a}/{b}-{a}", "a{a}a{b}"]
)
def test_no_two_keys_have_one_file(tmp_path: Path, layout: str) -> None:
    dataset = DagsterPartitionedDataset(path=str(tmp_path), partition={}, layout=layout, **JSON)
    words = ["x", "-x", "x-", "-", "x-x", "x--x", "--", "a", "ax", "xa", "1", "11"]
    found: dict[str, str] = {}
    for key in typed_keys(FILES, [f"{one}|{other}" for one in words for other in words]):
        try:
            path = dataset.path_of(key)
        except ValueError as error:
            assert "two partitions could have one file" in str(error)  # noqa: PT017
        else:
            assert found.setdefault(path, key) == key
    assert len(found) > len(words)


@pytest.mark.parametrize("key", ["a//b", "a/./b", "./a", "a/"])
def test_a_key_is_written_as_a_plain_path(dataset: DagsterPartitionedDataset, key: str) -> None:
    with pytest.raises(ValueError, match="is no plain path"):
        in_scope(dataset, key).__enter__()


class CountingFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A local file system that counts calls, and lists no folder."""

    protocol = "counting"
    cachable = True
    calls: list[str] = []  # noqa: RUF012

    def find(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a folder is listed")

    ls = glob = walk = find

    def info(self, path: str, **options: Any) -> Any:
        self.calls.append(path)
        return super().info(path, **options)

    def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
        self.calls.append(path)
        return super()._open(path, *arguments, **options)


@pytest.fixture
def calls() -> list[str]:
    register_implementation("counting", CountingFileSystem, clobber=True)
    CountingFileSystem.calls.clear()
    return CountingFileSystem.calls


@pytest.mark.parametrize("count", [10, 1000])
def test_the_cost_of_a_step_does_not_grow_with_the_number_of_partitions(
    tmp_path: Path, calls: list[str], count: int
) -> None:
    for index in range(count):
        (tmp_path / f"{index}.json").write_text("0")
    partition = {**PARTITION, "partition_keys": list(range(count))}
    dataset = DagsterPartitionedDataset(path=f"counting://{tmp_path}", partition=partition, **JSON)
    calls.clear()
    with in_scope(dataset, "7"):
        values = loaded(dataset)
        dataset.save(values)
    own = str(tmp_path / "7.json")
    assert {path for path in calls if path != str(tmp_path)} == {own}
    assert len(calls) <= 3  # does it exist, read it, write it


class StoreFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """A store of objects, each of which takes a while to say that it is there."""

    protocol = "store"
    files: set[str] = set()  # noqa: RUF012
    asked = most = 0

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        kind = type(self)
        kind.asked += 1
        kind.most = max(kind.most, kind.asked)
        await asyncio.sleep(0.05)
        kind.asked -= 1
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"name": path, "size": 1, "type": "file"}


@pytest.mark.parametrize("optional", [False, True])
def test_many_partitions_are_asked_for_at_once(*, optional: bool) -> None:
    register_implementation("store", StoreFileSystem, clobber=True)
    keys = [str(index) for index in range(100)]
    StoreFileSystem.files = {f"bucket/{key}.json" for key in keys[optional:]}
    StoreFileSystem.most = 0
    dataset = DagsterPartitionedDataset(path="store://bucket", partition=PARTITION, **JSON)
    with in_scope(dataset, *keys, optional=optional):
        assert sorted(dataset.load()) == sorted(keys[optional:])
    assert StoreFileSystem.most > 10


# --- The nothing dataset ------------------------------------------------------------------------


def loads_none(load: Callable[[], Any]) -> bool:
    return load() is None


@pytest.mark.parametrize("data", [None, 1, "text", {"a": [1]}])
def test_nothing_takes_anything_and_gives_none(data: Any) -> None:
    dataset = DagsterNothingDataset(metadata={"description": "done"})
    dataset.save(data)
    assert loads_none(dataset.load)
    assert dataset.exists()
    assert dataset.metadata == {"description": "done"}


def test_nothing_in_a_catalog_takes_none() -> None:
    catalog = DataCatalog.from_config(yaml.safe_load(SEEDS))
    catalog.save("my_nothing_dataset", None)
    assert catalog.load("my_nothing_dataset") is None


def test_nothing_takes_none_in_another_process() -> None:
    dataset = pickle.loads(pickle.dumps(DagsterNothingDataset()))  # noqa: S301
    dataset.save(None)
    assert loads_none(dataset.load)
