"""Dagster's default run launcher, for ``run_launcher`` in the ``dagster.yaml`` of production."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from .doors.dagster import back_to_queue, health_check

if TYPE_CHECKING:
    from .doors.dagster import CheckRunHealthResult, LaunchRunContext


class MonitoredRunLauncher(dg.DefaultRunLauncher):
    """Loses no run when a code server is replaced, nor when it ends without a warning.

    Dagster's own launcher leaves a run in progress for ever when its code server has died, and
    fails a run when the server refuses it because it waits for its last runs to end.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, or let it go back to the queue while the code server shuts down."""
        try:
            super().launch_run(context)
        except dg.DagsterError as error:
            if "shut down" in str(error) and (unreachable := back_to_queue(error)):
                raise unreachable from error
            raise

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can ask."""
        return health_check(self) is not None

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the code server of a run whether it still has its process.

        One that cannot be reached says nothing of its runs: it may be there, and so may they.
        """
        check = health_check(self)
        assert check, "Dagster asks where that is supported"
        return check(run)
