"""The errors a user of this package can meet: one class per cause, each message with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str, ...]


class KedroDagsterError(Exception):
    """Base of every error this package raises about a user's project."""


class UnsupportedVersionError(KedroDagsterError):
    """An installed package has a version that this package is not made for."""


class ProjectNotFoundError(KedroDagsterError):
    """No Kedro project stands where one is needed."""


class PipelineLoadError(KedroDagsterError):
    """The project's pipeline registry cannot be imported."""


class TemplateError(KedroDagsterError):
    """The template that the project was made of cannot be asked."""


class CatalogConfigError(KedroDagsterError):
    """The project's catalog, credentials or parameters cannot be read."""


class DagsterConfigError(KedroDagsterError):
    """``dagster.yml`` holds one or more mistakes, all of them named in the message."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        title = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(f"The Dagster configuration has {title}:\n{lines}")


class BadValueError(KedroDagsterError, ValueError):
    """A value of a configuration file, at the end of some keys, that cannot be used."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(f"{'.'.join(path)}: {message}")
        self.path = path
        self.message = message


class RunConfigError(BadValueError):
    """The config of a run, as whoever launched it wrote it, holds a value that cannot be used."""


class TransientDataError(KedroDagsterError):
    """A value that stands in no persisted dataset cannot reach the step that needs it."""


class WorkersLostError(KedroDagsterError):
    """The process from which the workers of a run are forked has ended before the run."""


class StepTimeoutError(KedroDagsterError, TimeoutError):
    """A step ran longer than the ``timeout`` that ``dagster.yml`` gives its nodes."""


class StepFailedError(KedroDagsterError):
    """What is known here of an exception in another process: its class, message and traceback."""

    def __init__(self, message: str, cls_name: str | None = None, traceback: str = "") -> None:
        super().__init__(message)
        self.cls_name = cls_name
        self.traceback = traceback

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.traceback}" if self.traceback else message


@dataclass(frozen=True)
class Mistake:
    """One mistake in a configuration file, whose path is relative to the project."""

    file: str
    path: KeyPath
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.file, ".".join(self.path), self.message)))


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Say which of the allowed words is meant, or, where none is close, list them."""
    choices = sorted(set(allowed))
    if close := get_close_matches(word, choices, n=3):
        return f"Did you mean {' or '.join(repr(name) for name in close)}?"
    if not choices:
        return "There is none to choose from."
    shown = ", ".join(repr(name) for name in choices[:20])
    more = f" and {len(choices) - 20} more" if len(choices) > 20 else ""
    return f"Allowed: {shown}{more}."


def while_handled(error: BaseException, tell: Callable[..., None]) -> None:
    """Tell of an error that was raised before, where Python has it: ``sys.exc_info()``."""
    try:
        raise error  # noqa: TRY301
    except BaseException:  # noqa: BLE001  # it has been raised, and has ended what it could
        tell(error=error)


def leaves(config: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The innermost values of some configuration, each with the keys that lead to it."""
    if isinstance(config, (list, tuple)):
        config = dict(enumerate(config))
    if isinstance(config, Mapping):
        for key, inner in config.items():
            yield from leaves(inner, (*path, str(key)))
    else:
        yield path, config


class Hints:
    """Says which words are meant, until that has taken half a second.

    To compare a word with another takes 50 microseconds: thousands of unknown words with thousands
    of known ones would take minutes.
    """

    def __init__(self) -> None:
        self._comparisons_left = 10_000

    def add_to(self, message: str, word: str, allowed: Collection[str]) -> str:
        """End a message with what :func:`did_you_mean` says."""
        if self._comparisons_left <= 0:
            return message
        self._comparisons_left -= len(allowed)
        return f"{message} {did_you_mean(word, allowed)}"
