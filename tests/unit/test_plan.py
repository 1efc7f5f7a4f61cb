"""Planning: which nodes a job runs, in which steps, of which names, and who makes which asset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.io import CatalogConfigResolver, DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
from kedro_datasets.json import JSONDataset

from kedro_dagster.errors import DagsterConfigError
from kedro_dagster.plan.make import make_plan
from kedro_dagster.plan.model import JobPlan, ProjectPlan, StepPlan
from kedro_dagster.plan.side_effects import nodes_in_no_asset
from kedro_dagster.read.dagster_yml import KedroDagsterConfig
from kedro_dagster.read.messages import parse_config
from kedro_dagster.read.project import KedroProject

FILE = "pickle.PickleDataset"


def same(value: object) -> object:
    return value


def other(value: object) -> object:
    return value


def two(value: object) -> tuple[object, object]:
    return value, value


def add(first: object, _: object) -> object:
    return first


def plan_of(
    pipelines: Mapping[str, Pipeline] | list[Node],
    jobs: str = "all: {pipeline: {}}",
    *,
    files: str = "",
    catalog: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    settings: str = "{}",
    assets: str = "{}",
) -> ProjectPlan:
    """Plan pipelines without a project on disk; datasets that are not files are transient."""
    entries = {name: {"type": FILE, "filepath": name} for name in files.split()}
    config, mistakes = parse_config(
        {
            "jobs": yaml.safe_load(jobs),
            "nodes": yaml.safe_load(settings),
            "assets": yaml.safe_load(assets),
        }
    )
    assert not mistakes
    named = {"__default__": Pipeline(pipelines)} if isinstance(pipelines, list) else pipelines
    return make_plan(project_of(named, config, {**entries, **(catalog or {})}, parameters))


def project_of(
    pipelines: Mapping[str, Pipeline],
    config: KedroDagsterConfig,
    catalog: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> KedroProject:
    return KedroProject(
        path=Path(),
        package_name="shop",
        env=None,
        conf_source="conf",
        pipelines=pipelines,
        import_failures={},
        catalog=CatalogConfigResolver(
            dict(catalog or {}), None, DataCatalog.default_runtime_patterns
        ),
        parameters=parameters or {},
        config=config,
        config_files=(),
        catalog_files=(),
    )


def test_a_plan_says_all_that_is_rendered_and_run() -> None:
    config, mistakes = parse_config(
        {
            "executors": {"two": {"multiprocess": {"max_concurrent": 2}}},
            "schedules": {"nightly": {"cron_schedule": "@daily"}},
            "loggers": {"brief": {"level": "ERROR"}},
            "jobs": {
                "named": {
                    "pipeline": {},
                    "executor": "two",
                    "schedule": "nightly",
                    "loggers": ["brief", {"level": "DEBUG"}],
                },
                "in_place": {"pipeline": {}, "schedule": {"cron_schedule": "@hourly"}},
            },
        }
    )
    assert not mistakes
    plan = make_plan(project_of({"__default__": Pipeline(CHAIN)}, config))
    assert not hasattr(plan.project, "config")
    named, in_place = plan.jobs["named"], plan.jobs["in_place"]
    assert (named.executor, in_place.executor) == (config.executors["two"], None)
    assert named.schedule == config.schedules["nightly"]
    assert in_place.schedule == config.jobs["in_place"].schedule
    assert {name: one.level for name, one in named.loggers.items()} == {
        "brief": "ERROR",
        "logger_1": "DEBUG",
    }


def nodes_of(steps: Mapping[str, Any] | JobPlan) -> list[list[str]]:
    """The names of the nodes of each step."""
    found = steps.steps if isinstance(steps, JobPlan) else [s.step for s in steps.values()]
    return [[node.name for node in step.nodes] for step in found]


def passes(step: StepPlan) -> str:
    return f"{' '.join(step.inputs)} -> {' '.join(step.outputs)}"


CHAIN = [
    node(same, "raw", "clean", name="prepare", tags="first"),
    node(same, "clean", "model", name="train", namespace="learning.deep", tags="last"),
    node(same, "model", "score", name="rate", namespace="learning", tags="last"),
]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("{}", ["prepare", "learning.deep.train", "learning.rate"]),
        ("{tags: [first]}", ["prepare"]),
        ("{tags: last}", ["learning.deep.train", "learning.rate"]),
        ("{node_names: prepare}", ["prepare"]),
        ("{from_nodes: [learning.deep.train]}", ["learning.deep.train", "learning.rate"]),
        ("{to_nodes: [learning.deep.train]}", ["prepare", "learning.deep.train"]),
        ("{from_inputs: [model]}", ["learning.rate"]),
        ("{to_outputs: [clean]}", ["prepare"]),
        ("{node_namespaces: [learning.deep]}", ["learning.deep.train"]),
        ("{node_namespace: learning}", ["learning.deep.train", "learning.rate"]),
        ("{tags: last, to_outputs: model}", ["learning.deep.train"]),
    ],
)
def test_a_job_runs_the_nodes_that_pass_its_filters(filters: str, names: list[str]) -> None:
    job = plan_of(CHAIN, f"all: {{pipeline: {filters}}}").jobs["all"]
    assert [node.name for node in job.pipeline.nodes] == names


def test_a_job_of_several_pipelines_runs_their_sum_once() -> None:
    first, second = Pipeline(CHAIN[:2]), Pipeline(CHAIN[1:])
    jobs = "all: {pipeline: {pipeline_names: [first, second]}}"
    job = plan_of({"first": first, "second": second}, jobs).jobs["all"]
    assert nodes_of(job) == [["prepare"], ["learning.deep.train"], ["learning.rate"]]


def test_each_node_is_a_step_by_default() -> None:
    job = plan_of(CHAIN, files="raw clean").jobs["all"]
    assert nodes_of(job) == [["prepare"], ["learning.deep.train"], ["learning.rate"]]
    assert [passes(step) for step in job.steps] == [
        "raw -> clean",
        "clean -> model",
        "model -> score",
    ]


def test_nodes_between_which_values_pass_in_memory_share_a_step() -> None:
    plan = plan_of(CHAIN, "all: {pipeline: {}, group_by: memory}", files="clean score")
    assert nodes_of(plan.jobs["all"]) == [["prepare"], ["learning.deep.train", "learning.rate"]]
    assert passes(plan.jobs["all"].steps[1]) == "clean -> score"


def test_nodes_that_only_read_the_same_transient_input_stay_apart() -> None:
    nodes = [node(same, "raw", "a", name="a"), node(same, "raw", "b", name="b")]
    job = plan_of(nodes, "all: {pipeline: {}, group_by: memory}").jobs["all"]
    assert nodes_of(job) == [["a"], ["b"]]


def test_nodes_of_a_namespace_share_a_step() -> None:
    job = plan_of(CHAIN, "all: {pipeline: {}, group_by: namespace}").jobs["all"]
    assert nodes_of(job) == [["prepare"], ["learning.deep.train", "learning.rate"]]
    assert [step.name for step in job.steps] == ["prepare", "learning"]


def test_all_nodes_share_a_step() -> None:
    job = plan_of(CHAIN, "all: {pipeline: {}, group_by: pipeline}").jobs["all"]
    assert nodes_of(job) == [["prepare", "learning.deep.train", "learning.rate"]]
    assert passes(job.steps[0]) == "raw -> score"


def test_steps_that_would_wait_for_each_other_are_refused() -> None:
    nodes = [
        node(two, "raw", ["memory", "file"], name="split"),
        node(same, "file", "copy", name="outside"),
        node(add, ["memory", "copy"], "end", name="join"),
    ]
    with pytest.raises(DagsterConfigError, match="make") as caught:
        plan_of(nodes, "all: {pipeline: {}, group_by: memory}", files="file copy end")
    (mistake,) = caught.value.mistakes
    assert mistake.path == ("jobs", "all", "group_by")
    assert "split+join" in mistake.message
    assert "outside" in mistake.message


def test_assets_that_would_wait_for_their_own_step_are_made_in_one() -> None:
    nodes = [
        node(two, "raw", ["memory", "file"], name="split"),
        node(same, "file", "copy", name="outside"),
        node(add, ["memory", "copy"], "end", name="join"),
    ]
    plan = plan_of(nodes, files="file copy end")
    assert nodes_of(plan.asset_steps) == [["split", "outside", "join"]]


def test_an_asset_depends_on_the_assets_behind_its_transient_inputs() -> None:
    nodes = [
        node(same, "raw", "memory", name="read"),
        node(add, ["memory", "other"], "end", name="join"),
        node(same, "memory", "copy", name="keep"),
    ]
    (step,) = plan_of(nodes, files="raw other end copy").asset_steps.values()
    assert dict(step.upstream) == {"end": ("raw", "other"), "copy": ("raw",)}
    assert step.transient == {"memory"}


def test_a_part_of_a_step_runs_only_the_nodes_it_needs() -> None:
    nodes = [
        node(same, "raw", "memory", name="read"),
        node(same, "memory", "end", name="finish"),
        node(same, "memory", "copy", name="keep"),
    ]
    (step,) = plan_of(nodes, files="raw end copy").asset_steps.values()
    assert [node.name for node in step.nodes_for(["copy"])] == ["read", "keep"]


def test_the_larger_of_two_pipelines_makes_the_asset_that_both_write() -> None:
    small = Pipeline([node(same, "raw", "out", name="small")])
    large = Pipeline([node(same, "raw", "a", name="one"), node(same, "a", "out", name="large")])
    jobs = "s: {pipeline: {pipeline_name: small}}\nl: {pipeline: {pipeline_name: large}}"
    plan = plan_of({"small": small, "large": large}, jobs, files="raw a out")
    assert nodes_of(plan.asset_steps) == [["one"], ["large"]]
    assert plan.external == ("raw",)


def test_nodes_that_nothing_follows_are_assets_where_it_is_asked_for() -> None:
    nodes = [
        node(same, "a", "b", name="make"),
        node(same, "b", "m", name="pass"),
        node(same, "m", None, name="ns.tell"),
        node(same, "m", "n"),  # has no name
        node(same, "b", None, name="b"),  # as the dataset is called
        node(same, "params:x", None, name="alone"),
    ]
    assert not plan_of(nodes, files="a b").side_effects
    plan = plan_of(nodes, files="a b", assets="{side_effects: true, key_prefix: [x]}")
    made = {name: one for step in plan.asset_steps.values() for name, one in step.upstream.items()}
    digest = next(name for name in made if name.startswith("b_"))
    assert made == {
        "b": ("a",),
        "ns.tell": ("b",),
        "same": ("b",),
        digest: ("b",),
        "alone": (),
    }
    assert plan.datasets["ns.tell"].asset.key.path == ["x", "ns", "tell"]
    assert plan.datasets[digest].asset.key.path == ["x", digest]
    (step,) = (one for one in plan.asset_steps.values() if "same" in one.upstream)
    assert [one.name for one in step.nodes_for(["ns.tell"])] == ["pass", "ns.tell"]
    assert len(step.nodes_for(["same"])) == 2
    assert not nodes_in_no_asset(plan)


def test_side_effects_of_nodes_of_one_name_stay_apart_whatever_their_order() -> None:
    pipelines = {
        "one": Pipeline([node(same, "a", None, name="tell")]),
        "two": Pipeline([node(other, "b", None, name="tell")]),
    }
    jobs = [f"{name}: {{pipeline: {{pipeline_name: {name}}}}}" for name in pipelines]
    found = [
        plan_of(pipelines, f"{{{', '.join(order)}}}", files="a b", assets="{side_effects: true}")
        for order in (jobs, jobs[::-1])
    ]
    names = [{node.inputs[0]: name for node, name in one.side_effects.items()} for one in found]
    assert names[0] == names[1]
    assert names[0].keys() == {"a", "b"}
    assert len(set(names[0].values())) == 2


def test_pipelines_that_read_from_each_other_are_two_jobs_and_one_asset() -> None:
    there = Pipeline([node(same, "a", "b", name="there")])
    back = Pipeline([node(same, "b", "a", name="back")])
    jobs = "t: {pipeline: {pipeline_name: there}}\nb: {pipeline: {pipeline_name: back}}"
    plan = plan_of({"there": there, "back": back}, jobs, files="a b")
    assert set(plan.jobs) == {"t", "b"}
    assert nodes_of(plan.asset_steps) == [["there"]]


def test_jobs_that_run_a_node_in_the_same_way_have_the_same_step() -> None:
    plan = plan_of(CHAIN, "a: {pipeline: {}}\nb: {pipeline: {tags: first}}")
    assert plan.jobs["a"].steps[0] == plan.jobs["b"].steps[0]


@pytest.mark.parametrize("function", [other, partial(add, None), lambda value: [value]])
def test_nodes_of_one_name_and_different_functions_are_two_steps(function: Any) -> None:
    first = Pipeline([node(same, "raw", "out", name="make")])
    second = Pipeline([node(function, "raw", "out", name="make")])
    jobs = "a: {pipeline: {pipeline_name: first}}\nb: {pipeline: {pipeline_name: second}}"
    plan = plan_of({"first": first, "second": second}, jobs)
    (one,), (another,) = plan.jobs["a"].steps, plan.jobs["b"].steps
    assert one.name == another.name == "make"  # whichever other job there is
    assert one.op != another.op
    assert one.nodes[0].func is same
    assert another.nodes[0].func is function


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b", "a__b"),
        ("fit", "fit"),
        ("fit-it", "unnamed_node_34d384c4d27fbda922360734ae4bc4e8"),
    ],
)
def test_a_step_is_named_after_its_node(name: str, expected: str) -> None:
    job = plan_of([node(same, "raw", "out", name=name)]).jobs["all"]
    assert [step.name for step in job.steps] == [expected]


def test_names_that_would_become_one_stay_apart_whatever_their_order() -> None:
    nodes = [
        node(same, "a.b", "x", name="n.m"),
        node(same, "a__b", "y", name="n__m"),
        node(same, "a-b", "z", name="all"),
    ]
    plans = [plan_of(nodes), plan_of(nodes[::-1])]
    for plan in plans:
        assert len({dataset.identifier for dataset in plan.datasets.values()}) == 6
        names = {step.name for step in plan.jobs["all"].steps}
        assert len(names) == 3
        assert "all" not in names  # the job is called so
        assert "n__m" in names
    first, second = ({step.nodes[0].name: step.name for step in p.jobs["all"].steps} for p in plans)
    assert first == second


def names_of(nodes: list[Node], **options: Any) -> dict[str, str]:
    """What each dataset, each step and each step of assets is called."""
    plan = plan_of(nodes, **options)
    names = {f"dataset {name}": one.identifier for name, one in plan.datasets.items()}
    for step in plan.jobs["all"].steps:
        what = (*(node.name for node in step.nodes), *step.keys)
        names[f"step {what or step.outputs}"] = step.name
    for asset_step in plan.asset_steps.values():
        what = tuple(node.name for node in asset_step.step.nodes)
        names[f"assets {what} {sorted(asset_step.upstream)}"] = asset_step.step.name
    assert len(set(names.values())) == len(names)
    return names


SHARDS = {
    "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
    "path": "shards",
    "dataset": FILE,
    "partition": {
        "type": "dagster.StaticPartitionsDefinition",
        "partition_keys": ["a-b", "a_b", "a.b", "a__b"],
    },
}


def chain(number: int) -> list[Node]:
    """Two nodes with a transient dataset between them."""
    return [
        node(same, "raw", f"ns.m{number}", name=f"first_{number}", namespace="ns"),
        node(same, f"ns.m{number}", f"end{number}", name=f"last_{number}", namespace="ns"),
    ]


@pytest.mark.parametrize("group_by", ["", ", group_by: memory", ", group_by: namespace"])
@pytest.mark.parametrize(
    "nodes",
    [
        [
            node(same, "a.b", "x", name="n.m"),
            node(same, "a__b", "y", name="n__m"),
            node(same, "a-b", "z", name="n-m"),
            node(same, "a_b", "v", name="n_m"),
            node(same, "a._b", "w", name="n_.m"),
        ],
        [two_of for number in range(12) for two_of in chain(number)],
        [
            node(same, "raw", "ns.x", name="ns"),
            node(same, "ns.x", "y", name="other", namespace="ns"),
            node(same, "y", "z", name="other_to_ns"),
        ],
    ],
    ids=["alike", "one_namespace", "named_as_a_namespace"],
)
def test_a_name_is_the_same_whatever_else_there_is(nodes: list[Node], group_by: str) -> None:
    options: dict[str, Any] = {
        "jobs": f"all: {{pipeline: {{}}{group_by}}}",
        "files": " ".join(name for one in nodes for name in one.outputs if ".m" not in name),
    }
    everything = names_of(nodes, **options)
    assert max(map(len, everything.values())) < 60
    for left_out in range(len(nodes)):
        some = names_of([*nodes[:left_out], *nodes[left_out + 1 :]], **options)
        common = some.keys() & everything.keys()
        assert {name: some[name] for name in common} == {name: everything[name] for name in common}


def test_a_step_of_a_partition_is_called_the_same_whatever_other_keys_there_are() -> None:
    def names(*keys: str) -> dict[str, str]:
        partition = {"type": "dagster.StaticPartitionsDefinition", "partition_keys": list(keys)}
        catalog = {"shards": {**SHARDS, "partition": partition}}
        return names_of([node(same, "raw", "shards", name="cut")], catalog=catalog)

    keys = ["a-b", "a_b", "a.b", "a__b", "_a_b", "a_b_"]
    everything = names(*keys)
    assert everything["step ('cut', 'a_b')"] == "cut__a_b"
    for key in keys:
        assert names(key).items() <= everything.items()


def test_a_job_does_not_change_the_names_of_another() -> None:
    first = Pipeline([node(same, "raw", "a", name="make"), node(same, "a", "b", name="other")])
    second = Pipeline([node(other, "raw", "c", name="make")])
    jobs = (
        "{0}: {{pipeline: {{pipeline_name: first}}}}\n{1}: {{pipeline: {{pipeline_name: second}}}}"
    )

    def names(*names: str) -> dict[str, list[str]]:
        pipelines = {"first": first, "second": second}
        plan = plan_of(pipelines, jobs.format(*names), files="raw")
        return {name: [step.name for step in job.steps] for name, job in plan.jobs.items()}

    assert names("one", "two") == {"one": ["make", "other"], "two": ["make"]}
    assert names("one", "other")["one"] == ["make", "other"]
    assert names("make", "two")["two"] == ["make"]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("a_schedule", "the schedule of job 'a'"),
        ("kedro_on_pipeline_error", "the sensor that calls hooks for runs that were killed"),
    ],
)
def test_a_sensor_that_is_called_as_another_or_as_a_schedule_is_refused(
    name: str, owner: str
) -> None:
    config, _ = parse_config(
        {
            "jobs": {"a": {"pipeline": {}, "schedule": {"cron_schedule": "@daily"}}},
            "sensors": {name: {"dataset": "files", "job": "a"}},
        }
    )
    with pytest.raises(DagsterConfigError) as caught:
        make_plan(project_of({"__default__": Pipeline(CHAIN)}, config))
    (mistake,) = [one for one in caught.value.mistakes if one.path == ("sensors", name)]
    assert mistake.message == f"{owner} has this name. Choose another one."


def test_asset_steps_of_nodes_of_one_name_stay_apart_whatever_their_order() -> None:
    first = Pipeline([node(same, "raw", "a", name="make")])
    second = Pipeline([node(other, "raw", "b", name="make")])
    jobs = ["a: {pipeline: {pipeline_name: first}}", "b: {pipeline: {pipeline_name: second}}"]

    def names(jobs: list[str]) -> dict[str, str]:
        plan = plan_of({"first": first, "second": second}, "\n".join(jobs), files="raw a b")
        return {name: step.step.nodes[0].outputs[0] for name, step in plan.asset_steps.items()}

    assert sorted(names(jobs).values()) == ["a", "b"]
    assert names(jobs) == names(jobs[::-1])


@pytest.mark.parametrize("name", ["input", "output", "context", "config", "class", "Größe", "a b"])
def test_any_dataset_name_has_a_name_in_dagster(name: str) -> None:
    dataset = plan_of([node(same, name, "out")]).datasets[name]
    assert dataset.identifier.isidentifier()
    assert dataset.identifier.isascii()
    assert dataset.identifier not in {"input", "output", "context", "config", "class"}
    assert dataset.asset.key.path == [name]


def test_transcoded_names_are_one_dataset() -> None:
    nodes = [node(same, "raw", "table@a", name="w"), node(same, "table@b", "out", name="r")]
    entry = {"type": FILE, "filepath": "x"}
    plan = plan_of(nodes, catalog={"table@a": entry, "table@b": entry})
    assert set(plan.datasets) == {"raw", "table", "out"}
    assert plan.datasets["table"].variants == ("table@a", "table@b")
    assert passes(plan.jobs["all"].steps[1]) == "table -> out"


def test_factories_say_what_a_dataset_is() -> None:
    catalog = {"{name}_file": {"type": FILE, "filepath": "{name}"}, "m": {"type": "MemoryDataset"}}
    datasets = plan_of([node(two, "m", ["a_file", "b"])], catalog=catalog).datasets
    assert {name for name, dataset in datasets.items() if dataset.persisted} == {"a_file"}


def test_a_class_that_a_resolver_gives_is_called_by_its_path() -> None:
    catalog = {"raw": {"type": JSONDataset, "filepath": "raw"}}
    raw = plan_of([node(same, "raw", "out")], catalog=catalog).datasets["raw"]
    assert (raw.persisted, raw.type) == (True, "kedro_datasets.json.json_dataset.JSONDataset")


@pytest.mark.parametrize(("wraps", "persisted"), [(FILE, True), ("MemoryDataset", False)])
def test_a_cached_dataset_is_what_it_wraps(wraps: str, persisted: bool) -> None:
    entry = {"type": "CachedDataset", "dataset": {"type": wraps}}
    plan = plan_of([node(same, "raw", "out")], catalog={"raw": entry})
    assert plan.datasets["raw"].persisted is persisted


def test_parameters_are_no_datasets_and_have_their_values_at_every_depth() -> None:
    nodes = [node(add, ["params:a.b", "parameters"], "out", name="n")]
    plan = plan_of(nodes, parameters={"a": {"b": 1}})
    assert set(plan.datasets) == {"out"}
    assert plan.jobs["all"].steps[0].parameters == ["params:a.b", "parameters"]
    assert plan.parameters == {
        "parameters": {"a": {"b": 1}},
        "params:a": {"b": 1},
        "params:a.b": 1,
    }


def test_jobs_in_which_a_node_has_other_tags_have_steps_with_other_settings() -> None:
    nodes = [node(same, "raw", "clean", name="prepare")]
    pipelines = {"a": Pipeline(nodes), "b": Pipeline(nodes, tags="slow")}
    jobs = "{a: {pipeline: {pipeline_name: a}}, b: {pipeline: {pipeline_name: b}}}"
    plan = plan_of(pipelines, jobs, settings="{tag:slow: {pool: few}}")
    steps = {
        name: (job.steps[0].name, job.steps[0].settings.pool) for name, job in plan.jobs.items()
    }
    assert steps == {"a": ("prepare", None), "b": ("prepare", "few")}


def test_all_steps_of_a_fan_out_have_the_settings_of_their_node() -> None:
    shards = {
        "type": "kedro_dagster.datasets.DagsterPartitionedDataset",
        "path": "shards",
        "dataset": FILE,
        "partition": {"type": "dagster.StaticPartitionsDefinition", "partition_keys": ["a", "b"]},
    }
    nodes = [node(same, "raw", "shards", name="cut")]
    plan = plan_of(nodes, catalog={"shards": shards}, settings="{cut: {pool: few}}")
    found = {step.name: step.settings.pool for step in plan.jobs["all"].steps}
    assert found == {"cut__a": "few", "cut__b": "few"}


def test_nodes_that_share_a_step_among_the_assets_must_agree_too() -> None:
    with pytest.raises(DagsterConfigError) as caught:
        plan_of(CHAIN, files="raw score", settings="{prepare: {pool: a}, tag:last: {pool: b}}")
    (mistake,) = caught.value.mistakes
    assert mistake.path == ("nodes", "tag:last", "pool")
    assert mistake.message.startswith("nodes 'prepare' and 'learning.deep.train' share a step")
