"""Compute logs: what goes into the files of a capture and what is seen in the terminal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import dagster as dg
import pytest

from kedro_dagster.compute_logs import KedroComputeLogManager
from projects import HELPER

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Dagster's own manager captures there")

SCRIPT = """
import ctypes, io, os, signal, subprocess, sys, threading, time
from pathlib import Path
from kedro_dagster import compute_logs
from {module} import {manager} as Manager

manager = Manager(base_dir=sys.argv[1])
libc = ctypes.CDLL(None)
{before}
with manager.capture_logs(["run", "compute_logs", "step"]):
{body}
{after}
"""
OURS = ("kedro_dagster.compute_logs", "KedroComputeLogManager")
DAGSTER_S = ("dagster._core.storage.local_compute_log_manager", "LocalComputeLogManager")

TALK = """
    print("printed")
    print("complaint", file=sys.stderr)
    sys.stdout.flush()
    os.write(1, b"by descriptor\\n")
    os.write(2, b"complaint by descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
    subprocess.run(["sh", "-c", "echo complaint of a child >&2"], check=True)
    print("no line break", end="")
"""
SAID = "printed\nby descriptor\nof a child\nno line break"
COMPLAINED = "complaint\ncomplaint by descriptor\ncomplaint of a child\n"


@dataclass(frozen=True)
class Seen:
    """What a process has left behind."""

    status: int
    out: str
    err: str
    terminal_out: str
    terminal_err: str
    complete: bool


def script(
    body: str, before: str = "", after: str = "", manager: tuple[str, str] = OURS
) -> list[str]:
    code = SCRIPT.format(
        module=manager[0],
        manager=manager[1],
        before=dedent(before),
        body=indent(dedent(body), "    "),
        after=dedent(after),
    )
    return [sys.executable, "-c", code]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HELPER.parent), "PYTHONUNBUFFERED": ""}


def capture(folder: Path, body: str, **parts: object) -> Seen:
    """Run a script around a capture in a process of its own, whose stdout is a pipe."""
    process = subprocess.run(
        [*script(body, **parts), str(folder)],  # type: ignore[arg-type]
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    logs = folder / "run" / "compute_logs"
    return Seen(
        process.returncode,
        (logs / "step.out").read_text(),
        (logs / "step.err").read_text(),
        process.stdout,
        process.stderr,
        (logs / "step.complete").exists(),
    )


def test_files_are_those_of_dagster_s_manager_and_the_terminal_shows_them(tmp_path: Path) -> None:
    ours = capture(tmp_path / "ours", TALK)
    dagster_s = capture(tmp_path / "dagster", TALK, manager=DAGSTER_S)
    assert (ours.out, ours.err) == (dagster_s.out, dagster_s.err) == (SAID, COMPLAINED)
    assert ours.complete
    assert dagster_s.complete
    assert (ours.terminal_out, ours.terminal_err) == (SAID, COMPLAINED)
    names = [
        sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
        for folder in (tmp_path / "ours", tmp_path / "dagster")
    ]
    assert names[0] == names[1]


def test_what_waits_in_memory_goes_where_it_was_printed(tmp_path: Path) -> None:
    printf = 'libc.printf(b" C {}\\n")'
    seen = capture(
        tmp_path,
        f"print('within', end=''); {printf.format('within')}",
        before=f"print('before', end=' '); {printf.format('before')}",
        after=f"print('after'); {printf.format('after')}",
    )
    assert sorted(seen.out.split()) == ["C", "within", "within"]
    assert seen.terminal_out.count("within") == 2
    assert seen.terminal_out.split().count("before") == 2
    assert seen.terminal_out.endswith("after\n C after\n")


def test_a_capture_within_a_capture_goes_to_both(tmp_path: Path) -> None:
    seen = capture(
        tmp_path,
        """
        print("outer")
        with Manager(base_dir=sys.argv[1]).capture_logs(["run", "inner"]):
            print("inner")
        print("outer again")
        """,
        after="print('after')",
    )
    assert (tmp_path / "run" / "inner.out").read_text() == "inner\n"
    assert seen.out == "outer\ninner\nouter again\n"
    assert seen.terminal_out == "outer\ninner\nouter again\nafter\n"


def test_a_stream_in_memory_is_left_and_descriptors_are_captured(tmp_path: Path) -> None:
    seen = capture(
        tmp_path,
        "print('for the owner'); os.write(1, b'by descriptor')",
        before="sys.stdout = io.StringIO()",
        after="assert sys.stdout.getvalue() == 'for the owner\\n'",
    )
    assert seen.status == 0, seen.terminal_err
    assert seen.out == seen.terminal_out == "by descriptor"


def test_a_stream_with_a_file_of_its_own_is_captured_and_given_back(tmp_path: Path) -> None:
    """As that of pytest, or of who sends the output of a process to a file."""
    seen = capture(
        tmp_path / "logs",
        "print('captured')",
        before=f"sys.stdout = open({str(tmp_path / 'own')!r}, 'w')",
        after="print('after')",
    )
    assert seen.out == "captured\n"
    assert (tmp_path / "own").read_text() == "captured\nafter\n"
    assert seen.terminal_out == ""


@pytest.mark.parametrize("stream", ["None", "sys.__stdout__"])
def test_a_process_without_a_terminal_captures_nothing_and_goes_on(
    tmp_path: Path, stream: str
) -> None:
    seen = capture(
        tmp_path,
        "print('complaint', file=sys.stderr)",
        before=f"sys.__stdout__.close(); sys.stdout = {stream}",
    )
    assert seen.status == 0, seen.terminal_err
    assert (seen.out, seen.err) == ("", "complaint\n")


def test_what_is_printed_before_a_crash_is_in_the_file(tmp_path: Path) -> None:
    seen = capture(
        tmp_path,
        "print('last words'); os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert seen.status == -9
    assert seen.out == "last words\n"
    assert not seen.complete


def test_an_exception_gives_the_terminal_back(tmp_path: Path) -> None:
    seen = capture(tmp_path, "print('words'); raise KeyError('colour')")
    assert seen.out == seen.terminal_out == "words\n"
    assert seen.err == ""
    assert "KeyError: 'colour'" in seen.terminal_err


def test_no_process_is_started_and_nothing_is_left_open(tmp_path: Path) -> None:
    seen = capture(
        tmp_path,
        "pass",
        before="""
        started = []
        sys.addaudithook(
            lambda event, _: started.append(event)
            if event in ("subprocess.Popen", "os.fork", "os.posix_spawn")
            else None
        )
        found = os.listdir("/dev/fd")
        """,
        after="""
        assert not started, started
        assert os.listdir("/dev/fd") == found, (os.listdir("/dev/fd"), found)
        assert threading.active_count() == 1
        """,
    )
    assert seen.status == 0, seen.terminal_err


def test_the_terminal_shows_what_comes_while_it_comes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*script("print('now'); sys.stdin.read()"), str(tmp_path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0]  # while it waits
        assert process.stdout.readline() == b"now\n"
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_terminal_that_takes_nothing_more_holds_no_step_up(tmp_path: Path) -> None:
    body = "compute_logs.PATIENCE = 0.1; print('words ' * 100_000)"
    with subprocess.Popen(
        [*script(body, after="os._exit(0)"), str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.wait(60) == 0  # although nobody reads


def test_a_terminal_that_has_gone_fails_no_step(tmp_path: Path) -> None:
    body = "sys.stdin.read(); print('words'); time.sleep(2 * compute_logs.INTERVAL); print('more')"
    with subprocess.Popen(
        [*script(body, after="os._exit(0)"), str(tmp_path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 0
    assert (tmp_path / "run" / "compute_logs" / "step.out").read_text() == "words\nmore\n"


@pytest.mark.parametrize(
    ("config", "folder"), [("{}", "storage"), ("{base_dir: BASE, polling_timeout: 1.5}", "base")]
)
def test_an_instance_takes_it_with_the_options_of_dagster_s_manager(
    tmp_path: Path, config: str, folder: str
) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "compute_logs:\n"
        "  module: kedro_dagster.compute_logs\n"
        "  class: KedroComputeLogManager\n"
        f"  config: {config.replace('BASE', str(tmp_path / 'base'))}\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        manager = instance.compute_log_manager
        assert isinstance(manager, KedroComputeLogManager)
        path = manager.get_captured_local_path(["run", "compute_logs", "step"], "out")
        assert path == str(tmp_path / folder / "run" / "compute_logs" / "step.out")
        assert manager.polling_timeout == (2.5 if config == "{}" else 1.5)
        with dg.DagsterInstance.from_ref(instance.get_ref()) as other:  # as each process does
            assert other.compute_log_manager.get_captured_local_path(["run"], "out")  # type: ignore[attr-defined]
