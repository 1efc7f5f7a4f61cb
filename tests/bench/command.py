"""Runs `python` with arguments and prints what that took, as JSON; it imports nothing of ours."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

_BECOME_PARENT_OF_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of Linux


def main() -> None:
    """Measure a process: its wall time, its peak memory, and the CPU of all that it has started."""
    if sys.platform == "linux":  # elsewhere, processes that nobody waits for are not counted
        ctypes.CDLL(None).prctl(_BECOME_PARENT_OF_ORPHANS, 1)
    start = perf_counter()
    process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=sys.stderr)
    peak = Peak(process.pid)
    process.wait()
    wall = perf_counter() - start
    memory = peak.stop()
    with suppress(ChildProcessError):
        while True:  # such as the fork server
            os.wait()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"command": wall, "cpu": cpu, "memory_mb": memory}))
    sys.exit(process.returncode)


class Peak(Thread):
    """Looks at the peak memory of a process, without those of its children; of Linux."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._ended = Event()
        self._kilobytes = 0
        self.start()

    def run(self) -> None:
        """Look until the process ends."""
        while not self._ended.wait(0.05):
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", self._status.read_text())
                self._kilobytes = int(found[1]) if found else self._kilobytes

    def stop(self) -> float:
        """Give the peak in MB."""
        self._ended.set()
        self.join()
        return self._kilobytes / 1024


if __name__ == "__main__":
    main()
