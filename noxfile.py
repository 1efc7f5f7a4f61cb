"""The sessions of this repository: `nox` runs lint, types and the tests that tell most.

`nox -s everything` runs all that CI does; `nox -l` lists the sessions.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False  # `compat` says that it skips one
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

REPOSITORY = Path(__file__).parent
DEMO_HOME = ".dagster-demo"  # the Dagster instance of a demo, which also marks its folder
PARALLEL = ("--numprocesses=auto", "--dist=loadgroup")
FILES_APART = ("--numprocesses=auto", "--dist=loadfile")  # each file has servers of its own
# The tests that tell most, in the minutes that a newcomer gives them
QUICK = [
    "tests/doors",
    "tests/fidelity/test_fidelity.py",
    "tests/partitions/test_fan_out.py",
    "tests/template/test_update.py",
    "tests/test_example.py",
    "tests/unit",
]
FIDELITY = "tests/fidelity"
COMPAT_TESTS = [FIDELITY, "tests/unit", "tests/template/test_augment.py"]
# Of those that are compiled, the oldest may be too old for the Python: then the oldest that fits.
COMPILED = ("matplotlib", "numpy", "pandas", "pydantic-core")
OLDEST = ("--resolution=lowest-direct", *(f"--only-binary={name}" for name in COMPILED))
COMPAT = [f"compat({one})" for one in ("3.10-oldest", "3.13-newest", "3.14-newest")]
PYPROJECT = nox.project.load_toml("pyproject.toml")


def install_groups(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of pyproject.toml."""
    session.install(*nox.project.dependency_groups(PYPROJECT, *groups))


def fast_processes() -> dict[str, str | None]:
    """Environment variables for hundreds of short processes, each with an event log in SQLite.

    A commit to SQLite waits for the disk: 23 ms were measured on a slow one, 0.02 ms in memory.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder of temporary files, where it is large
    large = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    temporary = str(memory) if large else tempfile.gettempdir()
    return {"PYTHONDONTWRITEBYTECODE": None, "TMPDIR": temporary}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install_groups(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install_groups(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that tell most; arguments go to pytest, such as the path of any other."""
    install_groups(session, "test")
    session.env.update(fast_processes())
    run_tests(session, *(session.posargs or (*PARALLEL, *QUICK)))


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that `tests` leaves out, for which its packages are enough."""
    install_groups(session, "test")
    session.env.update(fast_processes())
    apart = ("browser", "integration", "executors", "production")
    ignored = (*(f"tests/{name}" for name in apart), *QUICK)
    run_tests(session, *PARALLEL, *(f"--ignore={path}" for path in ignored), *session.posargs)


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Run pytest, and say what took longest."""
    session.run("pytest", "--durations=15", *arguments)


@nox.session
def mlflow(session: nox.Session) -> None:
    """Run the tests with kedro-mlflow, kedro-viz and Ibis, which no other is to find installed."""
    run_apart(session, "mlflow", "tests/integration", *FILES_APART)


@nox.session
def executors(session: nox.Session) -> None:
    """Run the tests on Dask, Celery, Docker and Kubernetes, whose packages are optional."""
    run_apart(session, "executors", "tests/executors", *FILES_APART)


@nox.session
def production(session: nox.Session) -> None:
    """Run what the deployment files start: a packaged project on Postgres, in many processes."""
    run_apart(session, "production", "tests/production")


@nox.session
def browser(session: nox.Session) -> None:
    """Look at Dagster's UI in Chromium, if it is installed."""
    run_apart(session, "browser", "tests/browser")


def run_apart(session: nox.Session, group: str, folder: str, *options: str) -> None:
    """Run the tests of a folder with a dependency group that no other test is to find."""
    install_groups(session, group)
    session.env.update(fast_processes())
    session.run("pytest", "--durations=5", *options, folder, *session.posargs)


@nox.session(venv_backend="uv")
@nox.parametrize(
    ("python", "versions"),
    [
        nox.param("3.10", "oldest", id="3.10-oldest"),
        nox.param("3.13", "newest", id="3.13-newest"),
        nox.param("3.14", "newest", id="3.14-newest"),
    ],
)
def compat(session: nox.Session, versions: str) -> None:
    """Run what depends on versions on the oldest and on the newest that are supported."""
    options = OLDEST if versions == "oldest" else ()
    session.install(*options, *nox.project.dependency_groups(PYPROJECT, "copier", "example"))
    install_groups(session, "pytest", "threads")
    session.env.update(fast_processes(), KEDRO_DAGSTER_VERSIONS=versions)
    # All the rest runs on the newest versions anyway, and what else test_augment looks at depends
    # on none.
    selected = [FIDELITY] if versions == "newest" else COMPAT_TESTS
    tests = session.posargs or (*selected, "-k", "not augment or runs_in_dagster")
    session.run("pytest", *PARALLEL, "--durations=5", *tests)


@nox.session(venv_backend="none")
def everything(session: nox.Session) -> None:
    """Run all sessions that test something, as CI does."""
    # One name at a time, as they are here: those of `compat` carry their versions
    for name in ("lint", "types", "docs", "tests"):
        session.notify(name)
    others = [f"--ignore={FIDELITY}"] if shutil.which("python3.13") else []  # `compat` runs those
    session.notify("slow", posargs=others)
    for name in ("mlflow", "browser", "executors", "production", *COMPAT):
        session.notify(name)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site in `site/`; a link that leads nowhere fails."""
    install_groups(session, "docs")
    # Material tells with each build of what comes after MkDocs 1
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def movie(session: nox.Session) -> None:
    """Record the README's moving picture; wants Chromium, DejaVu Sans Mono, and port 3000."""
    install_groups(session, "movie")
    session.run("python", "helpers/movie.py")


@nox.session
def schema(session: nox.Session) -> None:
    """Write the JSON schema of dagster.yml anew, and docs/reference.md, which shows it.

    The schema knows the options of all executors.
    """
    install_groups(session, "executors")
    for script in ("schema.py", "reference.py"):
        session.run("python", f"helpers/{script}", env={"PYTHONPATH": "template/src"})


@nox.session(venv_backend="none")
def address(session: nox.Session) -> None:
    """Set the address from which people copy: `nox -s address -- https://github.com/me/it`."""
    session.run("python3", "helpers/address.py", *session.posargs)


@nox.session
def manifest(session: nox.Session) -> None:
    """Write the digests of the vendored files anew, after each change of one."""
    install_groups(session, "copier")
    session.run("python", "helpers/manifest.py", env={"PYTHONPATH": "template/src"})


@nox.session
def release(session: nox.Session) -> None:
    """Check that a version can be released, and tag it: `nox -s release -- 0.1.0`."""
    install_groups(session, "copier")
    session.run("python", "helpers/release.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Render the example, run it on Dagster, show what it made; `-- --ui` leaves the UI running."""
    folders = [argument for argument in session.posargs if argument != "--ui"]
    folder = Path(folders[0] if folders else "demo").resolve()
    make_demo_folder(session, folder)
    install_groups(session, "copier")
    session.run(
        *("copier", "copy", "--defaults", "--quiet", "--vcs-ref=HEAD"), str(REPOSITORY), str(folder)
    )
    session.install("--editable", str(folder))
    session.chdir(folder)
    session.env.update(DAGSTER_HOME=str(folder / DEMO_HOME), DO_NOT_TRACK="1")
    session.run("python", str(REPOSITORY / "tests" / "demo.py"))
    if "--ui" in session.posargs:
        session.run("kedro", "dagster", "dev")


def make_demo_folder(session: nox.Session, folder: Path) -> None:
    """Make the folder of a demo; an earlier demo in it is removed, and nothing else."""
    if (folder / DEMO_HOME).is_dir():
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        session.error(f"{folder} is not empty and is no demo of ours: remove it or name another.")
    (folder / DEMO_HOME).mkdir(parents=True)
    (folder / DEMO_HOME / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the helper beside its floor; arguments go to tests/bench."""
    install_groups(session, "bench")
    folders = (REPOSITORY / "tests", REPOSITORY / "template" / "src")
    session.env.update(fast_processes(), PYTHONPATH=os.pathsep.join(map(str, folders)))
    session.run("python", "-m", "bench", "--json", "bench.json", *session.posargs)
