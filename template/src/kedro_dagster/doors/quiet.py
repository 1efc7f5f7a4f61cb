"""Silences what Kedro says of itself, and OmegaConf of Kedro.

``kedro run`` says it once. A run on Dagster would say it again in each of its processes, before
the line that somebody looks for.
"""

from __future__ import annotations

import logging
import warnings
from importlib import import_module


def import_kedro() -> None:
    """Import Kedro's project module without its record of which logging configuration it uses."""
    logger = logging.getLogger("kedro.framework.project")
    nothing = logging.Filter("nobody")  # it lets records of this logger through, and no others
    logger.addFilter(nothing)
    try:
        import_module(logger.name)
    finally:
        logger.removeFilter(nothing)


def ignore_warnings() -> None:
    """Leave out the warnings that are meant for Kedro's authors, or for those of pipelines."""
    warnings.filterwarnings("ignore", module=r"kedro\.config\.omegaconf_config$")
    warnings.filterwarnings("ignore", r"One or more dataset names contain '\.'")
