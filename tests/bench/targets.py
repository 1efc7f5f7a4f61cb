"""What is compared with what, out of the samples of a sitting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeAlias

Figures: TypeAlias = Mapping[str, float]
Sizes: TypeAlias = Mapping[str, Sequence[int]]
"""How many nodes, or partitions of two nodes, a benchmark has; those without are not run."""

# The benchmarks
WORKERS, SPAWN, IN_PROCESS, FAN_OUT = "workers", "spawn", "in-process", "fan-out"
PARALLEL, FUSED, LAUNCH, DEV, LOAD = "parallel", "fused", "launch", "dev", "load"
CHECKS = "checks"

# The subjects
OURS, KEDRO, NOTHING = "ours", "kedro run", "a job that does nothing"
BY_HAND, UNCAPTURED = "by hand", "by hand, no compute logs"
UNCHECKED = "ours, without checks"
LOGGED = "by hand, logging as Kedro does"
WARM = "by hand, warm workers, logging as Kedro does"
WARM_UNCAPTURED = f"{WARM}, no compute logs"


@dataclass(frozen=True)
class Of:
    """A figure of a subject in a benchmark."""

    benchmark: str
    nodes: int
    subject: str
    figure: str


class Samples:
    """All figures of a sitting; those of a round are taken one after the other."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, int, str], list[Figures]] = defaultdict(list)

    def of(self, what: Of) -> list[float]:
        """A figure in each round."""
        rounds = self.taken[what.benchmark, what.nodes, what.subject]
        return [figures[what.figure] for figures in rounds if what.figure in figures]


@dataclass(frozen=True)
class Row:
    """A figure of ours beside its floor, which is the sum of some; or by itself."""

    what: str
    ours: Of
    floor: tuple[Of, ...] = ()
    target: float | None = None
    digits: int = 2

    def cells(self, samples: Samples) -> tuple[str, ...]:
        """The row of the table: ours, the floor, and what is held against the target."""
        ours = samples.of(self.ours)
        floor = [sum(values) for values in zip(*map(samples.of, self.floor), strict=False)]
        compared = [one / other for one, other in zip(ours, floor, strict=False)] or ours
        digits = 2 if floor else self.digits
        reached = median(compared) <= self.target if self.target and compared else None
        return (
            self.what,
            spread(ours, self.digits),
            spread(floor, self.digits),
            spread(compared, digits) if floor else "",
            f"{self.target:g}" if self.target else "",
            "" if reached is None else ("met" if reached else "missed"),
        )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median of some values, and between which they are."""
    if not values:
        return ""
    shown = [f"{value:.{digits}f}" for value in (median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def rows(sizes: Sizes) -> Iterator[Row]:
    """The rows of the targets, for what has been measured."""
    for benchmark, numbers in sizes.items():
        for nodes in numbers:
            yield from _ROWS[benchmark](nodes)
    yield from _growth(sizes)
    yield from _memory(sizes)


def _workers(nodes: int) -> Iterator[Row]:
    what = f"{nodes} nodes on 2 workers"
    yield from _run(f"{what} / by hand, forkserver", WORKERS, nodes, BY_HAND, 0.10)
    yield from _run(f"{what} / by hand, no compute logs", WORKERS, nodes, UNCAPTURED)
    yield from _run(f"{what} / by hand, warm workers", WORKERS, nodes, WARM, 1.3)
    what = f"{what} / by hand, warm workers, no compute logs"
    yield from _run(what, WORKERS, nodes, WARM_UNCAPTURED)
    for figure, title in (("step", "from start to success"), ("pace", "after the last")):
        ours = Of(WORKERS, nodes, OURS, figure)
        yield Row(f"a warm step of {nodes}, {title}, ms", ours, target=40, digits=0)


def _launch(nodes: int) -> Iterator[Row]:
    yield from _dev(LAUNCH, nodes)
    what = f"launch to first node, {nodes} nodes / by hand"
    yield _against(what, Of(LAUNCH, nodes, OURS, "first_node"), BY_HAND, 1.2)


def _dev(benchmark: str, nodes: int) -> Iterator[Row]:
    what = f"`kedro dagster dev` to the first answer, {nodes} nodes / by hand"
    yield _against(what, Of(benchmark, nodes, OURS, "answered"), BY_HAND, 1.1)


def _load(nodes: int) -> Iterator[Row]:
    what = f"load of the code location, {nodes} nodes / by hand"
    yield _against(what, Of(LOAD, nodes, OURS, "load"), BY_HAND)


def _beside_kedro(what: str, benchmark: str, nodes: int, target: float) -> Iterator[Row]:
    """Beside a run of Kedro's, and what Dagster costs to run nothing."""
    floor = (Of(benchmark, nodes, KEDRO, "command"), Of(benchmark, nodes, NOTHING, "command"))
    yield Row(f"{nodes} nodes {what}", Of(benchmark, nodes, OURS, "command"), floor, target)


_ROWS: Mapping[str, Callable[[int], Iterator[Row]]] = {
    WORKERS: _workers,
    SPAWN: lambda nodes: _run(f"{nodes} nodes, `spawn` / by hand", SPAWN, nodes, BY_HAND, 0.5),
    PARALLEL: lambda nodes: _beside_kedro(
        "on 2 workers / ParallelRunner and an empty job", PARALLEL, nodes, 3
    ),
    IN_PROCESS: lambda nodes: _run(
        f"{nodes} nodes in process / by hand", IN_PROCESS, nodes, LOGGED, 1.05
    ),
    FAN_OUT: lambda keys: _run(
        f"2 nodes over {keys} keys in process / by hand", FAN_OUT, keys, LOGGED, 1.1
    ),
    FUSED: lambda nodes: _beside_kedro(
        "in one step, ThreadRunner / `kedro run`'s and an empty job", FUSED, nodes, 1.2
    ),
    CHECKS: lambda nodes: _run(
        f"{nodes} assets with {nodes} checks, in process / without", CHECKS, nodes, UNCHECKED
    ),
    LAUNCH: _launch,
    DEV: partial(_dev, DEV),
    LOAD: _load,
}


def _run(
    what: str, benchmark: str, nodes: int, floor: str, target: float | None = None
) -> Iterator[Row]:
    """A run by Dagster's events, and the whole command: its wall time, and the CPU it takes."""
    for figure, title in (("run", "run only"), ("command", "whole command"), ("cpu", "CPU of all")):
        ours = Of(benchmark, nodes, OURS, figure)
        yield _against(f"{what}, {title}", ours, floor, target if figure == "run" else None)


def _against(what: str, ours: Of, floor: str, target: float | None = None) -> Row:
    return Row(what, ours, (Of(ours.benchmark, ours.nodes, floor, ours.figure),), target)


def _growth(sizes: Sizes) -> Iterator[Row]:
    """How much longer the largest takes than it would if each node or key took the same."""
    for benchmark, figure in ((FAN_OUT, "run"), (IN_PROCESS, "run"), (LOAD, "load")):
        least, most = min(sizes.get(benchmark, [0])), max(sizes.get(benchmark, [0]))
        if least < most and most % least == 0:
            for subject in (OURS, BY_HAND if benchmark == LOAD else LOGGED):
                floor = (Of(benchmark, least, subject, figure),) * (most // least)
                what = f"{benchmark}, {most} / {most // least} times {least}, {subject}"
                yield Row(what, Of(benchmark, most, subject, figure), floor)


def _memory(sizes: Sizes) -> Iterator[Row]:
    """The peak memory of the main process, at 100 nodes or what is nearest."""
    nodes = {
        name: min(found, key=lambda size: abs(size - 100))
        for name, found in sizes.items()
        if found and name in (WORKERS, IN_PROCESS)
    }
    for benchmark, size in nodes.items():
        others = (KEDRO, LOGGED) if benchmark == IN_PROCESS else (BY_HAND,)
        for subject in (OURS, *others):
            what = f"peak memory of the main process, MB: {size} nodes, {benchmark}, {subject}"
            target = 150 if subject == OURS else None
            yield Row(what, Of(benchmark, size, subject, "memory_mb"), target=target, digits=0)


def target_table(samples: Samples, sizes: Sizes) -> str:
    """The targets, and what was reached: each figure as its median, least and greatest."""
    header = ("what", "ours", "floor", "ratio", "target", "")
    return _table(header, (row.cells(samples) for row in rows(sizes)))


def sample_table(samples: Samples) -> str:
    """All figures: wall time and CPU in seconds, the main process's memory in MB, steps in ms."""
    names = ("command", "run", "cpu", "memory_mb", "step", "pace", "answered", "first_node", "load")
    found = (
        (
            f"{benchmark}, {nodes}",
            subject,
            *(
                spread(samples.of(Of(benchmark, nodes, subject, name)), int(name not in _WHOLE) * 2)
                for name in names
            ),
        )
        for benchmark, nodes, subject in list(samples.taken)
    )
    return _table(("nodes", "subject", *names), found)


_WHOLE = ("memory_mb", "step", "pace")


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
