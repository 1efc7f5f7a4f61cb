"""``kedro dagster``: Dagster's commands for a Kedro project.

A project's own ``cli.py`` passes on :data:`cli` and :data:`run`; Kedro looks for both there.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from .errors import KedroDagsterError
from .versions import SUPPORTED, __version__, installed

if TYPE_CHECKING:
    from . import KedroProjectTranslator

__all__ = ["cli", "dagster_group", "run"]

_NOT_SUPERSEDED = "Function `dev_command`"  # 'dg dev' starts the same, but wants a dg.toml

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


@click.group(name="Kedro-Dagster")
def cli() -> None:
    """The commands that this project adds to Kedro's."""


@cli.group(name="dagster")
@click.version_option(
    __version__,
    message="kedro_dagster %(version)s, "
    + ", ".join(f"{name} {installed(name) or 'missing'}" for name in SUPPORTED),
)
def dagster_group() -> None:
    """Run this Kedro project on Dagster."""


@dagster_group.command(context_settings={"ignore_unknown_options": True})
@env_option
@click.option("--log-level", help="Lowest level of the log records printed.")
@click.option("--log-format", help="How they are printed: colored, json or rich.")
@click.option("--host", "-h", help="Address the UI listens on.")
@click.option("--port", "-p", help="Port the UI listens on.")
@click.option("--live-data-poll-rate", help="How often the UI asks for new data (ms).")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def dev(
    metadata: ProjectMetadata, /, env: str | None, arguments: tuple[str, ...], **options: str | None
) -> None:
    """Start Dagster's UI and daemon on this project.

    Options that are not given here come from the 'dev' section of dagster.yml. Further ones are
    passed on to 'dagster dev'.
    """
    project = _translate(metadata, env).project
    given = {key: value for key, value in options.items() if value is not None}
    sys.argv = ["dagster", "dev", "-m", f"{project.package_name}.definitions"]
    for key, value in {**project.config.dev.model_dump(), **given}.items():
        sys.argv += [f"--{key.replace('_', '-')}", str(value)]
    sys.argv += arguments
    os.environ["DAGSTER_HOME"] = str(dagster_home(project.path))
    if project.env:
        os.environ["KEDRO_ENV"] = project.env
    os.chdir(project.path)
    warnings.filterwarnings("ignore", _NOT_SUPERSEDED)
    logging.getLogger("dagster").propagate = False  # Dagster shows itself what it logs
    # In this process, which has imported Dagster to check the project
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


@dagster_group.command()
@env_option
@click.pass_obj
def plan(metadata: ProjectMetadata, /, env: str | None) -> None:
    """Show which steps each job and each asset takes."""
    translator = _translate(metadata, env)
    from .plan.describe import describe  # noqa: PLC0415 - see _translate

    click.echo(describe(translator.plan))


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


def _translate(metadata: ProjectMetadata, env: str | None) -> KedroProjectTranslator:
    try:
        # Dagster takes seconds to import, and Kedro imports this module for every command
        from . import KedroProjectTranslator  # noqa: PLC0415

        return KedroProjectTranslator(metadata.project_path, env=env)
    except KedroDagsterError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(1)
