"""Runs `python` with arguments and prints what that took, as JSON; it imports nothing else."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from time import perf_counter


def main() -> None:
    """Measure a process, apart from those that it does not wait for, as those of its steps."""
    start = perf_counter()
    process = subprocess.run([sys.executable, *sys.argv[1:]], stdout=sys.stderr, check=False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "command": perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory_mb": usage.ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
