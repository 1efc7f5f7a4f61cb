"""The benchmark compares like with like: each subject writes what `kedro run` writes."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from bench.fan_out import make_fan_out
from bench.workload import (
    BY_HAND,
    CHECKED,
    FUSED_JOB,
    JOB,
    OURS,
    UNCHECKED,
    make_checked_workload,
    make_quiet_workload,
    make_workload,
)
from projects import Project

SIZE = 12


def outputs(project: Project) -> dict[str, str]:
    return {file.name: file.read_text() for file in (project.path / "data").glob("value_*.json")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    project = make_workload(tmp_path_factory.mktemp("workload") / "kedro", SIZE)
    project.kedro("run")
    return outputs(project)


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "job"), [(BY_HAND, JOB), (OURS, JOB), (OURS, FUSED_JOB)])
def test_outputs_are_those_of_kedro(
    subject: str, job: str, tmp_path: Path, expected: dict[str, str]
) -> None:
    project = make_quiet_workload(tmp_path / "workload", SIZE)
    Project(project.path, subject).execute(job)
    assert len(expected) == SIZE
    assert outputs(project) == expected


@pytest.mark.slow
@pytest.mark.parametrize("subject", [BY_HAND, OURS])
def test_partitions_are_made_by_each_subject(subject: str, tmp_path: Path) -> None:
    project = make_fan_out(tmp_path / "fan_out", 3)
    Project(project.path, subject).execute(JOB)
    made = sorted((project.path / "data" / "made").iterdir())
    assert [(file.name, file.read_text()) for file in made] == [
        (f"key_{index:04}.json", "4") for index in range(3)
    ]


@pytest.mark.slow
def test_each_asset_has_its_check_in_one_of_two_environments(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    project = make_checked_workload(tmp_path / "workload", SIZE)
    project.create_dagster_home()
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        for env, checks in {UNCHECKED: 0, CHECKED: SIZE}.items():
            project.execute(JOB, KEDRO_ENV=env)
            (run,) = instance.get_runs(limit=1)
            kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
            assert len(instance.all_logs(run.run_id, of_type=kind)) == checks
    assert outputs(project) == expected
