"""Commands of Python in processes that are forked from one that has Dagster imported.

To import Dagster and what it needs takes two seconds, which is most of what a small run takes, and
tests start a thousand. Each command still is a process of its own, which ends as Python ends; of
Kedro, of a project or of the helper, nothing is imported before it. ``PLAIN_PROCESSES=1`` in the
environment starts Python anew each time.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

PLAIN = "PLAIN_PROCESSES"

IMPORTED = (
    *("dagster._cli", "dagster._grpc.server", "dagster._core.executor.multiprocess"),
    *(f"dagster._core.storage.{name}" for name in ("event_log", "runs", "schedules", "root")),
    *("dynaconf", "fsspec", "jinja2", "omegaconf", "pluggy", "requests", "rich.console"),
    *("rich.logging", "rich.traceback", "yaml"),
)
"""Modules that no variable of a test's environment changes when they are imported.

Kedro is none of them: it configures logging by ``KEDRO_LOGGING_CONFIG`` then. Nor is pandas, which
starts threads.
"""

MAX_REQUEST = 2**17  # bytes: a command and its environment


def run_python(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run ``python`` with arguments, and read what it prints.

    Args:
        command: The interpreter's arguments.
        cwd: The folder in which it runs.
        env: All of its environment variables.
        timeout: Seconds after which it is killed.

    Returns:
        The finished process.

    Raises:
        subprocess.TimeoutExpired: If it did not end in time.
    """
    if command[0] == "-m" and _can_be_forked(env):
        return _run_forked(command, cwd, env, timeout)
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _can_be_forked(env: Mapping[str, str]) -> bool:
    """Whether all that the interpreter itself reads is as it is here."""
    own = {name for name in (*env, *os.environ) if name.startswith("PYTHON")} - {"PYTHONPATH"}
    return (
        sys.platform == "linux"
        and PLAIN not in env
        and all(env.get(name) == os.environ.get(name) for name in own)
        and not any(Path(one, "sitecustomize.py").exists() for one in folders_in(env))
    )


def folders_in(env: Mapping[str, str]) -> list[str]:
    """The folders that a PYTHONPATH names."""
    return [one for one in env.get("PYTHONPATH", "").split(os.pathsep) if one]


def _run_forked(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    request = json.dumps({"command": command, "cwd": str(cwd), "env": dict(env)}).encode()
    (output, to_output), (errors, to_errors) = os.pipe(), os.pipe()
    answers, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # two messages
    requests, _ = _server()
    socket.send_fds(requests, [request], [to_output, to_errors, answering.fileno()])
    answering.close()
    for one in (to_output, to_errors):
        os.close(one)
    with answers, ThreadPoolExecutor(2) as readers:
        printed = [readers.submit(_read, one) for one in (output, errors)]
        process = int(answers.recv(64))
        answers.settimeout(timeout)
        try:
            status = int(answers.recv(64))
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(command), timeout) from None
        said, complained = (one.result() for one in printed)
    return subprocess.CompletedProcess([sys.executable, *command], status, said, complained)


def _read(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process from which commands are forked; it ends when this one does."""
    requests, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with served:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from processes import serve; serve({served.fileno()})"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # as it is in each command, where nothing can be sought
            stderr=subprocess.PIPE,
            pass_fds=[served.fileno()],
        )
    return requests, process


def serve(descriptor: int) -> None:
    """Fork a process for each command that is asked for, until nobody can ask any more."""
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=descriptor)
    while True:
        message, received, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not message:
            return
        if os.fork() == 0:
            break
        for one in received:
            os.close(one)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    requests.close()
    output, errors, answering = received
    if process := os.fork():
        os.close(output)
        os.close(errors)
        _tell_how_it_ends(process, socket.socket(fileno=answering))
    os.close(answering)
    _become(output, errors, **json.loads(message))


def _tell_how_it_ends(process: int, answers: socket.socket) -> NoReturn:
    answers.send(str(process).encode())
    _, status = os.waitpid(process, 0)
    with suppress(BrokenPipeError):  # nobody waited for it
        answers.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(output: int, errors: int, command: list[str], cwd: str, env: dict[str, str]) -> None:
    """Go on as ``python -m`` does, in this process."""
    for number, one in enumerate((output, errors), start=1):
        os.dup2(one, number)
        os.close(one)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.path.remove(str(Path(__file__).parent))
    sys.path[:] = [cwd, *folders_in(env), *(one for one in sys.path if one)]
    sys.orig_argv = [sys.executable, *command]
    _, module, *sys.argv[1:] = command
    del sys.modules[__name__]
    status = 0
    try:
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # as -m does
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are left
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(status)  # the interpreter's own end takes half a second, to free what was imported
