"""Runs a Kedro project on Dagster: what ``kedro run`` does, Dagster does.

Four stages, a folder each: ``read`` the Kedro project, ``plan`` its steps, ``run`` them, and
``render`` the plan as Dagster objects. ``doors`` holds what is private to other libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .doors import quiet
from .versions import __version__, check_installed

if TYPE_CHECKING:
    from .datasets import NOTHING_OUTPUT, DagsterNothingDataset, DagsterPartitionedDataset
    from .render.assets import CatalogTranslator
    from .render.code_location import KedroProjectTranslator
    from .render.jobs import PipelineTranslator
    from .render.ops import NodeTranslator

__all__ = [
    "NOTHING_OUTPUT",
    "CatalogTranslator",
    "DagsterNothingDataset",
    "DagsterPartitionedDataset",
    "KedroProjectTranslator",
    "NodeTranslator",
    "PipelineTranslator",
    "__version__",
]

_TRANSLATORS = {
    "CatalogTranslator": ".render.assets",
    "KedroProjectTranslator": ".render.code_location",
    "NodeTranslator": ".render.ops",
    "PipelineTranslator": ".render.jobs",
}

# What catalogs, nodes and logging.yml name: plain `kedro run` imports it, without Dagster
_PLAIN = {
    "DagsterNothingDataset": ".datasets",
    "DagsterPartitionedDataset": ".datasets",
    "NOTHING_OUTPUT": ".datasets",
    "dagster_colored_formatter": ".logging",
    "dagster_json_formatter": ".logging",
    "dagster_rich_formatter": ".logging",
}


def __getattr__(name: str) -> Any:
    """Import Dagster when it is asked for: every command of Kedro imports this package."""
    if name in _TRANSLATORS:
        check_installed()  # first: with other versions, the import fails with a worse message
        quiet.import_kedro()
        return getattr(import_module(_TRANSLATORS[name], __name__), name)
    if name in _PLAIN:
        return getattr(import_module(_PLAIN[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
