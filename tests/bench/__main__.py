"""Measure the helper beside its floors, and print the figures as Markdown tables."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.subjects import BENCHMARKS
from bench.targets import Samples, sample_table, target_table
from kedro_dagster.commands.home import dagster_home


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="bench", description=f"{__doc__} Without names of benchmarks: all of them."
    )
    for name, benchmark in BENCHMARKS.items():
        text = f"numbers of nodes, by default {' '.join(map(str, benchmark.nodes))}"
        parser.add_argument(f"--{name}", type=int, nargs="*", metavar="NODES", help=text, dest=name)
    parser.add_argument("--samples", type=int, default=3, help="how often each is measured")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def main() -> None:
    """Run the benchmarks and print their tables."""
    arguments = parse_arguments()
    os.environ.pop("DAGSTER_HOME", None)
    given = {name: getattr(arguments, name) for name in BENCHMARKS}
    everything = all(sizes is None for sizes in given.values())
    sizes = {
        name: given[name] or BENCHMARKS[name].nodes
        for name in BENCHMARKS
        if everything or given[name] is not None
    }
    samples, start = Samples(), perf_counter()
    with TemporaryDirectory(prefix="bench-") as folder:
        for name, numbers in sizes.items():
            for nodes in numbers:
                measure(samples, name, nodes, arguments.samples, Path(folder))
    print(f"\n### Targets\n\n{target_table(samples, sizes)}")
    print(f"\n### Figures\n\n{sample_table(samples)}")
    print(f"\nPython {platform.python_version()}, {perf_counter() - start:.0f} seconds in all.")
    if arguments.json:
        report = [
            {"benchmark": name, "nodes": nodes, "subject": subject, "samples": taken}
            for (name, nodes, subject), taken in samples.taken.items()
        ]
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def measure(samples: Samples, name: str, nodes: int, rounds: int, folder: Path) -> None:
    """Measure all subjects of a benchmark in turn, several times."""
    benchmark = BENCHMARKS[name]
    project = benchmark.make(folder / f"{name}-{nodes}", nodes)
    dagster_home(project.path)  # with the compute logs that a project has
    compileall.compile_dir(project.path / "src", quiet=2)
    for number in range(rounds):
        print(f"{name}, {nodes} nodes, {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for subject, take in benchmark.subjects.items():
            samples.taken[name, nodes, subject].append(take(project))


if __name__ == "__main__":
    main()
