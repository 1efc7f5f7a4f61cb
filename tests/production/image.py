"""What `docker build` makes of a project's Dockerfile, in a folder and without Docker."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import uv

UV = uv.find_uv_bin()


@dataclass
class Stage:
    """A stage of a build: its files, below a folder that takes the place of `/`.

    Args:
        root: That folder.
        workdir: The working folder.
        environment: The variables that are set.
    """

    root: Path
    workdir: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        """The folder of the image's own Python."""
        return self.root / "python"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process in the image, with nothing of the test's own."""
        path = f"{self.python / 'bin'}:/usr/bin:/bin"
        temporary = tempfile.gettempdir()
        return {"HOME": str(self.root), "PATH": path, "TMPDIR": temporary, **self.environment}

    def here(self, text: str) -> str:
        """A text with its absolute paths below this stage's folder."""
        return re.sub(r"(?<![^\s=:])/(?=\w)", f"{self.root}/", text)


def build(project: Path, root: Path) -> Stage:
    """Do what `deployment/Dockerfile` says; pip's part is done by uv, which has a cache.

    Args:
        project: The build's context.
        root: A folder for the stages.

    Returns:
        The last stage.
    """
    file = project / "deployment" / "Dockerfile"
    text = file.read_text().replace("\\\n", " ")
    rules = Path(f"{file}.dockerignore").read_text().splitlines()
    stages: dict[str, Stage] = {}
    stage = Stage(root, root)
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stage = stages[name] = Stage(root / name, root / name)
            stage.root.mkdir(parents=True)
            _run(stage, f"{UV} venv --quiet --no-project --python {sys.executable} python")
        elif instruction == "ENV":
            for pair in shlex.split(stage.here(rest)):
                key, _, value = pair.partition("=")
                stage.environment[key] = value
        elif instruction == "WORKDIR":
            stage.workdir = Path(stage.here(rest))
            stage.workdir.mkdir()
        elif instruction == "COPY":
            _copy(stage, rest, stages, project, rules)
        elif instruction == "RUN":
            _run(stage, _in_place(stage, rest))
        elif instruction not in ("ARG", "USER", "#", ""):
            raise AssertionError(f"{instruction}: the tests do not know it")
    return stage


def _copy(
    stage: Stage, rest: str, stages: Mapping[str, Stage], project: Path, rules: list[str]
) -> None:
    *sources, target = rest.split()
    source_root = project
    if sources[0].startswith("--from="):
        source_root = stages[sources.pop(0).partition("=")[2]].root
        rules = []

    def left_out(folder: str, names: list[str]) -> set[str]:
        place = Path(folder).relative_to(source_root)
        return {name for name in names if is_ignored(place / name, rules)}

    for source in sources:
        origin = source_root / source.lstrip("/")
        destination = stage.workdir / stage.here(target)
        if origin.is_dir():
            shutil.copytree(origin, destination, ignore=left_out, dirs_exist_ok=True)
        else:
            destination.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, destination)


def is_ignored(path: Path, rules: list[str]) -> bool:
    """Whether a `.dockerignore` leaves out a path or the whole of a folder around it."""
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        for place in (path, *path.parents):
            tails = ["/".join(place.parts[start:]) for start in range(len(place.parts))]
            found = tails if pattern.startswith("**/") else tails[:1]
            if any(fnmatch(tail, pattern.removeprefix("**/")) for tail in found):
                ignored = not rule.startswith("!")
        if rule.startswith("!") and Path(pattern).is_relative_to(path):
            ignored = False  # a folder on the way to what is taken after all
    return ignored


def _in_place(stage: Stage, command: str) -> str:
    """A command of the Dockerfile as it is done here."""
    constraints = stage.root / "constraints.txt"
    with constraints.open("w") as file:
        freeze = [UV, "pip", "freeze", "--quiet", "--exclude-editable", "--python", sys.executable]
        subprocess.run(freeze, check=True, stdout=file)
    install = f"{UV} pip install --quiet --python {stage.python}"
    return (
        stage.here(command)
        .replace("pip wheel --no-cache-dir --no-deps --wheel-dir", f"{UV} build --wheel --out-dir")
        .replace("pip install --no-cache-dir", f"{install} --constraints {constraints}")
        .replace("useradd ", "true ")
        .replace("chown ", "true ")
    )


def _run(stage: Stage, command: str) -> None:
    process = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=stage.workdir,
        env={**os.environ, **stage.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
