"""With ``missing: skip``, what depends on a key without data alone is skipped, and it is said."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from partitions.whole import SKIPPED, check_late, make_whole, trace
from projects import Project

pytestmark = pytest.mark.xdist_group("missing")

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_whole(tmp_path_factory.mktemp("missing") / "project")


def test_what_depends_on_a_key_without_data_alone_is_skipped(
    clean: Project, definitions: dg.Definitions
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("late").execute_in_process(QUIET, instance)
        logs = [event.user_message for event in instance.all_logs(run.run_id)]
    events = (one for one in run.all_events if one.event_type is dg.DagsterEventType.STEP_SKIPPED)
    assert {one.step_key for one in events} == SKIPPED
    assert (
        "This step is skipped, with what depends on it alone: 'raw' has no data yet for C." in logs
    )
    check_late(clean)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["late", "late_parallel"])
def test_steps_in_processes_of_their_own_are_skipped_as_well(original: Project, job: str) -> None:
    project = original.copy(original.path.parent / job)
    process = project.execute(job)
    for step in SKIPPED:
        assert f"Skipping step {step} due to skipped dependencies" in process.stderr
    check_late(project)


def test_a_run_of_a_key_without_data_is_skipped(
    clean: Project, definitions: dg.Definitions
) -> None:
    job = definitions.resolve_job_def("late_per_run")
    made = {}
    for key in "AC":
        run = job.execute_in_process(QUIET, partition_key=key)
        events = run.get_asset_materialization_events()
        made[key] = [event.partition for event in events]
    assert made == {"A": ["A"], "C": []}
    ends = [call[0] for call in trace(clean) if "pipeline" in call[0]]
    assert ends == ["before_pipeline_run", "after_pipeline_run"] * 2


def materialise(
    definitions: dg.Definitions, *names: str, tags: Any = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        definitions.assets,  # type: ignore[arg-type]  # as Definitions has them
        resources=definitions.resources,
        selection=list(names),
        run_config=QUIET,
        tags=tags,
    )


def made_assets(run: dg.ExecuteInProcessResult) -> list[tuple[str, str | None]]:
    events = run.get_asset_materialization_events()
    return sorted((event.materialization.label, event.partition) for event in events)


def test_an_asset_is_not_made_for_a_key_without_data(
    clean: Project, definitions: dg.Definitions
) -> None:
    made = {}
    for key in "AC":
        tags = {"dagster/partition": key}
        made[key] = made_assets(materialise(definitions, "copied", "streamed", tags=tags))
    assert made == {"A": [("copied", "A"), ("streamed", "A")], "C": []}
    assert made_assets(materialise(definitions, "counted")) == [("counted", None)]
    assert json.loads((clean.path / "data" / "counted.json").read_text()) == ["A"]
    ends = [call[0] for call in trace(clean) if "pipeline" in call[0]]
    assert ends == ["before_pipeline_run", "after_pipeline_run"] * 3


@pytest.mark.usefixtures("clean")
def test_a_range_of_an_asset_is_made_for_the_keys_with_data(definitions: dg.Definitions) -> None:
    tags = {ASSET_PARTITION_RANGE_START_TAG: "A", ASSET_PARTITION_RANGE_END_TAG: "C"}
    run = materialise(definitions, "copied", "streamed", tags=tags)
    assert made_assets(run) == [("copied", "A"), ("copied", "B")]
    events = (one for one in run.all_events if one.event_type is dg.DagsterEventType.STEP_SKIPPED)
    assert [one.step_key for one in events] == ["stream__assets"]
