"""Sets the address that the documentation tells people to copy from: `nox -s address -- <address>`.

It stands in `mkdocs.yml`, and from there in each command and sentence; `<template>` until the
repository has one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "mkdocs.yml"
SETTING = re.compile(r"^  template: \"(.+)\"", re.MULTILINE)


def current(repository: Path) -> str:
    """The address that is set."""
    found = SETTING.search((repository / CONFIG).read_text(encoding="utf-8"))
    if found is None:
        raise LookupError(f"{CONFIG} has no 'template' under 'extra'.")
    return found[1]


def pages(repository: Path) -> Iterator[Path]:
    """The files in which it stands."""
    yield from (repository / name for name in (CONFIG, "README.md"))
    yield from sorted((repository / "docs").glob("*.md"))


def set_address(address: str, repository: Path) -> int:
    """Write another address wherever the current one stands, and count the files."""
    before, changed = current(repository), 0
    for page in pages(repository):
        text = page.read_text(encoding="utf-8")
        if before in text:
            page.write_text(text.replace(before, address), encoding="utf-8")
            changed += 1
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2 or set(sys.argv[1]) & set(' "'):
        sys.exit("Give the address: nox -s address -- https://github.com/me/kedro-on-dagster")
    sys.stdout.write(f"{set_address(sys.argv[1], REPOSITORY)} files have it now.\n")
