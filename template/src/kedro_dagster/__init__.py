"""Runs a Kedro project on Dagster: what ``kedro run`` does, Dagster does.

``project`` reads the Kedro project, ``plan`` decides which steps there are, ``catalog``,
``nodes`` and ``pipelines`` render them as Dagster objects, and ``run`` is what happens in a run.
"""

from .catalog import CatalogTranslator
from .nodes import NodeTranslator
from .pipelines import PipelineTranslator
from .translator import KedroProjectTranslator

__version__ = "0.1.0"

__all__ = ["CatalogTranslator", "KedroProjectTranslator", "NodeTranslator", "PipelineTranslator"]
