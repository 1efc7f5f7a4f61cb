"""The commands: ``kedro dagster`` of a project, and Dagster's own on it."""

from __future__ import annotations

import json
import logging
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project

from kedro_dagster.cli import dagster_group
from kedro_dagster.plan.side_effects import RUN_THEM
from live.server import LOCATION, Server, until
from projects import HELPER, KEDRO, REPOSITORY, Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def same(value):
    return value


def register_pipelines():
    return {
        "__default__": Pipeline(
            [
                node(same, "raw", "clean", name="prepare"),
                node(same, "clean", "model", name="train", namespace="first"),
                node(print, "clean", None, name="show"),
            ]
        )
    }
"""
CATALOG = """\
raw: {type: json.JSONDataset, filepath: data/raw.json}
model: {type: json.JSONDataset, filepath: data/model.json}
"""
DAGSTER = """\
dev: {log_level: warning, host: 127.0.0.1, port: 4321, live_data_poll_rate: 500}
schedules: {nightly: {cron_schedule: "@daily"}}
jobs:
  everything: {pipeline: {}, schedule: nightly, executor: {in_process: {}}}
  together: {pipeline: {from_nodes: [prepare], to_nodes: [first.train]}, group_by: memory}
"""
TYPES = """\
parts: {type: partitions.PartitionedDataset, path: parts, dataset: shop.missing.Dataset}
unused: {type: json.JSONDatset, filepath: data/unused.json}
"""
DEEP = """\
model: {type: json.JSONDataset, filepath: data/model.json, credentials: token}
other: {type: json.JSONDataset, filepath: data/other.json, credentials: nobody}
"""
TEST_ENV = """\
dev: {port: 1234}
jobs: {only_in_test: {pipeline: {}}}
"""
JOBS = """
query {
  version
  repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } }
}"""
PLAN = f"""\
Job everything (pipeline __default__, executor in_process, schedule everything_schedule, 3 steps)
  prepare       prepare      raw -> clean
  first__train  first.train  clean -> model
  show          show         clean -> -

Job together (pipeline __default__, executor of the code location, 1 step)
  prepare_to_first__train  prepare, first.train  raw -> model

Assets
  prepare_to_show__assets  prepare, first.train, show  raw -> model

Assets made elsewhere: raw

Nodes in no asset: show
  {RUN_THEM}
"""

OWN_KEYS = """\
from kedro_dagster import CatalogTranslator, KedroProjectTranslator


class OwnKeys(CatalogTranslator):
    def get_asset_key(self, dataset):
        return super().get_asset_key(dataset).with_prefix("company")


defs = KedroProjectTranslator(catalog_translator=OwnKeys).to_definitions()
"""


DG = "from dagster_dg_cli.cli import main; main()"


class Started(NamedTuple):
    """A command of Dagster's that this process has become."""

    options: Mapping[str, str]
    command: list[str]
    environment: Mapping[str, str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an environment of its own for tests, known to Kedro."""
    project = make_project(
        tmp_path / "shop",
        pipelines=PIPELINES,
        catalog=CATALOG,
        dagster=DAGSTER,
        files={
            "conf/test/dagster.yml": TEST_ENV,
            "conf/broken/dagster.yml": "jobs: {a: {}}\n",
            "conf/types/catalog.yml": TYPES,
            "conf/deep/catalog.yml": DEEP,
            "conf/deep/credentials.yml": "token: {key: '${oc.env:SHOP_TOKEN}'}\n",
        },
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("KEDRO_ENV", "")  # a command may set it
    return project


def kedro_dagster(project: Project, *arguments: str) -> Result:
    """Run a command of ``kedro dagster`` in this process."""
    result = CliRunner().invoke(dagster_group, arguments, obj=bootstrap_project(project.path))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Started]:
    """The commands that this process would have become."""
    commands: list[Started] = []
    really_run = runpy.run_module

    def run_module(name: str, *, run_name: str, alter_sys: bool = False) -> dict[str, Any] | None:
        if name == "shop.definitions":
            return really_run(name, run_name=run_name)
        assert (name, run_name, alter_sys) == ("dagster", "__main__", True)
        commands.append(Started(dict(pairwise(sys.argv)), sys.argv, dict(os.environ)))
        return None

    monkeypatch.setattr(runpy, "run_module", run_module)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(logging.getLogger("dagster"), "propagate", True)
    return commands


def test_dev_takes_its_options_from_dagster_yml(project: Project, started: list[Started]) -> None:
    kedro_dagster(project, "dev")
    (dev,) = started
    assert dev.command == [
        *("dagster", "dev", "-m", "shop.definitions"),
        *("--log-level", "warning"),
        *("--log-format", "colored"),
        *("--host", "127.0.0.1"),
        *("--port", "4321"),
        *("--live-data-poll-rate", "500"),
    ]
    assert Path.cwd() == project.path


def test_options_of_the_command_line_win_and_unknown_ones_are_passed_on(
    project: Project, started: list[Started]
) -> None:
    kedro_dagster(project, "dev", "-p", "99", "--log-format", "json", "--use-ssl", "x")
    (dev,) = started
    assert dev.options["--port"] == "99"
    assert dev.options["--log-format"] == "json"
    assert dev.options["--log-level"] == "warning"
    assert dev.command[-2:] == ["--use-ssl", "x"]


def test_dev_passes_the_environment_on(project: Project, started: list[Started]) -> None:
    kedro_dagster(project, "dev", "--env", "test")
    (dev,) = started
    assert dev.options["--port"] == "1234"
    assert dev.environment["KEDRO_ENV"] == "test"


def test_dev_honours_kedro_env(
    project: Project, started: list[Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_ENV", "test")
    kedro_dagster(project, "dev")
    (dev,) = started
    assert dev.options["--port"] == "1234"
    assert dev.environment["KEDRO_ENV"] == "test"


def test_run_history_is_kept_in_the_project_and_ignored_by_git(
    project: Project, started: list[Started]
) -> None:
    kedro_dagster(project, "dev")
    home = project.path / ".dagster"
    assert started[0].environment["DAGSTER_HOME"] == str(home)
    assert (home / ".gitignore").read_text() == "*\n"
    (home / "dagster.yaml").write_text("# mine\n")
    kedro_dagster(project, "dev")
    assert (home / "dagster.yaml").read_text() == "# mine\n"


def test_the_instance_of_the_project_captures_logs_where_dagster_does(
    project: Project, started: list[Started]
) -> None:
    kedro_dagster(project, "dev")
    home = project.path / ".dagster"
    assert str(project.path / "src") in started[0].environment["PYTHONPATH"]  # the helper's folder
    with dg.DagsterInstance.from_config(str(home)) as instance:
        manager = instance.compute_log_manager
        assert type(manager).__name__ == "KedroComputeLogManager"
        log = manager.get_log_metadata(["run", "compute_logs", "step"]).stdout_location
    assert log == str(home / "storage" / "run" / "compute_logs" / "step.out")


def test_dagster_home_is_honoured(
    project: Project, started: list[Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/somewhere")
    kedro_dagster(project, "dev")
    assert started[0].environment["DAGSTER_HOME"] == "/somewhere"
    assert not (project.path / ".dagster").exists()


@pytest.mark.parametrize("command", ["dev", "plan"])
def test_a_mistake_is_printed_and_nothing_is_started(
    project: Project, started: list[Started], command: str
) -> None:
    result = kedro_dagster(project, command, "--env", "broken")
    assert result.exit_code == 1
    assert result.stderr == (
        "The Dagster configuration has 1 mistake:\n"
        "  - conf/broken/dagster.yml: jobs.a.pipeline: this key is required.\n"
    )
    assert not started


def test_plan_shows_steps_and_assets(project: Project) -> None:
    assert kedro_dagster(project, "plan").stdout == PLAN


def test_plan_as_json_has_the_steps_the_nodes_and_the_datasets(
    project: Project, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    kedro_dagster(project, "plan", "--json", "--output", str(file))
    plan = json.loads(file.read_text())
    jobs = {job["name"]: job for job in plan["jobs"]}
    assert {name: job["filters"] for name, job in jobs.items()} == {
        "everything": {},
        "together": {"from_nodes": ["prepare"], "to_nodes": ["first.train"]},
    }
    dependencies = {one["name"]: one["dependencies"] for one in jobs["everything"]["groups"]}
    assert dependencies == {"prepare": [], "first__train": ["prepare"], "show": ["prepare"]}
    (group,) = jobs["together"]["groups"]
    assert group["nodes"] == ["prepare", "first.train"]
    assert [(one["key"], one["dependencies"]) for one in plan["assets"]] == [(["model"], ["raw"])]
    assert plan["nodes_in_no_asset"] == ["show"]
    kinds = {name: dataset["kind"] for name, dataset in plan["datasets"].items()}
    assert kinds == {"raw": "persisted", "clean": "transient", "model": "persisted"}


def test_plan_as_json_has_the_keys_of_a_translator_of_ones_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # of another test
    (project.path / "src" / "shop" / "definitions.py").write_text(OWN_KEYS)
    plan = json.loads(kedro_dagster(project, "plan", "--json").stdout)
    assert [(one["key"], one["dataset"]) for one in plan["assets"]] == [
        (["company", "model"], "model")
    ]


def test_a_file_to_write_to_is_below_the_folder_of_the_command(
    project: Project, tmp_path: Path
) -> None:
    kedro_dagster(project, "plan", "--output", "plan.txt")  # which goes to the project's folder
    assert (tmp_path / "plan.txt").read_text() == PLAN
    os.chdir(tmp_path)
    assert kedro_dagster(project, "plan", "-e", "broken", "-o", "plan.txt").exit_code == 1
    assert (tmp_path / "plan.txt").read_text() == PLAN


@pytest.mark.skipif(KEDRO < (1, 4), reason="this Kedro has no inspection snapshot")
def test_plan_as_json_speaks_of_nodes_and_datasets_as_kedro_does(project: Project) -> None:
    from kedro.inspection import get_project_snapshot  # noqa: PLC0415

    plan = json.loads(kedro_dagster(project, "plan", "--json").stdout)
    snapshot = asdict(get_project_snapshot(project.path))
    (pipeline,) = snapshot["pipelines"]
    for node in pipeline["nodes"]:
        assert {key: node[key] for key in plan["nodes"][0]} in plan["nodes"]
    assert pipeline["inputs"] == plan["jobs"][0]["inputs"]
    assert pipeline["outputs"] == plan["jobs"][0]["outputs"]
    for name, dataset in snapshot["datasets"].items():
        planned = plan["datasets"][name]
        assert planned["type"].endswith(dataset["type"])


def test_plan_as_a_flowchart_draws_each_job(project: Project) -> None:
    first = kedro_dagster(project, "plan", "--mermaid").stdout.partition("  end\n")[0]
    assert first.splitlines() == [
        "flowchart LR",
        '  subgraph job0 ["everything"]',
        '    job0_step0["prepare"]',
        '    job0_step1["first__train"]',
        '    job0_step2["show"]',
        '    job0_data0[("raw")]',
        "    job0_data0 --> job0_step0",
        '    job0_step0 -->|"clean"| job0_step1',
        '    job0_step0 -->|"clean"| job0_step2',
    ]


def test_plan_of_another_environment_shows_its_jobs(project: Project) -> None:
    plan = kedro_dagster(project, "plan", "-e", "test").stdout
    assert plan.startswith("Job only_in_test (")


def test_check_finds_nothing_wrong_and_warns(project: Project, tmp_path: Path) -> None:
    shown = kedro_dagster(project, "check", "--deep")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "Nothing is wrong."
    file = tmp_path / "check.json"
    kedro_dagster(project, "check", "--env", "test", "--json", "-o", str(file))
    report = json.loads(file.read_text())
    assert (report["ok"], report["mistakes"]) == (True, [])
    (warning,) = report["warnings"]
    assert "only_in_test" in warning  # it passes 'clean' between processes
    assert not (project.path / ".dagster").exists()


def test_check_finds_types_that_no_job_would_import(project: Project) -> None:
    shown = kedro_dagster(project, "check", "--env", "types")
    assert shown.exit_code == 1
    title, *mistakes = shown.stdout.splitlines()
    assert title == "The Dagster configuration has 2 mistakes:"
    first, second = mistakes
    assert first.startswith("  - conf/types/catalog.yml: parts.dataset.type: DatasetError: ")
    assert second.startswith("  - conf/types/catalog.yml: unused.type: DatasetError: ")
    assert "JSONDatset" in second


def test_a_deep_check_finds_credentials_that_are_not_there_and_builds_datasets(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistakes(*options: str) -> list[str]:
        shown = kedro_dagster(project, "check", "--env", "deep", *options).stdout
        return [line for line in shown.splitlines() if line.startswith("  - ")]

    assert not mistakes()
    first, second = mistakes("--deep")
    place = "  - conf/deep/catalog.yml"
    assert first == (
        f"{place}: model.credentials: credentials 'token' need ${{oc.env:SHOP_TOKEN}}, which has "
        "no value."
    )
    assert second == f"{place}: other.credentials: there are no credentials 'nobody'."
    monkeypatch.setenv("SHOP_TOKEN", "sesame-sesame")
    (project.path / "conf/deep/catalog.yml").write_text(
        "model: {type: json.JSONDataset, path: /sesame-sesame, credentials: token}\n"
    )
    (mistake,) = mistakes("--deep")
    assert mistake.startswith("  - conf/deep/catalog.yml: model: cannot be built: DatasetError: ")
    assert "path" in mistake
    assert "sesame" not in mistake


def test_a_deep_check_tells_of_all_mistakes_of_an_entry(project: Project) -> None:
    (project.path / "conf/deep/catalog.yml").write_text(
        "other: {type: json.JSONDatset, filepath: data/o.json, credentials: nobody}\n"
        "third: {type: CachedDatset, dataset: {type: json.JSONDatset, filepath: data/o.json}}\n"
    )
    shown = kedro_dagster(project, "check", "--env", "deep", "--deep").stdout
    places = [line.split(": ")[1] for line in shown.splitlines() if line.startswith("  - ")]
    assert places == ["other.credentials", "other.type", "third.dataset.type", "third.type"]


def test_check_loads_definitions_py(project: Project) -> None:
    file = project.path / "src" / "shop" / "definitions.py"
    file.write_text(file.read_text() + "\nother = dg.Definitions()\n")
    shown = project.kedro("dagster", "check", check=False)  # the module of no other test
    assert shown.returncode == 1
    message = f"shop.definitions cannot be loaded: NameError: name 'dg' is not defined ({file}, "
    assert message in shown.stdout


@pytest.mark.parametrize("command", ["run", "plan", "check", "dev"])
def test_help_of_each_command_has_no_need_of_dagster(command: str) -> None:
    code = (
        "import sys; from kedro_dagster.cli import dagster_group as group\n"
        f"try: group(['{command}', '--help'])\n"
        "finally: assert 'dagster' not in sys.modules"
    )
    folder = str(HELPER.parent)
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": folder},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "--env" in process.stdout


def test_version_tells_all_versions_that_matter() -> None:
    version = CliRunner().invoke(dagster_group, "--version").stdout
    names = [part.split()[0] for part in version.split(", ")]
    assert names == ["kedro_dagster", "kedro", "dagster"]


@pytest.mark.slow
def test_commands_of_kedro_do_not_import_dagster(project: Project) -> None:
    code = f"import sys, {project.package}.cli; print('dagster' in sys.modules)"
    assert project.run("-c", code).stdout.split()[-1] == "False"


@pytest.mark.slow
def test_a_mistake_ends_the_process_with_a_message_and_no_traceback(project: Project) -> None:
    help_text = project.kedro("--help").stdout
    assert "dagster  Run this Kedro project on Dagster." in help_text

    process = project.kedro("dagster", "dev", check=False, KEDRO_ENV="broken")
    assert process.returncode == 1
    assert "conf/broken/dagster.yml: jobs.a.pipeline: this key is required." in process.stderr
    assert "Traceback" not in process.stdout + process.stderr


@pytest.fixture
def dev(project: Project) -> Iterator[tuple[Server, subprocess.Popen[bytes]]]:
    """A `kedro dagster dev` of the environment for tests."""
    environment = project.environment()
    del environment["DAGSTER_HOME"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    arguments = ["dagster", "dev", "-e", "test", "--port", str(port)]
    with (project.path / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", *arguments],
            cwd=project.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(project, port), process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_dev_serves_the_jobs_of_its_environment_until_ctrl_c(
    project: Project, dev: tuple[Server, subprocess.Popen[bytes]]
) -> None:
    server, process = dev
    log = project.path / "server.log"

    def loaded() -> bool | None:
        assert process.poll() is None, log.read_text()
        try:
            (entry,) = server.query(LOCATION)["workspaceOrError"]["locationEntries"]
        except (OSError, ValueError):
            return None
        return entry["locationOrLoadError"] is not None or None

    until(loaded, "the code location to load", 120)
    answer = server.query(JOBS)
    (repository,) = answer["repositoriesOrError"]["nodes"]
    assert answer["version"]
    assert {job["name"] for job in repository["jobs"]} == {"__ASSET_JOB", "only_in_test"}
    assert (project.path / ".dagster" / "history").is_dir()

    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    until(lambda: None if alive(process.pid) else True, "the children to end")
    assert "superseded" not in log.read_text()


def alive(group: int) -> list[str]:
    """The processes of a group that have not ended; where nobody reaps them, they stay listed."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pgid=,stat=,args="],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split(maxsplit=2) for line in listed.stdout.splitlines())
    return [args for pgid, state, args in rows if int(pgid) == group and state[0] != "Z"]


def test_dg_shows_help_and_is_missed_clearly(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (("--help",), ()):
        shown = kedro_dagster(project, "dg", *words)
        assert shown.exit_code == 0
        assert "kedro dagster dg list defs\n" in shown.stdout
        assert "--env" in shown.stdout
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setitem(sys.modules, "dagster_dg_cli", None)
    missed = kedro_dagster(project, "dg", "list", "defs")
    assert missed.exit_code == 1
    assert missed.stderr == "dg is not installed. Run `pip install dagster-dg-cli`.\n"


@pytest.mark.slow
def test_dg_is_run_on_the_project_in_an_environment(project: Project) -> None:
    """As docs/component.md has it: with components of other kinds beside the project."""
    page = (REPOSITORY / "docs" / "component.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.+?)```", page, re.DOTALL)[-1]
    package = project.path / "src" / "shop"
    (package / "definitions.py").write_text(code.replace("my_project", "shop"))
    (package / "defs").mkdir()
    (package / "defs" / "__init__.py").touch()
    (project.path / "dg.toml").write_text(
        'directory_type = "project"\n[project]\nroot_module = "shop"\ndefs_module = "shop.defs"\n'
    )
    home = project.path / ".dagster"

    def dg_command(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options = {"PYTHONPATH": "", "DAGSTER_HOME": "", "KEDRO_ENV": ""}
        return project.kedro("dagster", "dg", *words, check=check, **options)

    dg_command("scaffold", "defs", "dagster.asset", "extra.py")
    shown = dg_command("list", "defs", "--json", "--env", "test").stdout
    listed = json.loads(shown[shown.index("\n{") :])  # after what Kedro logs there
    assert {job["name"] for job in listed["jobs"]} == {"only_in_test"}
    assert {one["asset_key"] for one in listed["assets"]} == {"raw", "model", "extra"}
    launched = dg_command("launch", "--assets", "extra")
    assert "RUN_SUCCESS" in launched.stderr
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("extra"))
    refused = dg_command("list", "defs", "-e", "broken", check=False)
    assert refused.returncode == 1
    assert "conf/broken/dagster.yml: jobs.a.pipeline: this key is required." in refused.stderr


@pytest.mark.slow
def test_dagsters_own_commands_load_the_example(example: Project) -> None:
    definitions = f"{example.package}.definitions"
    listed = example.run("-c", DG, "list", "defs", "--json")
    names = {job["name"] for job in json.loads(listed.stdout)["jobs"]}
    assert "everything" in names
    listed = example.run("-c", DG, "list", "components", "--json")
    kinds = {one["key"] for one in json.loads(listed.stdout)["items"]}
    assert "kedro_dagster.KedroProjectComponent" in kinds
    checked = example.run("-c", DG, "check", "defs")
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr
    validated = example.run("-m", "dagster", "definitions", "validate", "-m", definitions)
    assert "Validation successful" in validated.stdout + validated.stderr
