"""What happens where another package has renamed or removed what is private to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

from ..errors import UnsupportedVersionError

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")

_GONE = (ImportError, AttributeError, TypeError)
"""What Python raises where a name is gone, or takes other arguments."""

_REMEDY = "Install an earlier version of it, or get a helper that fits with `copier update`."

_told: set[str] = set()
"""What this process has said is lost."""


def or_else(package: str, loss: str, default: D) -> Callable[[Callable[P, T]], Callable[P, T | D]]:
    """Call a function that uses private names; where one is gone, warn once and give a default.

    Args:
        package: The package, as it is called where it is installed from.
        loss: What is lost then. It is only speed or comfort.
        default: What is returned then. The caller takes it as a sign to go the plain way.

    Returns:
        A decorator for a function that calls nothing of the user's.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T | D]:
        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> T | D:
            try:
                return function(*arguments, **options)
            except _GONE as error:
                _tell(package, str(error), loss)
                return default

        return call

    return decorate


@contextmanager
def replaced(
    package: str, loss: str, owner: Any, name: str, replace: Callable[[Any], Any]
) -> Iterator[None]:
    """Replace a private name for a while; where it is gone, warn once and go on without."""
    plain = vars(owner).get(name)
    if plain is None:
        _tell(package, f"{owner.__name__} has no {name!r}", loss)
        yield
        return
    setattr(owner, name, replace(plain))
    try:
        yield
    finally:
        setattr(owner, name, plain)


def _tell(package: str, reason: str, loss: str) -> None:
    """Warn of what is lost, once in a process."""
    if loss not in _told:
        _told.add(loss)
        logger.warning("%s. All works, but %s. %s", _found(package, reason), loss, _REMEDY)


def needed(package: str, owner: Any, name: str) -> Any:
    """Take a private attribute without which there is no way to go on."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise unsupported(package, str(error)) from error


def unsupported(package: str, reason: str) -> UnsupportedVersionError:
    """Refuse a version of a package, and say what to do."""
    return UnsupportedVersionError(f"{_found(package, reason)}. {_REMEDY}")


def _found(package: str, reason: str) -> str:
    return f"kedro_dagster does not fit {package} {version(package)}: {reason}"
