"""Jobs that come of others: those of factories, presets, and those that start after others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.plan.describe import describe
from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("related_jobs")]

PIPELINES = """\
    from kedro.pipeline import Pipeline, node


    def make(size):
        return list(range(size))


    def add(rows):
        return sum(rows)


    def join(*totals):
        return {"total": sum(totals)}


    def register_pipelines():
        region = Pipeline(
            [
                node(make, "params:size", "rows", name="make"),
                node(add, "rows", "total", name="add", tags="sums"),
            ]
        )
        regions = [
            Pipeline(region, namespace=name, parameters={"params:size": "params:size"})
            for name in ("eu", "us", "us.west")
        ]
        totals = ["eu.total", "us.total"]
        report = Pipeline([node(join, totals, "report", name="join", tags="sums")])
        ingest = sum(regions, Pipeline([]))
        return {"__default__": ingest + report, "ingest": ingest, "report": report}
"""
CATALOG = """\
    "{region}.total": {type: json.JSONDataset, filepath: "data/{region}/total.json"}
    report: {type: json.JSONDataset, filepath: data/report.json}
"""
DAGSTER = """\
    executors:
      two: {multiprocess: {max_concurrent: 2}}
    jobs:
      "{namespace}_job":
        pipeline: {pipeline_name: __default__, node_namespaces: ["{namespace}"]}
        executor: two
        description: What {namespace} makes.
      "us_{part}":
        pipeline: {node_namespaces: "us.{part}"}
        executor: in_process
        tags: {part: "{part}"}
      "{pipeline}": {pipeline: {pipeline_name: "{pipeline}"}, executor: in_process}
      "of_{pipeline}_{tag}": {pipeline: {pipeline_names: ["re{pipeline}"], tags: ["{tag}"]}}
      report: {pipeline: {pipeline_name: report}, description: written out}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("related") / "related",
        package="related",
        pipelines=PIPELINES,
        catalog=CATALOG,
        parameters={"size": 4},
        dagster=DAGSTER,
    )


@pytest.fixture(scope="module")
def translator(project: Project) -> Iterator[KedroProjectTranslator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield KedroProjectTranslator(project.path)


@pytest.fixture(scope="module")
def repository(translator: KedroProjectTranslator) -> dg.RepositoryDefinition:
    return translator.to_definitions().get_repository_def()


def data(project: Project) -> dict[str, object]:
    """What runs have saved, which is taken away."""
    files = sorted((project.path / "data").rglob("*.json"))
    found = {file.relative_to(project.path / "data").as_posix(): file for file in files}
    saved = {name: json.loads(file.read_text()) for name, file in found.items()}
    for file in files:
        file.unlink()
    return saved


def test_a_factory_gives_a_job_for_each_namespace_pipeline_and_tag(
    translator: KedroProjectTranslator,
) -> None:
    jobs = translator.plan.jobs
    assert {name: job.pattern for name, job in jobs.items()} == {
        "report": None,  # which is there by name
        "eu_job": "{namespace}_job",
        "us_job": "{namespace}_job",
        "us_west": "us_{part}",
        "ingest": "{pipeline}",
        "of_port_sums": "of_{pipeline}_{tag}",
    }
    nodes = {name: {node.name for node in job.pipeline.nodes} for name, job in jobs.items()}
    assert nodes["eu_job"] == {"eu.make", "eu.add"}
    assert nodes["us_job"] == {"us.make", "us.add", "us.west.make", "us.west.add"}
    assert nodes["us_west"] == {"us.west.make", "us.west.add"}
    assert nodes["of_port_sums"] == {"join"}
    assert jobs["eu_job"].description == "What eu makes."
    assert jobs["us_west"].tags == {"part": "west"}
    shown = describe(translator.plan)
    assert (
        "Job eu_job (pipeline __default__, executor multiprocess, from '{namespace}_job'" in shown
    )
    assert "Job report (pipeline report, executor of the code location, 1 step)" in shown


@pytest.mark.parametrize("job", ["us_job", "us_west"])
def test_a_job_of_a_factory_makes_what_kedro_run_makes(project: Project, job: str) -> None:
    namespaces = {"us_job": "us", "us_west": "us.west"}
    project.kedro("run", "--namespaces", namespaces[job])
    expected = data(project)
    assert len(expected) == {"us_job": 2, "us_west": 1}[job]
    project.kedro("dagster", "run", job)
    assert data(project) == expected
    project.kedro("dagster", "run", job, "--nodes", "us.west.make,us.west.add")
    assert data(project).keys() == {"us.west/total.json"}
