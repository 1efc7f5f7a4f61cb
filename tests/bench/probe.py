"""Times the load of a code location in a fresh process, and prints that as JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

from dagster import RepositoryDefinition
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


if __name__ == "__main__":
    print(json.dumps(measure_load(sys.argv[1])))
