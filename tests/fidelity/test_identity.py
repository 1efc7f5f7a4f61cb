"""A run has one identity, and no other run has it, not even one of the same millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import dagster as dg
import pytest

from kedro_dagster.run import identity
from projects import make_project

TIMES = [f"2024-05-05T05.05.05.{millisecond:03}Z" for millisecond in range(9)]
LOW, HIGH = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"


@dg.job
def empty() -> None:
    pass


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        for run_id in (LOW, HIGH):
            instance.create_run_for_job(empty, run_id=run_id)
        yield instance


def told(instance: dg.DagsterInstance, run_id: str) -> str | None:
    return identity.identity_of(identity.tags_of(instance, run_id), run_id)


@pytest.mark.parametrize("order", [(LOW, HIGH), (HIGH, LOW)], ids=["low_first", "high_first"])
def test_of_two_runs_of_one_millisecond_the_first_keeps_it(
    order: tuple[str, str], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([TIMES[0], *TIMES])  # the second one looks while it is the same millisecond
    monkeypatch.setattr(identity, "generate_timestamp", lambda: next(clock))
    given = [identity.new_identity(instance, one, single_process=False) for one in order]
    assert given == TIMES[:2]
    assert [told(instance, one) for one in order] == given


def test_two_runs_that_write_before_either_looks_have_two_identities(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, both, looks = iter([TIMES[0], *TIMES]), Barrier(2, timeout=30), iter([True, True])
    find = instance.get_run_records

    def get_run_records(*arguments: Any) -> Any:
        if next(looks, False):
            both.wait()
        return find(*arguments)

    monkeypatch.setattr(identity, "generate_timestamp", lambda: next(clock))
    monkeypatch.setattr(instance, "get_run_records", get_run_records)
    with ThreadPoolExecutor() as threads:
        given = list(
            threads.map(lambda one: identity.new_identity(instance, one, False), (LOW, HIGH))
        )
    assert len(set(given)) == 2
    assert [told(instance, one) for one in (LOW, HIGH)] == given


SCRIPT = f"""
import dagster as dg
from kedro_dagster.run import identity
from shop.definitions import defs

clock = iter({[TIMES[0], *TIMES]})
identity.generate_timestamp = lambda: next(clock)
with dg.DagsterInstance.get() as instance:
    for run_id in {[HIGH, LOW]}:
        job = defs.resolve_job_def("default")
        assert job.execute_in_process(instance=instance, run_id=run_id).success
"""
PIPELINES = """
from kedro.pipeline import Pipeline, node

def register_pipelines():
    return {"__default__": Pipeline([node(lambda: 1, None, "made", name="make")])}
"""


@pytest.mark.slow
def test_two_runs_of_one_millisecond_save_two_versions(tmp_path: Path) -> None:
    made = {"type": "json.JSONDataset", "filepath": "data/made.json", "versioned": True}
    project = make_project(
        tmp_path / "shop",
        pipelines=PIPELINES,
        catalog={"made": made},
        dagster={"jobs": {"default": {"pipeline": {"pipeline_name": "__default__"}}}},
    )
    project.run("-c", SCRIPT)
    versions = sorted(path.name for path in (project.path / "data" / "made.json").iterdir())
    assert versions == TIMES[:2]
