"""What a terminal shows of a run."""

from __future__ import annotations

import pytest

from kedro_dagster.run.progress import how_to_resume


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
