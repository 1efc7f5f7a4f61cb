"""Dagster's default run launcher, for ``run_launcher`` in the ``dagster.yaml`` of production."""

from __future__ import annotations

import dagster as dg
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value


class MonitoredRunLauncher(DefaultRunLauncher):
    """Loses no run when a code server is replaced, nor when it ends without a warning.

    Dagster's own one leaves the runs that have ended with a code server to be in progress for
    ever, and fails those that one refuses because it waits for its last runs to end.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, or let it go back to the queue while the code server shuts down."""
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if "shut down" in str(error):
                raise DagsterUserCodeUnreachableError(str(error)) from error
            raise

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the code server of a run whether it still has its process.

        One that cannot be reached says nothing of its runs: it may be there, and so may they.
        """
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It has ended by now.")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "The code server is not reached.")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "It ended with its code server.")
