"""Finds the values that come through a resolver of the project: OmegaConf has no public way."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeAlias

from omegaconf import OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from .fallback import or_else

Results: TypeAlias = dict[tuple[str, tuple[str, ...]], Any]
"""What the project's own resolvers have given, by their name and arguments."""

_FIND_RESOLVER = "_get_resolver"

_PLACEHOLDER = "came_through_a_resolver"

_one_at_a_time = threading.RLock()


@contextmanager
def own_resolvers(found: Results, hidden: Results | None = None) -> Iterator[set[str]]:
    """Note what the project's own resolvers give, or give placeholders for what is hidden."""
    thread = threading.get_ident()  # another one reads its configuration as it is
    asked: set[str] = set()

    def find_watched(name: str) -> Callable[..., Any] | None:
        asked.add(name)
        resolver: Callable[..., Any] | None = find.__func__(name)
        if not _is_own(name) or threading.get_ident() != thread:
            return resolver

        def resolve(config: Any, parent: Any, node: Any, args: Any, texts: tuple[str, ...]) -> Any:
            if hidden is not None:
                return _placeholder(hidden.get((name, texts)))
            found[name, texts] = None  # noted even if it fails, as it may outside of runs
            if resolver is None:  # a hook will add it
                raise UnsupportedInterpolationType(f"Unsupported interpolation type {name}")
            found[name, texts] = resolver(config, parent, node, args, texts)
            return found[name, texts]

        return resolve

    with _one_at_a_time:
        plain = {name: vars(OmegaConf).get(name) for name in (_FIND_RESOLVER, "has_resolver")}
        find: Any = plain[_FIND_RESOLVER]
        if find is None:  # see can_tell
            yield asked
            return
        setattr(OmegaConf, _FIND_RESOLVER, staticmethod(find_watched))
        OmegaConf.has_resolver = staticmethod(lambda name: find.__func__(name) is not None)  # type: ignore[method-assign]
        try:
            yield asked
        finally:
            for name, method in plain.items():
                setattr(OmegaConf, name, method)


@cache
@or_else("omegaconf", "no parameter has a default in Dagster's launchpad", default=False)
def can_tell() -> bool:
    """Whether this version of OmegaConf looks for resolvers where they are watched."""
    with own_resolvers({}) as asked, suppress(OmegaConfBaseException):  # there is no such resolver
        OmegaConf.to_container(OmegaConf.create({"probe": "${nobody:}"}), resolve=True)
    if not asked:
        raise AttributeError(f"OmegaConf.{_FIND_RESOLVER} is not where resolvers are found")
    return True


def _is_own(name: str) -> bool:
    """Whether a resolver may read anything else than the configuration files."""
    return name == "oc.env" or not (name.startswith("oc.") or name in ("globals", "runtime_params"))


def _placeholder(result: Any) -> Any:
    """Make a placeholder for a result, of the same form: other values may be taken from within."""
    if OmegaConf.is_config(result):
        return OmegaConf.create(_placeholder(OmegaConf.to_container(result)))
    if isinstance(result, dict) and result:
        return {key: _placeholder(value) for key, value in result.items()}
    if isinstance(result, list) and result:
        return list(map(_placeholder, result))
    return _PLACEHOLDER


class LenientOmegaConf(OmegaConf):
    """Goes on where a value cannot be resolved, with a text in its place."""

    @staticmethod
    def resolve(cfg: Any) -> None:
        """Resolve what can be resolved."""
        try:
            OmegaConf.resolve(cfg)
        except InterpolationResolutionError:
            _fill_in(cfg, OmegaConf.to_container(cfg, resolve=False))
            OmegaConf.resolve(cfg)

    @staticmethod
    def to_container(cfg: Any, *, resolve: bool = False, **options: Any) -> Any:
        """Write what can be resolved as plain data."""
        try:
            return OmegaConf.to_container(cfg, resolve=resolve, **options)
        except InterpolationResolutionError:
            _fill_in(cfg, OmegaConf.to_container(cfg, resolve=False))
            return OmegaConf.to_container(cfg, resolve=resolve, **options)


_INNERMOST = r"\$\{([^{}]*)\}"


def _fill_in(config: Any, raw: Any) -> None:
    """Put the text of an interpolation where it cannot be resolved: ``<secret:TOKEN>``."""
    for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
        if isinstance(value, (dict, list)):
            _fill_in(config[key], value)
        elif isinstance(value, str) and "${" in value:
            try:
                config[key]
            except InterpolationResolutionError:
                text = value
                while re.search(_INNERMOST, text):
                    text = re.sub(_INNERMOST, r"<\1>", text)
                config[key] = text
