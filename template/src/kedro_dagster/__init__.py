"""Runs a Kedro project on Dagster: what ``kedro run`` does, Dagster does.

Four stages, a folder each: ``read`` the Kedro project, ``plan`` its steps, ``run`` them, and
``render`` the plan as Dagster objects. ``doors`` holds what is private to other libraries, and
``commands`` what the commands of ``kedro dagster`` do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .doors import quiet
from .versions import __version__, check_installed

if TYPE_CHECKING:
    from .datasets import NOTHING_OUTPUT, DagsterNothingDataset, DagsterPartitionedDataset
    from .render.assets import CatalogTranslator
    from .render.code_location import KedroProjectTranslator
    from .render.component import KedroProjectComponent
    from .render.jobs import PipelineTranslator
    from .render.ops import NodeTranslator

__all__ = [
    "NOTHING_OUTPUT",
    "CatalogTranslator",
    "DagsterNothingDataset",
    "DagsterPartitionedDataset",
    "KedroProjectComponent",
    "KedroProjectTranslator",
    "NodeTranslator",
    "PipelineTranslator",
    "__version__",
]

# Plain `kedro run` imports what catalogs, nodes and logging.yml name: without Dagster
_MODULES = {
    "CatalogTranslator": ".render.assets",
    "KedroProjectComponent": ".render.component",
    "KedroProjectTranslator": ".render.code_location",
    "NodeTranslator": ".render.ops",
    "PipelineTranslator": ".render.jobs",
    "DagsterNothingDataset": ".datasets",
    "DagsterPartitionedDataset": ".datasets",
    "NOTHING_OUTPUT": ".datasets",
    "dagster_colored_formatter": ".logging",
    "dagster_json_formatter": ".logging",
    "dagster_rich_formatter": ".logging",
}


def __getattr__(name: str) -> Any:
    """Import Dagster when it is asked for: every command of Kedro imports this package."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module.startswith(".render"):
        check_installed()  # first: with other versions, the import fails with a worse message
        quiet.import_kedro()
    return getattr(import_module(module, __name__), name)


def __dir__() -> list[str]:
    """Name what is imported when it is asked for: ``dg`` looks for components among them."""
    return sorted({*globals(), *__all__})
