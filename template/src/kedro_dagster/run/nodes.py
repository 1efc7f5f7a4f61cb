"""What happens when nodes run: what ``AbstractRunner._run`` does, in one step of Dagster's."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from kedro.io import MemoryDataset
from kedro.pipeline.node import Node
from kedro.runner.task import Task

from ..doors import kedro as kedro_door
from ..doors.kedro import strip_transcoding
from ..plan.model import is_parameter
from ..plan.parameters import assign
from ..read.partition_keys import PartitionScope
from .kedro_run import KedroRun

logger = logging.getLogger(__name__)

Scopes: TypeAlias = Mapping[str, PartitionScope]
"""The partitions that a node may touch, by dataset."""


def run_nodes(
    run: KedroRun,
    step: str,
    nodes: Iterable[Node],
    *,
    changed: Mapping[str, Any],
    scopes: Callable[[Node], Scopes],
    done: Callable[[Node, Scopes], None],
) -> None:
    """Run the nodes of a step in order, each through Kedro's own ``Task``.

    ``changed`` has the parameters with another value for this step than for the run; ``done`` is
    called after each node, when all of its outputs are saved.
    """
    nodes = tuple(map(run.plan.project.imported_node, nodes))
    _prepare(run, nodes)
    if run.release:
        run.release.before(step, nodes)
    with _crossed_values_told(run, step), _parameters(run, nodes, changed):
        for node in nodes:
            found = scopes(node)
            with _partitions(run, node, found):
                Task(
                    node=node,
                    catalog=run.catalog,
                    is_async=False,
                    hook_manager=run.hook_manager,
                    run_id=run.run_id,
                ).execute()
            logger.info("Completed node: %s", node.name)
            done(node, found)
            run.in_memory.update(map(strip_transcoding, node.outputs))
            if run.release:
                run.release.after(step, node, run.catalog)
    if run.release:
        run.release.at_end(run.catalog)


@contextmanager
def _crossed_values_told(run: KedroRun, step: str) -> Iterator[None]:
    """Where a step fails, name the values that came to it from other processes.

    Some values can be pickled and do not work afterwards, such as a table of a database that is in
    the memory of the other process; the error comes from within the node and says nothing of it.
    """
    try:
        yield
    except Exception:
        if run.crossed:
            logger.error(  # noqa: TRY400  # the traceback is logged by Dagster
                "Step %r failed with values that were made in other processes: %s. If it failed "
                "because of them, keep the nodes together: group_by: memory or an in_process "
                "executor on the job, or a catalog entry for the dataset.",
                step,
                ", ".join(f"{name!r} ({kind})" for name, kind in sorted(run.crossed.items())),
            )
        raise


def _prepare(run: KedroRun, nodes: tuple[Node, ...]) -> None:
    """Build the datasets of some nodes, and note which to release after the step."""
    read = dict.fromkeys(name for node in nodes for name in node.inputs)
    written = dict.fromkeys(name for node in nodes for name in node.outputs)
    run.build((*read, *written))
    persisted = (
        name
        for name in read
        if not is_parameter(name) and run.plan.datasets[strip_transcoding(name)].persisted
    )
    run.used.update(written, persisted)
    if not run.single_process:
        for name in read:
            kedro_door.pin_version(run.catalog.get(name), run.run_id)


@contextmanager
def _partitions(run: KedroRun, node: Node, scopes: Scopes) -> Iterator[None]:
    """Let the partitioned datasets in the catalog hold just the partitions in scope."""
    in_chunks = inspect.isgeneratorfunction(node.func)
    with ExitStack() as stack:
        for variant in dict.fromkeys((*node.inputs, *node.outputs)):
            if scope := scopes.get(strip_transcoding(variant)):
                chunks = in_chunks and variant in node.outputs
                stack.enter_context(in_scope(run, variant, scope, node.name, in_chunks=chunks))
        yield


@contextmanager
def in_scope(
    run: KedroRun, variant: str, scope: PartitionScope, who: str, *, in_chunks: bool = False
) -> Iterator[None]:
    """Let a partitioned dataset in the catalog hold just some partitions, for a node or asset."""
    dataset: Any = run.catalog.get(variant)
    partitioned = kedro_door.unwrap_cached(dataset)
    partitioned.use_version(run.run_id)
    with ExitStack() as stack:
        if dataset is not partitioned:  # what a cache keeps is of one scope
            dataset.release()
            stack.callback(dataset.release)
        stack.enter_context(partitioned.in_scope(scope, strip_transcoding(variant), who, in_chunks))
        yield


@contextmanager
def _parameters(
    run: KedroRun, nodes: tuple[Node, ...], changed: Mapping[str, Any]
) -> Iterator[None]:
    """Let the nodes find other values of parameters in the catalog.

    The values are built by Kedro, typed and validated; the catalog is put back after, since
    it serves the other nodes of the process.
    """
    if not changed:
        yield
        return
    raw = kedro_door.raw_parameters(run.context)
    for name, value in changed.items():
        if name == "parameters":
            raw = dict(value)
        else:
            assign(raw, name.removeprefix("params:"), value)
    values = kedro_door.parameters_with(run.context, raw)
    taken = {name for node in nodes for name in node.inputs if is_parameter(name)}
    datasets: dict[str, Any] = {
        name: run.catalog.get(name)
        for name in taken
        if name in values and any(_overlap(name, other) for other in changed)
    }
    for name in datasets:
        # A new dataset: unlike the one that is there, it can be given None
        kedro_door.replace_quietly(run.catalog, name, MemoryDataset(values[name]))
    try:
        yield
    finally:
        for name, dataset in datasets.items():
            kedro_door.replace_quietly(run.catalog, name, dataset)


def _overlap(name: str, other: str) -> bool:
    """Whether a change of one parameter is a change of the other: one holds the other."""
    if "parameters" in (name, other):
        return True
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")
