"""A command that a test starts is a process as Python starts it, though it is a fork."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from processes import PLAIN, run_python

TOLD = """
import atexit, json, os, sys, threading, time

atexit.register(print, "at exit")
told = {
    "name": __name__,
    "file": __file__,
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": sys.path,
    "folder": os.getcwd(),
    "variables": {name: value for name, value in os.environ.items() if name != "PLAIN_PROCESSES"},
    "input": sys.stdin.read(),
    "seekable": sys.stdout.seekable(),
    "ours": sorted(name for name in sys.modules if name.startswith(("kedro", "processes"))),
    "threads": threading.active_count(),
}
print(json.dumps(told))
print("complains", file=sys.stderr)
threading.Thread(target=lambda: (time.sleep(0.1), print("of a thread"))).start()
"""
ENDS = {
    "well": "",
    "by a status": "sys.exit(3)",
    "by a message": "sys.exit('it is over')",
    "by an error": "raise ArithmeticError('broken')",
    "by a signal": "sys.stdout.flush(); os.kill(os.getpid(), 9)",
}


def run(folder: Path, *, plain: bool, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "SAID": "to it alone"}
    if plain:
        environment[PLAIN] = "1"
    return run_python(["-m", "told", "one", "--two"], folder, environment, timeout)


@pytest.mark.parametrize("end", ENDS)
def test_it_is_what_a_new_interpreter_is(end: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "told.py").write_text(TOLD + ENDS[end])
    forked, plain = (run(tmp_path, plain=plain) for plain in (False, True))
    assert '"SAID": "to it alone"' in forked.stdout
    assert forked.stdout == plain.stdout
    assert forked.returncode == plain.returncode
    assert forked.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "told.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run(tmp_path, plain=False, timeout=1)
