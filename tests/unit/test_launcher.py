"""The run launcher of production, asked by run monitoring for runs of a code server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test, instance_for_test

from live.server import free_port

LAUNCHER = {"run_launcher": {"module": "kedro_dagster.launcher", "class": "MonitoredRunLauncher"}}


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test(overrides=LAUNCHER) as instance:
        yield instance


def health(instance: dg.DagsterInstance, port: int) -> WorkerStatus:
    tags = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
    run = create_run_for_test(instance, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert instance.run_launcher.supports_check_run_worker_health
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_code_server_that_is_not_reached_says_nothing_of_its_runs(
    instance: dg.DagsterInstance,
) -> None:
    assert health(instance, free_port()) == WorkerStatus.RUNNING
