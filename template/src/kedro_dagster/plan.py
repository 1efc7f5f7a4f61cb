"""Plan how a Kedro project runs in Dagster: which steps there are, and what each one needs.

Of Kedro's objects a plan holds only nodes and pipelines, and of Dagster's only partitions and
their mappings. It is made by pure functions, in time linear in nodes, datasets and keys.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.instance import DynamicPartitionsStore
from kedro.io import CachedDataset, DatasetError, MemoryDataset, SharedMemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from . import kedro_internals
from .config import JobOptions, KeyPath, PipelineOptions
from .errors import DagsterConfigError, Mistake, did_you_mean
from .kedro_internals import strip_transcoding
from .partitions import (
    Partitioning,
    Scope,
    all_keys,
    check_mapping,
    read_partitioning,
    typed_keys,
    upstream_keys,
)
from .project import KedroProject
from .utils import format_dataset_name, format_node_name, unique_names

Nodes: TypeAlias = tuple[Node, ...]


class DatasetKind(Enum):
    """What becomes of a dataset's data."""

    PERSISTED = "persisted"
    TRANSIENT = "transient"
    PARTITIONED = "partitioned"
    NOTHING = "nothing"


@dataclass(frozen=True)
class DatasetPlan:
    """A Kedro dataset that nodes of the project read or write; transcoded names are one.

    Args:
        name: Its name in Kedro.
        identifier: Its name where Dagster wants an identifier: inputs and outputs of ops.
        kind: What becomes of its data.
        variants: Its names with their transcoding, the persisted ones first.
        type: The ``type`` of its catalog entry.
        versioned: Whether each run saves a version of its own.
        metadata: The ``metadata`` of its catalog entry.
        partitioning: Its partitions and their mappings, where it has any.
    """

    name: str
    identifier: str
    kind: DatasetKind
    variants: tuple[str, ...]
    type: str
    versioned: bool
    metadata: Mapping[str, Any]
    partitioning: Partitioning | None = None

    @property
    def persisted(self) -> bool:
        """Whether it is an asset, rather than a value in memory."""
        return self.kind is not DatasetKind.TRANSIENT

    @property
    def asset_key(self) -> list[str]:
        """The path of its asset: the name split on dots."""
        return self.name.split(".")


@dataclass(frozen=True)
class StepPlan:
    """One or more nodes that run together, in one process and in order.

    Args:
        name: The name of the op.
        nodes: The nodes, in the order they run; none where it just waits for the steps that give
            a nothing dataset, one for each partition key.
        inputs: Datasets that come from outside of the step.
        outputs: Datasets that the step gives to others, or leaves behind.
        scopes: The partitions it may touch, by dataset, where they are known before the run.
        keys: The partition keys it is one of the steps for, in a job that fans out.
    """

    name: str
    nodes: Nodes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

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
        partitioning: The partitions of which a run takes one; ``None`` where a run takes all.
    """

    name: str
    options: JobOptions
    pipeline: Pipeline
    steps: tuple[StepPlan, ...]
    partitioning: Partitioning | None = None

    @functools.cached_property
    def _producers(self) -> Mapping[str, Mapping[str | None, list[StepPlan]]]:
        """The steps that give each dataset, by partition key, or ``None`` for all of it.

        Those that another step without nodes waits for stand at the name with a slash.
        """
        found: dict[str, dict[str | None, list[StepPlan]]] = {}
        for step in self.steps:
            for name in step.outputs:
                if not step.nodes:
                    found[f"/{name}"] = found.pop(name)
                scope = step.scopes.get(name)
                for key in scope.keys if scope else (None,):
                    found.setdefault(name, {}).setdefault(key, []).append(step)
        return found

    def producers(self, step: StepPlan, name: str) -> list[StepPlan]:
        """The steps that give a step one of its inputs: for each partition key, the one it needs.

        Args:
            step: The step.
            name: The dataset.

        Returns:
            The steps, each once; none where the dataset comes from outside of the job.
        """
        by_key = self._producers.get(name if step.nodes else f"/{name}", {})
        scope = step.scopes.get(name)
        keys: Iterable[str | None] = by_key if scope is None else (*scope.keys, None)
        return list({id(one): one for key in keys for one in by_key.get(key, ())}.values())


@dataclass(frozen=True)
class AssetStepPlan:
    """A step of the asset layer: all nodes between which values are passed in memory.

    Args:
        step: The nodes; its outputs are the assets.
        upstream: For each asset, the datasets it is made from.
        transient: Datasets passed between the nodes in memory.
        partitioning: The partitions of the assets, where they have any.
    """

    step: StepPlan
    upstream: Mapping[str, tuple[str, ...]]
    transient: frozenset[str]
    partitioning: Partitioning | None = None

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
    misfits = [] if faults else list(_faulty_mappings(project, pipelines.values(), datasets))
    mistakes += misfits
    steps, jobs = _Steps(), {}
    for name, pipeline in pipelines.items():
        options = project.config.jobs[name]
        groups = _group(options, pipeline, datasets)
        if cycle := _find_cycle(_group_graph(groups)):
            mistakes.append(project.mistake(("jobs", name, "group_by"), _cycle_message(cycle)))
        if faults or misfits:
            continue  # what a step is depends on what its datasets are
        try:
            partitioning, fans_out = _job_partitioning(options, pipeline, datasets)
            found = _job_steps(name, groups, datasets, steps, fans_out)
        except ValueError as error:
            mistakes.append(project.mistake(("jobs", name, "pipeline"), str(error)))
            continue
        jobs[name] = JobPlan(name, options, pipeline, tuple(found), partitioning)
    if not faults:
        mistakes += _faulty_sensors(project, datasets, jobs)
    if mistakes:
        raise DagsterConfigError(mistakes)

    asset_plans = _plan_asset_steps(pipelines, datasets, steps)
    names = steps.names(reserved=jobs)

    def named(step: StepPlan) -> StepPlan:
        return replace(step, name=names[step.name])

    jobs = {name: replace(job, steps=tuple(map(named, job.steps))) for name, job in jobs.items()}
    asset_steps = {
        names[plan.step.name]: replace(plan, step=named(plan.step)) for plan in asset_plans
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


def _faulty_mappings(
    project: KedroProject, pipelines: Iterable[Pipeline], datasets: Mapping[str, DatasetPlan]
) -> Iterator[Mistake]:
    """Find the partition mappings to datasets that are not there, or that do not fit."""
    pairs = {
        (read, written): None
        for pipeline in pipelines
        for node in pipeline.nodes
        for read in _partitioned(data_inputs(node), datasets)
        for written in _partitioned(data_outputs(node), datasets)
    }
    partitioned = _partitioned(datasets, datasets)
    for name, partitioning in partitioned.items():
        for target in partitioning.mappings:
            if "{" in target:
                continue
            if target in partitioned:
                pairs[name, target] = None
                continue
            place, variant = ("partition_mappings", target), datasets[name].variants[0]
            if target in datasets:
                message = f"{target!r} is not partitioned."
                yield project.catalog_mistake(variant, place, message)
            elif target not in project.catalog.config:
                message = f"there is no dataset {target!r}. {did_you_mean(target, datasets)}"
                yield project.catalog_mistake(variant, place, message)
    for name, target in pairs:
        try:
            check_mapping(partitioned[name], partitioned[target], target)
        except ValueError as error:
            variant = datasets[name].variants[0]
            yield project.catalog_mistake(variant, ("partition_mappings",), str(error))


def _faulty_sensors(
    project: KedroProject, datasets: Mapping[str, DatasetPlan], jobs: Mapping[str, JobPlan]
) -> Iterator[Mistake]:
    """Find the sensors whose dataset or job does not take new partitions."""
    for name, options in project.config.sensors.items():
        partitioning = _partitioned({options.dataset} & datasets.keys(), datasets)
        definition = partitioning[options.dataset].definition if partitioning else None
        job = jobs.get(options.job)
        if options.job not in project.config.jobs:
            message = f"{options.job!r} is not defined in 'jobs'."
            hint = did_you_mean(options.job, project.config.jobs)
            yield project.mistake(("sensors", name, "job"), f"{message} {hint}")
        if not isinstance(definition, dg.DynamicPartitionsDefinition):
            dynamic = [
                other
                for other, one in _partitioned(datasets, datasets).items()
                if isinstance(one.definition, dg.DynamicPartitionsDefinition)
            ]
            message = f"{options.dataset!r} is no dataset of a job with dynamic partitions."
            hint = did_you_mean(options.dataset, dynamic)
            yield project.mistake(("sensors", name, "dataset"), f"{message} {hint}")
        elif job and (job.partitioning is None or job.partitioning.definition != definition):
            message = f"job {options.job!r} does not run one partition of {options.dataset!r}."
            yield project.mistake(("sensors", name, "job"), message)


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
    kind_of = functools.lru_cache(maxsize=None)(_kind_of_type)
    plans, mistakes = {}, []
    for name in sorted(variants):
        entries = {
            variant: dict(project.catalog.resolve_pattern(variant))
            for variant in sorted(variants[name])
        }
        try:
            kinds = {variant: _kind(entry, kind_of) for variant, entry in entries.items()}
            variant, *others = sorted(entries, key=lambda v: kinds[v] is DatasetKind.TRANSIENT)
            partitioning = None
            if kinds[variant] is DatasetKind.PARTITIONED:
                partitioning = read_partitioning(_uncached(entries[variant]))
        except DatasetError as error:
            message = _type_fault(entries[min(entries)].get("type"), error)
            mistakes.append(project.catalog_mistake(min(entries), ("type",), message))
            continue
        except ValueError as error:
            place, _, message = str(error).partition(": ")
            mistakes.append(project.catalog_mistake(min(entries), (place,), message))
            continue
        entry = entries[variant]
        mistakes += [
            project.catalog_mistake(variant, ("metadata", *keys), message)
            for keys, message in _metadata_faults(entry.get("metadata"))
        ]
        plans[name] = DatasetPlan(
            name=name,
            identifier=identifiers[name],
            kind=kinds[variant],
            variants=(variant, *others),
            type=str(entry.get("type")),
            versioned=bool(entry.get("versioned")),
            metadata=metadata if isinstance(metadata := entry.get("metadata"), Mapping) else {},
            partitioning=partitioning,
        )
    return plans, mistakes


def _type_fault(name: Any, error: DatasetError) -> str:
    if name is None:
        return "this key is required."
    return f"{name!r} cannot be imported: {str(error).splitlines()[0].rstrip(':')}"


_GROUP_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")


def _metadata_faults(metadata: Any) -> Iterator[tuple[KeyPath, str]]:
    """Find what Dagster would refuse in the ``metadata`` of a catalog entry."""
    if not isinstance(metadata, Mapping):
        if metadata is not None:
            yield (), f"{metadata!r} is not valid here. Write keys with values."
        return
    description, group = metadata.get("description"), metadata.get("group_name")
    if description is not None and not isinstance(description, str):
        yield ("description",), f"{description!r} is no text. Write it in quotes."
    if group is not None and not (isinstance(group, str) and _GROUP_NAME.fullmatch(group)):
        yield ("group_name",), f"{group!r} is no group name: use letters, digits and underscores."


def _kind(entry: Mapping[str, Any], kind_of: Callable[[str], DatasetKind | None]) -> DatasetKind:
    name = entry.get("type")
    if isinstance(name, type):
        name = f"{name.__module__}.{name.__qualname__}"
    kind = kind_of(str(name))
    if kind is None:  # a CachedDataset is what it wraps
        wrapped = entry.get("dataset")
        return _kind(wrapped if isinstance(wrapped, dict) else {"type": wrapped}, kind_of)
    return kind


def _uncached(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of a partitioned dataset, where it stands inside that of a CachedDataset."""
    wrapped = entry.get("dataset")
    return wrapped if isinstance(wrapped, Mapping) and "partition" in wrapped else entry


def _kind_of_type(type_name: str) -> DatasetKind | None:
    dataset_class = kedro_internals.dataset_class(type_name)
    if issubclass(dataset_class, CachedDataset):
        return None
    if issubclass(dataset_class, (MemoryDataset, SharedMemoryDataset)):
        return DatasetKind.TRANSIENT
    return DatasetKind(getattr(dataset_class, "dagster_kind", "persisted"))


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


# --- Steps and their names ----------------------------------------------------------------------


class _Steps:
    """Makes steps, and gives each a name that no other one has.

    Jobs that run the same nodes in the same way share a step, and so an op.
    """

    def __init__(self) -> None:
        self._labels: dict[Hashable, str] = {}
        self._forms: dict[str, str] = {}

    def add(
        self,
        nodes: Nodes,
        outputs: tuple[str, ...],
        where: str,
        *,
        scopes: Mapping[str, Scope] | None = None,
        keys: tuple[str, ...] = (),
        assets: bool = False,
    ) -> StepPlan:
        """Make a step, which goes by its label until all :meth:`names` are known."""
        made = {name for node in nodes for name in data_outputs(node)}
        read = (name for node in nodes for name in data_inputs(node) if name not in made)
        scopes = scopes or {}
        functions = tuple((node, _function_key(node.func)) for node in nodes)
        identity = (functions, outputs, tuple(scopes.items()), assets)
        if identity not in self._labels:
            label = _label(nodes)
            parts = [format_node_name(label), *(re.sub("[^A-Za-z0-9_]", "_", key) for key in keys)]
            if assets:
                parts.append("assets")
            label = "/".join((label, *keys, *parts[len(keys) + 1 :]))
            while label in self._forms:
                label, parts = f"{label}/{where}", [*parts, where]
            self._labels[identity], self._forms[label] = label, "__".join(parts)
        return StepPlan(
            self._labels[identity], nodes, tuple(dict.fromkeys(read)), outputs, scopes, keys
        )

    def gather(self, name: str) -> StepPlan:
        """Make the step that ends when all steps that give a nothing dataset have."""
        label = f"/{name}"  # which no node is called
        self._forms[label] = f"{format_dataset_name(name)}__all"
        return StepPlan(label, (), (name,), (name,))

    def names(self, reserved: Iterable[str]) -> Mapping[str, str]:
        """The names of all steps by label; in Dagster, an op cannot be called as a job is."""
        return unique_names(self._forms, self._forms.__getitem__, reserved)


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


def _job_steps(
    name: str,
    groups: Sequence[Nodes],
    datasets: Mapping[str, DatasetPlan],
    steps: _Steps,
    fans_out: bool,
) -> list[StepPlan]:
    readers: dict[str, set[int]] = defaultdict(set)
    for index, group in enumerate(groups):
        for node in group:
            for read in data_inputs(node):
                readers[read].add(index)
    found = []
    for index, group in enumerate(groups):
        outputs = tuple(
            dict.fromkeys(
                output
                for node in group
                for output in data_outputs(node)
                if datasets[output].persisted or readers[output] != {index}
            )
        )
        fan = _fan_out(group, datasets) if fans_out else [((), {})]
        for keys, scopes in fan:
            found.append(steps.add(group, outputs, name, scopes=scopes, keys=keys))
        if fan[0][0]:
            nothing = (one for one in outputs if datasets[one].kind is DatasetKind.NOTHING)
            found += map(steps.gather, nothing)
    return found


# --- Partitions ---------------------------------------------------------------------------------


def _partitioned(
    names: Iterable[str], datasets: Mapping[str, DatasetPlan]
) -> dict[str, Partitioning]:
    partitionings = ((name, datasets[name].partitioning) for name in names)
    return {name: partitioning for name, partitioning in partitionings if partitioning}


def _leader(node: Node, datasets: Mapping[str, DatasetPlan]) -> tuple[str, Partitioning] | None:
    """The dataset whose partitions a node runs for, one at a time; none where it wants them all.

    It is one that the node writes, or one that it reads where it writes no data.

    Raises:
        ValueError: The node's outputs have no partitions in common.
    """
    written = _partitioned(data_outputs(node), datasets)
    data = [
        name
        for name in data_outputs(node)
        if name not in written and datasets[name].kind is not DatasetKind.NOTHING
    ]
    if written:
        first = next(iter(written))
        other = [name for name in written if written[name].definition != written[first].definition]
        if data or other:
            raise ValueError(
                f"node {node.name!r} writes {first!r} and {(data + other)[0]!r}, which do not "
                "have the same partitions. Make two nodes of it."
            )
        return first, written[first]
    read = _partitioned(data_inputs(node), datasets)
    first = next(iter(read), "")
    if data or any(other.definition != read[first].definition for other in read.values()):
        return None
    return (first, read[first]) if read else None


def scopes_of(
    node: Node,
    datasets: Mapping[str, DatasetPlan],
    keys: Sequence[str],
    store: DynamicPartitionsStore | None = None,
) -> dict[str, Scope]:
    """Find the partitions that a node may touch when it runs for some partition keys.

    Args:
        node: The node.
        datasets: The datasets of the project.
        keys: Keys of the partitions that it writes, or that it reads if it writes no data; none
            for all that it reads.
        store: The Dagster instance, which knows dynamic keys.

    Returns:
        The partitions, by dataset.

    Raises:
        ValueError: A mapping does not fit its datasets.
    """
    written = _partitioned(data_outputs(node), datasets)
    if written and not keys:
        raise ValueError(
            f"node {node.name!r} runs for one partition at a time: give the run a partition key."
        )
    leader = _leader(node, datasets)
    keys = typed_keys(leader[1].definition, keys) if leader else ()
    scopes = dict.fromkeys(written, Scope(keys))
    for name, partitioning in _partitioned(data_inputs(node), datasets).items():
        mappings = {target: partitioning.mapping_to(target) for target in written}
        wants_all = any(isinstance(one, dg.AllPartitionMapping) for one in mappings.values())
        if wants_all or not keys:
            everything = all_keys(partitioning.definition, store)
            scopes[name] = Scope(everything, optional=not partitioning.is_static)
        elif not written:
            scopes[name] = Scope(keys)
        else:
            found: dict[str, None] = {}
            targets = {id(mapping): target for target, mapping in mappings.items()}
            for target in targets.values():
                try:
                    of_target = upstream_keys(partitioning, written[target], target, keys, store)
                except ValueError as error:
                    raise ValueError(f"dataset {name!r}, for {target!r}: {error}") from error
                found.update(dict.fromkeys(of_target))
            scopes[name] = Scope(tuple(found))
    return scopes


def steps_for_keys(job: JobPlan, wanted: Any) -> frozenset[str]:
    """Find the steps of a job that fans out which some partition keys concern.

    Args:
        job: The job.
        wanted: Keys, or the ``start`` and the ``end`` of a range of keys.

    Returns:
        Names of steps: those for these keys, those of other partitions that are made from them
        or that they are made from, and those that are for no key at all.

    Raises:
        ValueError: The job has no such key, or this is neither of the two.
    """
    chosen = _chosen_keys(job, wanted)
    sources = {
        step.name: [
            one.name for name in step.inputs for one in job.producers(step, name) if one.keys
        ]
        for step in job.steps
    }
    concerned = {step.name for step in job.steps if not step.keys}
    keyed = [step for step in job.steps if step.keys]
    concerned.update(step.name for step in keyed if step.keys[0] in chosen[step.nodes])
    others = dict.fromkeys(step.name for step in keyed if not chosen[step.nodes])
    reached = {step.name for step in keyed} & concerned
    for name in others:  # what is made from the chosen partitions
        if reached.intersection(sources[name]):
            reached.add(name)
    for step in reversed(keyed):  # and what these are made from
        if step.name in reached:
            reached.update(others.keys() & sources[step.name])
    return frozenset(concerned | reached)


def _chosen_keys(job: JobPlan, wanted: Any) -> dict[Nodes, set[str]]:
    """By nodes, the partition keys of theirs that are wanted."""
    is_range = isinstance(wanted, Mapping) and wanted.keys() == {"start", "end"}
    if not is_range and not (isinstance(wanted, Sequence) and wanted):
        raise ValueError(
            f"partition_keys: give a list of keys, or {{start: ..., end: ...}}, not {wanted!r}."
        )
    given = (wanted["start"], wanted["end"]) if is_range else wanted
    asked = (given,) if isinstance(given, str) else tuple(map(str, given))
    keys_of: dict[Nodes, list[str]] = defaultdict(list)
    for step in job.steps:
        keys_of[step.nodes].extend(step.keys)
        if not step.keys and step.scopes.keys() & set(step.outputs):
            raise ValueError(
                f"partition_keys: step {step.name!r} of job {job.name!r} runs several nodes for "
                "all partitions at once. Leave out 'group_by'."
            )
    known = {key for keys in keys_of.values() for key in keys}
    for key in asked:
        if key not in known:
            raise ValueError(
                f"partition_keys: job {job.name!r} has no partition {key!r}. "
                f"{did_you_mean(key, known)}"
            )
    if not is_range:
        return {nodes: set(asked).intersection(keys) for nodes, keys in keys_of.items()}
    start, end = asked
    chosen = {
        nodes: set(keys[keys.index(start) : keys.index(end) + 1])
        for nodes, keys in keys_of.items()
        if {start, end} <= set(keys)
    }
    if not any(chosen.values()):
        raise ValueError(
            f"partition_keys: no dataset of job {job.name!r} has partitions from {start!r} to "
            f"{end!r}."
        )
    return {nodes: chosen.get(nodes, set()) for nodes in keys_of}


def _fan_out(
    group: Nodes, datasets: Mapping[str, DatasetPlan]
) -> list[tuple[tuple[str, ...], dict[str, Scope]]]:
    """The steps of a group of nodes: one for each partition key, or one for all."""
    if len(group) > 1:
        names = (name for node in group for name in (*data_inputs(node), *data_outputs(node)))
        whole = _partitioned(names, datasets).items()
        return [((), {name: Scope(all_keys(one.definition)) for name, one in whole})]
    (node,) = group
    leader = _leader(node, datasets)
    if leader is None:
        return [((), scopes_of(node, datasets, ()))]
    return [((key,), scopes_of(node, datasets, [key])) for key in all_keys(leader[1].definition)]


def _job_partitioning(
    options: JobOptions, pipeline: Pipeline, datasets: Mapping[str, DatasetPlan]
) -> tuple[Partitioning | None, bool]:
    """The partitions of which a run of a job takes one, and whether its nodes fan out instead.

    Raises:
        ValueError: The datasets of the job have partitions that one run cannot hold.
    """
    leaders = dict(filter(None, (_leader(node, datasets) for node in pipeline.nodes)))
    names = list(dict.fromkeys(map(strip_transcoding, sorted(pipeline.datasets()))))
    involved = _partitioned((name for name in names if name in datasets), datasets)
    if options.partitions == "fan_out":
        for name, partitioning in involved.items():
            if not partitioning.is_static:
                raise ValueError(
                    f"'partitions: fan_out' wants all keys to be known beforehand, and those of "
                    f"{name!r} are not. Leave it out."
                )
        return None, True
    if options.partitions is None and all(one.fans_out for one in involved.values()):
        return None, True
    first = next(iter(leaders), "")
    for name, partitioning in leaders.items():
        if partitioning.definition != leaders[first].definition:
            raise ValueError(
                f"one run cannot hold the partitions of both {first!r} and {name!r}. Make a job "
                "for each, or, where all keys are static, 'partitions: fan_out'; or materialise "
                "the assets, with a backfill."
            )
    return leaders.get(first), False


# --- Who makes each asset -----------------------------------------------------------------------


def _plan_asset_steps(
    pipelines: Mapping[str, Pipeline], datasets: Mapping[str, DatasetPlan], steps: _Steps
) -> list[AssetStepPlan]:
    """Find the step that makes each asset; where several pipelines do, the largest has the say."""
    made: set[str] = set()
    found: list[AssetStepPlan] = []
    for name, pipeline in sorted(pipelines.items(), key=lambda item: -len(item[1].nodes)):
        if made.issuperset(map(strip_transcoding, pipeline.all_outputs())):
            continue
        for group in _acyclic(_tie(pipeline.nodes, datasets), pipeline.nodes):
            upstream = {
                asset: sources
                for asset, sources in _upstream(group, datasets).items()
                if asset not in made
            }
            transient = frozenset(
                output
                for node in group
                for output in data_outputs(node)
                if not datasets[output].persisted
            )
            made.update(upstream)
            for part in _same_partitions(upstream, datasets):
                step = steps.add(group, tuple(part), name, assets=True)
                partitioning = datasets[next(iter(part))].partitioning
                found.append(AssetStepPlan(step, part, transient, partitioning))
    return _without_cycles(found)


def _same_partitions(
    upstream: Mapping[str, tuple[str, ...]], datasets: Mapping[str, DatasetPlan]
) -> list[dict[str, tuple[str, ...]]]:
    """Divide assets, as one step of Dagster's has one kind of partitions."""
    parts: list[tuple[Any, dict[str, tuple[str, ...]]]] = []
    for asset, sources in upstream.items():
        partitioning = datasets[asset].partitioning
        definition = partitioning.definition if partitioning else None
        for other, part in parts:
            if other == definition:
                part[asset] = sources
                break
        else:
            parts.append((definition, {asset: sources}))
    return [part for _, part in parts]


def _without_cycles(steps: list[AssetStepPlan]) -> list[AssetStepPlan]:
    """Leave out the steps by which an asset would depend on itself.

    One pipeline may read what another writes and the other way round, as long as they are two
    jobs; assets cannot, so those of the smaller pipeline are only recorded when its job runs.
    """
    while True:
        maker = {asset: index for index, step in enumerate(steps) for asset in step.upstream}
        graph = {
            index: {
                maker[source]
                for sources in step.upstream.values()
                for source in sources
                if maker.get(source, index) != index
            }
            for index, step in enumerate(steps)
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
