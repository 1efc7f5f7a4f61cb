"""Every kind of partitions, with every mapping, is made in every way that Dagster has."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from kedro_dagster import KedroProjectTranslator
from partitions.matrix import CASES, Case, make_matrix

pytestmark = pytest.mark.xdist_group("matrix")

BEFORE = "from before"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    project = make_matrix(tmp_path_factory.mktemp("matrix") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield project.path


@pytest.fixture(scope="module")
def definitions_of(root: Path) -> Callable[[str], dg.Definitions]:
    return cache(lambda case: KedroProjectTranslator(root, env=case).to_definitions())


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("files", ["x", "y", "z"])
        yield instance


@dataclass(frozen=True)
class Trial:
    """One case, of which the files that it needs are there, and all else is from before."""

    case: Case
    root: Path
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def file(self, dataset: str, key: str) -> Path:
        folder = self.root / "data" / dataset
        parts = key.split("|")
        if "layout" in self.case.options:
            return folder / parts[1] / f"{parts[0]}.json"
        return folder / f"{key}.json"

    def set_up(self) -> None:
        shutil.rmtree(self.root / "data", ignore_errors=True)
        needed = {key for keys in self.case.made_from.values() for key in keys}
        contents = dict.fromkeys(self.case.untouched, BEFORE)
        files = {self.file("read", key): key for key in (*needed, *self.case.stored)}
        files |= {self.file("written", key): value for key, value in contents.items()}
        for file, value in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))

    def assets(self, *keys: str) -> dg.ExecuteInProcessResult:
        """Materialise the asset, for one key or for a range in one run."""
        one = keys[0] if len(keys) == 1 else None
        span = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
        return dg.materialize(
            self.definitions.assets,  # type: ignore[arg-type]  # as Definitions has them
            resources=self.definitions.resources,
            selection=["written"],
            instance=self.instance,
            partition_key=one,
            run_config=QUIET,
            tags={} if one else span,
        )

    def job(self, way: str, key: str | None = None) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def(way)
        return job.execute_in_process(QUIET, self.instance, partition_key=key)

    def check(self, *keys: str, runs: list[dg.ExecuteInProcessResult]) -> None:
        """Check that exactly these partitions were made and recorded, of what they map to."""
        for key in keys:
            got = json.loads(self.file("written", key).read_text())
            files = {self.file("read", one) for one in self.case.made_from[key]}
            assert {self.root / "data" / "read" / f"{name}.json" for name in got} == files
            assert sorted(got.values()) == sorted(self.case.made_from[key])
        for key in self.case.untouched:
            assert json.loads(self.file("written", key).read_text()) == BEFORE
        for key in self.case.made_from.keys() - keys:
            assert not self.file("written", key).exists()
        events = [event for run in runs for event in run.get_asset_materialization_events()]
        recorded = [(event.asset_key, event.partition) for event in events]
        asset = dg.AssetKey("written")
        assert sorted(recorded) == sorted((asset, key) for key in keys)
        for event in events:
            if len(events) == len(runs):  # one event for each run, and so of one key
                path = event.materialization.metadata["path"].value
                assert path == str(self.file("written", str(event.partition)))


@pytest.fixture
def trial(
    case: str,
    root: Path,
    definitions_of: Callable[[str], dg.Definitions],
    instance: dg.DagsterInstance,
) -> Trial:
    trial = Trial(CASES[case], root, definitions_of(case), instance)
    trial.set_up()
    return trial


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.fans_out])
def test_a_job_fans_out(trial: Trial) -> None:
    run = trial.job("fan_out")
    trial.check(*trial.case.made_from, runs=[run])


@pytest.mark.parametrize("case", CASES)
def test_a_job_runs_one_partition(trial: Trial) -> None:
    key = list(trial.case.made_from)[-1]
    run = trial.job("per_run", key)
    trial.check(key, runs=[run])


@pytest.mark.parametrize("case", CASES)
def test_an_asset_is_made_key_by_key_as_by_a_backfill(trial: Trial) -> None:
    keys = list(trial.case.made_from)[:2]
    runs = [trial.assets(key) for key in keys]
    trial.check(*keys, runs=runs)


@pytest.mark.parametrize("case", [name for name, one in CASES.items() if len(one.made_from) > 1])
def test_a_range_of_an_asset_is_made_in_one_run(trial: Trial) -> None:
    keys = list(trial.case.made_from)
    run = trial.assets(*keys)
    for key in keys:
        assert trial.file("written", key).exists()
    events = run.get_asset_materialization_events()
    assert sorted(str(event.partition) for event in events) == sorted(keys)
    for key in trial.case.untouched:
        assert json.loads(trial.file("written", key).read_text()) == BEFORE
