"""The vendored JSON schema is that of the models and of the installed executors."""

from __future__ import annotations

import json
import runpy

from projects import HELPER, REPOSITORY


def test_the_schema_is_up_to_date() -> None:
    made = runpy.run_path(str(REPOSITORY / "helpers" / "schema.py"))["file_schema"]()
    vendored = json.loads((HELPER / "dagster.schema.json").read_text(encoding="utf-8"))
    assert vendored == made, "run nox -s schema"
    names = {"MultiprocessExecutorOptions", "DockerExecutorOptions", "K8sExecutorOptions"}
    assert names <= vendored["$defs"].keys()
