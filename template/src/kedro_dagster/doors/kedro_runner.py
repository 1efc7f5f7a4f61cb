"""What is private to Kedro's runners."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
from typing import Any

from kedro import __version__ as kedro_version
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner, SequentialRunner

from ..errors import UnsupportedVersionError
from .fallback import needed, or_else


@or_else("kedro", "a failed run does not say from which nodes to go on", default=None)
def suggest_resume(
    pipeline: Pipeline, done: Collection[Node], catalog: CatalogProtocol[Any, Any]
) -> None:
    """Log what ``kedro run`` logs of a run that failed: from which nodes to go on."""
    SequentialRunner()._suggest_resume_scenario(pipeline, set(done), catalog)


def with_missing_outputs(
    runner: AbstractRunner, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
) -> Pipeline:
    """Keep what a runner runs by ``kedro run --only-missing-outputs``, and log why."""
    if "only_missing_outputs" not in signature(AbstractRunner.run).parameters:
        raise UnsupportedVersionError(
            f"only_missing_outputs: Kedro {kedro_version} does not have this option of 'kedro "
            "run'. Leave it out, or install a later Kedro."
        )
    keep = needed("kedro", runner, "_filter_pipeline_for_missing_outputs")
    kept: Pipeline = keep(pipeline, catalog)
    return kept
