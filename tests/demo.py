"""Run the default job of a rendered project and show what it made: the work of `nox -s demo`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import yaml
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    EventLogRecord,
    PathMetadataValue,
)

DEFAULT_PIPELINE = "__default__"

Row = tuple[str, str, str, str]


def main() -> None:
    """Run the job of the project in the working folder."""
    answers = read_yaml(Path(".copier-answers.yml"))
    job = default_job(answers)
    print(f"\nRunning the job `{job}` ...", flush=True)
    output = execute(f"{answers['package_name']}.definitions", job)
    with DagsterInstance.get() as instance:
        (record,) = instance.get_run_records(limit=1)
        run = record.dagster_run
        if run.status is not DagsterRunStatus.SUCCESS:
            fail(output)
        rows = list(materialisations(instance, run.run_id))
    duration = (record.end_time or 0) - (record.start_time or 0)
    assets = {asset for asset, *_ in rows}
    print(f"{run.status.value} in {duration:.1f} s. {len(assets)} datasets were materialised:\n")
    print_table(("asset", "partition", "file", "when"), rows)
    print(f"\nThe project is in {Path.cwd()}.")


def default_job(answers: Mapping[str, Any]) -> str:
    """The name of the job that runs the default pipeline."""
    folder = Path(answers.get("conf_source", "conf"), answers.get("dagster_env", "base"))
    jobs: dict[str, Any] = read_yaml(folder / "dagster.yml")["jobs"]
    for name, options in jobs.items():
        if options["pipeline"].get("pipeline_name") == DEFAULT_PIPELINE:
            return name
    raise LookupError(f"No job of {folder / 'dagster.yml'} runs the pipeline {DEFAULT_PIPELINE}.")


def execute(module: str, job: str) -> str:
    """Run a job in a process of its own and return what it printed."""
    process = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", job],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        fail(process.stdout)
    return process.stdout


def fail(output: str) -> NoReturn:
    """Show what went wrong and end."""
    sys.exit(f"{output}\nThe job failed.")


def materialisations(instance: DagsterInstance, run_id: str) -> Iterator[Row]:
    """What a run materialised, in order."""
    cursor = None
    more = True
    while more:
        page = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=DagsterEventType.ASSET_MATERIALIZATION
        )
        yield from (row(record) for record in page.records)
        cursor, more = page.cursor, page.has_more


def row(record: EventLogRecord) -> Row:
    """Describe one materialisation."""
    event = record.asset_materialization
    if event is None:
        raise TypeError(f"{record} is no materialisation.")
    paths = [
        value.path for value in event.metadata.values() if isinstance(value, PathMetadataValue)
    ]
    return (
        event.asset_key.to_user_string(),
        event.partition or "",
        ", ".join(relative(path) for path in paths if path),
        datetime.fromtimestamp(record.timestamp).astimezone().strftime("%H:%M:%S"),
    )


def relative(path: str) -> str:
    """A path as seen from the project, if it is inside."""
    folder = Path.cwd()
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path


def print_table(header: Row, rows: list[Row]) -> None:
    """Print columns that are as wide as their content."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for line in (header, tuple("-" * width for width in widths), *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
