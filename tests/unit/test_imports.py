"""What a process imports that has no need of Dagster."""

from __future__ import annotations

import subprocess
import sys

from projects import HELPER

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
