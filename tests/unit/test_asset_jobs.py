"""Jobs that make assets: which ones, in which steps, and what is told where it cannot be."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
import yaml

from kedro_dagster import CatalogTranslator, KedroProjectTranslator, NodeTranslator
from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.describe import describe
from kedro_dagster.plan.model import DatasetPlan, JobPlan, StepPlan
from kedro_dagster.plan.snapshot import snapshot
from kedro_dagster.read.values import HOW_TO_SELECT
from projects import OMEGACONF, Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def same(value):
    return value


def double(value):
    return 2 * value


def keys(value):
    from kedro_dagster.datasets import partition_ids
    return dict.fromkeys(partition_ids("parts") or ["eu", "us"], value)


def days(value):
    return {}


def register_pipelines():
    main = Pipeline([
        node(same, "raw", "clean", name="clean", tags=["prepare", "data-science"]),
        node(same, "clean", "features", name="features", tags="learn"),
        node(double, "features", "model", name="train", tags="learn"),
        node(same, "features", "kept", name="keep"),
    ])
    return {
        "__default__": main + Pipeline([node(print, "model", None, name="show")]),
        "main": main,
        "short": Pipeline([node(same, "clean", "model", name="train")]),
        "late": Pipeline([node(double, "features", "model", name="train")]),
        "own": Pipeline([node(double, "raw", "clean", name="clean")]),
        "none": Pipeline([node(print, "raw", None, name="look")]),
        "parts": Pipeline([
            node(keys, "raw", "parts", name="split"),
            node(len, "parts", "count", name="count"),
        ]),
        "days": Pipeline([node(days, "raw", "days", name="days")]),
        "twins": Pipeline([node(same, "raw", "twin", name="keep", namespace="a")]),
        "mapped": Pipeline([
            node(days, "orders", "day", name="day"),
            node(days, "orders", "week", name="week"),
            node(days, "parts", None, name="look"),
        ]),
    }
"""


def partitioned(*partition: Any) -> dict[str, Any]:
    kind, keys = partition
    return {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": f"data/{kind}",
        "dataset": "json.JSONDataset",
        "filename_suffix": ".json",
        "partition": {"type": f"dagster.{kind}", **keys},
    }


CATALOG = {
    **{
        name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
        for name in ("raw", "clean", "model", "kept", "count", "a.twin")
    },
    "parts": partitioned("StaticPartitionsDefinition", {"partition_keys": ["eu", "us"]}),
    "days": partitioned("DailyPartitionsDefinition", {"start_date": "2026-01-01"}),
}
DAILY = partitioned("DailyPartitionsDefinition", {"start_date": "2026-01-01"})
CATALOG |= {name: {**DAILY, "path": f"data/{name}"} for name in ("orders", "day", "week")}
CATALOG["orders"]["partition_mappings"] = {
    name: {"type": "dagster.TimeWindowPartitionMapping", "start_offset": offset}
    for name, offset in (("day", -1), ("week", -6))
}
CATALOG["kept"]["metadata"] = {"dagster": {"owners": ["team:sales"], "group_name": "sales"}}
MAIN = {"pipeline": {"pipeline_name": "main"}, "target": "assets"}
DAYS = dg.DailyPartitionsDefinition("2026-01-01")

ANTLR = "dagster._core.definitions.antlr_asset_selection.antlr_asset_selection"
needs_antlr = pytest.mark.skipif(
    OMEGACONF < (2, 4), reason="OmegaConf before 2.4 needs an antlr with which Dagster reads none"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        made = make_project(
            tmp_path_factory.mktemp("asset_jobs") / "project", pipelines=PIPELINES, catalog=CATALOG
        )
        (made.path / "data").mkdir()
        (made.path / "data" / "raw.json").write_text("2")
        patch.chdir(made.path)
        yield made


def translator(project: Project, jobs: dict[str, Any], **options: Any) -> KedroProjectTranslator:
    content = {"jobs": jobs, **options.pop("sections", {})}
    (project.path / "conf" / "base" / "dagster.yml").write_text(yaml.safe_dump(content))
    return KedroProjectTranslator(project.path, **options)


def planned(project: Project, **job: Any) -> JobPlan:
    """A job, beside one of all nodes."""
    others = {"others": {"pipeline": {"pipeline_names": ["__default__", "parts"]}}}
    return translator(project, {**others, "made": {"target": "assets", **job}}).plan.jobs["made"]


def mistake(project: Project, jobs: dict[str, Any]) -> str:
    with pytest.raises(DagsterConfigError) as caught:
        translator(project, jobs)
    (line,) = caught.value.mistakes
    return str(line)


def of(job: JobPlan) -> dict[str, list[str]]:
    """The nodes of each step."""
    return {step.name: [node.name for node in step.nodes] for step in job.steps}


def test_it_makes_what_its_pipeline_makes_in_the_steps_of_the_assets(project: Project) -> None:
    job = planned(project, pipeline={"pipeline_name": "main"})
    assert of(job) == {
        "clean__assets": ["clean"],
        "features_to_train__assets": ["features", "keep", "train"],
    }
    assert job.assets == ("clean", "kept", "model")
    part = planned(project, pipeline={"pipeline_name": "main", "to_outputs": ["model"]})
    assert of(part) == {
        "clean__assets": ["clean"],
        "features_to_train__assets": ["features", "train"],
    }
    assert part.steps[1].inputs == ("clean",)


SELECTIONS = {
    "key:clean": ["clean"],
    "clean": ["clean"],
    "+key:model": ["clean", "model"],
    "tag:learn": ["model"],
    'tag:"prepare"': ["clean"],
    'tag:"data-science"': ["clean"],
    "group:sales": ["kept"],
    'owner:"team:sales" or key:"cl*"': ["clean", "kept"],
    "not key:clean and kind:json": ["kept", "model", "parts", "count"],
    "roots(*)": ["clean", "parts"],
    "sinks(key:clean+)": ["kept", "model"],
    "partitions:static": ["parts"],
}


@needs_antlr
@pytest.mark.parametrize("select", SELECTIONS)
def test_it_selects_as_dagster_does(project: Project, select: str) -> None:
    if select.startswith("partitions") and not hasattr(
        importlib.import_module(ANTLR), "PartitionsAssetSelection"
    ):
        pytest.skip("this Dagster does not select by partitions")
    job = planned(project, select=select)
    assert sorted(job.assets) == sorted(SELECTIONS[select])
    names = [node.name for step in job.steps for node in step.nodes]
    assert sorted(names) == sorted(node.name for node in job.pipeline.nodes)


@needs_antlr
def test_what_it_selects_is_of_its_pipeline(project: Project) -> None:
    job = planned(project, select="*", pipeline={"pipeline_name": "parts"})
    assert job.assets == ("parts", "count")
    assert "selects no asset of the pipeline" in mistake(
        project, {"made": {**MAIN, "select": "key:kept", "pipeline": {"tags": "learn"}}}
    )
    some = {**MAIN, "select": "key:none_such*", "pipeline": {"pipeline_name": "main"}}
    others = {"pipeline": {"pipeline_name": "parts"}}
    assert "selects no asset of the pipeline" in mistake(project, {"made": some, "others": others})


@needs_antlr
def test_it_selects_beside_other_partitions_and_other_mappings(project: Project) -> None:
    """Two assets read a third one by a mapping each, and what comes from outside has others."""
    jobs = {"all": {"pipeline": {"pipeline_name": "mapped"}, "partitions": "all"}}
    kedro = translator(project, {**jobs, "made": {"target": "assets", "select": "+key:week"}})
    assert kedro.plan.jobs["made"].assets == ("week",)
    assert kedro.to_definitions().resolve_job_def("made").partitions_def == DAYS


@needs_antlr
def test_its_presets_make_what_it_makes(project: Project) -> None:
    presets = {"small": {"runtime_params": {"limit": 1}}}
    jobs = {"others": MAIN, "made": {**MAIN, "select": "key:kept", "presets": presets}}
    (project.path / "conf" / "base" / "parameters.yml").write_text("limit: 9")
    kedro = translator(project, jobs)
    assert kedro.plan.jobs["made_small"].assets == kedro.plan.jobs["made"].assets == ("kept",)
    definition = kedro.to_definitions().resolve_job_def("made_small")
    assert definition.asset_layer.selected_asset_keys == {dg.AssetKey("kept")}
    assert definition.run_config == {
        "resources": {"kedro": {"config": {"runtime_params": {"limit": 1}}}}
    }


@needs_antlr
def test_it_selects_by_what_a_translator_of_the_projects_own_gives(project: Project) -> None:
    class Catalog(CatalogTranslator):
        def get_group_name(self, dataset: DatasetPlan) -> str | None:
            return "mine" if dataset.name == "model" else super().get_group_name(dataset)

    class Nodes(NodeTranslator):
        def get_op_name(self, step: StepPlan) -> str:
            return f"my_{step.name}_{len(step.nodes)}"

    kedro = translator(
        project,
        {"others": MAIN, "made": {"target": "assets", "select": "group:mine"}},
        catalog_translator=Catalog,
        node_translator=Nodes,
    )
    job = kedro.plan.jobs["made"]
    assert of(job) == {"my_features_to_train__assets_3": ["features", "train"]}
    definition = kedro.to_definitions().resolve_job_def("made")
    assert [node.name for node in definition.nodes] == [step.name for step in job.steps]


def test_it_runs_the_nodes_of_its_own_pipeline(project: Project) -> None:
    """Two pipelines have a node of one name, and other functions for it."""
    own = {"pipeline": {"pipeline_name": "own"}, "target": "assets"}
    defs = translator(project, {"main": MAIN, "own": own}).to_definitions()
    assert defs.resolve_job_def("own").execute_in_process().success
    assert (project.path / "data" / "clean.json").read_text() == "4"
    assert defs.resolve_job_def("main").execute_in_process().success
    assert (project.path / "data" / "clean.json").read_text() == "2"


def test_it_is_a_job_of_dagsters_with_all_that_dagster_has_a_place_for(project: Project) -> None:
    schedule = {"cron_schedule": "@daily", "runtime_params": {"x": 1}}
    options = {
        "description": "Makes all.",
        "tags": {"team": "data"},
        "max_concurrent_runs": 1,
        "executor": "in_process",
        "schedule": schedule,
    }
    kedro = translator(project, {"made": {**MAIN, **options}, "plain": MAIN})
    defs = kedro.to_definitions()
    job = defs.resolve_job_def("made")
    assert job.description == "Makes all."
    assert job.tags == {"team": "data", "kedro/one_run_of": "made"}
    assert job.executor_def.name == "in_process"
    assert defs.resolve_job_def("plain").executor_def.name == "multi_or_in_process_executor"
    keys = {"/".join(key.path) for key in job.asset_layer.executable_asset_keys}
    assert keys == {"clean", "model", "kept"}
    tick = kedro.schedules["made"].evaluate_tick(dg.build_schedule_context())
    (request,) = tick.run_requests or ()
    assert request.run_config["resources"]["kedro"]["config"]["runtime_params"] == {"x": 1}
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("clean")])
        assert [one.step_key for one in result.all_events if one.is_step_success] == [
            "clean__assets"
        ]


def test_it_takes_the_executor_of_materialisations(project: Project) -> None:
    sections = {"assets": {"executor": "in_process"}}
    defs = translator(project, {"made": MAIN}, sections=sections).to_definitions()
    assert defs.resolve_job_def("made").executor_def.name == "in_process"


def test_a_run_makes_one_partition(project: Project) -> None:
    job: dict[str, Any] = {"pipeline": {"pipeline_name": "parts"}, "target": "assets"}
    ops = {"pipeline": {"pipeline_name": "parts"}}
    kedro = translator(
        project, {"made": {**job, "schedule": {"cron_schedule": "@daily"}}, "a": ops}
    )
    defs = kedro.to_definitions()
    made = defs.resolve_job_def("made")
    other = project.path / "data" / "StaticPartitionsDefinition" / "us.json"
    other.parent.mkdir()
    other.write_text("1")
    with dg.instance_for_test() as instance:
        assert made.execute_in_process(instance=instance, partition_key="eu").success
        config = {"resources": {"kedro": {"config": {"partition_keys": ["eu"]}}}}
        for options, told in (
            ({}, "kedro dagster run made --partition 'us'"),
            ({"run_config": config, "partition_key": "eu"}, "pick partitions of assets"),
        ):
            with pytest.raises(dg.DagsterError) as caught:
                made.execute_in_process(instance=instance, **options)
            assert told in str(caught.value.__cause__)
        made_of = instance.get_materialized_partitions(dg.AssetKey("parts"))
        context = dg.build_schedule_context(
            instance,
            datetime(2026, 1, 2, tzinfo=timezone.utc),
            repository_def=defs.get_repository_def(),
        )
        requests = kedro.schedules["made"].evaluate_tick(context).run_requests or ()
    assert made_of == {"eu"}
    assert [one.partition_key for one in requests] == ["eu", "us"]
    assert "one partition a run" in describe(kedro.plan)


def test_a_run_that_asks_for_what_is_missing_is_refused(project: Project) -> None:
    job = translator(project, {"made": MAIN}).to_definitions().resolve_job_def("made")
    config = {"resources": {"kedro": {"config": {"only_missing_outputs": True}}}}
    with pytest.raises(dg.DagsterError) as caught:
        job.execute_in_process(run_config=config)
    assert "this job makes assets. Choose the assets that are missing." in str(
        caught.value.__cause__
    )


def test_the_plan_shows_it(project: Project) -> None:
    kedro = translator(project, {"made": MAIN, "plain": {"pipeline": {}}})
    plan = kedro.plan
    assert (
        "Job made (target assets, pipeline main, executor of the code location, 2 steps)\n"
        "  clean__assets " in describe(plan)
    )
    shown, plain = snapshot(plan, kedro.catalog.asset_keys)["jobs"]
    assert (shown["target"], shown["assets"]) == ("assets", ["clean", "kept", "model"])
    assert (plain["target"], plain["assets"], plain["select"]) == ("ops", [], None)
    first, second = shown["groups"]
    assert second["dependencies"] == [first["name"]]


FILE = "conf/base/dagster.yml"
PARTS = {"pipeline": {"pipeline_name": "parts"}, "target": "assets"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "select without target": (
        {"pipeline": {}, "select": "tag:learn"},
        "select: 'tag:learn' chooses assets. Write 'target: assets' too.",
    ),
    "neither pipeline nor select": (
        {"target": "assets"},
        "pipeline: this key is required.",
    ),
    "partitions of a preset": (
        {**MAIN, "presets": {"few": {"partition_keys": ["eu"]}}},
        "presets.few.partition_keys: this is for jobs of ops; pick partitions of assets.",
    ),
    "another target": (
        {"pipeline": {}, "target": "asset"},
        "target: 'asset' is not allowed. Allowed: 'ops' or 'assets'.",
    ),
    "nodes in no asset": (
        {"pipeline": {}, "target": "assets"},
        (
            "target: nodes that no asset needs would not run: show. Give what they make a catalog "
            "entry, write 'side_effects: true' under 'assets', leave them out of the "
            "pipeline, or leave out 'target', without which each node "
            "is a step."
        ),
    ),
    "no asset": (
        {"pipeline": {"pipeline_name": "none"}, "target": "assets"},
        (
            "target: its nodes make no asset. Give what they make a catalog entry, or leave out "
            "'target'."
        ),
    ),
    "group_by": (
        {**MAIN, "group_by": "memory"},
        (
            "group_by: 'memory' is not for a job of assets: its nodes share a step where values "
            "pass between them in memory, and no others do."
        ),
    ),
    "partitions": (
        {**PARTS, "partitions": "fan_out"},
        (
            "partitions: 'fan_out' is not for a job of assets: a run of it makes one partition of "
            "its assets, and a backfill several; write 'partitions: all' at its nodes, under "
            "'nodes', where they are to run once."
        ),
    ),
    "only_missing_outputs": (
        {**MAIN, "only_missing_outputs": True},
        (
            "only_missing_outputs: True is not for a job of assets: Dagster plans what it makes "
            "before it starts. Choose the assets that are missing when you launch it."
        ),
    ),
    "loggers": (
        {**MAIN, "loggers": [{"level": "INFO"}]},
        (
            "loggers: this is not for a job of assets: Dagster gives it those of the code "
            "location: give them to dg.Definitions in definitions.py."
        ),
    ),
    "two partitionings": (
        {"pipeline": {"pipeline_names": ["parts", "days"]}, "target": "assets"},
        (
            "target: one run cannot hold the partitions of both 'days' and 'parts'. Make a job for "
            "each, or leave out 'target'."
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told(project: Project, name: str) -> None:
    job, message = WRONG[name]
    if "select" in job and OMEGACONF < (2, 4):
        pytest.skip("no selection can be read")
    assert mistake(project, {"made": job}) == f"{FILE}: jobs.made.{message}"


@pytest.mark.parametrize(
    ("pipeline", "others"), [("short", "features, train"), ("late", "features")]
)
def test_an_asset_that_other_nodes_make_too_is_refused(
    project: Project, pipeline: str, others: str
) -> None:
    """In the larger pipeline another node of this name makes it, or one more node is needed."""
    job = {"pipeline": {"pipeline_name": pipeline}, "target": "assets"}
    told = mistake(project, {"others": {"pipeline": {}}, "made": job})
    assert told.endswith(
        f"jobs.made.target: 'model' would be made as in a larger pipeline, with what this one does "
        f"not have: {others}. Take that in, or leave out 'target'."
    )


@needs_antlr
@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("tag:lern", "'tag:lern' selects no asset of the project. Did you mean 'tag:learn'"),
        ("modl", "'modl' names an asset that is not there. Did you mean 'model'?"),
        ("key:raw", "'key:raw' selects no asset of the project. Allowed: 'clean', 'group:"),
        ("group:sales nor kind:csv", f"is no selection of assets. {HOW_TO_SELECT}"),
        ("", f"'' is no selection of assets. {HOW_TO_SELECT}"),
        ("tag:learn and (", "'tag:learn and (' selects no asset of the project."),
        ("job:made", f"asks for what only Dagster's UI knows. {HOW_TO_SELECT}"),
        ("column:x", f"asks for what only Dagster's UI knows. {HOW_TO_SELECT}"),
    ],
)
def test_a_wrong_selection_is_told(project: Project, select: str, message: str) -> None:
    job = {"target": "assets", "select": select}
    told = mistake(project, {"others": MAIN, "made": job})
    assert told.startswith(f"{FILE}: jobs.made.select: ")
    assert message in told


def test_where_dagster_cannot_read_selections_that_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OmegaConf before 2.4 pins such an ANTLR; simple selections would be read, others wrongly."""

    def fail(*_: object) -> None:
        raise ImportError

    if OMEGACONF >= (2, 4):
        monkeypatch.setattr(f"{ANTLR}.AntlrAssetSelectionParser", fail)
    told = mistake(project, {"made": {"target": "assets", "select": "tag:learn"}})
    assert told == (
        f"{FILE}: jobs.made.select: 'tag:learn' cannot be read: OmegaConf pins a version of ANTLR "
        "with which Dagster reads no selections. Do `pip install 'omegaconf>=2.4'`."
    )
