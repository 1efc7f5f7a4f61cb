"""What is measured: ours, and its floors, each by a command in processes of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeAlias

from dagster import DagsterEventType, DagsterInstance

from bench import workload
from bench.fan_out import make_fan_out
from bench.targets import (
    BY_HAND,
    CHECKS,
    DEV,
    FAN_OUT,
    FUSED,
    IN_PROCESS,
    KEDRO,
    LAUNCH,
    LOAD,
    LOGGED,
    NOTHING,
    OURS,
    PARALLEL,
    SPAWN,
    UNCAPTURED,
    UNCHECKED,
    WARM,
    WARM_UNCAPTURED,
    WORKERS,
    Figures,
)
from bench.workload import make_workload
from live.server import serve
from projects import Project

HERE = Path(__file__).parent
Measure: TypeAlias = Callable[[Project], Figures]

HOMES = {
    BY_HAND: "telemetry: {enabled: false}",
    UNCAPTURED: """\
telemetry: {enabled: false}
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
""",
}
"""The Dagster instances of the hand-written jobs; ours is that of ``kedro dagster dev``."""

LIKE_KEDRO = {workload.LOGGED: "1"}


@dataclass(frozen=True)
class Benchmark:
    """What is measured side by side."""

    nodes: tuple[int, ...]
    subjects: Mapping[str, Measure]
    make: Callable[[Path, int], Project] = make_workload


def kedro_run(*options: str) -> Measure:
    """Measure ``kedro run``."""
    return lambda project: measured(project, "-m", "kedro", "run", *options)


def job(name: str, subject: str = OURS, **environment: str) -> Measure:
    """Measure ``dagster job execute``, and the run in it by Dagster's own events."""

    def measure(project: Project) -> Figures:
        package = workload.OURS if subject == OURS else workload.BY_HAND
        command = ("-m", "dagster", "job", "execute", "-m", f"{package}.definitions", "-j", name)
        home = home_of(project, subject)
        figures = measured(project, *command, DAGSTER_HOME=str(home), **environment)
        return {**figures, **last_run(home)}

    return measure


def measured(project: Project, *command: str, **environment: str) -> Figures:
    """Measure a command of Python's."""
    return last_line(project, str(HERE / "command.py"), *command, **environment)


def load(module: str) -> Measure:
    """Measure the load of a code location, of any size."""
    unlimited = {"OMEGACONF_MAX_YAML_EXPANDED_NODES": "none"}
    return lambda project: last_line(project, str(HERE / "probe.py"), module, **unlimited)


def last_line(project: Project, *command: str, **environment: str) -> Figures:
    """Run a script of ours in a project, and read what it prints last."""
    output = project.run(*command, check=True, timeout=3600, **environment).stdout
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


def home_of(project: Project, subject: str) -> Path:
    """Find or make the folder of a Dagster instance."""
    if subject == OURS:
        return project.dagster_home
    folder = project.path / ("captured" if subject == BY_HAND else "uncaptured")
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(HOMES[subject], encoding="utf-8")
    return folder


def last_run(home: Path) -> Figures:
    """What the events of an instance's latest run tell; of its steps, in milliseconds."""
    with DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_run_records(limit=1)
        run = record.dagster_run
        if not run.is_success or record.start_time is None or record.end_time is None:
            raise RuntimeError(f"The run has the status {run.status}.")
        starts = times(instance, run.run_id, DagsterEventType.STEP_WORKER_STARTING)
        ends = times(instance, run.run_id, DagsterEventType.STEP_SUCCESS)
    figures = {"run": record.end_time - record.start_time}
    if len(ends) > 1:
        first, *_, last = sorted(ends.values())
        figures["pace"] = 1000 * (last - first) / (len(ends) - 1)
    if starts:
        figures["step"] = 1000 * median(ends[step] - starts[step] for step in starts)
    return figures


def times(instance: DagsterInstance, run_id: str, kind: DagsterEventType) -> dict[str, float]:
    """When an event was, by step."""
    events = instance.all_logs(run_id, of_type=kind)
    return {str(event.step_key): event.timestamp for event in events}


def dev(subject: str, *command: str, launch: bool = False) -> Measure:
    """Measure the start of a server until a query is answered, and a launch to the first step."""

    def measure(project: Project) -> Figures:
        home = home_of(project, subject)
        located = Project(project.path, workload.OURS if subject == OURS else workload.BY_HAND)
        start = perf_counter()
        with serve(located, *command, DAGSTER_HOME=str(home)) as server:
            figures = {"answered": perf_counter() - start}
            figures["memory_mb"] = largest_peak(project.path)
            if launch:
                launched = time.time()
                run = server.launch(workload.JOB)
                server.ended(run)
                with DagsterInstance.from_config(str(home)) as instance:
                    starts = times(instance, run, DagsterEventType.STEP_START)
                figures["first_node"] = min(starts.values()) - launched
        return figures

    return measure


def largest_peak(folder: Path) -> float:
    """The largest peak of the processes that run in a folder, in MB; of Linux."""
    peaks = [0]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if (process / "cwd").samefile(folder):
                status = (process / "status").read_text()
                peaks += map(int, re.findall(r"VmHWM:\s+(\d+)", status))
    return max(peaks) / 1024


DEV_BY_HAND = ("-m", "dagster", "dev", "-m", f"{workload.BY_HAND}.definitions")
BENCHMARKS = {
    WORKERS: Benchmark(
        (50, 100),
        {
            BY_HAND: job(workload.MULTIPROCESS_JOB, BY_HAND),
            UNCAPTURED: job(workload.MULTIPROCESS_JOB, UNCAPTURED),
            WARM: job(workload.WARM_JOB, BY_HAND, **LIKE_KEDRO),
            WARM_UNCAPTURED: job(workload.WARM_JOB, UNCAPTURED, **LIKE_KEDRO),
            OURS: job(workload.MULTIPROCESS_JOB),
        },
    ),
    SPAWN: Benchmark(
        (10,),
        {
            BY_HAND: job(workload.SPAWN_JOB, BY_HAND),
            OURS: job(workload.MULTIPROCESS_JOB, KEDRO_MP_CONTEXT="spawn"),
        },
    ),
    PARALLEL: Benchmark(
        (300,),
        {
            KEDRO: kedro_run("--runner=ParallelRunner"),
            NOTHING: job(workload.NOTHING_JOB, BY_HAND),
            OURS: job(workload.MULTIPROCESS_JOB),
        },
    ),
    IN_PROCESS: Benchmark(
        (100, 1000),
        {
            KEDRO: kedro_run(),
            LOGGED: job(workload.JOB, BY_HAND, **LIKE_KEDRO),
            OURS: job(workload.JOB),
        },
    ),
    FAN_OUT: Benchmark(
        (100, 1000),
        {LOGGED: job(workload.JOB, BY_HAND, **LIKE_KEDRO), OURS: job(workload.JOB)},
        make_fan_out,
    ),
    FUSED: Benchmark(
        (100,),
        {
            KEDRO: kedro_run(f"--runner={workload.RUNNER}"),
            NOTHING: job(workload.NOTHING_JOB, BY_HAND),
            OURS: job(workload.FUSED_JOB),
        },
    ),
    CHECKS: Benchmark(
        (300,),
        {
            UNCHECKED: job(workload.JOB, KEDRO_ENV=workload.UNCHECKED),
            OURS: job(workload.JOB, KEDRO_ENV=workload.CHECKED),
        },
        workload.make_checked_workload,
    ),
    LAUNCH: Benchmark(
        (10,),
        {BY_HAND: dev(BY_HAND, *DEV_BY_HAND, launch=True), OURS: dev(OURS, launch=True)},
    ),
    DEV: Benchmark((300,), {BY_HAND: dev(BY_HAND, *DEV_BY_HAND), OURS: dev(OURS)}),
    LOAD: Benchmark(
        (100, 1000),
        {
            BY_HAND: load(f"{workload.BY_HAND}.{workload.WITH_KEDRO}"),
            OURS: load(f"{workload.OURS}.definitions"),
        },
    ),
}
"""All benchmarks, with the numbers of nodes, or of the partitions that two nodes fan out over."""
