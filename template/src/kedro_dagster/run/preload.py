"""Loads a run's job in the process that Dagster forks the run's steps from.

Python's forkserver imports this module; nobody else does. It stands between Python and the
project: Python hides an ``ImportError`` of what it imports there, and any other error ends that
process, and with it the run.
"""

from __future__ import annotations

import logging

from ..doors.kedro import keep_parsed_files
from .processes import preload_job

keep_parsed_files()


try:
    preload_job()
except (Exception, SystemExit) as error:  # noqa: BLE001 - each step meets it again
    logging.getLogger(__name__).warning(
        "The project cannot be loaded once for all steps of the run, so each step loads it: %r. "
        "Does its code ask for the main module, or for sys.argv?",
        error,
    )
