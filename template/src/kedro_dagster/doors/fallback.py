"""What happens where another package has renamed or removed what is private to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
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


def or_else(package: str, loss: str, default: D) -> Callable[[Callable[P, T]], Callable[P, T | D]]:
    """Do something by what is private to a package; where that is gone, say what is lost, once.

    Args:
        package: The package, as it is called where it is installed from.
        loss: What is lost, and nothing but speed or comfort.
        default: What is returned then, by which the caller goes the plain way.

    Returns:
        A decorator for a function that calls nothing of the user's.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T | D]:
        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> T | D:
            try:
                return function(*arguments, **options)
            except _GONE as error:
                if loss not in _told:
                    _told.add(loss)
                    reason = _found(package, str(error))
                    logger.warning("%s. All works, but %s. %s", reason, loss, _REMEDY)
                return default

        return call

    return decorate


_told: set[str] = set()
"""What this process has said is lost."""


def needed(package: str, owner: Any, name: str) -> Any:
    """Take a private attribute without which there is no way to go on."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise unsupported(package, str(error)) from error


def unsupported(package: str, reason: str) -> UnsupportedVersionError:
    """Refuse a version of a package, and say what to do."""
    return UnsupportedVersionError(f"{_found(package, reason)}. {_REMEDY}")


_REMEDY = "Install an earlier version of it, or get a helper that fits with `copier update`."


def _found(package: str, reason: str) -> str:
    return f"kedro_dagster does not fit {package} {version(package)}: {reason}"
