"""Where Dagster keeps the history of runs that are started from a project's folder."""

from __future__ import annotations

import os
from pathlib import Path

_INSTANCE_CONFIG = """\
# Dagster's instance, for runs started from this folder. See docs.dagster.io, "dagster.yaml".
run_monitoring:
  enabled: true # a run whose worker was killed is marked as failed
concurrency:
  runs:
    tag_concurrency_limits: # runs of a job with max_concurrent_runs: 1 wait in the queue
      - key: kedro/one_run_of
        value: { applyLimitPerUniqueValue: true }
        limit: 1
compute_logs: # what steps print; Dagster's own way takes four processes a step
  module: kedro_dagster.compute_logs
  class: KedroComputeLogManager
telemetry:
  enabled: false
"""


def dagster_home(project_path: Path) -> Path:
    """Find or make the folder of run history: ``DAGSTER_HOME``, or one in the project."""
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    folder = project_path / ".dagster"
    folder.mkdir(exist_ok=True)
    for name, content in {"dagster.yaml": _INSTANCE_CONFIG, ".gitignore": "*\n"}.items():
        if not (folder / name).exists():
            (folder / name).write_text(content, encoding="utf-8")
    return folder
