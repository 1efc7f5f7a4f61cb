"""What is measured inside a fresh process; the result is the last line printed, as JSON."""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from time import perf_counter, process_time

from dagster import DagsterInstance, RepositoryDefinition
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import LoadedRepositories
from dagster._serdes import serialize_value


def load_code_location(module: str) -> RepositoryDefinition:
    """Load a code location as Dagster's code server does."""
    loaded = LoadedRepositories(
        LoadableTargetOrigin(module_name=module, working_directory=str(Path.cwd())),
        container_image=None,
        entry_point=["dagster"],
        container_context=None,
    )
    (repository,) = loaded.definitions_by_name.values()
    return repository


def measure_load(module: str) -> dict[str, float]:
    """Time the load of a code location, apart from the import of Dagster itself."""
    start, start_cpu = perf_counter(), process_time()
    repository = load_code_location(module)
    loaded, loaded_cpu = perf_counter(), process_time()
    snapshot = serialize_value(RepositorySnap.from_def(repository, defer_snapshots=True))
    sent = perf_counter()
    return {
        "load": loaded - start,
        "cpu": loaded_cpu - start_cpu,
        "snapshot": sent - loaded,
        "snapshot_mb": len(snapshot) / 1e6,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_last_run() -> dict[str, float]:
    """The duration of the instance's latest run, from its first event to its last."""
    with DagsterInstance.get() as instance:
        (record,) = instance.get_run_records(limit=1)
    if not record.dagster_run.is_success or record.start_time is None or record.end_time is None:
        raise RuntimeError(f"The run has the status {record.dagster_run.status}.")
    return {"run": record.end_time - record.start_time}


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("load")
    load.add_argument("module")
    commands.add_parser("last-run")
    arguments = parser.parse_args()
    result = measure_load(arguments.module) if arguments.command == "load" else measure_last_run()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
