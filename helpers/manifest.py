"""Writes the digests of the vendored files: `kedro dagster diff` tells by them what is edited."""

from __future__ import annotations

from pathlib import Path

from kedro_dagster.commands.diff import MANIFEST, manifest_of

HELPER = Path(__file__).resolve().parents[1] / "template" / "src" / "kedro_dagster"


def write(helper: Path = HELPER) -> None:
    """Write the manifest of a helper."""
    (helper / MANIFEST).write_text(manifest_of(helper), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()
