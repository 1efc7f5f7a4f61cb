"""Nodes that no asset needs are listed, or are assets; so is what hooks put into the catalog."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster import MetadataValue
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.repository_definition import RepositoryLoadData

from fidelity.conftest import MakeProject
from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import CatalogConfigError
from kedro_dagster.plan.describe import describe
from kedro_dagster.plan.side_effects import RUN_THEM, nodes_in_no_asset
from partitions.fan import HOOKS
from partitions.whole import outputs, trace
from projects import OMEGACONF, Project

pytestmark = pytest.mark.xdist_group("nodes_in_no_asset")

PIPELINES = """\
from pathlib import Path

from kedro.pipeline import Pipeline, node


def one():
    return 1


def same(value):
    return value


def tell(value):
    \"\"\"Tell the world.\"\"\"
    Path(__file__).parents[2].joinpath("data/told.json").write_text(str(value))


def register_pipelines():
    kept = Pipeline([
        node(one, None, "passed", name="begin"),
        node(same, "passed", "first", name="keep"),
        node(same, "first", "second", name="second"),
    ])
    lost = Pipeline([
        node(one, None, "in_memory", name="forgotten"),
        node(same, "in_memory", "nowhere", name="lost"),
        node(tell, "first", None, name="show", tags="loud"),
    ])
    begin = kept.only_nodes("begin")
    return {"__default__": kept + lost, "begin": begin, "lost": lost.only_nodes("lost")}
"""
REGISTERING = """\
import os
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.io import CachedDataset, Version
from kedro_datasets.json import JSONDataset

ROOT = Path(__file__).parents[2]


class RegisteringHooks:
    @hook_impl
    def after_catalog_created(self, catalog, parameters, save_version):
        with open(ROOT / "catalogs.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        if "FAIL" in os.environ:
            raise OSError("the registry is away")

        def stored(name, **options):
            return JSONDataset(filepath=str(ROOT / f"data/{name}.json"), **options)

        for name in ("in_memory", "nowhere"):
            catalog[name] = stored(name, metadata={"description": f"From a hook: {name}"})
        catalog["cached"] = CachedDataset(stored("cached"))
        catalog["versioned"] = stored("versioned", version=Version(None, save_version))
        catalog["sealed"] = stored("sealed", credentials={"token": "a secret token"})
        catalog["value"] = parameters["params:limit"]
        catalog.get("second")
"""
LEFT = "forgotten, lost, show"
WARNING = f"This run makes all assets. Nodes in no asset do not run: {LEFT}. {RUN_THEM}"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def project(json_project: MakeProject) -> Project:
    return json_project(
        *("first", "second"),
        pipelines=PIPELINES,
        hooks=HOOKS,
        settings="""\
            from shop.hooks import ProjectHooks
            from shop.registering import RegisteringHooks

            HOOKS = (ProjectHooks(), RegisteringHooks())
            """,
        parameters="limit: ${runtime_params:limit, 5}\n",
        dagster={
            "executors": {"one": {"in_process": {}}},
            "jobs": {
                "all": {"pipeline": {}},
                "begin": {"pipeline": {"pipeline_name": "begin"}},
                "lost": {"pipeline": {"pipeline_name": "lost"}},
            },
        },
        files={
            "src/shop/registering.py": REGISTERING,
            "conf/one/dagster.yml": "assets: {executor: one}\n",
            "conf/effects/dagster.yml": "assets: {side_effects: true, key_prefix: shop}\n",
            "conf/hooked/dagster.yml": "assets: {side_effects: true, from_hooks: true}\n",
            "conf/lonely/dagster.yml": "assets: {from_hooks: true}\n",
        },
    )


def without_data(project: Project) -> Project:
    """The project without what earlier runs have made."""
    shutil.rmtree(project.path / "data", ignore_errors=True)
    (project.path / "data").mkdir()
    for name in ("trace.jsonl", "catalogs.txt"):
        (project.path / name).unlink(missing_ok=True)
    return project


@pytest.fixture
def clean(project: Project) -> Project:
    return without_data(project)


@pytest.fixture(scope="module")
def kedro_run(project: Project) -> Project:
    copy = without_data(project.copy(project.path.parent / "kedro_run"))
    copy.kedro("run")
    return copy


# --- Listed --------------------------------------------------------------------------------------


def test_the_plan_lists_them(project: Project) -> None:
    """Not those whose values an asset has through memory, also where another job has them alone."""
    plan = KedroProjectTranslator(project.path).plan
    left = nodes_in_no_asset(plan)
    assert sorted(left) == LEFT.split(", ")
    assert f"\n\nNodes in no asset: {', '.join(left)}\n" in describe(plan)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["base", "one"])
def test_a_run_of_all_assets_says_it_once(project: Project, env: str) -> None:
    job = ("-j", "__ASSET_JOB", "-m", "shop.definitions")
    run = project.run("-m", "dagster", "job", "execute", *job, KEDRO_ENV=env)
    shown = [line for line in run.stderr.splitlines() if "Nodes in no asset" in line]
    told = [line for line in shown if " - WARNING - " in line and line.endswith(WARNING)]
    assert len(told) == 1, run.stderr


@pytest.mark.slow
@pytest.mark.skipif(OMEGACONF < (2, 4), reason="its ANTLR cannot read Dagster's selections")
def test_runs_of_some_assets_or_of_jobs_do_not(project: Project) -> None:
    module = ("-m", "shop.definitions")
    some = project.run("-m", "dagster", "asset", "materialize", "--select", "first", *module)
    job = project.run("-m", "dagster", "job", "execute", "-j", "all", *module)
    assert "Nodes in no asset" not in some.stderr + job.stderr


# --- Assets --------------------------------------------------------------------------------------


def test_with_side_effects_they_are_assets_as_others_are(project: Project) -> None:
    translator = KedroProjectTranslator(project.path, env="effects")
    assert "Nodes in no asset" not in describe(translator.plan)
    graph = translator.to_definitions().resolve_asset_graph()
    deps = {key.to_user_string(): graph.get(key).parent_keys for key in graph.get_all_asset_keys()}
    first = dg.AssetKey(["shop", "first"])
    assert deps == {
        "shop/first": set(),
        "shop/second": {first},
        "shop/show": {first},
        "shop/lost": set(),
    }
    show = graph.get(dg.AssetKey(["shop", "show"]))
    assert (show.description, show.group_name, dict(show.tags)) == (
        "Tell the world.",
        "default",
        {"loud": ""},
    )
    made = translator.assets["show"]
    assert isinstance(made, dg.AssetsDefinition)
    assert made.op.output_dict["show"].dagster_type.is_nothing


def in_process(project: Project, env: str, job: str) -> tuple[set[str], Project]:
    """Run a job, or all assets; give the assets that are recorded."""
    definitions = KedroProjectTranslator(project.path, env=env).to_definitions()
    found = definitions.resolve_implicit_global_asset_job_def()
    run = (definitions.resolve_job_def(job) if job else found).execute_in_process(QUIET)
    events = run.get_asset_materialization_events()
    return {event.materialization.asset_key.path[-1] for event in events}, project


@pytest.mark.parametrize(
    ("env", "job", "more"),
    [
        ("effects", "", {"lost", "show"}),
        ("effects", "all", {"lost", "show"}),
        ("hooked", "", {"in_memory", "nowhere", "show"}),
        ("lonely", "all", {"in_memory", "nowhere"}),
    ],
)
def test_they_run_as_under_kedro_run(
    clean: Project, kedro_run: Project, env: str, job: str, more: set[str]
) -> None:
    recorded, project = in_process(clean, env, job)
    assert recorded == {"first", "second", *more}
    assert outputs(project) == outputs(kedro_run)
    calls, expected = trace(project), trace(kedro_run)
    assert (calls[0], calls[-1]) == (expected[0], expected[-1])
    assert Counter(calls) == Counter(expected)


@pytest.mark.slow
def test_they_run_in_processes_of_their_own_as_under_kedro_run(
    clean: Project, kedro_run: Project
) -> None:
    project = clean.copy(clean.path.parent / "apart")
    project.execute("__ASSET_JOB", KEDRO_ENV="hooked")
    assert outputs(project) == outputs(kedro_run)
    assert Counter(trace(project)) == Counter(trace(kedro_run))
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        for name in ("show", "nowhere"):
            assert instance.get_latest_materialization_event(dg.AssetKey(name))


# --- What hooks register -------------------------------------------------------------------------


def catalogs(project: Project) -> int:
    """How many catalogs the hooks of the project have seen."""
    file = project.path / "catalogs.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_hooks_are_called_at_load_where_it_is_asked_for_alone(clean: Project) -> None:
    KedroProjectTranslator(clean.path, env="effects").to_definitions()
    assert catalogs(clean) == 0
    translator = KedroProjectTranslator(clean.path, env="lonely")
    assert catalogs(clean) == 1
    assert nodes_in_no_asset(translator.plan) == ["show"]
    assert not trace_of(clean)  # of a run
    lost = translator.plan.datasets["nowhere"]
    assert (lost.kinds, lost.metadata) == (("json",), {"description": "From a hook: nowhere"})
    assert lost.address == {"dagster/uri": str(clean.path / "data/nowhere.json")}


def trace_of(project: Project) -> list[Any]:
    return trace(project) if (project.path / "trace.jsonl").exists() else []


def test_what_they_register_is_seen_as_in_the_catalog(clean: Project) -> None:
    entries = KedroProjectTranslator(clean.path, env="lonely").project.catalog.config
    assert entries["cached"]["dataset"]["type"].endswith(".JSONDataset")
    assert entries["versioned"]["versioned"] is True
    assert entries["value"]["type"].endswith(".MemoryDataset")
    assert "a secret token" not in json.dumps(entries)
    assert entries["second"] == {  # which the hook has only looked at
        "type": "json.JSONDataset",
        "filepath": "data/second.json",
    }


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the code server hands to runs."""
    found: dict[str, str] = {}
    for module in ("from_hooks", "project"):
        monkeypatch.setattr(f"kedro_dagster.read.{module}.hand_to_runs", found.__setitem__)
    return found


def test_the_process_of_a_run_is_told_and_calls_no_hook_for_it(
    clean: Project, handed_over: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = KedroProjectTranslator(clean.path, env="hooked")
    translator.to_definitions()
    server, text = translator.plan, handed_over["kedro_dagster/shop/from_hooks"]
    assert "a secret token" not in text
    assert str(clean.path) not in text
    metadata = {
        key: MetadataValue.code_location_reconstruction(text) for key, text in handed_over.items()
    }
    context = DefinitionsLoadContext(
        DefinitionsLoadType.RECONSTRUCTION, RepositoryLoadData(reconstruction_metadata=metadata)
    )
    with monkeypatch.context() as patch:
        patch.setattr(DefinitionsLoadContext, "_instance", context)
        translator = KedroProjectTranslator(clean.path, env="hooked")
    assert catalogs(clean) == 1
    run = translator.plan
    for name, dataset in server.datasets.items():
        assert (run.datasets[name].kind, run.datasets[name].metadata) == (
            dataset.kind,
            dataset.metadata,
        )
    assert run.asset_steps.keys() == server.asset_steps.keys()
    # Of pipelines whose outlines are handed over, too
    job = translator.to_definitions().resolve_job_def("all").execute_in_process(QUIET)
    made = {event.materialization.label for event in job.get_asset_materialization_events()}
    assert made == {"first", "second", "in_memory", "nowhere", "show"}


def test_hooks_that_fail_at_load_are_told(clean: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    KedroProjectTranslator(clean.path, env="effects")
    with pytest.raises(CatalogConfigError) as error:
        KedroProjectTranslator(clean.path, env="lonely")
    file = clean.path / "src" / "shop" / "registering.py"
    line = file.read_text().splitlines().index('            raise OSError("the registry is away")')
    assert str(error.value) == (
        "assets.from_hooks of dagster.yml: the project's hooks are called when the code location "
        f"loads, and fail: OSError: the registry is away ({file}, line {line + 1}). Without "
        "from_hooks, only runs call them."
    )
