"""Runs a Kedro project on Dagster: what ``kedro run`` does, Dagster does.

``project`` reads the Kedro project, ``plan`` decides which steps there are, ``catalog``,
``nodes`` and ``pipelines`` render them as Dagster objects, and ``run`` is what happens in a run.
"""

from .versions import __version__, check_installed

check_installed()  # first: with other versions, what follows fails with a worse message

from .catalog import CatalogTranslator  # noqa: E402
from .nodes import NodeTranslator  # noqa: E402
from .pipelines import PipelineTranslator  # noqa: E402
from .translator import KedroProjectTranslator  # noqa: E402

__all__ = [
    "CatalogTranslator",
    "KedroProjectTranslator",
    "NodeTranslator",
    "PipelineTranslator",
    "__version__",
]
