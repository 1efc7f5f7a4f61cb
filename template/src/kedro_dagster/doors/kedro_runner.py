"""What is private to Kedro's runners."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from .fallback import or_else


@or_else("kedro", "a failed run does not say from which nodes to go on", default=None)
def suggest_resume(
    pipeline: Pipeline, done: Collection[Node], catalog: CatalogProtocol[Any, Any]
) -> None:
    """Log what ``kedro run`` logs of a run that failed: from which nodes to go on."""
    SequentialRunner()._suggest_resume_scenario(pipeline, set(done), catalog)
