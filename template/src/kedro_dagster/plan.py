"""Plan how a Kedro project runs in Dagster: which steps there are, and what each one needs.

A plan holds no Dagster object, and of Kedro's only the nodes and pipelines. It is made by pure
functions, in time linear in nodes and datasets.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

from kedro.io import CachedDataset, DatasetError, MemoryDataset, SharedMemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from . import kedro_internals
from .config import JobOptions, PipelineOptions
from .errors import DagsterConfigError, Mistake, did_you_mean
from .kedro_internals import strip_transcoding
from .project import KedroProject
from .utils import format_dataset_name, format_node_name, unique_names

Nodes: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class DatasetPlan:
    """A Kedro dataset that nodes of the project read or write; transcoded names are one.

    Args:
        name: Its name in Kedro.
        identifier: Its name where Dagster wants an identifier: inputs and outputs of ops.
        persisted: Whether its data outlives a process. Only then is it an asset.
        variants: Its names with their transcoding, the persisted ones first.
        type: The ``type`` of its catalog entry.
        versioned: Whether each run saves a version of its own.
        metadata: The ``metadata`` of its catalog entry.
    """

    name: str
    identifier: str
    persisted: bool
    variants: tuple[str, ...]
    type: str
    versioned: bool
    metadata: Mapping[str, Any]

    @property
    def asset_key(self) -> list[str]:
        """The path of its asset: the name split on dots."""
        return self.name.split(".")


@dataclass(frozen=True)
class StepPlan:
    """One or more nodes that run together, in one process and in order.

    Args:
        name: The name of the op.
        nodes: The nodes, in the order they run.
        inputs: Datasets that come from outside of the step.
        outputs: Datasets that the step gives to others, or leaves behind.
    """

    name: str
    nodes: Nodes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that the nodes take."""
        names = (name for node in self.nodes for name in node.inputs if is_parameter(name))
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class JobPlan:
    """A job: the steps of a filtered pipeline.

    Args:
        name: The job's name.
        options: What ``dagster.yml`` says of it.
        pipeline: The pipeline it runs.
        steps: Its steps, in an order in which they could run.
    """

    name: str
    options: JobOptions
    pipeline: Pipeline
    steps: tuple[StepPlan, ...]

    @functools.cached_property
    def producers(self) -> Mapping[str, StepPlan]:
        """The step that gives each dataset."""
        return {name: step for step in self.steps for name in step.outputs}


@dataclass(frozen=True)
class AssetStepPlan:
    """A step of the asset layer: all nodes between which values are passed in memory.

    Args:
        step: The nodes; its outputs are the assets.
        upstream: For each asset, the datasets it is made from.
        transient: Datasets passed between the nodes in memory.
    """

    step: StepPlan
    upstream: Mapping[str, tuple[str, ...]]
    transient: frozenset[str]

    def nodes_for(self, assets: Iterable[str]) -> Nodes:
        """The nodes that must run to make some of the assets, and no others.

        Args:
            assets: Names of datasets.

        Returns:
            The nodes, in the order they run.
        """
        return _nodes_making(self.step.nodes, set(assets), self.transient)


@dataclass(frozen=True)
class ProjectPlan:
    """All that is rendered as Dagster objects.

    Args:
        project: The project it was made of.
        datasets: The datasets of all jobs.
        jobs: The jobs by name.
        asset_steps: The steps of the asset layer, by the name of their op.
        external: Persisted datasets that no step of the asset layer makes.
        parameters: The value of ``parameters`` and of each ``params:`` name.
    """

    project: KedroProject
    datasets: Mapping[str, DatasetPlan]
    jobs: Mapping[str, JobPlan]
    asset_steps: Mapping[str, AssetStepPlan]
    external: tuple[str, ...]
    parameters: Mapping[str, Any] = field(repr=False)

    @functools.cached_property
    def by_identifier(self) -> Mapping[str, DatasetPlan]:
        """The datasets by the name of the op inputs and outputs that stand for them."""
        return {dataset.identifier: dataset for dataset in self.datasets.values()}

    def kedro_steps(self, job_name: str) -> set[str]:
        """The names of the ops that run Kedro nodes, in a job of this plan or in any other."""
        job = self.jobs.get(job_name)
        return {step.name for step in job.steps} if job else set(self.asset_steps)

    def nodes_to_recover(self, job: JobPlan, steps: Iterable[StepPlan]) -> Nodes:
        """The nodes that must run again, before steps whose transient inputs are lost.

        Args:
            job: The job.
            steps: Those of its steps that are to run.

        Returns:
            The nodes of other steps that make these inputs, in the order they run.
        """
        steps = tuple(steps)
        own = {node for step in steps for node in step.nodes}
        transient = frozenset(
            name for name, dataset in self.datasets.items() if not dataset.persisted
        )
        lost = {name for step in steps for name in step.inputs if name in transient}
        others = [node for node in job.pipeline.nodes if node not in own]
        return _nodes_making(others, lost, transient)


def make_plan(project: KedroProject, mistakes: Iterable[Mistake] = ()) -> ProjectPlan:
    """Plan a project.

    Args:
        project: The project, with its pipelines and its ``dagster.yml``.
        mistakes: What else is known to be wrong, to be told with all the rest.

    Returns:
        The plan.

    Raises:
        DagsterConfigError: With every mistake in ``dagster.yml`` and in the catalog entries of
            the datasets it leads to.
    """
    mistakes = [*project.mistakes, *mistakes, *_undefined_names(project)]
    pipelines: dict[str, Pipeline] = {}
    for name, options in project.config.jobs.items():
        selection = _select(project, name, options.pipeline)
        if isinstance(selection, Pipeline):
            pipelines[name] = selection
        else:
            mistakes += selection
    datasets, faults = _plan_datasets(project, pipelines.values())
    mistakes += faults
    groups: dict[str, list[Nodes]] = {}
    for name, pipeline in pipelines.items():
        groups[name] = _group(project.config.jobs[name], pipeline, datasets)
        if cycle := _find_cycle(_group_graph(groups[name])):
            mistakes.append(project.mistake(("jobs", name, "group_by"), _cycle_message(cycle)))
    if mistakes:
        raise DagsterConfigError(mistakes)

    drafts = _Drafts()
    job_drafts = {name: _draft_job(name, groups[name], datasets, drafts) for name in pipelines}
    asset_drafts = _draft_asset_steps(pipelines, datasets, drafts)
    names = drafts.names(reserved=project.config.jobs)
    jobs = {
        name: JobPlan(
            name,
            project.config.jobs[name],
            pipelines[name],
            tuple(draft.named(names) for draft in job_drafts[name]),
        )
        for name in pipelines
    }
    asset_steps = {
        names[draft.key]: AssetStepPlan(
            draft.named(names), upstream, _transient_between(draft.nodes, datasets)
        )
        for draft, upstream in asset_drafts
    }
    made = {name for asset_step in asset_steps.values() for name in asset_step.upstream}
    return ProjectPlan(
        project=project,
        datasets=datasets,
        jobs=jobs,
        asset_steps=asset_steps,
        external=tuple(
            name for name, dataset in datasets.items() if dataset.persisted and name not in made
        ),
        parameters=flatten_parameters(project.parameters),
    )


def is_parameter(name: str) -> bool:
    """Whether a node's input is a parameter: ``parameters`` or ``params:...``."""
    return name == "parameters" or name.startswith("params:")


def data_inputs(node: Node) -> Iterator[str]:
    """The datasets a node reads, parameters left out and transcoded names as one."""
    return (strip_transcoding(name) for name in node.inputs if not is_parameter(name))


def data_outputs(node: Node) -> Iterator[str]:
    """The datasets a node writes, transcoded names as one."""
    return map(strip_transcoding, node.outputs)


def flatten_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Name each parameter, at every depth, as node inputs do.

    Args:
        parameters: The parameters as ``parameters.yml`` gives them.

    Returns:
        The value of ``parameters`` and of each ``params:`` name.
    """
    flat: dict[str, Any] = {"parameters": parameters}

    def add(path: str, value: Any) -> None:
        flat[f"params:{path}"] = value
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{path}.{key}", inner)

    for key, value in parameters.items():
        add(str(key), value)
    return flat


def _nodes_making(nodes: Sequence[Node], wanted: set[str], transient: frozenset[str]) -> Nodes:
    """Of nodes in order, those that make some datasets, by way of transient ones."""
    needed = []
    for node in reversed(nodes):
        if wanted.intersection(data_outputs(node)):
            needed.append(node)
            wanted.update(transient.intersection(data_inputs(node)))
    return tuple(reversed(needed))


def _undefined_names(project: KedroProject) -> Iterator[Mistake]:
    """Find the executors, schedules and loggers that jobs name and nobody defines."""
    config = project.config
    for job, options in config.jobs.items():
        references: list[tuple[str, str, Any, Mapping[str, Any]]] = [
            ("executor", "executors", options.executor, config.executors),
            ("schedule", "schedules", options.schedule, config.schedules),
            *(("loggers", "loggers", logger, config.loggers) for logger in options.loggers),
        ]
        for key, section, reference, defined in references:
            faulty = any(m.path[:2] == (section, reference) for m in project.mistakes)
            if isinstance(reference, str) and reference not in defined and not faulty:
                message = f"{reference!r} is not defined in '{section}'."
                yield project.mistake(
                    ("jobs", job, key), f"{message} {did_you_mean(reference, defined)}"
                )


# --- Which nodes a job runs ---------------------------------------------------------------------


def _select(project: KedroProject, job: str, options: PipelineOptions) -> Pipeline | list[Mistake]:
    """Sum and filter a job's pipelines as ``KedroSession.run`` does."""
    key = "pipeline_names" if options.pipeline_names else "pipeline_name"
    unknown = [
        project.mistake(("jobs", job, "pipeline", key), _unknown_pipeline(project, name))
        for name in options.names
        if name not in project.pipelines
    ]
    if unknown:
        return unknown
    pipeline = project.pipelines[options.names[0]]
    if len(options.names) > 1:
        pipeline = sum((project.pipelines[name] for name in options.names), Pipeline([]))
    filters = {key: value for key, value in options.filters.items() if value}
    mistakes = [
        project.mistake(("jobs", job, "pipeline", key), f"{value!r} is not in the pipeline. {hint}")
        for key, values in filters.items()
        for value, hint in _unknown_values(pipeline, key, values)
    ]
    if mistakes:
        return mistakes
    if filters:
        try:
            pipeline = pipeline.filter(**filters)
        except ValueError as error:
            return [project.mistake(("jobs", job, "pipeline"), f"selects no node: {error}")]
    if not pipeline.nodes:
        message = f"selects no node: pipeline {' + '.join(options.names)} is empty."
        return [project.mistake(("jobs", job, "pipeline"), message)]
    return pipeline


def _unknown_pipeline(project: KedroProject, name: str) -> str:
    for module, reason in project.import_failures.items():
        if module.rpartition(".")[2] == name:
            return f"pipeline {name!r} is not registered: module {module} fails on import: {reason}"
    return f"pipeline {name!r} is not registered. {did_you_mean(name, project.pipelines)}"


def _unknown_values(
    pipeline: Pipeline, key: str, values: Iterable[str]
) -> Iterator[tuple[str, str]]:
    def datasets() -> set[str]:
        return pipeline.datasets() | set(map(strip_transcoding, pipeline.datasets()))

    known: dict[str, Callable[[], Iterable[str]]] = {
        "tags": lambda: {tag for node in pipeline.nodes for tag in node.tags},
        "node_namespaces": lambda: {
            prefix for node in pipeline.nodes for prefix in node.namespace_prefixes if prefix
        },
        "from_inputs": datasets,
        "to_outputs": datasets,
    }
    allowed = set(known.get(key, lambda: [node.name for node in pipeline.nodes])())
    for value in values:
        if value not in allowed:
            yield value, did_you_mean(value, allowed)


# --- What its datasets are ----------------------------------------------------------------------


def _plan_datasets(
    project: KedroProject, pipelines: Iterable[Pipeline]
) -> tuple[dict[str, DatasetPlan], list[Mistake]]:
    """Look every dataset up in the catalog's configuration; import each class once."""
    variants: dict[str, set[str]] = defaultdict(set)
    for pipeline in pipelines:
        for name in pipeline.datasets():
            if not is_parameter(name):
                variants[strip_transcoding(name)].add(name)
    identifiers = unique_names(variants, format_dataset_name)
    transience = functools.lru_cache(maxsize=None)(_is_transient_type)
    plans, mistakes = {}, []
    for name in sorted(variants):
        entries = {
            variant: dict(project.catalog.resolve_pattern(variant))
            for variant in sorted(variants[name])
        }
        try:
            order = sorted(entries, key=lambda variant: _is_transient(entries[variant], transience))
            persisted = not _is_transient(entries[order[0]], transience)
        except DatasetError as error:
            mistakes.append(Mistake("catalog.yml", (name, "type"), str(error)))
            continue
        entry = entries[order[0]]
        plans[name] = DatasetPlan(
            name=name,
            identifier=identifiers[name],
            persisted=persisted,
            variants=tuple(order),
            type=str(entry.get("type")),
            versioned=bool(entry.get("versioned")),
            metadata=entry.get("metadata") or {},
        )
    return plans, mistakes


def _is_transient(entry: Mapping[str, Any], of_type: Callable[[str], bool | None]) -> bool:
    kind = entry.get("type")
    if not isinstance(kind, str):
        kind = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)
    transient = of_type(kind)
    if transient is None:  # a CachedDataset is what it wraps
        wrapped = entry.get("dataset")
        return _is_transient(wrapped if isinstance(wrapped, dict) else {"type": wrapped}, of_type)
    return transient


def _is_transient_type(type_name: str) -> bool | None:
    dataset_class = kedro_internals.dataset_class(type_name)
    if issubclass(dataset_class, CachedDataset):
        return None
    return issubclass(dataset_class, (MemoryDataset, SharedMemoryDataset))


# --- Which nodes share a step -------------------------------------------------------------------


def _group(
    options: JobOptions, pipeline: Pipeline, datasets: Mapping[str, DatasetPlan]
) -> list[Nodes]:
    nodes = pipeline.nodes
    if options.group_by == "pipeline":
        return [tuple(nodes)]
    if options.group_by == "namespace":
        by_name = {node.name: node for node in nodes}
        groups = pipeline.group_nodes_by("namespace")
        return [tuple(by_name[name] for name in group.nodes) for group in groups]
    if options.group_by == "memory":
        return _tie(nodes, datasets)
    return [(node,) for node in nodes]


def _tie(nodes: Sequence[Node], datasets: Mapping[str, DatasetPlan]) -> list[Nodes]:
    """Put nodes between which a transient dataset is passed into one group."""
    parent = list(range(len(nodes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    producer = {name: index for index, node in enumerate(nodes) for name in data_outputs(node)}
    for index, node in enumerate(nodes):
        for name in data_inputs(node):
            if name in producer and not _persisted(datasets, name):
                first, second = sorted((root(index), root(producer[name])))
                parent[second] = first
    groups: dict[int, list[Node]] = defaultdict(list)
    for index, node in enumerate(nodes):
        groups[root(index)].append(node)
    return [tuple(group) for group in groups.values()]


def _persisted(datasets: Mapping[str, DatasetPlan], name: str) -> bool:
    return name in datasets and datasets[name].persisted


def _group_graph(groups: Sequence[Nodes]) -> dict[Nodes, set[Nodes]]:
    """For each group, the groups it reads from."""
    producer = {name: group for group in groups for node in group for name in data_outputs(node)}
    return {
        group: {
            producer[name]
            for node in group
            for name in data_inputs(node)
            if name in producer and producer[name] is not group
        }
        for group in groups
    }


def _find_cycle(graph: Mapping[Any, Iterable[Any]]) -> list[Any]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _cycle_message(cycle: Sequence[Nodes]) -> str:
    path = " -> ".join("+".join(node.name for node in group) for group in cycle)
    return (
        f"this grouping makes steps wait for each other: {path}. Group by 'pipeline', or leave "
        "group_by out."
    )


def _label(nodes: Nodes) -> str:
    """A name for a group of nodes: the node's, the namespace they share, or first to last."""
    if len(nodes) == 1:
        return str(nodes[0].name)
    namespaces = {(node.namespace or "").split(".")[0] for node in nodes}
    if len(namespaces) == 1 and (shared := namespaces.pop()):
        return shared
    return f"{nodes[0].name}_to_{nodes[-1].name}"


# --- Steps, before they have names --------------------------------------------------------------


@dataclass(frozen=True)
class _Draft:
    """A step without its name: jobs that run the same nodes in the same way share one."""

    key: Hashable
    nodes: Nodes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def named(self, names: Mapping[Hashable, str]) -> StepPlan:
        return StepPlan(names[self.key], self.nodes, self.inputs, self.outputs)


class _Drafts:
    """Collects steps, and gives each a name that no other one has."""

    def __init__(self) -> None:
        self._labels: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def add(
        self, nodes: Nodes, outputs: tuple[str, ...], where: str, assets: bool = False
    ) -> _Draft:
        made = {name for node in nodes for name in data_outputs(node)}
        read = (name for node in nodes for name in data_inputs(node) if name not in made)
        key = (tuple((node, _function_key(node.func)) for node in nodes), outputs, assets)
        if key not in self._labels:
            label = f"{_label(nodes)}.assets" if assets else _label(nodes)
            if label in self._taken:
                label = f"{label}.{where}"
            self._labels[key] = label
            self._taken.add(label)
        return _Draft(key, nodes, tuple(dict.fromkeys(read)), outputs)

    def names(self, reserved: Iterable[str]) -> dict[Hashable, str]:
        """Name all steps; in Dagster, an op cannot be called as a job is."""
        table = unique_names(self._labels.values(), format_node_name, reserved)
        return {key: table[label] for key, label in self._labels.items()}


def _function_key(function: Any) -> Hashable:
    """Tell functions apart: two nodes may be equal to Kedro and run different code."""
    if isinstance(function, functools.partial):
        return (
            _function_key(function.func),
            repr(function.args),
            repr(sorted(function.keywords.items())),
        )
    code: Hashable = getattr(function, "__code__", None)
    return code if code is not None and not function.__closure__ else id(function)


def _draft_job(
    name: str,
    groups: Sequence[Nodes],
    datasets: Mapping[str, DatasetPlan],
    drafts: _Drafts,
) -> list[_Draft]:
    readers: dict[str, set[int]] = defaultdict(set)
    for index, group in enumerate(groups):
        for node in group:
            for read in data_inputs(node):
                readers[read].add(index)
    steps = []
    for index, group in enumerate(groups):
        outputs = tuple(
            dict.fromkeys(
                output
                for node in group
                for output in data_outputs(node)
                if datasets[output].persisted or readers[output] != {index}
            )
        )
        steps.append(drafts.add(group, outputs, name))
    return steps


# --- Who makes each asset -----------------------------------------------------------------------


def _draft_asset_steps(
    pipelines: Mapping[str, Pipeline], datasets: Mapping[str, DatasetPlan], drafts: _Drafts
) -> list[tuple[_Draft, dict[str, tuple[str, ...]]]]:
    """Find the step that makes each asset; where several pipelines do, the largest has the say."""
    made: set[str] = set()
    steps: list[tuple[_Draft, dict[str, tuple[str, ...]]]] = []
    for name, pipeline in sorted(pipelines.items(), key=lambda item: -len(item[1].nodes)):
        if made.issuperset(map(strip_transcoding, pipeline.all_outputs())):
            continue
        for group in _acyclic(_tie(pipeline.nodes, datasets), pipeline.nodes):
            upstream = {
                asset: sources
                for asset, sources in _upstream(group, datasets).items()
                if asset not in made
            }
            if upstream:
                made.update(upstream)
                steps.append((drafts.add(group, tuple(upstream), name, assets=True), upstream))
    return _without_cycles(steps)


def _without_cycles(
    steps: list[tuple[_Draft, dict[str, tuple[str, ...]]]],
) -> list[tuple[_Draft, dict[str, tuple[str, ...]]]]:
    """Leave out the steps by which an asset would depend on itself.

    One pipeline may read what another writes and the other way round, as long as they are two
    jobs; assets cannot, so those of the smaller pipeline are only recorded when its job runs.
    """
    while True:
        maker = {asset: index for index, (_, upstream) in enumerate(steps) for asset in upstream}
        graph = {
            index: {
                maker[source]
                for sources in upstream.values()
                for source in sources
                if maker.get(source, index) != index
            }
            for index, (_, upstream) in enumerate(steps)
        }
        cycle = _find_cycle(graph)
        if not cycle:
            return steps
        del steps[max(cycle)]


def _acyclic(groups: list[Nodes], order: Sequence[Node]) -> list[Nodes]:
    """Join groups that wait for each other: a step cannot wait for its own middle."""
    position = {node: index for index, node in enumerate(order)}
    while cycle := _find_cycle(_group_graph(groups)):
        members = set(cycle)
        joined = sorted((node for group in members for node in group), key=position.__getitem__)
        groups = [group for group in groups if group not in members]
        groups.append(tuple(joined))
    return groups


def _transient_between(nodes: Nodes, datasets: Mapping[str, DatasetPlan]) -> frozenset[str]:
    made = (name for node in nodes for name in data_outputs(node))
    return frozenset(name for name in made if not datasets[name].persisted)


def _upstream(group: Nodes, datasets: Mapping[str, DatasetPlan]) -> dict[str, tuple[str, ...]]:
    """For each asset a group makes, the persisted datasets it is made from."""
    sources: dict[str, dict[str, None]] = {}
    assets: dict[str, tuple[str, ...]] = {}
    for node in group:
        read: dict[str, None] = {}
        for name in data_inputs(node):
            read.update({name: None} if datasets[name].persisted else sources.get(name, {}))
        for name in data_outputs(node):
            sources[name] = read
            if datasets[name].persisted:
                assets[name] = tuple(read)
    return assets
