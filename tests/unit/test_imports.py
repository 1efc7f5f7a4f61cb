"""What a process imports that has no need of Dagster, or of pandas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from projects import HELPER, make_project

CODE = """
import sys

import kedro_datasets.partitions

before = set(sys.modules)
import kedro_dagster.datasets

packages = {name.partition(".")[0] for name in sys.modules.keys() - before}
print(*sorted(packages - sys.stdlib_module_names))
"""


def test_the_datasets_import_no_more_than_those_of_kedro_datasets() -> None:
    """A catalog names them, so that each ``kedro run`` imports them."""
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": str(HELPER.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["kedro_dagster", "packaging"]


PIPELINES = """
    import sys

    from kedro.pipeline import Pipeline, node

    def scale(factor): return {"value": factor}
    def look(scaled): return {**scaled, "pandas": "pandas" in sys.modules}

    def register_pipelines():
        one = node(scale, "params:factor", "scaled", name="scale")
        return {"__default__": Pipeline([one, node(look, "scaled", "seen", name="look")])}
"""


@pytest.mark.slow
def test_plain_values_in_memory_do_not_import_pandas(tmp_path: Path) -> None:
    """Kedro would, to ask if they are tables: 45 MB and half a second in each process of a run."""
    project = make_project(
        tmp_path / "shop",
        pipelines=PIPELINES,
        parameters={"factor": 2},
        catalog={"seen": {"type": "json.JSONDataset", "filepath": "data/seen.json"}},
        dagster={"jobs": {"all": {"pipeline": {}, "executor": "multiprocess"}}},
    )
    project.execute("all")
    seen = json.loads((project.path / "data" / "seen.json").read_text())
    assert seen == {"value": 2, "pandas": False}
