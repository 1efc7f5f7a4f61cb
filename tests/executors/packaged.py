"""A project as its containers have it, and a job of it whose steps run in containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uv
import yaml

from fidelity.rich_project import Outcome
from projects import Project

NODES = ["clean_trips", "clean_weather", "count_daily_trips"]
"""A part of the example: the last takes a file of the first, and a value of the second."""

MADE = ["02_intermediate/clean_trips.csv", "03_primary/daily_trips.csv"]


@dataclass(frozen=True)
class Image:
    """The image of a project: a Python with its wheel, and a working folder; no source tree.

    Args:
        package: The name of the project's package.
        python: The folder of the Python.
        workdir: The working folder, with configuration and data, which all containers share.
    """

    package: str
    python: Path
    workdir: Path

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a container; it has no environment variables but its own."""
        program, *arguments = command
        base = {"PATH": f"{self.python / 'bin'}:/usr/bin:/bin", "HOME": str(self.workdir)}
        if "TMPDIR" in os.environ:
            base["TMPDIR"] = os.environ["TMPDIR"]
        with log.open("wb") as output:
            return subprocess.Popen(
                [self.python / "bin" / "python", "-m", program, *arguments],
                cwd=self.workdir,
                env={**base, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def deploy(self, workdir: Path, config: Mapping[str, Any], instance: Any = None) -> Image:
        """Give the image a working folder of its own.

        Args:
            workdir: The folder.
            config: The content of ``dagster.yml``, but for the job.
            instance: More for the configuration of the Dagster instance.
        """
        shutil.copytree(self.workdir, workdir)
        job = {"pipeline": {"node_names": NODES}, "executor": "containers"}
        _write(workdir / "conf" / "test" / "dagster.yml", {**config, "jobs": {"daily": job}})
        _write(
            workdir / ".dagster" / "dagster.yaml",
            {"telemetry": {"enabled": False}, **(instance or {})},
        )
        return Image(self.package, self.python, workdir)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that each of its containers is to be given."""
        return {
            "DAGSTER_HOME": str(self.workdir / ".dagster"),
            "KEDRO_DISABLE_TELEMETRY": "1",
            "KEDRO_ENV": "test",
            "TRACE": str(self.workdir / "trace.jsonl"),
        }

    def execute(self, *, fails: bool = False, **environment: str) -> Outcome:
        """Run the job, with a run worker that is a container itself."""
        log = self.workdir / "run_worker.log"
        module = f"{self.package}.definitions"
        worker = self.start(
            ["dagster", "job", "execute", "-m", module, "-j", "daily"],
            {**self.environment, **environment},
            log,
        )
        try:
            assert (worker.wait(600) != 0) is fails, "\n".join(
                f"--- {file.name}\n{file.read_text()}" for file in self.workdir.glob("*.log")
            )
        finally:
            worker.kill()
        return Outcome(Project(self.workdir, self.package))


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def build_image(project: Project, folder: Path) -> Image:
    """Build an image: the packages that the tests run with, and the wheel of a project."""
    python, workdir, dist = folder / "python", folder / "app", folder / "dist"
    venv.create(python, symlinks=True)
    (packages,) = python.glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    _uv("build", "--wheel", "--out-dir", str(dist), str(project.path))
    _uv("pip", "install", "--no-deps", "--python", str(python), *map(str, dist.glob("*.whl")))
    for name in ("conf", "data"):
        shutil.copytree(project.path / name, workdir / name)
    return Image(project.package, python, workdir)


def _uv(*arguments: str) -> None:
    command = [uv.find_uv_bin(), "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def assert_as_kedro_run(run: Outcome, by_kedro: Outcome) -> None:
    """The outputs and the calls of hooks are those of a `kedro run`, each node in a process."""
    assert {name: run.files[name] for name in MADE} == {name: by_kedro.files[name] for name in MADE}
    assert run.of_nodes == {node: by_kedro.of_nodes[node] for node in NODES}
    before, after = run.call("before_pipeline_run"), run.call("after_pipeline_run")
    assert before["pid"] == after["pid"]
    assert not run.calls("on_pipeline_error")
    processes = {call["pid"] for call in run.calls("before_node_run")}
    assert len(processes - {before["pid"]}) == len(NODES)
    assert {call["run_id"] for call in run.calls("before_node_run")} == {run.run_id}
