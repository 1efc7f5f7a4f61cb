"""What does not survive a fork: it is not forked, works all the same, and is shared by no two."""

from __future__ import annotations

import json
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from projects import Project, make_project

pytestmark = pytest.mark.slow

SETTINGS = """
    import os, threading
    from shop.hooks import ProjectHooks

    HOOKS = (ProjectHooks(),)

    if os.environ.get("THREADS"):
        threading.Thread(target=threading.Event().wait, name="of settings", daemon=True).start()
"""
HOOKS = """
    import os, socket
    from kedro.framework.hooks import hook_impl
    from shop.nodes import note

    class ProjectHooks:
        @hook_impl
        def before_pipeline_run(self):
            getattr(self, os.environ.get("OPENS", "nothing"))()
            note("before_pipeline_run")

        def nothing(self):
            pass

        def polars_without_threads(self):
            import polars
            self.schema = polars.Schema({"value": polars.Int64})

        def polars(self):
            from shop.nodes import frame, sum_by_key
            assert sum_by_key(frame(1)) == {"0": 250_000, "1": 250_000}

        def duckdb(self):
            import duckdb
            self.connection = duckdb.connect("of_hook.duckdb")
            self.connection.execute("create table runs as select range as run from range(100000)")
            self.connection.execute("select run % 7, sum(run) from runs group by all").fetchall()

        def network(self):
            self.client = self.connect()
            self.client.sendall(b"before %d\\n" % os.getpid())

        def connect(self):
            return socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))

        def spark(self):
            from pyspark import SparkContext
            SparkContext.getOrCreate()

        @hook_impl
        def after_node_run(self, node):
            note("after_node_run", connection=hasattr(self, "connection"))
            if os.environ.get("OPENS") == "network":
                self.client = getattr(self, "client", None) or self.connect()
                self.client.sendall(b"%s %d\\n" % (node.name.encode(), os.getpid()))

        @hook_impl
        def after_pipeline_run(self):
            if hasattr(self, "connection"):
                (count,) = self.connection.execute("select count(*) from runs").fetchone()
                note("after_pipeline_run", count=count)
            if hasattr(self, "client"):
                self.client.sendall(b"after %d\\n" % os.getpid())
"""
NODES = """
    import json, os

    def note(what, **more):
        with open("trace", "a") as file:
            file.write(json.dumps({"what": what, "pid": os.getpid(), **more}) + "\\n")

    def add(raw): return raw + 1

    # polars

    def frame(raw):
        import polars
        return polars.DataFrame({"key": [0, 1] * 250_000, "value": [raw] * 500_000})

    def sum_by_key(rows):
        import polars
        sums = rows.lazy().group_by("key").agg(polars.col("value").sum()).collect()
        return {str(key): value for key, value in sums.sort("key").iter_rows()}

    # DuckDB

    def query(raw):
        import duckdb
        with duckdb.connect(f"of_node_{os.getpid()}.duckdb") as connection:
            connection.execute(
                "create or replace table rows as select range as value from range(500000)"
            )
            (total,) = connection.execute("select sum(value) + ? from rows", [raw]).fetchone()
        return int(total)

    # Spark

    def total(raw):
        from pyspark import SparkContext
        return SparkContext.getOrCreate().total([raw, raw])
"""
PYSPARK = '''
    """Stands in for pyspark: a session is a connection to a process of Java."""

    import os

    class SparkContext:
        _active_spark_context = None

        def __init__(self):
            self.process = os.getpid()

        @classmethod
        def getOrCreate(cls):
            if cls._active_spark_context is None:
                cls._active_spark_context = cls()
            return cls._active_spark_context

        def total(self, values):
            assert self.process == os.getpid(), "the session of another process"
            return sum(values)
'''
DATASETS = """
    import os
    from kedro_datasets.json import JSONDataset

    class OneProcessDataset(JSONDataset):
        _SINGLE_PROCESS = True

        def __init__(self, **options):
            super().__init__(**options)
            self.process = os.getpid()

        def load(self):
            assert self.process == os.getpid(), "the dataset of another process"
            return super().load()
"""
PIPELINES = """
    from kedro.pipeline import Pipeline, node
    from shop import nodes

    def several(function, *then):
        made = [f"made_{i}" for i in range(3)]
        ends = [f"out_{i}" for i in range(3)]
        first = [
            node(function, "raw", made[i] if then else ends[i], name=f"n_{i}") for i in range(3)
        ]
        return Pipeline([
            *first, *(node(one, made[i], ends[i], name=f"m_{i}") for one in then for i in range(3))
        ])

    def register_pipelines():
        return {
            "__default__": several(nodes.add),
            "polars": several(nodes.frame, nodes.sum_by_key),
            "duckdb": several(nodes.query),
            "spark": several(nodes.total),
            "single": Pipeline([
                node(nodes.add, "raw", "single", name="single"),
                *(node(nodes.add, "single", f"out_{i}", name=f"n_{i}") for i in range(3)),
            ]),
        }
"""
JOBS = {"plain": "__default__", **{name: name for name in ("polars", "duckdb", "spark", "single")}}
OUTPUTS = ("out_0", "out_1", "out_2")

Notes = list[dict[str, Any]]
Run = Callable[..., tuple[str, Notes]]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("hazards") / "shop",
        nodes=NODES,
        pipelines=PIPELINES,
        hooks=HOOKS,
        settings=SETTINGS,
        catalog={
            **{
                name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"}
                for name in ("raw", *OUTPUTS)
            },
            "single": {"type": "shop.datasets.OneProcessDataset", "filepath": "data/single.json"},
        },
        dagster={
            "executors": {"workers": {"multiprocess": {"max_concurrent": 2}}},
            "jobs": {
                job: {"pipeline": {"pipeline_name": pipeline}, "executor": "workers"}
                for job, pipeline in JOBS.items()
            },
        },
        files={
            "src/pyspark/__init__.py": PYSPARK,
            "src/shop/datasets.py": DATASETS,
            "data/raw.json": "1",
        },
    )


@pytest.fixture
def project(rendered: Project, tmp_path: Path) -> Project:
    return rendered.copy(tmp_path / "shop")


@pytest.fixture
def run(project: Project) -> Run:
    """Executes a job, for five minutes at most; gives what it printed and noted."""

    def run(job: str, **environment: str) -> tuple[str, Notes]:
        done = project.execute(job, timeout=300, **environment)
        lines = (project.path / "trace").read_text().splitlines()
        return " ".join((done.stdout + done.stderr).split()), [json.loads(line) for line in lines]

    return run


def values(project: Project) -> list[Any]:
    return [json.loads((project.path / "data" / f"{name}.json").read_text()) for name in OUTPUTS]


def assert_apart(notes: Notes) -> None:
    """No node has run in the run worker, and each worker has run several."""
    (opened,) = {note["pid"] for note in notes if note["what"] == "before_pipeline_run"}
    nodes = [note["pid"] for note in notes if note["what"] == "after_node_run"]
    assert opened not in nodes
    assert 1 <= len(set(nodes)) <= 2


def test_polars_that_has_started_its_threads_in_a_hook(project: Project, run: Run) -> None:
    output, notes = run("polars", OPENS="polars")
    assert "Workers are not forked from the run worker: a library has started threads" in output
    assert values(project) == [{"0": 250_000, "1": 250_000}] * 3
    assert_apart(notes)


def test_polars_that_has_no_threads_yet(project: Project, run: Run) -> None:
    output, notes = run("polars", OPENS="polars_without_threads")
    assert "Workers are not forked" not in output
    assert values(project) == [{"0": 250_000, "1": 250_000}] * 3
    assert_apart(notes)


def test_a_duckdb_connection_of_a_hook(project: Project, run: Run) -> None:
    output, notes = run("duckdb", OPENS="duckdb")
    assert "Workers are not forked from the run worker: a library has started threads" in output
    assert "attribute 'connection' of shop.hooks.ProjectHooks" in output
    assert values(project) == [sum(range(500_000)) + 1] * 3
    assert_apart(notes)
    assert [note["connection"] for note in notes if note["what"] == "after_node_run"] == [False] * 3
    assert notes[-1]["count"] == 100_000  # it is the run worker's to the end


@pytest.fixture
def server() -> Iterator[tuple[int, dict[int, list[str]]]]:
    """A server, and what comes to it by each of its connections."""
    heard: dict[int, list[str]] = defaultdict(list)
    listener = socket.create_server(("127.0.0.1", 0))

    def listen(number: int, connection: socket.socket) -> None:
        with connection, connection.makefile() as lines:
            for line in lines:
                heard[number].append(line.strip())

    def accept() -> None:
        for number in range(100):
            try:
                connection, _ = listener.accept()
            except OSError:  # the test is over
                return
            threading.Thread(target=listen, args=(number, connection), daemon=True).start()

    with listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)


def test_a_network_connection_of_a_hook(
    project: Project, run: Run, server: tuple[int, dict[int, list[str]]]
) -> None:
    port, heard = server
    output, notes = run("plain", OPENS="network", PORT=str(port))
    assert "Workers are not forked from the run worker: a network connection is open" in output
    assert values(project) == [2] * 3
    assert_apart(notes)
    assert [line.split()[0] for line in heard[0]] == ["before", "after"]
    for lines in heard.values():
        assert len({line.split()[1] for line in lines}) == 1  # one process a connection
    nodes = [line.split()[0] for number in heard if number for line in heard[number]]
    assert sorted(nodes) == ["n_0", "n_1", "n_2"]


def test_a_spark_session_of_a_hook(project: Project, run: Run) -> None:
    output, notes = run("spark", OPENS="spark")
    assert "Workers are not forked from the run worker: a Spark session is open" in output
    assert values(project) == [2] * 3
    assert_apart(notes)


def test_a_dataset_that_kedro_marks_as_for_one_process(project: Project, run: Run) -> None:
    output, notes = run("single")
    assert "dataset 'single' (OneProcessDataset) is not for several processes" in output
    assert values(project) == [3] * 3
    assert_apart(notes)


def test_no_warning_of_a_fork_with_threads(project: Project, run: Run) -> None:
    """Python 3.12 and later warn; the thread is one of before the run, which no copy needs."""
    warnings = "always:This process:DeprecationWarning"
    output, notes = run("plain", THREADS="1", PYTHONWARNINGS=warnings)
    assert "Workers are not forked" not in output
    assert "multi-threaded" not in output
    assert values(project) == [2] * 3
    assert_apart(notes)
