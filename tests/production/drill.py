"""The template's example as it is put into production, with a pipeline that a test can hold up."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

from projects import Project

FILES = {
    "pipelines/beat/__init__.py": "from .pipeline import create_pipeline\n",
    "pipelines/beat/pipeline.py": """\
        import time
        from pathlib import Path

        from kedro.pipeline import Pipeline, node


        def take(until):
            while until and not Path(until).exists():
                time.sleep(0.1)
            return "beat"


        def give(taken):
            return taken


        def create_pipeline():
            first = node(take, "params:until", "taken", name="take")
            return Pipeline([first, node(give, "taken", "beat", name="give")])
        """,
    "hooks.py": """\
        import json
        import os

        from kedro.framework.hooks import hook_impl


        class Notes:
            def note(self, hook, run_id, node=None):
                line = {"hook": hook, "run_id": run_id, "node": node, "pid": os.getpid()}
                with open("trace.jsonl", "a") as file:
                    file.write(json.dumps(line) + "\\n")

            @hook_impl
            def before_pipeline_run(self, run_params):
                self.note("before_pipeline_run", run_params["run_id"])

            @hook_impl
            def after_pipeline_run(self, run_params):
                self.note("after_pipeline_run", run_params["run_id"])

            @hook_impl
            def on_pipeline_error(self, run_params):
                self.note("on_pipeline_error", run_params["run_id"])

            @hook_impl
            def before_node_run(self, node, run_id):
                self.note("before_node_run", run_id, node.name)
        """,
    "settings.py": """
        from .hooks import Notes

        HOOKS = (Notes(),)
        """,
}
CATALOG = """
beat: {type: json.JSONDataset, filepath: data/beat.json, versioned: true}
"""
JOBS = """
  beat: {pipeline: {pipeline_name: beat}, executor: sequential, schedule: minutely}
  beat_in_processes: {pipeline: {pipeline_name: beat}, executor: parallel}
"""
CHANGES = {
    "conf/base/dagster.yml": {
        "\nschedules:": '\nschedules:\n  minutely: {cron_schedule: "* * * * *"}'
    },
    "deployment/dagster.yaml": {
        "start_timeout_seconds: 180": "start_timeout_seconds: 1200",  # however busy the machine
        "max_concurrent_runs: 10": "max_concurrent_runs: 3",
        "limit: 4": "limit: 2",
    },
}


def extend(project: Project) -> None:
    """Add to a rendered example what a drill needs: a pipeline, its jobs, a schedule, hooks."""
    source = project.path / "src" / project.package
    for name, text in FILES.items():
        (source / name).parent.mkdir(exist_ok=True)
        with (source / name).open("a") as file:
            file.write(dedent(text))
    base = project.path / "conf" / "base"
    additions = {"catalog": CATALOG, "dagster": JOBS, "parameters": '\nuntil: ""\n'}
    for name, text in additions.items():
        with (base / f"{name}.yml").open("a") as file:
            file.write(text)
    for name, changes in CHANGES.items():
        text = (project.path / name).read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (project.path / name).write_text(text)


def trace(folder: Path) -> list[dict[str, Any]]:
    """The calls of hooks in all processes."""
    file = folder / "trace.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
