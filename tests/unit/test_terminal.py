"""What a terminal shows of a run, and with which one it goes on."""

from __future__ import annotations

import io

import dagster as dg
import pytest
from rich.console import Console
from rich.progress import Progress

from kedro_dagster.commands.run import Request, run_to_resume
from kedro_dagster.commands.terminal import Bars
from kedro_dagster.run.progress import how_to_resume


def test_bars_show_each_attempt_of_a_step() -> None:
    attempts = iter([True, False])

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def flaky() -> None:
        if next(attempts):
            raise RuntimeError

    @dg.job
    def one() -> None:
        flaky()

    bars = Bars(progress := Progress(console=Console(file=io.StringIO())))
    shown = []
    for event in one.execute_in_process().all_events:
        bars.show(event, 1)
        texts = [task.description for task in progress.tasks]
        if texts not in shown[-1:]:
            shown.append(texts)
    assert shown == [
        ["The run begins"],
        ["0 of 1 steps done, 1 running", "flaky"],
        ["0 of 1 steps done, 0 running"],
        ["0 of 1 steps done, 1 running", "flaky"],
        ["1 of 1 steps done, 0 running"],
    ]


def test_how_to_resume_names_the_configuration_that_the_run_had_and_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEDRO_ENV", "")
    assert how_to_resume("1a2b") == "kedro dagster run --resume 1a2b"
    monkeypatch.setenv("KEDRO_ENV", "prod")
    monkeypatch.setenv("KEDRO_CONF_SOURCE", "https://me:sesame@shop/my conf.zip")
    assert how_to_resume("1a2b", "train") == (
        "kedro dagster run train --resume 1a2b --env prod "
        "--conf-source 'https://<redacted>@shop/my conf.zip'"
    )


def test_a_run_is_found_by_its_whole_id_however_old_it_is() -> None:
    failed = dg.DagsterRunStatus.FAILURE
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [dg.DagsterRun(job_name="train", status=failed) for _ in range(1_001)]
        for run in runs:
            instance.add_run(run)
        for wanted in (runs[0], runs[-1]):
            request = Request(None, None, None, wanted.run_id, None, {})
            assert run_to_resume(instance, request).run_id == wanted.run_id
