"""The search finds what it looks for, however it is stored: else the other tests prove nothing."""

from __future__ import annotations

import base64
import json
import pickle
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from security.storage import places_of

NEEDLE = "Zq7planted"

HIDDEN: dict[str, Any] = {
    "plain": f"a {NEEDLE} b",
    "json": json.dumps({"a": [json.dumps({"b": NEEDLE})]}),
    "snapshot": zlib.compress(json.dumps({"default_value_as_json": f'"{NEEDLE}"'}).encode()),
    "pickle_in_tag": "run "
    + base64.b85encode(zlib.compress(pickle.dumps({"x": pickle.dumps(NEEDLE)}))).decode(),
    "base64": base64.b64encode(zlib.compress(NEEDLE.encode())).decode(),
    "hex": zlib.compress(NEEDLE.encode()).hex(),
}


@pytest.mark.parametrize("form", HIDDEN)
def test_a_text_is_found_in_a_column(form: str, tmp_path: Path) -> None:
    file = tmp_path / "history" / "runs.db"
    file.parent.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE runs (body)")
    connection.execute("INSERT INTO runs VALUES (?)", (HIDDEN[form],))
    connection.commit()
    connection.close()
    found = places_of([NEEDLE, "Zq7absent"], tmp_path)
    assert list(found) == [NEEDLE]
    assert "history/runs.db: runs.body" in found[NEEDLE]


def test_a_text_is_found_in_files(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(pickle.dumps({"x": NEEDLE}))
    (tmp_path / "log.out").write_text(f"a {NEEDLE}\n")
    assert places_of([NEEDLE], tmp_path) == {NEEDLE: ["log.out", "value"]}
