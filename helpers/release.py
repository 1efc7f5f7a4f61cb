"""Checks that the last commit can be released as a version, and tags it.

`copier update` gives users the newest tag: what is checked here is what they would get.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

REPOSITORY = Path(__file__).resolve().parents[1]
HELPER = "template/src/kedro_dagster"


def main() -> None:
    """Tag the last commit, or say why it cannot be released."""
    if len(sys.argv) != 2:
        sys.exit("Name the version: nox -s release -- 0.1.0")
    version = sys.argv[1]
    if problems := list(find_problems(version, REPOSITORY)):
        sys.exit("\n".join((f"{version} cannot be released:", *(f"- {one}" for one in problems))))
    git(REPOSITORY, "tag", "--annotate", version, "--message", f"Version {version}")
    sys.stdout.write(f"Tagged {version}. Users get it after: git push --follow-tags\n")


def find_problems(version: str, repository: Path) -> Iterator[str]:
    """Say what stands between the last commit and its release."""
    if git(repository, "status", "--porcelain"):
        yield "there are changes that are not committed."
    try:
        if str(Version(version)) != version:
            yield f"Copier sorts tags by PEP 440: write {Version(version)}, not {version}."
    except InvalidVersion:
        yield f"Copier sorts tags by PEP 440, and {version!r} is none of its versions: write 0.1.0."
        return
    code = (repository / HELPER / "versions.py").read_text(encoding="utf-8")
    if f'__version__ = "{version}"' not in code:
        yield f"{HELPER}/versions.py is of another version."
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        yield f"CHANGELOG.md has no section '## [{version}] - <date>'."
    yield from problems_since_last(Version(version), repository)


def problems_since_last(version: Version, repository: Path) -> Iterator[str]:
    """Say what does not follow from the release before."""
    tags = git(repository, "tag", "--merged", "HEAD").split()
    if not tags:
        return
    last = max(tags, key=Version)
    if version <= Version(last):
        yield f"the newest release is {last}, and a version must be higher."
    gone = git(
        *(repository, "diff", "--name-only", "--no-renames", "--diff-filter=D", last, "HEAD"),
        *("--", HELPER),
    )
    for file in gone.splitlines():
        yield f"{file} was in {last}: an update would remove it together with its users' edits."


def git(repository: Path, *arguments: str) -> str:
    """Run git and give what it prints."""
    command = ("git", "-C", str(repository), *arguments)
    return subprocess.check_output(command, text=True).strip()


if __name__ == "__main__":
    main()
