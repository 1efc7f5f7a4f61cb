"""Where a project is, and how its pipelines are imported: all that a run needs of what was read.

The code server imports the pipelines of all jobs. Their outlines, which have no functions, go
along with each run as Dagster's reconstruction metadata: the run's definitions are made of these,
and the nodes that it runs are taken from the pipelines that it imports.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from kedro.framework.context import KedroContext
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors import kedro as kedro_door
from ..doors.dagster import handed_over
from ..errors import PipelineLoadError
from .registry import failed_import, load_pipelines
from .repository import find_repository


@dataclass(frozen=True)
class ProjectSource:
    """What a run needs of a project.

    Args:
        path: The project's root folder.
        package_name: Import name of the project's package.
        env: Kedro configuration environment; ``None`` for the project's default.
        conf_source: The configuration as Kedro's session wants it: a folder, an archive or a URL.
        pipelines: The pipelines that were planned, or their outlines; at least those of the jobs.
    """

    path: Path
    package_name: str
    env: str | None
    conf_source: str
    pipelines: Mapping[str, Pipeline]

    def url_of(self, file: Path) -> str | None:
        """Where a file of the project is on the web, if it is."""
        if self._repository is None or "site-packages" in file.parts:
            return None
        root, url = self._repository
        inside = file.is_relative_to(root)
        return f"{url}/{quote(file.relative_to(root).as_posix())}" if inside else None

    @cached_property
    def _repository(self) -> tuple[Path, str] | None:
        return find_repository(self.path)

    def call_hooks(self) -> None:
        """Call the project's hooks as ``kedro run`` does: create a context."""
        kedro_door.open_session(
            project_path=str(self.path),
            package_name=self.package_name,
            conf_source=self.conf_source,
            env=self.env,
        ).load_context()

    def context(self) -> KedroContext:
        """Create the project's context outside of runs."""
        return kedro_door.context_outside_of_runs(
            str(self.path), self.package_name, self.conf_source, self.env
        )

    def import_pipelines(self, names: Collection[str]) -> None:
        """Import pipelines of which only the outlines are known; ``__default__`` are all."""
        known = self.pipelines
        wanted = set(known if "__default__" in names else known.keys() & names)
        nodes = (self.imported_node(node) for name in wanted for node in known[name].nodes)
        if not any(isinstance(node, OutlinedNode) for node in nodes):
            return
        imported, failures = load_pipelines(self.package_name, wanted, self.call_hooks)
        for name in wanted:
            if name not in imported:
                why = failed_import(name, failures) or "reload the code location."
                raise PipelineLoadError(f"Pipeline {name!r} is not registered any more: {why}")
            found = {node.name: node for node in imported[name].nodes}
            for node in known[name].nodes:
                if node.name not in found:
                    raise PipelineLoadError(
                        f"Pipeline {name!r} has no node {node.name!r} any more: it is not the one "
                        "that the code location has loaded. Reload the code location."
                    )
                self._imported[id(node)] = found[node.name]

    def imported(self, pipeline: Pipeline) -> Pipeline:
        """A pipeline as it is imported by now: with its functions."""
        if not self._imported:  # there are no outlines in this process
            return pipeline
        return Pipeline(list(map(self.imported_node, pipeline.nodes)))

    def imported_node(self, node: Node) -> Node:
        """A node as it is imported by now: with its function."""
        return self._imported.get(id(node), node)

    @cached_property
    def _imported(self) -> dict[int, Node]:
        """The nodes that run for those of outlines, by id: to Kedro, two of them may be equal."""
        return {}


class OutlinedNode(Node):
    """A node of a pipeline that is not imported; it has all that a plan asks for."""

    def __init__(self, *, name: str, text: str, **wiring: Any) -> None:
        super().__init__(_not_imported, **wiring)
        self._given_name, self._given_text = name, text

    @property
    def name(self) -> str:
        """The node's name, with its namespace."""
        return self._given_name

    def __str__(self) -> str:
        return self._given_text


def _not_imported(*_: Any) -> NoReturn:
    raise RuntimeError("A node of a pipeline that is not imported cannot run.")


def dump(pipelines: Mapping[str, Pipeline]) -> str:
    """Write pipelines as text; a node that several of them share stays one node."""
    nodes = {id(node): node for pipeline in pipelines.values() for node in pipeline.nodes}
    places = {identity: place for place, identity in enumerate(nodes)}
    outlines = [
        {
            "name": node.name,
            "text": str(node),
            "inputs": node.inputs,
            "outputs": node.outputs,
            "tags": sorted(node.tags),
            "namespace": node.namespace,
        }
        for node in nodes.values()
    ]
    found = {name: [places[id(node)] for node in one.nodes] for name, one in pipelines.items()}
    return json.dumps({"nodes": outlines, "pipelines": found})


def load_outlines(package_name: str) -> dict[str, Pipeline]:
    """Read what the code server has sent; empty in any process but that of a run."""
    text = handed_over(f"kedro_dagster/{package_name}")
    if text is None:
        return {}
    content = json.loads(text)
    nodes = [OutlinedNode(**outline) for outline in content["nodes"]]
    return {
        name: Pipeline([nodes[place] for place in places])
        for name, places in content["pipelines"].items()
    }
