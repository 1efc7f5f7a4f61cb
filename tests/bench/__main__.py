"""Measure the helper beside its floor and print the figures as Markdown tables."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.fan_out import make_fan_out
from bench.workload import (
    BY_HAND,
    FUSED_JOB,
    JOB,
    LOGGED,
    MULTIPROCESS_JOB,
    OURS,
    SPAWN_JOB,
    WITH_KEDRO,
    make_quiet_workload,
    make_workload,
)
from live.server import serve
from projects import Project

KEDRO = "kedro"
BY_HAND_LOGGED = "by_hand_logged"
SUBJECTS = (KEDRO, BY_HAND, OURS)
PROBE = Path(__file__).with_name("probe.py")
COMMAND = Path(__file__).with_name("command.py")

LOAD = "load"
FAN_OUT_LOAD = "fan-out-load"
FAN_OUT = "fan-out"
DEV = "dev"
FUSED = "fused"
JOBS = {"in-process": JOB, "multiprocess": MULTIPROCESS_JOB, "spawn": SPAWN_JOB, FAN_OUT: JOB}
SIZES = {
    LOAD: [10, 100, 300, 1000],
    "in-process": [10, 100],
    FUSED: [100],
    "multiprocess": [10, 100],
    "spawn": [10],
    DEV: [10, 300],
    FAN_OUT_LOAD: [10, 100, 1000],
    FAN_OUT: [10, 100],
}
"""The numbers of nodes of each benchmark, or of the partitions that its two nodes fan out over."""

WORKLOADS = {FAN_OUT_LOAD: make_fan_out, FAN_OUT: make_fan_out}

Figures = Mapping[str, float]
Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Result:
    """The best figures of one subject in one benchmark."""

    benchmark: str
    nodes: int
    subject: str
    figures: Figures


@dataclass(frozen=True)
class Table:
    """A Markdown table."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = [self.header, ("---:",) * len(self.header), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"\n### {self.title}\n\n{table}"


class Results(list[Result]):
    """All results of a sitting."""

    def best(self, benchmark: str, nodes: int, subject: str, figure: str) -> float | None:
        """A figure, or None if it was not measured."""
        for result in self:
            if (result.benchmark, result.nodes, result.subject) == (benchmark, nodes, subject):
                return result.figures.get(figure)
        return None


def best_of(repeat: int, measures: Mapping[str, Measure]) -> dict[str, Figures]:
    """Measure all subjects in turn, several times, and keep each one's smallest figures."""
    samples: dict[str, list[Figures]] = {subject: [] for subject in measures}
    for _ in range(repeat):
        for subject, measure in measures.items():
            samples[subject].append(measure())
    return {
        subject: {name: min(sample[name] for sample in taken) for name in taken[0]}
        for subject, taken in samples.items()
    }


def probe(project: Project, *arguments: str) -> Figures:
    """Run the probe in a fresh process of the project."""
    return figures_of(project, str(PROBE), *arguments)


def figures_of(project: Project, *command: str, **environment: str) -> Figures:
    """Run a script in a fresh process of the project, and read what it prints last."""
    output = project.run(*command, check=True, timeout=3600, **environment).stdout
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


def load_measures(project: Project) -> dict[str, Measure]:
    """The load of the code location, ours and by hand."""
    return {
        BY_HAND: lambda: probe(project, "load", f"{BY_HAND}.{WITH_KEDRO}"),
        OURS: lambda: probe(project, "load", f"{OURS}.definitions"),
    }


def job_measures(project: Project, job: str, *, logged: bool = False) -> dict[str, Measure]:
    """A whole run: by Kedro, by the hand-written job, also one that logs as much, and by ours."""
    by_hand = Project(project.path, BY_HAND)
    measures: dict[str, Measure] = {
        KEDRO: lambda: run_kedro(project),
        BY_HAND: lambda: run_job(by_hand, job),
        OURS: lambda: run_job(project, job),
    }
    if logged:
        measures[BY_HAND_LOGGED] = lambda: run_job(by_hand, job, **{LOGGED: "1"})
    return measures


def run_kedro(project: Project) -> Figures:
    """Time ``kedro run``."""
    return figures_of(project, str(COMMAND), "-m", "kedro", "run")


def run_job(project: Project, job: str, **environment: str) -> Figures:
    """Time ``dagster job execute``, and the run in it by Dagster's own clock."""
    command = ("-m", "dagster", "job", "execute", "-m", f"{project.package}.definitions", "-j", job)
    figures = figures_of(project, str(COMMAND), *command, **environment)
    return {**figures, **probe(project, "last-run")}


def dev_measures(project: Project) -> dict[str, Measure]:
    """The start of the UI, ours and by hand."""
    by_hand = Project(project.path, BY_HAND)
    command = ("-m", "dagster", "dev", "-m", f"{BY_HAND}.definitions")
    return {BY_HAND: lambda: start_dev(by_hand, *command), OURS: lambda: start_dev(project)}


def start_dev(project: Project, *command: str) -> Figures:
    """Time the start of a server, until a GraphQL query is answered with the code location."""
    start = perf_counter()
    with serve(project, *command) as server:
        answered = perf_counter() - start
        return {"answered": answered, "memory_mb": peak_memory(server.project.path)}


def peak_memory(folder: Path) -> float:
    """The largest peak of the processes that run in a folder, in MB; of Linux."""
    peaks = [0]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if (process / "cwd").samefile(folder):
                status = (process / "status").read_text()
                peaks += map(int, re.findall(r"VmHWM:\s+(\d+)", status))
    return max(peaks) / 1024


def measure(
    folder: Path,
    benchmark: str,
    sizes: Iterable[int],
    repeat: int,
    measures: Callable[[Project], dict[str, Measure]],
    *,
    make_default: Callable[[Path, int], Project],
) -> Iterable[Result]:
    """Run one benchmark on projects of several sizes."""
    for nodes in sizes:
        print(f"{benchmark}, {nodes} nodes ...", file=sys.stderr, flush=True)
        make = WORKLOADS.get(benchmark, make_default)
        project = make(folder / f"{benchmark}-{nodes}", nodes)
        for subject, figures in best_of(repeat, measures(project)).items():
            yield Result(benchmark, nodes, subject, figures)


def load_table(results: Results, benchmark: str, sizes: Iterable[int]) -> Table:
    """The load of the code location against Kedro's bootstrap and the hand-written location."""

    def row(nodes: int) -> tuple[str, ...]:
        floor = results.best(benchmark, nodes, BY_HAND, "load")
        ours = results.best(benchmark, nodes, OURS, "load")
        return (
            str(nodes),
            seconds(floor),
            seconds(ours),
            ratio(ours, floor),
            *(
                seconds(results.best(benchmark, nodes, subject, figure))
                for figure in ("cpu", "snapshot", "memory_mb")
                for subject in (BY_HAND, OURS)
            ),
        )

    return Table(
        f"Load of the code location, {benchmark}, in seconds after `import dagster`",
        (
            *("nodes", "floor: Kedro + by hand", "ours", "ratio"),
            *("CPU: floor", "ours", "snapshot: floor", "ours", "memory MB: floor", "ours"),
        ),
        tuple(row(nodes) for nodes in sizes),
    )


def job_table(results: Results, benchmark: str, sizes: Iterable[int]) -> Table:
    """A job against ``kedro run`` and against the hand-written job."""

    def row(nodes: int) -> tuple[str, ...]:
        kedro = results.best(benchmark, nodes, KEDRO, "command")
        floor = results.best(benchmark, nodes, BY_HAND, "command")
        logged = results.best(benchmark, nodes, BY_HAND_LOGGED, "command")
        ours = results.best(benchmark, nodes, OURS, "command")
        floor_run = results.best(benchmark, nodes, BY_HAND, "run")
        logged_run = results.best(benchmark, nodes, BY_HAND_LOGGED, "run")
        ours_run = results.best(benchmark, nodes, OURS, "run")
        return (
            str(nodes),
            *(seconds(value) for value in (kedro, floor, logged, ours)),
            ratio(ours, floor),
            ratio(ours, logged),
            ratio(ours, kedro),
            *(seconds(value) for value in (floor_run, logged_run, ours_run)),
            ratio(ours_run, floor_run),
            ratio(ours_run, logged_run),
            *(milliseconds(value, nodes) for value in (floor_run, ours_run)),
            *(
                seconds(results.best(benchmark, nodes, subject, figure))
                for figure in ("cpu", "memory_mb")
                for subject in SUBJECTS
            ),
        )

    return Table(
        f"A job, {benchmark}, in seconds",
        (
            *("nodes", "`kedro run`", "by hand", "by hand, logging as Kedro does", "ours"),
            *("ours / by hand", "ours / logging", "ours / Kedro"),
            *("run only: by hand", "logging", "ours", "ours / by hand", "ours / logging"),
            *("ms per node: by hand", "ours"),
            *("main process's CPU: Kedro", "by hand", "ours"),
            *("its peak memory MB: Kedro", "by hand", "ours"),
        ),
        tuple(row(nodes) for nodes in sizes),
    )


def fused_table(results: Results, sizes: Iterable[int]) -> Table:
    """A job in one step against ``kedro run``, and what Dagster costs to run nothing."""

    def row(nodes: int) -> tuple[str, ...]:
        kedro, nothing, ours = (
            results.best(FUSED, nodes, subject, "command") for subject in SUBJECTS
        )
        floor = kedro + nothing if kedro and nothing else None
        return (str(nodes), *map(seconds, (kedro, nothing, floor, ours)), ratio(ours, floor))

    return Table(
        "A job with `group_by: pipeline`, in process, in seconds",
        ("nodes", "`kedro run`", "an op that does nothing", "floor: both", "ours", "ratio"),
        tuple(row(nodes) for nodes in sizes),
    )


def dev_table(results: Results, sizes: Iterable[int]) -> Table:
    """`kedro dagster dev` against `dagster dev` of the hand-written location."""

    def row(nodes: int) -> tuple[str, ...]:
        answered = [results.best(DEV, nodes, subject, "answered") for subject in (BY_HAND, OURS)]
        memory = [results.best(DEV, nodes, subject, "memory_mb") for subject in (BY_HAND, OURS)]
        floor, ours = answered
        return (str(nodes), *map(seconds, answered), ratio(ours, floor), *map(seconds, memory))

    return Table(
        "From `kedro dagster dev` to the first answered query, in seconds",
        (
            *("nodes", "floor: `dagster dev` by hand", "ours", "ratio"),
            *("peak memory MB of its largest process: floor", "ours"),
        ),
        tuple(row(nodes) for nodes in sizes),
    )


def growth(results: Results, sizes: Iterable[int]) -> str:
    """How load time grows from 100 nodes to the largest project."""
    largest = max(sizes)

    def factor(subject: str) -> str:
        return ratio(
            results.best("load", largest, subject, "load"),
            results.best("load", 100, subject, "load"),
        )

    floor, ours = factor(BY_HAND), factor(OURS)
    return f"\nGrowth of load from 100 to {largest} nodes: floor {floor}, ours {ours}."


def seconds(value: float | None) -> str:
    """A figure for a table."""
    return "-" if value is None else f"{value:.2f}"


def milliseconds(value: float | None, nodes: int) -> str:
    """A figure for a table, of one node."""
    return "-" if value is None else f"{1000 * value / nodes:.0f}"


def ratio(value: float | None, base: float | None) -> str:
    """A ratio for a table."""
    return "-" if value is None or base is None else f"{value / base:.2f}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    for benchmark, nodes in SIZES.items():
        parser.add_argument(
            f"--{benchmark}", type=int, nargs="*", default=nodes, metavar="NODES", dest=benchmark
        )
    parser.add_argument("--repeat", type=int, default=3, help="take the best of so many")
    parser.add_argument("--unlogged", action="store_true", help="let Kedro log nothing of jobs")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    return parser.parse_args()


def main() -> None:
    """Run the benchmarks and print their tables."""
    arguments = parse_arguments()
    sizes: dict[str, list[int]] = {name: getattr(arguments, name) for name in SIZES}
    measures: dict[str, Callable[[Project], dict[str, Measure]]] = {
        LOAD: load_measures,
        FAN_OUT_LOAD: load_measures,
        DEV: dev_measures,
        FUSED: partial(job_measures, job=FUSED_JOB),
        **{
            name: partial(job_measures, job=job, logged=not arguments.unlogged)
            for name, job in JOBS.items()
        },
    }
    make = make_quiet_workload if arguments.unlogged else make_workload
    results = Results()
    with TemporaryDirectory(prefix="bench-") as folder:
        for name, measures_of in measures.items():
            measured = measure(
                Path(folder), name, sizes[name], arguments.repeat, measures_of, make_default=make
            )
            results.extend(measured)
    for name in filter(sizes.get, (LOAD, FAN_OUT_LOAD)):
        print(load_table(results, name, sizes[name]))
    if 100 in sizes[LOAD]:
        print(growth(results, sizes[LOAD]))
    for name in filter(sizes.get, JOBS):
        print(job_table(results, name, sizes[name]))
    if sizes[FUSED]:
        print(fused_table(results, sizes[FUSED]))
    if sizes[DEV]:
        print(dev_table(results, sizes[DEV]))
    if arguments.json:
        report = {
            "python": platform.python_version(),
            "results": [asdict(result) for result in results],
        }
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
