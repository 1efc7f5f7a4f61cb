"""Which parameters have a default in Dagster's config: those that JSON can hold."""

from __future__ import annotations

import json
import math
from datetime import timedelta, timezone
from pathlib import PurePosixPath
from typing import Any

import pytest

from kedro_dagster.plan import parameters
from unit.test_parameters import config_of

np = pytest.importorskip("numpy")
pytest.importorskip("hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

OBJECTS: dict[str, Any] = {
    "function": math.sqrt,
    "array": np.array([1, 2]),
    "array_of_one": np.array(1),
    "set": {1, 2},
    "path": PurePosixPath("data"),
    "delta": timedelta(1),
    "bytes": b"1",
    "complex": 1j,
    "class": dict,
    "text_of_ones_own": type("Text", (str,), {})("a"),
    "object_deep_inside": {"a": [1, {"b": math.sqrt}]},
    "keys_alike": {1: "a", "1": "b"},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_json_cannot_hold_has_no_default(name: str) -> None:
    (field,) = parameters.config_schema([name], OBJECTS).values()
    assert not field.default_provided
    assert not field.is_required
    assert "conf" in str(field.description)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_node_gets_the_object_unless_another_value_is_given(name: str) -> None:
    assert parameters.overrides(config_of(OBJECTS, {}), OBJECTS) == {}
    given = config_of(OBJECTS, {name: [1]})
    assert parameters.overrides(given, OBJECTS) == {name: [1]}


def test_an_object_stays_beside_a_value_that_is_changed() -> None:
    values = {"x": {"function": math.sqrt, "number": 1}}
    shown = {**parameters.to_config(values["x"]), "number": 2}
    changed = parameters.overrides(config_of(values, {"x": shown}), values)
    assert changed == {"x": {"function": math.sqrt, "number": 2}}


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(timezone.utc)).map(lambda one: one.replace(fold=0)),
    st.integers(-128, 127).map(np.int8),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.float64),
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.dates() | st.booleans(), inner)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("original", "written", "read"),
    [
        (np.int8(1), 2, np.int8(2)),
        (np.int8(1), 0.5, 0.5),
        (np.int8(1), True, True),
        (np.float32(1), 2, np.float32(2)),
        (np.float64(1), "nan", np.float64(math.nan)),
    ],
)
def test_a_changed_number_of_numpy_stays_one(original: Any, written: Any, read: Any) -> None:
    values = {"x": original}
    changed = parameters.overrides(config_of(values, {"x": written}), values)["x"]
    assert repr(changed) == repr(read)


@given(values)
def test_a_default_is_the_same_when_it_is_read_back(value: Any) -> None:
    (field,) = parameters.config_schema(["x"], {"x": value}).values()
    if field.default_provided:
        shown = json.loads(json.dumps(field.default_value, allow_nan=False))
        assert repr(parameters.from_config(shown, value)) == repr(value)
    else:
        assert value_has_keys_alike(value)


def value_has_keys_alike(value: Any) -> bool:
    """Whether two keys of a mapping, at whatever depth, are the same as text."""
    if isinstance(value, dict):
        alike = len(set(map(str, value))) < len(value)
        return alike or any(map(value_has_keys_alike, value.values()))
    return isinstance(value, (list, tuple)) and any(map(value_has_keys_alike, value))
