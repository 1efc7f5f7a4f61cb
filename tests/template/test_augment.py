"""Adding Dagster to a Kedro project: no question, nothing of it is changed, and it runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from copier import run_copy

from conftest import Render, git
from projects import HELPER, Project
from template.existing import REGISTRY, copier, hashes, kedro_new, write_files, write_project

HELPER_FILES = {
    f"src/kedro_dagster/{file.relative_to(HELPER).as_posix()}"
    for file in (*HELPER.rglob("*.py"), *HELPER.glob("*.json"))
}
ANSWERS = ".copier-answers.yml"


@dataclass(frozen=True)
class Case:
    """A Kedro project, and what is found out about it.

    Args:
        write: Writes it into a folder that exists, and returns its own folder.
        package: Its package.
        source: Its source folder.
        conf: Its configuration folder.
        env: The environment that is given a dagster.yml, or "." where it has no environments.
        has: Which of the files that are added otherwise it has already.
    """

    write: Callable[[Path], Path]
    package: str = "shop"
    source: str = "src"
    conf: str = "conf"
    env: str = "base"
    has: frozenset[str] = field(default_factory=frozenset)

    @property
    def added(self) -> set[str]:
        folder = (Path(self.source) / self.package.replace(".", "/")).as_posix()
        own = {f"{folder}/definitions.py", f"{folder}/cli.py", "dg.toml", "workspace.yaml"}
        dagster_yml = (Path(self.conf) / self.env / "dagster.yml").as_posix()
        return ({*own, dagster_yml} - self.has) | HELPER_FILES | {ANSWERS}


def written(
    folder: Path,
    name: str = "shop",
    *,
    package: str = "shop",
    source: str = "src",
    conf: str = "conf",
    without: str = "",
    **files: str,
) -> Path:
    path = folder / name
    write_project(
        path,
        package=package,
        source=source,
        conf=conf,
        files={file.replace("__", "/"): text for file, text in files.items()},
    )
    if without:
        (path / without).unlink()
    return path


def with_files(files: dict[str, str], folder: Path) -> Path:
    path = written(folder)
    write_files(path, files)
    return path


def without_environments(files: dict[str, str], folder: Path) -> Path:
    path = with_files({"src/shop/settings.py": FLAT, **files}, folder)
    for file in (path / "conf" / "base").iterdir():
        file.rename(path / "conf" / file.name)
    (path / "conf" / "base").rmdir()
    return path


def in_git(folder: Path) -> Path:
    path = written(folder)
    git(path, "init", "--quiet")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=Mine")
    return path


OWN_CLI = """\
import click


@click.group()
def cli():
    pass
"""
FLAT = 'CONFIG_LOADER_ARGS = {"base_env": "", "default_run_env": ""}\n'
OWN_DEFINITIONS = "import dagster as dg\n\ndefs = dg.Definitions()\n"
HOOKS = """\
from pathlib import Path

from kedro.framework.hooks import hook_impl


class Notes:
    @hook_impl
    def before_node_run(self, node):
        with Path("called.txt").open("a") as file:
            print(node.name, file=file)


HOOKS = (Notes(),)
"""
JOBS = "jobs: {mine: {pipeline: {pipeline_name: __default__}}}\n"

CASES = {
    "kedro new": Case(lambda folder: kedro_new(folder, "Shop", "none")),
    "kedro new with tools": Case(
        lambda folder: kedro_new(folder, "Corner Shop", "lint,test,log,docs,data"),
        package="corner_shop",
    ),
    "hooks in settings.py": Case(partial(with_files, {"src/shop/settings.py": HOOKS})),
    "own cli.py": Case(
        partial(with_files, {"src/shop/cli.py": OWN_CLI}), has=frozenset({"src/shop/cli.py"})
    ),
    "own cli package": Case(
        partial(with_files, {"src/shop/cli/__init__.py": OWN_CLI}),
        has=frozenset({"src/shop/cli.py"}),
    ),
    "own definitions.py": Case(
        partial(with_files, {"src/shop/definitions.py": OWN_DEFINITIONS}),
        has=frozenset({"src/shop/definitions.py"}),
    ),
    "own dg.toml": Case(
        partial(with_files, {"dg.toml": "[project]\n"}), has=frozenset({"dg.toml"})
    ),
    "own workspace.yml": Case(
        partial(with_files, {"workspace.yml": "load_from: []\n"}),
        has=frozenset({"workspace.yaml"}),
    ),
    **{
        f"own {name}": Case(
            partial(with_files, {name: JOBS}), has=frozenset({"conf/base/dagster.yml"})
        )
        for name in (
            "conf/local/dagster.yml",
            "conf/prod/dagster.yaml",
            "conf/base/dagster/jobs.yml",
            "conf/base/team/dagster_jobs.json",
        )
    },
    "no environments": Case(partial(without_environments, {}), env="."),
    "no environments, own dagster.yml": Case(
        partial(without_environments, {"conf/dagster.yml": JOBS}),
        env=".",
        has=frozenset({"conf/dagster.yml"}),
    ),
    "hyphenated name": Case(
        partial(written, name="corner-shop", package="corner_shop"), package="corner_shop"
    ),
    "conf elsewhere": Case(partial(written, conf="config/kedro"), conf="config/kedro"),
    "no parameters.yml": Case(partial(written, without="conf/base/parameters.yml")),
    "source_dir code": Case(partial(written, source="code"), source="code"),
    "source_dir code/python": Case(partial(written, source="code/python"), source="code/python"),
    "source_dir .": Case(partial(written, source="."), source="."),
    "package in a package": Case(partial(written, package="company.shop"), package="company.shop"),
    "package beside one that is not Kedro's": Case(
        partial(with_files, {"src/aaa/__init__.py": "", "src/aaa/settings.py": ""})
    ),
    "two Kedro packages": Case(
        partial(with_files, {"src/aaa/__init__.py": "", "src/aaa/pipeline_registry.py": ""})
    ),
    "committed to git": Case(in_git),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_adds_what_is_missing_and_changes_nothing(
    case: Case,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = case.write(tmp_path)
    before = hashes(project)
    monkeypatch.chdir(project)
    run_copy(str(template), defaults=True)
    after = hashes(project)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == case.added
    answers = yaml.safe_load((project / ANSWERS).read_text())
    assert (answers["package_name"], answers["source_dir"], answers["conf_source"]) == (
        case.package,
        case.source,
        case.conf,
    )
    assert answers["dagster_env"] == case.env
    message = capsys.readouterr().err
    listed = {line.strip() for line in message.splitlines()}
    assert (case.added - HELPER_FILES) | {"src/kedro_dagster/ (the helper)"} <= listed
    assert not case.has & listed
    if case.has:
        assert f"the project has its own: {', '.join(case.has)}." in message


# What only a new project is given. A file of the template that is not below these is for existing
# projects too: `added_files` in includes/values.yml names it.
NEW_ONLY = (
    ".gitignore",
    "AGENTS.md",
    "README.md",
    "conf/base/catalog.yml",
    "conf/base/parameters.yml",
    "conf/local/",
    "data/",
    "pyproject.toml",
    "src/my_project/__init__.py",
    "src/my_project/__main__.py",
    "src/my_project/pipeline_registry.py",
    "src/my_project/pipelines/",
    "src/my_project/settings.py",
    "tests/",
)


def test_an_existing_project_is_given_every_file_that_is_not_for_new_ones_only(
    template: Path, render: Render, tmp_path: Path
) -> None:
    write_project(tmp_path, package="my_project")
    before = hashes(tmp_path)
    worker = run_copy(str(template), tmp_path, data={"deployment": True}, defaults=True, quiet=True)
    new = {name for name in hashes(render(deployment=True)) if not name.startswith(NEW_ONLY)}
    assert set(hashes(tmp_path)) - set(before) == new
    added = worker.answers.combined["added_files"]
    assert set(added) == new - HELPER_FILES - {ANSWERS}
    # A file without a line of its own in `_exclude` would silently not be added.
    lines = [line for line in worker.template.exclude if "added_patterns[" in line]
    assert lines == [f"{{{{ added_patterns[{number}] }}}}" for number in range(len(added))]


def test_the_message_says_what_to_run_next(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "shop")
    message = copier(tmp_path / "shop", "copy", "--defaults", str(template), ".").stderr
    for command in (
        'pip install "dagster>=1.12,<2" "dagster-webserver>=1.12,<2" dagster-dg-cli',
        'uv pip install "dagster>=1.12,<2" "dagster-webserver>=1.12,<2" dagster-dg-cli',
        "kedro dagster dev",
        "copier update --defaults",
    ):
        assert f"    {command}\n" in message


def test_the_message_tells_what_to_edit_before_what_to_run(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path, files={"src/shop/cli.py": OWN_CLI, "workspace.yaml": "load_from: []\n"})
    message = copier(tmp_path, "copy", "--defaults", str(template), ".").stderr
    steps = (
        "    pip install ",
        "add to src/shop/cli.py, ",
        "workspace.yaml: to have the project in `dagster dev`, add ",
        "    kedro dagster dev\n",
        "Dagster's own commands",
        "    copier update",
    )
    places = [message.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("names", "environments"),
    [
        (("conf/prod/dagster.yml",), "prod"),
        (("conf/prod/dagster/jobs.yml", "conf/prod/dagster.yml", "conf/test/dagster.yml"),
         "prod or test"),
    ],
)  # fmt: skip
def test_the_message_tells_of_a_dagster_yml_that_is_not_read_by_default(
    names: tuple[str, ...], environments: str, template: Path, tmp_path: Path
) -> None:
    write_project(tmp_path, files=dict.fromkeys(names, JOBS))
    message = copier(tmp_path, "copy", "--defaults", str(template), ".").stderr
    assert f"is read in the environment {environments} only" in message
    assert "    kedro dagster dev -e prod\n" in message
    assert "KEDRO_ENV" in message


@pytest.mark.parametrize("name", ["conf/local/dagster.yml", "conf/base/dagster.yml"])
def test_a_dagster_yml_that_is_read_by_default_needs_no_word(
    name: str, template: Path, tmp_path: Path
) -> None:
    write_project(tmp_path, files={name: JOBS, "conf/prod/dagster.yml": JOBS})
    message = copier(tmp_path, "copy", "--defaults", str(template), ".").stderr
    assert "    kedro dagster dev\n" in message
    assert "KEDRO_ENV" not in message


@pytest.mark.slow
def test_jobs_of_another_environment_load_in_it(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path, files={"conf/prod/dagster.yml": JOBS})
    copier(tmp_path, "copy", "--defaults", str(template), ".")
    assert "Job mine " in Project(tmp_path, "shop").kedro("dagster", "plan", "-e", "prod").stdout


def test_finds_the_project_in_an_odd_folder(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "[old] shop *?!")
    copier(tmp_path, "copy", "--defaults", str(template), "[old] shop *?!")
    assert (tmp_path / "[old] shop *?!" / "src/shop/definitions.py").is_file()


def test_every_answer_can_be_corrected(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path, package="shop", source="lib", conf="settings")
    given = {
        "package_name": "other",
        "source_dir": "lib",
        "conf_source": "settings",
        "dagster_env": "prod",
    }
    data = [argument for key in given for argument in ("-d", f"{key}={given[key]}")]
    copier(tmp_path, "copy", "--defaults", *data, str(template), ".")
    assert (tmp_path / "settings/prod/dagster.yml").is_file()
    assert (tmp_path / "lib/other/definitions.py").is_file()
    assert given.items() <= yaml.safe_load((tmp_path / ANSWERS).read_text()).items()


def test_a_project_whose_package_is_not_found_is_not_taken_for_a_new_one(
    template: Path, tmp_path: Path
) -> None:
    write_project(tmp_path, source="a/b/c/d")
    before = hashes(tmp_path)
    process = copier(tmp_path, "copy", "--defaults", str(template), ".", check=False)
    assert process.returncode != 0
    assert "Please name the package: no pipeline_registry.py was found" in process.stderr
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("option", [(), ("-d", "existing_project=true"), ("--overwrite",)])
def test_stops_where_another_template_keeps_its_answers(
    option: tuple[str, ...], template: Path, tmp_path: Path
) -> None:
    write_project(tmp_path)
    write_files(tmp_path, {ANSWERS: "_commit: v3\n_src_path: gh:a/b\nproject_name: Mine\n"})
    before = hashes(tmp_path)
    process = copier(tmp_path, "copy", "--defaults", *option, str(template), ".", check=False)
    assert process.returncode != 0
    assert f"copier copy -a .copier-answers.dagster.yml {template} ." in process.stderr
    assert "Traceback" not in process.stderr
    assert hashes(tmp_path) == before


def test_keeps_answers_beside_those_of_another_template(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path)
    write_files(tmp_path, {ANSWERS: "_commit: v3\n_src_path: gh:a/b\n"})
    own = ".copier-answers.dagster.yml"
    before = hashes(tmp_path)
    process = copier(tmp_path, "copy", "-a", own, "--defaults", str(template), ".")
    after = hashes(tmp_path)
    assert {name: after[name] for name in before} == before
    assert own in after
    assert f"    copier update --defaults -a {own}\n" in process.stderr


def test_stops_where_a_link_leads_to_the_project(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "shop")
    write_files(tmp_path / "shop", {ANSWERS: "_src_path: gh:a/b\n"})
    (tmp_path / "link").symlink_to("shop")
    before = hashes(tmp_path / "shop")
    process = copier(tmp_path, "copy", "--defaults", str(template), "link", check=False)
    assert "belongs to another Copier template" in process.stderr
    assert hashes(tmp_path / "shop") == before


@pytest.mark.slow
@pytest.mark.parametrize("module", ["{}.py", "{}/__init__.py"])
def test_code_of_the_message_merges_dagster_into_own_files(
    module: str, template: Path, tmp_path: Path
) -> None:
    write_project(tmp_path, source="code")
    own = {
        f"code/shop/{module.format('cli')}": OWN_CLI,
        f"code/shop/{module.format('definitions')}": OWN_DEFINITIONS,
    }
    write_files(tmp_path, own)
    message = copier(tmp_path, "copy", "--defaults", str(template), ".").stderr
    for name in own:
        _, _, rest = message.partition(f"add to {name}, ")
        block = takewhile(lambda line: line.startswith("    ") or not line, rest.splitlines()[1:])
        with (tmp_path / name).open("a") as file:
            file.write(dedent("\n".join(block)))
    project = Project(tmp_path, "shop")
    assert (
        project.kedro("dagster", "--version").stdout.splitlines()[-1].startswith("kedro_dagster ")
    )
    check = "from shop.definitions import defs; defs.resolve_job_def('default')"
    project.run("-c", check, PYTHONPATH=str(tmp_path / "code"))


def outputs(project: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (project / "data").glob("*.json")}


FROM_THE_PLUGIN = {
    "conf/local/dagster.yml": """\
        dev: {log_level: info, log_format: colored, host: 127.0.0.1, port: "3000"}
        executors:
          my_executor:
            in_process: {}
        schedules:
          my_job_schedule:
            cron_schedule: "0 0 * * *"
        jobs:
          my_job:
            pipeline:
              pipeline_name: __default__
              node_namespace: sums
            executor: my_executor
            schedule: my_job_schedule
        """,
    "conf/base/catalog.yml": """\
        numbers:
          type: kedro_dagster.datasets.DagsterPartitionedDataset
          path: data/numbers
          dataset: json.JSONDataset
          filename_suffix: .json
          partition: {type: dagster.StaticPartitionsDefinition, partition_keys: [a, b]}
        sums.total: {type: json.JSONDataset, filepath: data/total.json}
        sums.told: {type: kedro_dagster.datasets.DagsterNothingDataset}
        """,
    "src/shop/pipeline_registry.py": """\
        from kedro.pipeline import Pipeline, node

        def add(numbers):
            return sum(load() for load in numbers.values())

        def tell(total):
            print(total)

        def register_pipelines():
            nodes = [
                node(add, "numbers", "sums.total", name="add", namespace="sums"),
                node(tell, "sums.total", "sums.told", name="tell", namespace="sums"),
            ]
            return {"__default__": Pipeline(nodes)}
        """,
    "data/numbers/a.json": "1",
    "data/numbers/b.json": "2",
}


@pytest.mark.slow
def test_a_project_of_the_plugin_runs_with_its_own_jobs(template: Path, tmp_path: Path) -> None:
    write_project(tmp_path, files=FROM_THE_PLUGIN)
    before = hashes(tmp_path)
    copier(tmp_path, "copy", "--defaults", str(template), ".")
    assert before.items() <= hashes(tmp_path).items()
    Project(tmp_path, "shop").execute("my_job")
    assert (tmp_path / "data" / "total.json").read_text() == "3"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "executors"),
    [("kedro new with tools", ["sequential"]), ("source_dir code", ["sequential", "parallel"])],
)
def test_the_default_pipeline_runs_in_dagster(
    name: str, executors: list[str], template: Path, tmp_path: Path
) -> None:
    case = CASES[name]
    project = Project(case.write(tmp_path), case.package)
    copier(project.path, "copy", "--defaults", str(template), ".")
    project.kedro("run")
    expected = outputs(project.path)
    assert json.loads(expected["total.json"]) == {"sum": 6}
    config = project.path / "conf" / "base" / "dagster.yml"
    for executor in executors:
        shutil.rmtree(project.path / "data")
        text = config.read_text()
        config.write_text(text.replace("executor: sequential", f"executor: {executor}"))
        project.execute("default", PYTHONPATH=str(project.path / case.source))
        assert outputs(project.path) == expected


@pytest.mark.slow
def test_without_a_default_pipeline_the_first_command_says_what_to_write(
    template: Path, tmp_path: Path
) -> None:
    registry = REGISTRY.replace(
        '"__default__": Pipeline(\n            [node(count, "params:limit", "numbers"), '
        'node(add, "numbers", "total")]\n        )',
        '"counting": Pipeline([node(count, "params:limit", "numbers")]),\n'
        '        "adding": Pipeline([node(add, "numbers", "total")]),',
    )
    assert "__default__" not in registry
    write_project(tmp_path, files={"src/shop/pipeline_registry.py": registry})
    copier(tmp_path, "copy", "--defaults", str(template), ".")
    project, config = Project(tmp_path, "shop"), tmp_path / "conf" / "base" / "dagster.yml"
    told = project.kedro("dagster", "plan", check=False)
    assert told.returncode == 1
    assert told.stderr.endswith(
        "The Dagster configuration has 1 mistake:\n"
        "  - conf/base/dagster.yml: jobs.default.pipeline.pipeline_name: pipeline '__default__' is "
        "not registered. Allowed: 'adding', 'counting'. Write pipeline_name: adding, or "
        "pipeline_names: [adding, counting] for several in one job.\n"
    )
    _, _, advice = told.stderr.partition("adding, or ")
    written, _, _ = advice.partition(" for several")
    config.write_text(config.read_text().replace("pipeline_name: __default__", written))
    project.execute("default")
    assert json.loads(outputs(tmp_path)["total.json"]) == {"sum": 6}
