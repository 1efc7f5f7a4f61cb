"""The parameters of a step that its config has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kedro.io import MemoryDataset

from ..doors import kedro as kedro_door
from ..plan.model import Nodes
from ..plan.parameters import assign
from .kedro_run import KedroRun


@contextmanager
def changed_parameters(run: KedroRun, nodes: Nodes, changed: Mapping[str, Any]) -> Iterator[None]:
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
    datasets: dict[str, Any] = {
        name: run.catalog.get(name)
        for node in nodes
        for name in node.inputs
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
    one, two = f"{name}.", f"{other}."
    return "parameters" in (name, other) or one.startswith(two) or two.startswith(one)
