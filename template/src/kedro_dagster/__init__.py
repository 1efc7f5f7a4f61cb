"""Runs a Kedro project on Dagster: what ``kedro run`` does, Dagster does.

``project`` reads the Kedro project, ``plan`` decides which steps there are, ``catalog``,
``nodes`` and ``pipelines`` render them as Dagster objects, and ``run`` is what happens in a run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .versions import __version__, check_installed

if TYPE_CHECKING:
    from .catalog import CatalogTranslator
    from .nodes import NodeTranslator
    from .pipelines import PipelineTranslator
    from .translator import KedroProjectTranslator

check_installed()  # first: with other versions, what follows fails with a worse message

__all__ = [
    "CatalogTranslator",
    "KedroProjectTranslator",
    "NodeTranslator",
    "PipelineTranslator",
    "__version__",
]

_MODULES = {
    "CatalogTranslator": ".catalog",
    "KedroProjectTranslator": ".translator",
    "NodeTranslator": ".nodes",
    "PipelineTranslator": ".pipelines",
}


def __getattr__(name: str) -> Any:
    """Import Dagster when it is asked for: every command of Kedro imports this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
