"""Two projects in one deployment: equal names stay apart, and one takes what the other makes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from projects import Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def add(value):
    return value + 1


def register_pipelines():
    return {{"__default__": Pipeline([node(add, "{source}", "report", name="add")])}}
"""


def make(folder: Path, package: str, source: str, said: Any, executor: str, **job: Any) -> Project:
    """Write a project that makes ``report``, in a file of its own, out of another dataset."""
    entry = {"type": "json.JSONDataset"}
    shared = {
        **entry,
        "filepath": f"{folder.as_posix()}/orders.json",
        "metadata": {"dagster": said},
    }
    catalog = {
        source: {**entry, "filepath": "data/raw.json"},
        "report": {**entry, "filepath": "data/report.json"},
        "report" if source == "raw" else source: shared,
    }
    return make_project(
        folder / package,
        package=package,
        pipelines=PIPELINES.format(source=source),
        catalog=catalog,
        dagster={
            "assets": {"key_prefix": [package]},
            "jobs": {"all": {"pipeline": {}, "executor": executor, **job}},
        },
        files={"data/raw.json": "1"},
    )


SHOP, PLANNING = "shop.definitions", "planning.definitions"


def note_run(context: BaseWorkspaceRequestContext, location: str, *, ended: bool = True) -> str:
    """Keep a run of a code location's job, as if a server had launched it."""
    job = context.get_code_location(location).get_repository("__repository__").get_full_job("all")
    run = create_run_for_test(
        context.instance,
        "all",
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=job.get_remote_origin(),
    )
    if ended:
        event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_SUCCESS.value, "all")
        context.instance.report_dagster_event(event, run.run_id)
    return run.run_id


def look(context: BaseWorkspaceRequestContext, cursor: str | None) -> Any:
    """Let the sensor of the job look, as the daemon does."""
    location = context.get_code_location(PLANNING)
    handle = location.get_repository("__repository__").handle
    return location.get_sensor_execution_data(
        context.instance, handle, "all_sensor", None, None, cursor, None, None
    )


def check_that_one_starts_after_the_other(context: BaseWorkspaceRequestContext) -> None:
    first = look(context, None)  # Dagster's own: it looks from now on
    ended = note_run(context, SHOP)
    time.sleep(1.1)  # SQLite keeps whole seconds of when a run was made
    note_run(context, SHOP, ended=False)  # of the other project, whose job has the same name
    second = look(context, first.cursor)
    assert [one.run_key for one in second.run_requests] == [ended]
    note_run(context, PLANNING)
    third = look(context, second.cursor)
    assert third.run_requests == []
    again = note_run(context, SHOP)
    fourth = look(context, third.cursor)
    assert [one.run_key for one in fourth.run_requests] == [again]


@pytest.mark.slow
def test_an_asset_of_one_project_is_taken_by_another(tmp_path: Path) -> None:
    shop = make(tmp_path, "shop", "raw", {"owners": ["team:shop"]}, "in_process")
    plan = make(
        *(tmp_path, "planning", "sales", {"key": ["shop", "report"]}, "multiprocess"),
        after=[{"location": SHOP, "job": "all"}],
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    for project in (shop, plan):
        project.execute("all", DAGSTER_HOME=str(home))
    assert json.loads((plan.path / "data" / "report.json").read_text()) == 3
    modules = [
        {
            "python_module": {
                "module_name": f"{project.package}.definitions",
                "working_directory": str(project.path / "src"),
                "executable_path": sys.executable,
            }
        }
        for project in (shop, plan)
    ]
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": modules}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        made = [dg.AssetKey(["shop", "report"]), dg.AssetKey(["planning", "report"])]
        assert all(instance.get_latest_materialization_event(key) for key in made)
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(instance, target) as process:
            context = process.create_request_context()
            assert len(context.code_locations) == 2
            graph = context.asset_graph
            keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
            assert keys == {"shop/raw", "shop/report", "planning/report"}
            assert graph.get(made[1]).parent_keys == {made[0]}
            assert graph.get(made[0]).parent_keys == {dg.AssetKey(["shop", "raw"])}
            assert graph.get(made[0]).is_materializable
            assert graph.get(made[0]).owners == ["team:shop"]
            check_that_one_starts_after_the_other(context)


def test_native_assets_find_datasets_under_the_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    shop = make(tmp_path, "shop_of_natives", "raw", {}, "in_process")
    catalog = shop.path / "conf" / "base" / "catalog.yml"
    spare = "spare: {type: json.JSONDataset, filepath: data/spare.json}\n"
    catalog.write_text(catalog.read_text() + spare)

    @dg.asset(ins={"raw": dg.AssetIn(key_prefix=shop.package)})
    def doubled(raw: int) -> int:
        return 2 * raw

    @dg.asset(key_prefix=shop.package, io_manager_key="kedro_io_manager")
    def spare(doubled: int) -> int:  # type: ignore[no-redef]
        return doubled + 5

    native = dg.Definitions(assets=[doubled, spare], resources={"io_manager": dg.mem_io_manager})
    defs = dg.Definitions.merge(KedroProjectTranslator(shop.path).to_definitions(), native)
    job = defs.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey("doubled"), dg.AssetKey([shop.package, "spare"])]
    assert job.execute_in_process(asset_selection=keys).success
    assert json.loads((shop.path / "data" / "spare.json").read_text()) == 7


def test_a_prefix_is_a_list_of_words(tmp_path: Path) -> None:
    shop = make(tmp_path, "shop_of_slashes", "raw", {}, "in_process")
    file = shop.path / "conf" / "base" / "dagster.yml"
    file.write_text("assets: {key_prefix: shop/europe}\njobs: {all: {pipeline: {}}}")
    with pytest.raises(DagsterConfigError, match=r"assets.key_prefix: 'shop/europe' is no part"):
        KedroProjectTranslator(shop.path)
