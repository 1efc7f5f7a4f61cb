"""What crosses from one process to another: values of the user's, and what ``run_result`` holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects import KEDRO, Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("crossing")]

NODES = '''
    class Table:
        """Like a table of a database in memory: it can be pickled, and the database is not there.

        Ibis tables on DuckDB are such.
        """

        def __init__(self):
            self.rows = [1, 2, 3]

        def __getstate__(self):
            return {}

        def count(self):
            return sum(self.rows)


    def connect():
        return Table()


    def connect_all():
        return {"one": Table()}


    def look(table, unit):
        table = table["one"] if isinstance(table, dict) else table
        return f"{table.count()} {unit}"


    def add(text):
        return [text, text]
'''
PIPELINES = """
    from kedro.pipeline import Pipeline, node

    from shop import nodes


    def register_pipelines():
        return {
            "tables": Pipeline(
                [
                    node(nodes.connect, None, "table", name="connect"),
                    node(lambda: "rows", None, "unit", name="name"),
                    node(nodes.look, ["table", "unit"], "looked", name="look"),
                ]
            ),
            "dicts": Pipeline(
                [
                    node(nodes.connect_all, None, "table", name="connect"),
                    node(lambda: "rows", None, "unit", name="name"),
                    node(nodes.look, ["table", "unit"], "looked", name="look"),
                ]
            ),
            "results": Pipeline(
                [
                    node(lambda: "text", None, "text", name="write"),
                    node(nodes.add, "text", "added", name="add"),
                ]
            ),
        }
"""
HOOKS = """
    import json
    from pathlib import Path

    from kedro.framework.hooks import hook_impl


    class ProjectHooks:
        @hook_impl
        def after_pipeline_run(self, run_result):
            found = {name: dataset.load() for name, dataset in run_result.items()}
            Path("run_result.json").write_text(json.dumps(found))
"""
DEFINITIONS = """
    import pickle
    from pathlib import Path

    import dagster as dg

    from kedro_dagster import KedroProjectTranslator


    @dg.resource(config_schema={"root": str})
    def account(context):
        return Path(context.resource_config["root"])


    @dg.resource(required_resource_keys={"account"})
    def bucket(context):
        return context.resources.account / "bucket"


    class Store(dg.IOManager):
        def __init__(self, folder):
            self.folder = folder

        def handle_output(self, context, obj):
            path = self.folder.joinpath(*context.get_identifier())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(obj))

        def load_input(self, context):
            path = self.folder.joinpath(*context.upstream_output.get_identifier())
            return pickle.loads(path.read_bytes())


    @dg.io_manager(required_resource_keys={"bucket"})
    def store(context):
        return Store(context.resources.bucket)


    resources = {
        "account": account.configured({"root": "account"}), "bucket": bucket, "io_manager": store
    }
    defs = dg.Definitions.merge(
        KedroProjectTranslator(package_name="shop").to_definitions(),
        dg.Definitions(resources=resources),
    )
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    executors = {
        "multiprocess": {"multiprocess": {"max_concurrent": 2}},
        "in_process": "in_process",
    }
    tables = {"pipeline": {"pipeline_name": "tables"}}
    return make_project(
        tmp_path_factory.mktemp("crossing") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        catalog={
            "table": {"type": "MemoryDataset", "copy_mode": "assign"},
            "looked": {"type": "text.TextDataset", "filepath": "data/looked.txt"},
        },
        dagster={
            "jobs": {
                "apart": {**tables, "executor": executors["multiprocess"]},
                "dicts_apart": {
                    "pipeline": {"pipeline_name": "dicts"},
                    "executor": executors["multiprocess"],
                },
                "together": {**tables, "executor": executors["multiprocess"], "group_by": "memory"},
                "in_process": {**tables, "executor": executors["in_process"]},
                "results": {
                    "pipeline": {"pipeline_name": "results"},
                    "executor": executors["multiprocess"],
                },
            }
        },
        files={"src/shop/definitions.py": DEFINITIONS},
    )


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    return project.copy(tmp_path / "shop")


@pytest.mark.parametrize("job", ["apart", "dicts_apart"])
def test_a_value_that_does_not_work_elsewhere_is_named_with_the_ways_out(
    job: str, copy: Project
) -> None:
    failed = copy.execute(job, check=False)
    assert failed.returncode != 0
    printed = failed.stdout + failed.stderr
    assert "has no attribute 'rows'" in printed
    (told,) = {
        line.partition("Step 'look' failed")[2]
        for line in printed.splitlines()
        if "dagster - ERROR" in line and "made in other processes" in line
    }
    assert "'table' (shop.nodes.Table)" in told
    assert "'unit'" not in told  # a text is the same everywhere
    for way_out in ("group_by: memory", "in_process executor", "catalog entry"):
        assert way_out in told


@pytest.mark.parametrize("job", ["together", "in_process"])
def test_the_ways_out_work(job: str, copy: Project, tmp_path: Path) -> None:
    oracle = copy.copy(tmp_path / "oracle")
    oracle.kedro("run", "--pipelines" if KEDRO >= (1, 2) else "--pipeline", "tables")
    copy.execute(job)
    written = [(one.path / "data" / "looked.txt").read_text() for one in (oracle, copy)]
    assert written == ["6 rows"] * 2


def test_jobs_that_pass_values_between_processes_are_told_before_any_run(copy: Project) -> None:
    plan = copy.kedro("dagster", "plan").stdout.partition("\nWarnings\n")[2]
    jobs = [line.partition(":")[0] for line in plan.splitlines() if "group_by: memory" in line]
    assert jobs == ["  Job 'apart'", "  Job 'dicts_apart'", "  Job 'results'"]
    assert "'table' (copy_mode: assign does not survive it)" in plan
    loaded = copy.execute("in_process")
    printed = " ".join((loaded.stdout + loaded.stderr).split())
    assert printed.count("Job 'apart': ephemeral") == 1
    assert "Job 'together'" not in printed


def test_run_result_is_read_by_an_io_manager_whose_resource_requires_another(
    copy: Project, tmp_path: Path
) -> None:
    oracle = copy.copy(tmp_path / "oracle")
    oracle.kedro("run", "--pipelines" if KEDRO >= (1, 2) else "--pipeline", "results")
    copy.execute("results")
    results = [json.loads((one.path / "run_result.json").read_text()) for one in (oracle, copy)]
    assert results == [{"added": ["text", "text"]}] * 2
    assert list(copy.path.glob("account/bucket/**/added"))
