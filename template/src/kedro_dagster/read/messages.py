"""One readable message for each mistake in ``dagster.yml``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import Hints, KeyPath
from .dagster_yml import KedroDagsterConfig
from .factories import factories_in


def parse_config(
    raw: Mapping[str, Any],
) -> tuple[KedroDagsterConfig, list[tuple[KeyPath, str]]]:
    """Read ``dagster.yml`` without the entries that cannot be read, and say what is wrong there.

    Job factories are no entries: what they give is known when the pipelines are.
    """
    factories = factories_in(raw)
    content = {
        str(section): (
            {
                str(name): entry
                for name, entry in entries.items()
                if not (section == "jobs" and name in factories)
            }
            if isinstance(entries, Mapping)
            else entries
        )
        for section, entries in raw.items()
        if entries is not None or section not in KedroDagsterConfig.model_fields
    }
    mistakes, hints = list[tuple[KeyPath, str]](), Hints()
    while True:
        try:
            return KedroDagsterConfig.model_validate(content), mistakes
        except ValidationError as error:
            details = error.errors()
        places = [_place_in_file(detail, content) for detail in details]
        for path, detail in zip(places, details, strict=True):
            mistakes.append((path, _message(detail, path, hints)))
        for path in places:
            section = content.get(path[0])
            if len(path) > 1 and isinstance(section, dict):
                section.pop(path[1], None)
            else:
                content.pop(path[0], None)


def mistakes_in(
    model: type[BaseModel], content: Mapping[str, Any], other_keys: Iterable[str] = ()
) -> Iterator[tuple[KeyPath, str]]:
    """Find what a model refuses, at most one mistake for a key; other keys are allowed too."""
    hints, told = Hints(), set[str]()
    try:
        model.model_validate(content)
    except ValidationError as error:
        for detail in error.errors():
            path = _place_in_file(detail, content)
            if path[0] in told:
                continue
            told.add(path[0])
            if detail["type"] == "extra_forbidden" and len(path) == 1:
                allowed = {*model.model_fields, *other_keys}
                yield path, hints.add_to("unknown key.", path[0], allowed)
            else:
                yield path, _message(detail, path, hints, model)


def _place_in_file(detail: ErrorDetails, content: Any) -> KeyPath:
    """The keys in a Pydantic location; it also names other things, such as a union's branch."""
    place: list[str] = []
    for key in detail["loc"]:
        inside = isinstance(content, Mapping) and key in content
        if inside or (isinstance(content, list) and isinstance(key, int)):
            place.append(str(key))
            content = content[key]
    if detail["type"] == "missing":
        place.append(str(detail["loc"][-1]))
    return tuple(place)


def _message(
    detail: ErrorDetails, path: KeyPath, hints: Hints, root: type[BaseModel] = KedroDagsterConfig
) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return hints.add_to("unknown key.", path[-1], _allowed_keys(path[:-1], root))
    if kind == "missing":
        return "this key is required."
    if kind == "literal_error":
        return f"{value!r} is not allowed. Allowed: {detail['ctx']['expected']}."
    if kind in ("model_type", "dict_type"):  # the keys of a dict are of the user's choosing
        allowed = _allowed_keys(path, root) if kind == "model_type" else ()
        keys = f": {', '.join(map(repr, allowed))}" if allowed else ""
        return f"{value!r} is not valid here. Write keys with values{keys}."
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    return f"{value!r} is not valid: {detail['msg'][0].lower()}{detail['msg'][1:]}."


def _allowed_keys(path: Iterable[str], model: type[BaseModel]) -> list[str]:
    """The keys that a mapping may have, found by walking down the models."""
    is_name = False  # of the user's choosing
    for key in path:
        field = None if is_name else model.model_fields.get(key)
        is_name = field is not None and get_origin(field.annotation) is dict
        if field:
            model = _model_in(field.annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    arguments = get_args(annotation)  # Python 3.10 takes list[str] for a class
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in arguments:
        if model := _model_in(argument):
            return model
    return None
