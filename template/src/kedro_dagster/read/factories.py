"""Job factories: a key of ``jobs`` with placeholders gives a job for each pipeline or namespace.

As in the name of a dataset factory, Kedro's ``parse`` finds what a placeholder stands for: each
registered pipeline, namespace or tag that the pattern in ``pipeline`` matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from parse import parse  # type: ignore[import-untyped]

from ..errors import BadValueError, KeyPath, did_you_mean, leaves

DEFAULT = "__default__"

_PIPELINES = ("pipeline_name", "pipeline_names")
_NAMESPACES = ("node_namespaces", "node_namespace")
_BINDING = (*_PIPELINES, *_NAMESPACES, "tags")
"""The keys of ``pipeline`` where a placeholder gets what it stands for."""

_PLACEHOLDER = re.compile(r"\{(\w+)[^{}]*\}")

Bound = Mapping[str, Any]


def factories_in(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The job factories in the content of ``dagster.yml``."""
    jobs = raw.get("jobs")
    found = jobs.items() if isinstance(jobs, Mapping) else ()
    return {name: entry for name, entry in found if CatalogConfigResolver.is_pattern(str(name))}


def pipelines_of_factories(factories: Mapping[str, Any]) -> set[str]:
    """The pipelines that must be loaded to know which jobs factories give."""
    names = chain(*map(_pipeline_names, factories.values()))
    return {DEFAULT if CatalogConfigResolver.is_pattern(name) else name for name in names}


def make_jobs(
    raw: Mapping[str, Any], factories: Mapping[str, Any], pipelines: Mapping[str, Pipeline]
) -> tuple[dict[str, Any], dict[str, str], list[tuple[KeyPath, str]]]:
    """Add to ``dagster.yml`` the jobs that its factories give; a job that is there by name wins.

    Give its content, the pattern of each job that a factory gives, and what is wrong in factories.
    """
    named = {str(name): entry for name, entry in raw["jobs"].items() if name not in factories}
    made, patterns = dict[str, Any](), dict[str, str]()
    mistakes: list[tuple[KeyPath, str]] = []
    for pattern, entry in factories.items():
        try:
            for name, job in _jobs_of(pattern, entry, pipelines):
                _check_name(name, pattern, patterns)
                if name not in named:
                    made[name], patterns[name] = job, pattern
        except BadValueError as error:
            mistakes.append((("jobs", pattern, *error.path), error.message))
    return {**raw, "jobs": {**named, **made}}, patterns, mistakes


def _jobs_of(
    pattern: str, entry: Any, pipelines: Mapping[str, Pipeline]
) -> Iterator[tuple[str, Any]]:
    options = entry.get("pipeline") if isinstance(entry, Mapping) else None
    if not isinstance(options, Mapping):
        raise BadValueError((), "write a 'pipeline' whose names have its placeholders.")
    texts = list(_binding_texts(options))
    known = {name for _, text in texts for name in _PLACEHOLDER.findall(text)}
    for path, text in (((), pattern), *leaves(entry)):
        for name in _PLACEHOLDER.findall(text) if isinstance(text, str) else ():
            if name not in known:
                places = f"{', '.join(_BINDING[:-2])} or tags of its pipeline"
                message = f"{{{name}}} stands for nothing: it is not in {places}."
                hint = f" {did_you_mean(name, known)}" if known else ""
                raise BadValueError(path, message + hint)
    for name in _pipeline_names(entry):
        if name not in pipelines and not CatalogConfigResolver.is_pattern(name):
            message = f"pipeline {name!r} is not registered. {did_you_mean(name, pipelines)}"
            raise BadValueError(("pipeline",), message)
    bound: list[Bound] = [{}]
    for key, text in texts:
        bound = [
            {**one, **found.named}
            for one in bound
            for name in _candidates(key, text, options, one, pipelines)
            if (found := parse(_filled(text, one), name))
        ]
        if not bound:
            there = _candidates(key, text, options, {}, pipelines)
            message = f"{text!r} matches nothing. {did_you_mean(text, there)}"
            raise BadValueError(("pipeline", key), message)
    for one in bound:
        yield _filled(pattern, one), _filled_in(entry, one)


def _check_name(name: str, pattern: str, patterns: Mapping[str, str]) -> None:
    other = patterns.get(name)
    if other == pattern:
        message = f"it gives job {name!r} twice: write all of its placeholders in its name."
        raise BadValueError((), message)
    if other:
        message = f"it gives job {name!r}, and so does {other!r}. Change one of these names."
        raise BadValueError((), message)


def _binding_texts(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The patterns in a ``pipeline``, those of pipelines first: namespaces are looked for there."""
    for key in _BINDING:
        for text in _listed(options.get(key)):
            if CatalogConfigResolver.is_pattern(text):
                yield key, text


def _candidates(
    key: str, text: str, options: Any, bound: Bound, pipelines: Mapping[str, Pipeline]
) -> list[str]:
    """What a pattern may match; one of a namespace matches those that have as many parts."""
    if key in _PIPELINES:
        return sorted(pipelines.keys() - {DEFAULT})
    names = [_filled(name, bound) for name in _pipeline_names({"pipeline": options})]
    nodes = [node for name in names if name in pipelines for node in pipelines[name].nodes]
    if key == "tags":
        return sorted({tag for node in nodes for tag in node.tags})
    found = {prefix for node in nodes for prefix in node.namespace_prefixes if prefix}
    return sorted(name for name in found if name.count(".") == text.count("."))


def _pipeline_names(entry: Any) -> list[str]:
    options = entry.get("pipeline") if isinstance(entry, Mapping) else None
    given = options if isinstance(options, Mapping) else {}
    return [name for key in _PIPELINES for name in _listed(given.get(key))] or [DEFAULT]


def _listed(value: Any) -> list[str]:
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return [str(one) for one in values if one is not None]


def _filled(text: str, bound: Bound) -> str:
    return _PLACEHOLDER.sub(lambda found: str(bound.get(found[1], found[0])), text)


def _filled_in(value: Any, bound: Bound) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled_in(inner, bound) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled_in(inner, bound) for inner in value]
    return _filled(value, bound) if isinstance(value, str) else value
