"""What does not survive a fork, as far as no run is needed to find it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kedro_dagster.run import forking
from kedro_dagster.run.forking import ProcessState, reasons_not_to_fork


def test_a_thread_that_ends_while_it_is_looked_at_is_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ProcessState.now()
    tasks = tmp_path / "task"
    (tasks / "2").mkdir(parents=True)  # it has no name any more
    (tasks / "3").mkdir()
    (tasks / "3" / "comm").write_text("grpc\n")
    (tmp_path / "comm").write_text("python\n")
    monkeypatch.setattr(forking, "_TASKS", tasks)
    assert list(forking._threads_of_libraries(before, set())) == ["grpc"]


def test_a_pyspark_of_spark_connect_only_has_no_session_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = ProcessState.now()
    monkeypatch.setitem(sys.modules, "pyspark", SimpleNamespace())
    assert "a Spark session is open" not in list(reasons_not_to_fork(before, ()))
    context = SimpleNamespace(_active_spark_context=object())
    monkeypatch.setitem(sys.modules, "pyspark", SimpleNamespace(SparkContext=context))
    assert "a Spark session is open" in list(reasons_not_to_fork(before, ()))
