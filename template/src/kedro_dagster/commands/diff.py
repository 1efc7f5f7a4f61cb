"""``kedro dagster diff``: which files of this package you have edited, which ones the template has.

Of the rest of the package it uses the errors only, so that it runs where other files are damaged.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import KedroDagsterError, TemplateError

HELPER = Path(__file__).parents[1]
IN_PROJECT = "src/kedro_dagster"
"""Where the template writes this package."""
MANIFEST = "manifest.sha256"
"""The digests of all files of a release, as `sha256sum --check` reads them."""

Changes = Mapping[str, str]
"""Files by their path, each with what became of it."""

_NOT_VENDORED = re.compile(rf"(^|/)(__pycache__/|\.)|\.py[co]$|^{MANIFEST}$")


def digests(folder: Path) -> dict[str, str]:
    """The digest of each file, whichever line ends git has given it here."""
    files = (file for file in folder.rglob("*") if file.is_file())
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return {
        name: hashlib.sha256((folder / name).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        for name in names
        if not _NOT_VENDORED.search(name)
    }


def manifest_of(folder: Path) -> str:
    """The manifest that a release with these files is to have."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())


def _read_manifest(folder: Path, project: Path) -> dict[str, str]:
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ") for line in lines)}
    except (OSError, ValueError) as error:
        raise KedroDagsterError(
            f"{IN_PROJECT}/{MANIFEST}, which tells what was vendored, cannot be read: {error}. "
            f"To have it again: {mend(project, [MANIFEST])}"
        ) from error


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    return {
        name: "added" if name not in before else "deleted" if name not in after else "changed"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


@dataclass(frozen=True)
class Difference:
    """What became of the files of a release, and how it looks.

    Args:
        yours: What you did.
        theirs: What a newer release did; ``None`` if that could not be told.
        title: Which releases these are, or why it could not be told.
        patch: The lines, if asked for.
    """

    yours: Changes
    theirs: Changes | None
    title: str
    patch: str = ""

    @property
    def edited(self) -> list[str]:
        """The vendored files that you have edited or deleted."""
        return [name for name, change in self.yours.items() if change != "added"]

    def __str__(self) -> str:
        """A table of all files that differ."""
        names = sorted({*self.yours, *(self.theirs or ())})
        if not names:
            return f"{self.title}\nNo file of {IN_PROJECT} is edited."
        rows = [(IN_PROJECT, "edited by you?", "moved on in the template?")]
        for name in names:
            theirs = "?" if self.theirs is None else self.theirs.get(name, "-")
            rows.append((name, self.yours.get(name, "-"), theirs))
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, wide)).rstrip() for row in rows)
        return "\n".join((self.title, "", *lines))


def difference(project: Path, *, offline: bool, patch: bool, helper: Path = HELPER) -> Difference:
    """Compare the files of this package with the manifest, and that with the newest release."""
    vendored = _read_manifest(helper, project)
    yours = _changes(vendored, digests(helper))
    if offline:
        return Difference(yours, None, "The template was not asked.")
    with tempfile.TemporaryDirectory() as folder:
        try:
            template = _Template(project, Path(folder))
            title, newest = template.newest()
            theirs = _changes(vendored, digests(newest)) if newest else {}
            if not patch:
                return Difference(yours, theirs, title)
            before = template.copy("before", template.commit)
        except TemplateError as error:
            return Difference(yours, None, str(error))
        lines = [*_lines(before, "before", helper, "yours", yours)]
        if newest:
            lines += _lines(before, "before", newest, "template", theirs)
        return Difference(yours, theirs, title, "".join(lines))


def mend(project: Path, names: Collection[str]) -> str:
    """The command that gives files back as this release has them, and touches no other."""
    file, _ = _answers(project)
    files = [f"--exclude='!/{IN_PROJECT}/{name}'" for name in names]
    options = ("--defaults", "--overwrite", "--quiet", "--vcs-ref=:current:")
    return " ".join(("copier recopy", *options, f"--answers-file={file}", "--exclude='*'", *files))


def _answers(project: Path) -> tuple[str, dict[str, str]]:
    """The file with the answers to this template, and what it says."""
    for file in sorted(project.glob(".copier-answers*.y*ml")):
        try:
            answers = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TemplateError(
                f"{file.name} cannot be read: {' '.join(str(error).split())}. If git has left "
                "markers in it, resolve them first."
            ) from error
        if isinstance(answers, dict) and answers.get("copier_template") == "kedro-dagster":
            return file.name, answers
    return ".copier-answers.yml", {}


class _Template:
    """The template that a project was made of, asked by Copier's command line.

    Copier need not be in the project's environment: many have it as a tool of its own.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self._project, self._folder = project, folder
        self._file, answers = _answers(project)
        if not {"_src_path", "_commit"} <= answers.keys():
            raise TemplateError("No .copier-answers*.yml says of which template this project is.")
        self._source, self.commit = answers["_src_path"], answers["_commit"]

    def newest(self) -> tuple[str, Path | None]:
        """Which release is the newest, and its helper, if it is newer than the project's."""
        asked = self._copier(
            "check-update", f"--answers-file={self._file}", "--output-format=json", "."
        )
        found = json.loads(asked)
        if not found["update_available"]:
            return f"{found['current_version']} is the newest release.", None
        title = f"The newest release is {found['latest_version']}, this is {self.commit}."
        return title, self.copy("newest")

    def copy(self, name: str, version: str | None = None) -> Path:
        """Get the helper of a release, or of the newest."""
        to = self._folder / name
        only = ("--exclude=*", f"--exclude=!/{IN_PROJECT}/**")
        ref = [f"--vcs-ref={version}"] if version else []
        self._copier("copy", "--defaults", "--quiet", *ref, *only, self._source, str(to))
        return to / IN_PROJECT

    def _copier(self, *arguments: str) -> str:
        try:
            asked = subprocess.run(  # noqa: S603  # Copier, with what the answers file says
                (*_copier_command(), *arguments),
                cwd=self._project,
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TemplateError("The template has not answered within two minutes.") from error
        if asked.returncode:
            ended = f"Copier ended with exit code {asked.returncode}."
            said = [ended, asked.stdout.partition("\n")[0], *asked.stderr.splitlines()]
            reason = [line.strip() for line in said if line.strip()][-1]
            without_password = re.sub(r"//[^/\s]+@", "//", reason)
            raise TemplateError(f"The template cannot be asked: {without_password}")
        return asked.stdout


def _copier_command() -> list[str]:
    if importlib.util.find_spec("copier"):
        return [sys.executable, "-m", "copier"]
    if found := shutil.which("copier"):
        return [found]
    raise TemplateError("The template cannot be asked: Copier is not here (pip install copier).")


def _lines(
    before: Path, before_name: str, after: Path, after_name: str, changes: Changes
) -> Iterator[str]:
    """The changes as a patch; the names of its sides stand before the paths."""
    for name in changes:
        texts = [_text(folder / name) for folder in (before, after)]
        from_file, to_file = (
            f"{side}/{IN_PROJECT}/{name}" if text is not None else "/dev/null"
            for side, text in zip((before_name, after_name), texts, strict=True)
        )
        old, new = ((text or "").splitlines(keepends=True) for text in texts)
        for line in difflib.unified_diff(old, new, from_file, to_file):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
