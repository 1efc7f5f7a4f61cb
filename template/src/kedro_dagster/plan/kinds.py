"""What a catalog entry says of a dataset without building it: its kinds, and where its data is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..read.conf_files import NO_ADDRESS

_WORD = re.compile(r"\w+")

_DATABASES = set(
    _WORD.findall("""
    athena bigquery databricks db2 duckdb iceberg mongodb mysql oracle postgres redis redshift
    snowflake sqlite sqlserver teradata trino
""")
)

_KINDS = _DATABASES.union(
    _WORD.findall("""
    airtable azure catboost csv dask deltalake excel gcs github googlesheets graphql hudi
    huggingface json lakefs lightgbm matplotlib mlflow numpy openai optuna pandas parquet pickle
    plotly polars pyspark pytorch r2 s3 salesforce scikitlearn snowpark spark sql tensorflow toml
    wandb xgboost yaml
""")
)
"""The kinds that a dataset can have: Dagster has icons for them, but for pickle."""

_ALIASES = {
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
    "az": "azure",
    "delta": "deltalake",
    "gbq": "bigquery",
    "gs": "gcs",
    "mssql": "sqlserver",
    "postgresql": "postgres",
    "s3a": "s3",
    "s3n": "s3",
    "sklearn": "scikitlearn",
    "torch": "pytorch",
    "wasb": "azure",
    "wasbs": "azure",
}


def type_of(entry: Mapping[str, Any]) -> str:
    """The class of a dataset as its entry calls it; a resolver gives the class itself."""
    given = entry.get("type")
    return f"{given.__module__}.{given.__qualname__}" if isinstance(given, type) else str(given)


def kinds_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """At most three kinds: the format, the library and the storage; else a word for the class."""
    kinds = tuple(dict.fromkeys(_known_kinds(entry)))[:3]
    word = _class_of(_innermost(entry))[1].lower()
    return kinds or (re.sub(r"[^a-z0-9_.-]", "_", word)[:63],)


def address_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """Where the data is, as Dagster's metadata: an address without credentials, or a table."""
    if NO_ADDRESS in entry:
        return {}
    if table := _table(entry):
        kinds = [kind for kind in _known_kinds(entry) if kind in _DATABASES]
        storage = {"dagster/storage_kind": kinds[0]} if kinds else {}
        return {"dagster/table_name": table, **storage}
    place = next(iter(_places(entry)), None)
    if place is None or "Query" in _class_of(entry)[1]:  # its file holds the query
        inner = _inner(entry)
        return address_of(inner) if inner else {}
    if "://" in place:
        place = _USER.sub(_without_user, re.split("[?;#]", place, maxsplit=1)[0])
    return {"dagster/uri": place}


_USER = re.compile(r"(\w+://)([^\s/]+)@")


def _without_user(found: re.Match[str]) -> str:
    scheme, user = found.groups()
    is_container = scheme.startswith(("abfs", "wasb")) and ":" not in user
    return found[0] if is_container else scheme


def _known_kinds(entry: Mapping[str, Any]) -> Iterator[str]:
    for word in map(str.lower, _words(entry)):
        kind = _ALIASES.get(word, word)
        if kind in _KINDS:
            yield kind


def _words(entry: Mapping[str, Any]) -> Iterator[str]:
    """The words that may tell a kind, those of the format first."""
    module, name = _class_of(entry)
    yield from re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    yield str(entry.get("file_format"))
    yield from module.split(".")
    connection = entry.get("connection")
    yield str(connection.get("backend")) if isinstance(connection, Mapping) else ""
    for place in _places(entry):
        yield from re.findall(r"(\w+)://", place)
    if inner := _inner(entry):
        yield from _words(inner)


def _class_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """The module of a dataset's class, and its name without ``Dataset``."""
    module, _, name = type_of(entry).rpartition(".")
    return module, name.removesuffix("Dataset") or name


def _inner(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The dataset of each partition, or the one that is cached."""
    inner = entry.get("dataset")
    if isinstance(inner, str) and "table_name" not in entry:  # else a dataset of BigQuery
        return {"type": inner}
    return inner if isinstance(inner, Mapping) else None


def _innermost(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = _inner(entry)
    return _innermost(inner) if inner else entry


def _places(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in ("filepath", "path", "url"):
        place = entry.get(key)
        if isinstance(place, str) and (key != "url" or place.startswith("http")):
            yield place


def _table(entry: Mapping[str, Any]) -> str | None:
    """The name of a table, with the database and the schema that are given."""
    name = entry.get("table_name", entry.get("table"))
    if not isinstance(name, str):
        return None
    places = (entry, entry.get("save_args"), entry.get("load_args"))
    schemas = (place.get("schema") for place in places if isinstance(place, Mapping))
    schema = next((one for one in schemas if isinstance(one, str)), None)
    parts = (*map(entry.get, ("project", "catalog", "dataset", "database")), schema, name)
    return ".".join(part for part in parts if isinstance(part, str))
