"""Kedro parameters as Dagster config: shown in JSON, and read back as they were."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import dagster as dg
import pytest

from kedro_dagster.errors import RunConfigError
from kedro_dagster.plan import parameters
from kedro_dagster.plan.parameters import flatten_parameters

SHAPES: dict[str, Any] = {
    "none": None,
    "empty_dict": {},
    "empty_list": [],
    "empty_text": "",
    "false": False,
    "zero": 0,
    "big": 2**80,
    "negative": -1.5e300,
    "nan": math.nan,
    "infinity": -math.inf,
    "date": date(2024, 2, 29),
    "time": datetime(2024, 2, 29, 12, 30),  # noqa: DTZ001  # as YAML gives it
    "nested": {"a": {"b": {"c": [1, {"d": None}]}}},
    "mixed": [1, None, "x", {"y": 2.5}, [[]]],
    "integer_keys": {1: "one", 2: {3: "three"}},
    "odd_keys": {"no identifier!": 1, "dotted.key": 2, "ümlaut": 3, "": 4, None: 5, True: 6},
    "dates_inside": {"days": [date(2024, 1, 1), None], 2024: date(2024, 1, 2)},
    "text_like_json": '{"a": 1}',
    "tuple": (1, 2),
}


def config_of(values: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The config that an op gets of what a user has written, by way of JSON and of Dagster."""
    op = dg.OpDefinition(
        compute_fn=lambda: None,
        name="probe",
        config_schema=parameters.config_schema(values, values),
    )
    job = dg.GraphDefinition("job", node_defs=[op]).to_job()
    written = json.loads(json.dumps({"ops": {"probe": {"config": config}}}))
    found: dict[str, Any] = dg.validate_run_config(job, written)["ops"]["probe"]["config"]
    return found


@pytest.fixture(scope="module")
def flat() -> dict[str, Any]:
    return flatten_parameters(SHAPES)


def test_every_shape_is_valid_config_and_changes_nothing(flat: dict[str, Any]) -> None:
    assert parameters.overrides(config_of(flat, {}), flat) == {}


def test_what_is_shown_is_json(flat: dict[str, Any]) -> None:
    shown = parameters.to_config(flat)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@pytest.mark.parametrize("name", SHAPES)
def test_a_default_sent_back_changes_nothing(name: str, flat: dict[str, Any]) -> None:
    key = f"params:{name}"
    config = config_of({key: flat[key]}, {key: parameters.to_config(flat[key])})
    assert parameters.overrides(config, flat) == {}


@pytest.mark.parametrize(
    ("original", "written", "read"),
    [
        (None, {"a": 1}, {"a": 1}),
        ({}, {"new": [1]}, {"new": [1]}),
        ([], [None, 1], [None, 1]),
        (0.5, "nan", math.nan),
        (0.5, "inf", math.inf),
        (0.5, 2, 2),
        (math.nan, 1.5, 1.5),
        (date(2024, 1, 1), "2025-03-04", date(2025, 3, 4)),
        (datetime(2024, 1, 1), "2025-03-04T05:06:00", datetime(2025, 3, 4, 5, 6)),  # noqa: DTZ001
        ({1: "one", 2: "two"}, {"1": "uno", "2": "two"}, {1: "uno", 2: "two"}),
        ({"days": [date(2024, 1, 1)]}, {"days": ["2025-01-01"]}, {"days": [date(2025, 1, 1)]}),
        ([1, 2], [1, 2, {"more": None}], [1, 2, {"more": None}]),
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1}),
        (2**80, 2**81, 2**81),
        (True, False, False),
        (0, False, False),
        ((1, date(2024, 1, 1)), [2, "2025-01-01"], (2, date(2025, 1, 1))),
        ([1, {"a": 1}], [1, {"a": True}], [1, {"a": True}]),
        ("text", None, None),
        ({"a": 1}, "replaced", "replaced"),
    ],
)
def test_a_changed_value_has_the_type_of_the_one_before(
    original: Any, written: Any, read: Any
) -> None:
    values = {"params:x": original}
    config = config_of(values, {"params:x": written})
    changed = parameters.overrides(config, values)["params:x"]
    assert repr(changed) == repr(read)


def test_only_the_changed_parameters_are_overrides(flat: dict[str, Any]) -> None:
    config = config_of(flat, {"params:nested.a.b": {"c": []}})
    assert parameters.overrides(config, flat) == {"params:nested.a.b": {"c": []}}


@pytest.mark.parametrize(
    ("path", "after"),
    [
        ("plain", {"plain": 0, "a": {"b": 2, "c.d": {"e": 3}}, 4: {5: 6}}),
        ("a", {"plain": 1, "a": 0, 4: {5: 6}}),
        ("a.b", {"plain": 1, "a": {"b": 0, "c.d": {"e": 3}}, 4: {5: 6}}),
        ("a.c.d", {"plain": 1, "a": {"b": 2, "c.d": 0}, 4: {5: 6}}),
        ("a.c.d.e", {"plain": 1, "a": {"b": 2, "c.d": {"e": 0}}, 4: {5: 6}}),
        ("4.5", {"plain": 1, "a": {"b": 2, "c.d": {"e": 3}}, 4: {5: 0}}),
    ],
)
def test_a_parameter_is_found_by_its_dotted_name(path: str, after: dict[Any, Any]) -> None:
    values: dict[Any, Any] = {"plain": 1, "a": {"b": 2, "c.d": {"e": 3}}, 4: {5: 6}}
    assert parameters.assign(values, path, 0)
    assert values == after


@pytest.mark.parametrize("path", ["missing", "a.missing", "plain.deeper", "a."])
def test_a_parameter_that_is_not_there_is_not_assigned(path: str) -> None:
    values: dict[Any, Any] = {"plain": 1, "a": {"b": 2}}
    assert not parameters.assign(values, path, 0)
    assert values == {"plain": 1, "a": {"b": 2}}


@pytest.mark.parametrize(
    ("original", "written", "place", "advice"),
    [
        (0.5, "abc", "params:x", "a number"),
        (math.nan, "", "params:x", "a number"),
        (date(2024, 1, 1), "soon", "params:x", "2024-01-31"),
        (datetime(2024, 1, 1), "2024-13-01", "params:x", "2024-01-31"),  # noqa: DTZ001
        ({"rate": {"low": 0.5}}, {"rate": {"low": "abc"}}, "params:x.rate.low", "a number"),
        ({1: [0.5, 0.5]}, {"1": [0.5, "abc"]}, "params:x.1.1", "a number"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_parameter(
    original: Any, written: Any, place: str, advice: str
) -> None:
    """When a run is launched: Dagster checks its config first."""
    with pytest.raises(RunConfigError) as caught:
        config_of({"params:x": original}, {"params:x": written})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{place}: ")
    assert repr(written if isinstance(written, str) else "abc") in message
    assert advice in message
