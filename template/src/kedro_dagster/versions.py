"""Which version this is, and whether it fits what is installed beside it."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.specifiers import SpecifierSet

from .errors import UnsupportedVersionError

__version__ = "0.1.0"

SUPPORTED = {"kedro": ">=1.0,<2", "dagster": ">=1.12,<2"}
"""The versions that this package is tested with, as in the template's pyproject.toml."""


def installed(name: str) -> str | None:
    """The version of a package; ``None`` where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache  # a command asks, and what it imports
def check_installed() -> None:
    """Check the installed Kedro and Dagster, and warn of the plugin of the same import name."""
    wrong = []
    for name, wanted in SUPPORTED.items():
        found = installed(name)
        if found is None or found not in SpecifierSet(wanted, prereleases=True):
            state = f"{name} {found} is" if found else f"{name} is not"
            wrong.append(f"{name}{wanted} is needed, and {state} installed")
    if wrong:
        wanted = " ".join(f'"{name}{versions}"' for name, versions in SUPPORTED.items())
        raise UnsupportedVersionError(
            f"kedro_dagster {__version__} does not run here: {'; '.join(wrong)}. "
            f"Run `pip install {wanted}`, or get a helper that fits with `copier update`."
        )
    for plugin in distributions(name="kedro-dagster"):
        warnings.warn(
            f"Two packages are called kedro_dagster. The one in {Path(__file__).parent} is in use, "
            f"not the plugin kedro-dagster {plugin.version}, which is installed in "
            f"{plugin.locate_file('')}. Remove the plugin with `pip uninstall kedro-dagster`.",
            stacklevel=2,
        )
