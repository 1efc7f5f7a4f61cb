"""Kedro parameters as Dagster config: what the launchpad shows, and what it sends back.

Dagster's config is JSON; parameters are whatever YAML and resolvers give. Each is shown in the
closest JSON form, and only a value that is changed there replaces the project's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from numbers import Integral, Real
from typing import Any

import dagster as dg

from ..errors import KeyPath, RunConfigError

_NOT_SHOWN = (
    "It is set in conf, and not shown here. A value that is given here replaces it for one run, "
    "and is stored with the run."
)


def config_schema(
    names: Iterable[str], values: Mapping[str, Any], hidden: Collection[str] = ()
) -> dict[str, dg.Field]:
    """Make the config schema of an op out of the parameters its nodes take."""
    fields = {}
    for name in names:
        if name not in values:
            continue
        value = values[name]
        shown = name not in hidden and _survives(value)
        options = {"default_value": to_config(value)} if shown else {"description": _NOT_SHOWN}
        fields[name] = dg.Field(ParameterType(name, value), is_required=False, **options)
    return fields


class ParameterType(type(dg.Field(dg.Any).config_type)):  # type: ignore[misc]  # it is not public
    """Dagster's ``Any``, but at launch it refuses a value that cannot be read back."""

    def __init__(self, name: str, original: Any) -> None:
        super().__init__()
        self.key = self.given_name = "Parameter"  # Dagster wants one class for each name
        self._name = name
        self._original = original

    def post_process(self, value: Any) -> Any:
        """Check a value; the step reads it."""
        from_config(value, self._original, self._name)
        return value


def flatten_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Name each parameter, at every depth, as node inputs do."""
    flat: dict[str, Any] = {"parameters": parameters}

    def add(prefix: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            flat[f"{prefix}{key}"] = value
            if isinstance(value, dict):
                add(f"{prefix}{key}.", value)

    add("params:", parameters)
    return flat


def hidden_names(names: Iterable[str], paths: Collection[KeyPath]) -> frozenset[str]:
    """Find the parameters that are hidden, hold a hidden one, or are part of one."""
    if () in paths:
        return frozenset(names)
    hidden = {f"params:{'.'.join(path)}" for path in paths}
    holders = {holder for name in hidden for holder in ("parameters", *_holders(name))}
    return frozenset(
        name for name in names if name in holders or not hidden.isdisjoint(_holders(name))
    )


def _holders(name: str) -> Iterator[str]:
    """A parameter, and those that it is part of."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def overrides(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Find the parameters that a run's config changes."""
    return {
        name: from_config(value, values[name], name)
        for name, value in config.items()
        if not _same(value, to_config(values[name]))
    }


def assign(parameters: dict[Any, Any], path: str, value: Any) -> bool:
    """Set one parameter inside the nested parameters, in place."""
    for key, inner in parameters.items():
        if str(key) == path:
            parameters[key] = value
            return True
        rest = path.removeprefix(f"{key}.")
        if rest != path and isinstance(inner, dict) and assign(inner, rest, value):
            return True
    return False


def to_config(value: Any) -> Any:
    """Write a parameter in JSON. Keys and values that JSON does not have become text."""
    if _is_numpy_number(value):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): to_config(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_config(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def from_config(value: Any, original: Any, name: str = "") -> Any:
    """Read a parameter back from JSON, with the types of the project's own value."""
    if isinstance(value, Mapping) and isinstance(original, Mapping):
        keys = {str(key): key for key in original}
        return {
            keys.get(key, key): from_config(inner, original.get(keys.get(key)), f"{name}.{key}")
            for key, inner in value.items()
        }
    if isinstance(value, list) and isinstance(original, (list, tuple)):
        before = [*original, *[None] * len(value)]
        found = [
            from_config(inner, before[index], f"{name}.{index}")
            for index, inner in enumerate(value)
        ]
        return tuple(found) if isinstance(original, tuple) else found
    if isinstance(value, str) and isinstance(original, (date, float)):
        return _parse(value, original, name)
    if _is_numpy_number(original) and _fits(value, original):
        return type(original)(value)
    return original if _same(value, to_config(original)) else value


def _parse(text: str, original: date | float, name: str) -> Any:
    parse: Callable[[str], Any] = type(original)
    wanted = "a number"
    if isinstance(original, date):
        parse, wanted = type(original).fromisoformat, "a date, such as 2024-01-31"
    try:
        return parse(text)
    except ValueError:
        message = f"{text!r} is not valid. In conf this is {wanted}: give another one."
        raise RunConfigError((name,), message) from None


def _survives(value: Any) -> bool:
    """Whether a value is the same after it was written in JSON and read back."""
    if type(value) is dict:
        different = len(set(map(str, value))) == len(value)
        return different and all(map(_survives, value.values()))
    if type(value) in (list, tuple):
        return all(map(_survives, value))
    return type(value.item() if _is_numpy_number(value) else value) in _SHOWN_TYPES


_SHOWN_TYPES = (type(None), bool, int, float, str, date, datetime)


def _is_numpy_number(value: Any) -> bool:
    return isinstance(value, Real) and hasattr(value, "item")


def _fits(value: Any, original: Any) -> bool:
    """Whether a JSON number can be one of this numpy type, which would cut 0.5 to an integer."""
    kind = int if isinstance(original, Integral) else (int, float)
    return isinstance(value, kind) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal in JSON: in Python, 1 is also equal to true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
