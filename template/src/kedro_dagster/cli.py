"""``kedro dagster``: Dagster's commands for a Kedro project.

A project's own ``cli.py`` passes on :data:`cli` and :data:`run`; Kedro looks for both there.
"""

from __future__ import annotations

import json
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

import click
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import env_option, validate_conf_source
from kedro.framework.startup import ProjectMetadata

from .commands.home import dagster_home
from .errors import KedroDagsterError
from .versions import SUPPORTED, __version__, check_installed, installed

__all__ = ["cli", "dagster_group", "run"]

_NOT_SUPERSEDED = "Function `dev_command`"  # 'dg dev' starts the same, but wants a dg.toml

_OPTIONS_OF_KEDRO = {
    *("env", "pipeline", "pipelines", "tags", "node_names", "from_nodes", "to_nodes"),
    *("from_inputs", "to_outputs", "namespaces", "params", "load_versions", "config"),
    *("runner", "runner_params", "is_async", "only_missing_outputs"),
}
"""The options that ``kedro dagster run`` has from ``kedro run``, of those that this Kedro knows."""


class _OutputFile(click.File):
    """Opened when it is written, from another folder: a command goes to that of the project."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[Any]:
        return super().convert(value if value == "-" else Path.cwd() / value, param, ctx)


_conf_source_option = click.option(
    "--conf-source",
    callback=validate_conf_source,
    help="Folder, archive or URL with the configuration, instead of that of the project.",
)
_output_option = click.option(
    "--output",
    "-o",
    type=_OutputFile("w", encoding="utf-8"),
    default="-",
    help="A file to write to: Kedro logs to the standard output, too.",
)


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
@_conf_source_option
@click.option("--log-level", help="Lowest level of the log records printed.")
@click.option("--log-format", help="How they are printed: colored, json or rich.")
@click.option("--host", "-h", help="Address the UI listens on.")
@click.option("--port", "-p", help="Port the UI listens on.")
@click.option("--live-data-poll-rate", help="How often the UI asks for new data (ms).")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def dev(
    metadata: ProjectMetadata,
    /,
    *,
    env: str | None,
    conf_source: str | None,
    arguments: tuple[str, ...],
    **options: str | None,
) -> None:
    """Start Dagster's UI and daemon on this project.

    Options that are not given here come from the 'dev' section of dagster.yml. Further ones are
    passed on to 'dagster dev'.
    """
    with _mistakes_told():
        _use_project(metadata, env, conf_source)
        # Dagster takes seconds to import, and Kedro imports this module for every command
        from . import KedroProjectTranslator  # noqa: PLC0415

        project = KedroProjectTranslator(metadata.project_path).project
    given = {key: value for key, value in options.items() if value is not None}
    sys.argv = ["dagster", "dev", "-m", f"{project.package_name}.definitions"]
    for key, value in {**project.config.dev.model_dump(), **given}.items():
        sys.argv += [f"--{key.replace('_', '-')}", str(value)]
    sys.argv += arguments
    warnings.filterwarnings("ignore", _NOT_SUPERSEDED)
    logging.getLogger("dagster").propagate = False  # Dagster shows itself what it logs
    # In this process, which has imported Dagster to check the project
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


@dagster_group.command(name="run")
@click.argument("job", required=False)
@click.option("--executor", help="Where the steps run: an executor of dagster.yml or of Dagster.")
@click.option("--preset", help="One of the presets of the job in dagster.yml.")
@click.option(
    "--partition",
    metavar="KEY|START...END",
    help="The only partitions to run; of a job that runs one at a time, a run for each.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on with a run that failed, by how its id begins; the last one if none is given.",
)
@_conf_source_option
@click.pass_obj
def run_job(
    metadata: ProjectMetadata,
    /,
    *,
    env: str | None,
    conf_source: str | None,
    job: str | None,
    executor: str | None,
    preset: str | None,
    partition: str | None,
    resume: str | None,
    **options: Any,
) -> None:
    """Run a job here, without a server, and record the run for Dagster's UI.

    JOB is one of dagster.yml: the only one, or the one of the pipeline __default__, if none is
    given. The options of 'kedro run' change which nodes it runs; without JOB, they make a job.

    \b
    kedro dagster run
    kedro dagster run training --params learning_rate=0.1
    kedro dagster run training --preset small
    kedro dagster run --pipelines reporting --from-nodes plot_demand
    kedro dagster run daily --partition 2026-11-01...2026-11-07
    kedro dagster run training --resume
    """  # noqa: D301  # click keeps the lines of a paragraph that begins so
    with _mistakes_told():
        _use_project(metadata, env, conf_source)
        check_installed()
        import dagster as dg  # noqa: PLC0415 - see dev

        from .commands.run import Request, run_job  # noqa: PLC0415

        logging.getLogger("dagster").propagate = False  # Dagster shows itself what it logs
        request = Request(job, partition, executor, resume, preset, options)
        with dg.DagsterInstance.get() as instance:
            went_well = run_job(instance, request, str(metadata.project_path))
    sys.exit(not went_well)


run_job.params += [option for option in run.params if option.name in _OPTIONS_OF_KEDRO]


@dagster_group.command()
@env_option
@_conf_source_option
@click.option("--json", "form", flag_value="json", help="For programs: see docs/commands.md.")
@click.option("--mermaid", "form", flag_value="mermaid", help="For pictures: a Mermaid flowchart.")
@_output_option
@click.pass_obj
def plan(
    metadata: ProjectMetadata,
    /,
    *,
    env: str | None,
    conf_source: str | None,
    form: str | None,
    output: TextIO,
) -> None:
    """Show which steps each job and each asset takes."""
    with _mistakes_told():
        _choose(metadata, env, conf_source)
        check_installed()
        from .commands.definitions import load_run_resource  # noqa: PLC0415 - see dev
        from .plan.describe import describe  # noqa: PLC0415
        from .plan.snapshot import mermaid, snapshot  # noqa: PLC0415

        _silence_warnings()
        planned = load_run_resource(metadata.package_name)
    if form == "json":
        click.echo(json.dumps(snapshot(planned.plan, planned.asset_keys), indent=2), output)
    else:
        text = mermaid(planned.plan.jobs.values()) if form else describe(planned.plan)
        click.echo(text, output)


@dagster_group.command()
@env_option
@_conf_source_option
@click.option("--deep", is_flag=True, help="Build each dataset too, and look for its credentials.")
@click.option("--json", "as_json", is_flag=True, help="For programs: see docs/commands.md.")
@_output_option
@click.pass_obj
def check(
    metadata: ProjectMetadata,
    /,
    *,
    env: str | None,
    conf_source: str | None,
    deep: bool,
    as_json: bool,
    output: TextIO,
) -> None:
    """Look for all that can be wrong with this project on Dagster.

    The exit code is 1 if something is. Nothing is run, and no server is needed.
    """
    with _mistakes_told():
        _choose(metadata, env, conf_source)
        check_installed()
        from .commands.check import check as look  # noqa: PLC0415

        _silence_warnings()
        report = look(str(metadata.project_path), deep=deep)
    if as_json:
        click.echo(json.dumps(report.as_data(), indent=2), output)
    else:
        for warning in report.warnings:
            click.secho(f"Warning: {warning}", output, fg="yellow")
        click.secho(str(report), output, fg="red" if report.mistakes else "green")
    sys.exit(bool(report.mistakes))


@dagster_group.command()
@click.option("--patch", is_flag=True, help="Show the lines, too.")
@click.option("--offline", is_flag=True, help="Ask no template: answer the first question only.")
@_output_option
@click.pass_obj
def diff(metadata: ProjectMetadata, /, *, patch: bool, offline: bool, output: TextIO) -> None:
    """Show which files of the helper are edited, and which the template has changed since.

    The exit code is 1 if a file that was vendored is edited or deleted, or if that cannot be told.

    \b
    kedro dagster diff
    kedro dagster diff --patch --output my-edits.patch
    kedro dagster diff --offline
    """  # noqa: D301  # click keeps the lines of a paragraph that begins so
    if patch and offline:
        raise click.UsageError("--patch needs the template: leave --offline out.")
    with _mistakes_told():
        from .commands.diff import difference, mend  # noqa: PLC0415

        found = difference(metadata.project_path, offline=offline, patch=patch)
        click.echo(found.patch or str(found), output)
        if found.edited:
            command = mend(metadata.project_path, found.edited)
            click.echo(f"To have these files back as they were: {command}", err=True)
    sys.exit(bool(found.edited))


@dagster_group.command(
    name="dg", context_settings={"ignore_unknown_options": True}, add_help_option=False
)
@env_option
@_conf_source_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run_dg(
    context: click.Context,
    /,
    *,
    env: str | None,
    conf_source: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Run a command of Dagster's 'dg' on this project, which need not be installed.

    \b
    kedro dagster dg list defs
    kedro dagster dg check defs --env prod
    kedro dagster dg launch --assets 'group:training'
    kedro dagster dg launch --help
    """  # noqa: D301  # click keeps the lines of a paragraph that begins so
    if arguments in {(), ("--help",)}:
        click.echo(context.get_help())
        return
    _use_project(context.obj, env, conf_source)
    try:
        from dagster_dg_cli.cli import main  # noqa: PLC0415  # it takes a second
    except ImportError as error:
        if error.name and not error.name.startswith("dagster_dg"):
            raise
        click.secho("dg is not installed. Run `pip install dagster-dg-cli`.", fg="red", err=True)
        sys.exit(1)
    sys.argv = ["dg", *arguments]
    # Dagster leaves out the first folder, as that of a script; it is where Kedro puts the project
    sys.path.insert(0, str(context.obj.project_path))
    # Kedro's handler would print to the standard output, which dg keeps for itself
    logging.getLogger("dagster").propagate = False
    main()  # type: ignore[no-untyped-call]


def _use_project(metadata: ProjectMetadata, env: str | None, conf_source: str | None) -> None:
    """Let what Dagster loads and records in this process, and in its children, be this project."""
    os.environ["DAGSTER_HOME"] = str(dagster_home(metadata.project_path))
    _choose(metadata, env, conf_source)


def _choose(metadata: ProjectMetadata, env: str | None, conf_source: str | None) -> None:
    for name, value in {"KEDRO_ENV": env, "KEDRO_CONF_SOURCE": conf_source}.items():
        if value:
            os.environ[name] = value
    os.chdir(metadata.project_path)


def _silence_warnings() -> None:
    """Leave out the warnings of the code location: what is printed has them."""
    logging.getLogger(f"{__package__}.render.code_location").setLevel(logging.ERROR)


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """Print the message of a mistake, and end."""
    try:
        yield
    except KedroDagsterError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(1)
