"""Each mistake about partitions gives one readable message, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError
from projects import make_project

pytestmark = pytest.mark.xdist_group("bad_partitions")

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def same(value):
    return value


def register_pipelines():
    chain = [node(same, "raw", "clean", name="clean"), node(same, "clean", "model", name="model")]
    return {
        "__default__": Pipeline(chain),
        "mixed": Pipeline([node(lambda raw: (raw, 1), "raw", ["clean", "report"], name="split")]),
        "two_sets": Pipeline([node(lambda raw: (raw, raw), "raw", ["clean", "days"], name="two")]),
        "days": Pipeline([node(same, "raw", "days", name="to_days")]),
        "both": Pipeline([node(lambda raw: (raw, raw), "raw", ["clean", "model"], name="both")]),
        "only_read": Pipeline([*chain, node(print, "days", None, name="show")]),
    }
"""
STATIC = "type: dagster.StaticPartitionsDefinition, partition_keys: [a, b]"
DAILY = "type: dagster.DailyPartitionsDefinition, start_date: 2024-01-01"
MULTI = (
    "type: dagster.MultiPartitionsDefinition, "
    f"partitions_defs: {{letter: {{{STATIC}}}, day: {{{DAILY}}}}}"
)
ROWS = "type: dagster.StaticPartitionsDefinition, partition_keys"
DIMENSIONS = "type: dagster.MultiPartitionsDefinition, partitions_defs"
ANY_CLASS = "{type: subprocess.Popen, args: [touch, data]}"  # which the tests look for
DATASET = "type: kedro_dagster.datasets.DagsterPartitionedDataset, dataset: json.JSONDataset"
JOB = "jobs: {all: {pipeline: {}}}"
STATIC_MAPPING = (
    "type: dagster.StaticPartitionMapping, downstream_partition_keys_by_upstream_partition_key"
)


def catalog(
    raw: str = STATIC, clean: str = STATIC, mappings: str = "", more: str = "path: data/raw"
) -> str:
    """A catalog with some partitions and mappings."""
    return f"""\
raw: {{{DATASET}, {more}, partition: {{{raw}}}, partition_mappings: {{{mappings}}}}}
clean: {{{DATASET}, path: data/clean, partition: {{{clean}}}}}
model: {{{DATASET}, path: data/model, partition: {{{clean}}}}}
days: {{{DATASET}, path: data/days, partition: {{{DAILY}}}}}
report: {{type: json.JSONDataset, filepath: data/report.json}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("bad_partitions") / "project"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        make_project(path, package="bad_partitions", pipelines=PIPELINES)
        patch.chdir(path)
        yield path


def at_once(node: str) -> str:
    """What is said of a node that could take all partitions at once."""
    return (
        f"let it run once, with all partitions: 'nodes: {{{node}: {{partitions: all}}}}', or "
        "'partitions: all' on the job, for each of its nodes."
    )


def mistakes(root: Path, catalog: str, dagster: str = JOB) -> list[str]:
    """The mistakes that a user is told of."""
    (root / "conf/base/catalog.yml").write_text(catalog, encoding="utf-8")
    (root / "conf/base/dagster.yml").write_text(dagster, encoding="utf-8")
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(root)
    assert not (root / "data").exists()
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("catalog", "mistake"),
    [
        pytest.param(
            catalog("type: dagster.StaticPartitions, partition_keys: [a]"),
            "raw.partition.type: there is no class 'dagster.StaticPartitions'",
            id="unknown_class",
        ),
        pytest.param(
            catalog("type: nowhere.Partitions"),
            "raw.partition.type: there is no class 'nowhere.Partitions' (No module named",
            id="unknown_module",
        ),
        pytest.param(
            catalog("type: dagster.AllPartitionMapping"),
            "raw.partition.type: 'dagster.AllPartitionMapping' is no PartitionsDefinition of",
            id="another_class",
        ),
        pytest.param(
            catalog("partition_keys: [a]"),
            "raw.partition: give a mapping with a 'type', such as dagster.Static",
            id="no_class",
        ),
        pytest.param(
            catalog("type: dagster.StaticPartitionsDefinition"),
            "raw.partition: dagster.StaticPartitionsDefinition does not take these arguments:",
            id="missing_argument",
        ),
        pytest.param(
            catalog("type: dagster.DailyPartitionsDefinition, start: 2024-01-01"),
            "raw.partition: dagster.DailyPartitionsDefinition does not take these arguments:",
            id="wrong_argument",
        ),
        pytest.param(
            catalog("type: dagster.DailyPartitionsDefinition, start_date: yesterday"),
            "raw.partition: dagster.DailyPartitionsDefinition does not take these arguments:",
            id="wrong_value",
        ),
        pytest.param(
            catalog("type: dagster.StaticPartitionsDefinition, partition_keys: []"),
            "raw.partition.partition_keys: give a list of one key or more, not [].",
            id="no_keys",
        ),
        pytest.param(
            catalog("type: dagster.StaticPartitionsDefinition, partition_keys: abc"),
            "raw.partition.partition_keys: give a list of one key or more, not 'abc'.",
            id="keys_that_are_no_list",
        ),
        pytest.param(
            catalog("type: dagster.StaticPartitionsDefinition, partition_keys: [1, a, '1']"),
            "raw.partition.partition_keys: 1 is there twice.",
            id="duplicate_key",
        ),
        pytest.param(
            catalog("type: dagster.StaticPartitionsDefinition, partition_keys: [../x]"),
            "raw.partition.partition_keys: '../x' leads out of the dataset's folder.",
            id="path_traversal",
        ),
        pytest.param(
            catalog(more="path: data/raw, layout: '{letter}'"),
            "raw.layout: only a MultiPartitionsDefinition has dimensions to lay out.",
            id="layout_without_dimensions",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '{letter}'"),
            "raw.layout: '{letter}' must name each dimension and nothing else, as in "
            "'{day}/{letter}'.",
            id="layout_that_misses_a_dimension",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '{day}{letter}'"),
            "raw.layout: '{day}{letter}' has nothing between '{day}' and what follows it, so two "
            "partitions could have one file. Write '{day}/{letter}'.",
            id="layout_without_a_separator",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '{day}/{letter:.1}'"),
            "raw.layout: '{day}/{letter:.1}' must name each dimension and nothing else, as in "
            "'{day}/{letter}'.",
            id="layout_that_shortens_a_key",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '{day}-{letter}'"),
            "raw.layout: the key '2024-01-01' of 'day' holds '-', which separates folders or "
            "dimensions in '{day}-{letter}': two partitions could have one file. Choose another "
            "separator, or name the key without it.",
            id="layout_whose_separator_is_in_dates",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '../{day}/{letter}'"),
            "raw.layout: '../{day}/{letter}' leads out of the dataset's folder.",
            id="layout_that_leads_out",
        ),
        pytest.param(
            catalog(MULTI, MULTI, more="path: data/raw, layout: '{day'"),
            "raw.layout: '{day' must name each dimension and nothing else, as in",
            id="layout_that_cannot_be_read",
        ),
        pytest.param(
            catalog(
                f"{DIMENSIONS}: {{a: {{{ROWS}: [x, x/y]}}, b: {{{ROWS}: [z, y/z]}}}}",
                more="path: data/raw, layout: '{a}/{b}'",
            ),
            "raw.layout: the key 'x/y' of 'a' holds '/', which separates folders or dimensions in "
            "'{a}/{b}': two partitions could have one file.",
            id="keys_that_make_one_path",
        ),
        pytest.param(
            catalog(f"{DIMENSIONS}: {{a: {{{ROWS}: [..]}}, b: {{{ROWS}: [evil]}}}}"),
            "raw.partition.partitions_defs.a.partition_keys: '..' leads out of the dataset's "
            "folder.",
            id="part_of_a_key_that_leads_out",
        ),
        pytest.param(
            catalog(f"{ROWS}: [a/b, a//b]"),
            "raw.partition.partition_keys: 'a//b' is no plain path: write it without empty folders "
            "and '.'.",
            id="keys_of_one_file",
        ),
        pytest.param(
            catalog(f"{DIMENSIONS}: {{a: {ANY_CLASS}, b: {{{STATIC}}}}}"),
            "raw.partition.partitions_defs.a.type: 'subprocess.Popen' is no PartitionsDefinition "
            "of Dagster.",
            id="any_class_as_a_dimension",
        ),
        pytest.param(
            catalog(f"type: dagster.StaticPartitionsDefinition, partition_keys: {ANY_CLASS}"),
            "raw.partition.partition_keys: give a list of one key or more, not",
            id="any_class_as_keys",
        ),
        pytest.param(
            catalog(f"{STATIC}, more: {{a: {ANY_CLASS}}}"),
            "raw.partition.more.a.type: 'subprocess.Popen' is no PartitionsDefinition or "
            "PartitionMapping or DimensionPartitionMapping of Dagster.",
            id="any_class_as_an_argument",
        ),
        pytest.param(
            catalog(f"{STATIC}, more: [{ANY_CLASS}]"),
            "raw.partition: dagster.StaticPartitionsDefinition does not take these arguments:",
            id="any_class_in_a_list",
        ),
        pytest.param(
            catalog(
                mappings="clean: {type: dagster.MultiPartitionMapping, "
                f"downstream_mappings_by_upstream_dimension: {{a: {ANY_CLASS}}}}}"
            ),
            "raw.partition_mappings.clean.downstream_mappings_by_upstream_dimension.a.type: "
            "'subprocess.Popen' is no DimensionPartitionMapping of Dagster.",
            id="any_class_in_a_mapping",
        ),
        pytest.param(
            catalog(mappings=f"clean: {{{STATIC_MAPPING}: {{type: x}}}}"),
            "raw.partition_mappings: for 'clean': mapping source partitions not in the upstream "
            "partitions definition: {'type'}",
            id="key_that_is_called_type",
        ),
        pytest.param(
            catalog(mappings="claen: {type: dagster.AllPartitionMapping}"),
            "raw.partition_mappings.claen: there is no dataset 'claen'. Did you mean 'clean'?",
            id="mapping_to_no_dataset",
        ),
        pytest.param(
            catalog(mappings="clean: {type: dagster.NoMapping}"),
            "raw.partition_mappings.clean.type: there is no class 'dagster.NoMapping'",
            id="unknown_mapping",
        ),
        pytest.param(
            catalog(mappings=f"clean: {{{STATIC_MAPPING}: {{a: a, z: b}}}}"),
            "raw.partition_mappings: for 'clean': mapping source partitions not in the upstream "
            "partitions definition: {'z'}",
            id="mapping_from_no_key",
        ),
        pytest.param(
            catalog(mappings=f"clean: {{{STATIC_MAPPING}: {{a: [a, z]}}}}"),
            "raw.partition_mappings: for 'clean': mapping target partitions not in the "
            "downstream partitions definition: {'z'}",
            id="mapping_to_no_key",
        ),
        pytest.param(
            catalog(mappings=f"'cl{{x}}': {{{STATIC_MAPPING}: {{z: a}}}}"),
            "raw.partition_mappings: for 'clean': mapping source partitions not in",
            id="mapping_by_pattern_from_no_key",
        ),
        pytest.param(
            catalog(
                mappings="clean: {type: dagster.SpecificPartitionsPartitionMapping, "
                "partition_keys: [z]}"
            ),
            "raw.partition_mappings: for 'clean': there is no partition 'z'. Allowed: 'a', 'b'.",
            id="specific_mapping_to_no_key",
        ),
        pytest.param(
            catalog(more="path: data/raw, missing: skpi"),
            "raw.missing: 'skpi' is not valid here. Did you mean 'skip'?",
            id="misspelt_missing",
        ),
        pytest.param(
            catalog(clean=DAILY),
            "raw.partition_mappings: for 'clean': Upstream and downstream partitions definitions "
            "must match",
            id="nothing_to_infer",
        ),
    ],
)
def test_a_mistake_in_the_catalog_is_told_with_its_place(
    root: Path, catalog: str, mistake: str
) -> None:
    (told,) = mistakes(root, catalog)
    assert told.startswith(f"conf/base/catalog.yml: {mistake}")


def test_a_mapping_to_a_dataset_without_partitions_is_told(root: Path) -> None:
    dagster = "jobs: {all: {pipeline: {}}, more: {pipeline: {pipeline_name: mixed}}}"
    told = mistakes(root, catalog(mappings=f"report: {{{STATIC_MAPPING}: {{a: b}}}}"), dagster)
    assert told[0] == (
        "conf/base/catalog.yml: raw.partition_mappings.report: 'report' is not partitioned. Take "
        "dagster.AllPartitionMapping, LastPartitionMapping or SpecificPartitionsPartitionMapping."
    )


def test_two_mappings_for_the_assets_of_one_step_are_told(root: Path) -> None:
    (told,) = mistakes(
        root,
        catalog(
            mappings=f"clean: {{{STATIC_MAPPING}: {{a: b, b: a}}}}, "
            "model: {type: dagster.AllPartitionMapping}"
        ),
        "jobs: {all: {pipeline: {pipeline_name: both}}}",
    )
    assert told == (
        "conf/base/catalog.yml: raw.partition_mappings.model: 'clean' is made in the same step, "
        "and Dagster takes one mapping for all assets of a step. Give both the same one, or let "
        "two nodes make them, between which nothing passes in memory."
    )


def test_static_partitions_that_do_not_match_need_a_mapping(root: Path) -> None:
    other = "type: dagster.StaticPartitionsDefinition, partition_keys: [a, z]"
    (told,) = mistakes(root, catalog(clean=other))
    assert told == (
        "conf/base/dagster.yml: jobs.all.pipeline: dataset 'raw', for 'clean': "
        "IdentityPartitionMapping asks for z, which it does not have. Give partition_mappings for "
        f"the dataset. Or {at_once('clean')}"
    )


ONE_RUN = (
    "one run cannot hold the partitions of both 'clean' and 'days'. Make a job for each, or, where "
    "all keys are static, 'partitions: fan_out'; or write 'partitions: all', with which each node "
    "runs once; or materialise the assets, with a backfill."
)
TWO_NODES = "which do not have the same partitions. Make two nodes of it, or"


@pytest.mark.parametrize(
    ("job", "mistake"),
    [
        pytest.param(
            "pipeline: {pipeline_name: mixed}",
            f"node 'split' writes 'clean' and 'report', {TWO_NODES} {at_once('split')}",
            id="outputs_with_and_without_partitions",
        ),
        pytest.param(
            "pipeline: {pipeline_name: two_sets}",
            f"node 'two' writes 'clean' and 'days', {TWO_NODES} {at_once('two')}",
            id="outputs_with_different_partitions",
        ),
        pytest.param(
            "pipeline: {pipeline_names: [__default__, days]}",
            ONE_RUN,
            id="a_run_of_two_sets",
        ),
        pytest.param(
            "pipeline: {pipeline_name: only_read}, partitions: per_run",
            ONE_RUN,
            id="a_run_of_two_sets_of_which_one_is_only_read",
        ),
        pytest.param(
            "pipeline: {pipeline_name: days}, partitions: fan_out",
            (
                "'partitions: fan_out' wants all keys to be known beforehand, and those of 'days' "
                "are not. Leave it out, or write 'partitions: all', with which each node runs "
                "once."
            ),
            id="fan_out_over_windows",
        ),
    ],
)
def test_a_job_that_cannot_be_is_told(root: Path, job: str, mistake: str) -> None:
    mappings = "days: {type: dagster.AllPartitionMapping}"
    told = mistakes(root, catalog(mappings=mappings), f"jobs: {{all: {{{job}}}}}")
    assert told == [f"conf/base/dagster.yml: jobs.all.pipeline: {mistake}"]
