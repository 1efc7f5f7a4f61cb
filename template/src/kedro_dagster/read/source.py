"""Where a project is, and how its pipelines are imported: all that a run needs of what was read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from kedro.framework.project import settings
from kedro.io.core import generate_timestamp
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors import kedro as kedro_door
from ..errors import PipelineLoadError
from .outlines import OutlinedNode, find_nodes
from .registry import failed_import, load_pipelines


@dataclass(frozen=True)
class ProjectSource:
    """What a run needs of a project.

    Args:
        path: The project's root folder.
        package_name: Import name of the project's package.
        env: Kedro configuration environment; ``None`` for the project's default.
        conf_source: The configuration folder, as Kedro's session wants it.
        pipelines: The pipelines that were planned, or their outlines.
    """

    path: Path
    package_name: str
    env: str | None
    conf_source: str
    pipelines: Mapping[str, Pipeline]

    def import_pipelines(self, names: Collection[str]) -> None:
        """Import pipelines of which only the outlines are known; ``__default__`` are all."""
        known = self.pipelines
        wanted = known.keys() if "__default__" in names else known.keys() & names
        nodes = (self.imported_node(node) for name in wanted for node in known[name].nodes)
        if not any(isinstance(node, OutlinedNode) for node in nodes):
            return
        hooks = partial(call_hooks, self.path, self.package_name, self.env)
        imported, failures = load_pipelines(self.package_name, set(wanted), hooks)
        for name in wanted:
            if name not in imported:
                why = failed_import(name, failures) or "reload the code location."
                raise PipelineLoadError(f"Pipeline {name!r} is not registered any more: {why}")
            self._imported.update(find_nodes(name, known[name], imported[name]))

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
        """What runs for the nodes of outlines, by their identity."""
        return {}


def call_hooks(path: Path, package: str, env: str | None) -> None:
    """Create a context as ``kedro run`` does, by which the project's hooks are called."""
    session = kedro_door.open_session(
        project_path=str(path),
        package_name=package,
        conf_source=conf_source(path),
        run_id=generate_timestamp(),
        env=env,
        runtime_params={},
    )
    session.load_context()


def conf_source(path: Path) -> str:
    """The configuration folder of a project."""
    return str(path / settings.CONF_SOURCE)
