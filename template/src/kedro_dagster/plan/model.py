"""What runs: the datasets, steps and jobs of a project, as plain data.

Of Kedro's objects a plan holds only nodes and pipelines, and of Dagster's only partitions, their
mappings, and what the catalog says of assets in Dagster's own words.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import dagster as dg
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..doors.kedro import strip_transcoding
from ..read import dagster_yml
from ..read.partition_entry import Partitioning
from ..read.partition_keys import PartitionScope
from ..read.source import ProjectSource
from ..read.step_words import StepWords
from .validators import CheckPlan

Nodes: TypeAlias = tuple[Node, ...]


class DatasetKind(Enum):
    """What becomes of the data of a dataset."""

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
        variants: Its names with their transcoding, the persisted ones first; none of a side
            effect, which is no dataset but the run of a node that no asset needs.
        type: The ``type`` of its catalog entry.
        versioned: Whether each run saves a version of its own.
        metadata: The ``metadata`` of its catalog entry.
        partitioning: Its partitions and their mappings, where it has any.
        stays: What its catalog entry says by which its value cannot leave its process.
        facts: Whether runs tell of its data.
        check: What is checked of its data, if anything is.
        kinds: At most three words for its format, its library and its storage.
        address: Where its data is: ``dagster/uri``, or ``dagster/table_name`` and
            ``dagster/storage_kind``.
        node: The node that makes it; without its function where only its outline is known.
        pipelines: The registered pipelines that have this node, the smallest first.
        group: The group of its asset, unless the entry names one: the namespace of the node, or
            else the smallest pipeline; where no node makes it, that of the nodes that read it.
        said: What the entry says of its asset below ``metadata: dagster:``.
        step_words: What it says there of the step that makes it, if it does.
    """

    name: str
    identifier: str
    kind: DatasetKind
    variants: tuple[str, ...] = ()
    type: str = ""
    versioned: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partitioning: Partitioning | None = None
    stays: str = ""
    facts: bool = False
    check: CheckPlan | None = None
    kinds: tuple[str, ...] = ()
    address: Mapping[str, str] = field(default_factory=dict)
    node: Node | None = None
    pipelines: tuple[str, ...] = ()
    group: str | None = None
    said: dg.AssetSpec | None = None
    step_words: StepWords | None = None

    @property
    def persisted(self) -> bool:
        """Whether it is an asset, rather than a value in memory."""
        return self.kind is not DatasetKind.TRANSIENT

    @property
    def asset(self) -> dg.AssetSpec:
        """Its asset, with nothing but its key and what the catalog entry says of it."""
        return self.said or dg.AssetSpec(self.name.split("."))


Datasets: TypeAlias = Mapping[str, DatasetPlan]


@dataclass(frozen=True)
class StepSettings:
    """What ``nodes:`` in ``dagster.yml`` says of a step; a tag that is no text is JSON."""

    retry_policy: dagster_yml.RetryOptions | None = None
    pool: str | None = None
    timeout: float | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StepPlan:
    """One or more nodes that run together, in one process and in order.

    Args:
        name: What it is called in its job, or among the assets.
        nodes: The nodes, in the order they run; none of a gather step, which only waits for the
            steps that give a nothing dataset, one for each partition key.
        inputs: Datasets that come from outside of the step.
        outputs: Datasets that the step gives to others, or leaves behind.
        scopes: The partitions it may touch, by dataset, where they are known before the run.
        keys: The partition keys it is one of the steps for, in a job that fans out.
        settings: How Dagster runs it.
        op: The name of its op. Each job has ops of its own: to Kedro, two nodes are equal that
            have one name and different functions.
    """

    name: str
    nodes: Nodes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scopes: Mapping[str, PartitionScope] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    settings: StepSettings = StepSettings()
    op: str = field(default="", compare=False)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that the nodes take."""
        names = (name for node in self.nodes for name in node.inputs if is_parameter(name))
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class PresetPlan:
    """Of which job another one is a preset, and what the config of its runs has."""

    job: str
    name: str
    run_options: Mapping[str, Any]


@dataclass(frozen=True)
class JobPlan:
    """A job: the steps of a filtered pipeline, or those that make assets.

    Args:
        name: The job's name.
        options: Which pipelines it is of, and by what they are filtered.
        pipeline: The pipeline it runs.
        steps: Its steps, in an order in which they could run.
        assets: The datasets that it makes as assets; none where its steps are ops of its own.
        select: Which of the assets it chooses, in Dagster's syntax.
        partitioning: The partitions of which a run takes one; ``None`` where a run takes all.
        whole: The names of the nodes that run once, with all partitions.
        executor: Its executor; ``None`` for that of the code location.
        runner: The Kedro runner of the nodes of each step; ``None`` where they run in order.
        only_missing_outputs: Whether its runs make what is missing only, as ``kedro run`` can.
        schedule: When it runs by itself.
        after: The other jobs after which it starts by itself.
        loggers: Its loggers, by the name they have in its run config.
        description: What the UI says of it.
        tags: Dagster tags of its runs.
        max_concurrent_runs: How many of its runs may go on at a time.
        when_busy: What becomes of another run: ``queue`` or ``skip``.
        pattern: The job factory that gives it, if one does.
        preset: Of which job it is a preset, if of any; it has the steps of that job.
    """

    name: str
    options: dagster_yml.PipelineOptions
    pipeline: Pipeline
    steps: tuple[StepPlan, ...]
    assets: tuple[str, ...] = ()
    select: str | None = None
    partitioning: Partitioning | None = None
    whole: frozenset[str] = frozenset()
    executor: dagster_yml.ExecutorOptions | None = None
    runner: dagster_yml.RunnerOptions | None = None
    only_missing_outputs: bool = False
    schedule: dagster_yml.ScheduleOptions | None = None
    after: tuple[dagster_yml.AfterOptions, ...] = ()
    loggers: Mapping[str, dagster_yml.LoggerOptions] = field(default_factory=dict)
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    max_concurrent_runs: int | None = None
    when_busy: str = "queue"
    pattern: str | None = None
    preset: PresetPlan | None = None

    @property
    def root(self) -> str:
        """The job whose steps and turns it has: itself, or the one of which it is a preset."""
        return self.preset.job if self.preset else self.name

    @functools.cached_property
    def _producers(self) -> Mapping[str, Mapping[str | None, list[StepPlan]]]:
        """The steps that give each dataset, by partition key, or ``None`` for all of it.

        The steps that a gather step waits for stand at its dataset's name with a slash before it.
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
        """The steps that give a step an input: for each partition key, the one it needs."""
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
        whole: The names of the nodes that run once, with all partitions.
        takes_all: Whether a run makes all partitions or none.
        side_effects: The assets that stand for the run of a node, by the node.
    """

    step: StepPlan
    upstream: Mapping[str, tuple[str, ...]]
    transient: frozenset[str]
    partitioning: Partitioning | None = None
    whole: frozenset[str] = frozenset()
    takes_all: bool = False
    side_effects: Mapping[Node, str] = field(default_factory=dict)

    def nodes_for(self, assets: Iterable[str]) -> Nodes:
        """The nodes that must run to make some of the assets, and no others."""
        wanted = set(assets)
        ends = {node for node, asset in self.side_effects.items() if asset in wanted}
        return nodes_making(self.step.nodes, wanted, self.transient, ends)


@dataclass(frozen=True)
class ProjectPlan:
    """All that is rendered as Dagster objects, and all that runs. No later stage reads more.

    Args:
        project: Where the project is, and how its pipelines are imported.
        datasets: The datasets of all jobs.
        jobs: The jobs by name.
        asset_steps: The steps of the asset layer, by the name of their op.
        external: Persisted datasets that no step of the asset layer makes.
        parameters: The value of ``parameters`` and of each ``params:`` name.
        hidden_parameters: The names of those that came through a resolver, which no config shows.
        sensors: The sensors for new partitions, by name.
        key_prefix: What the keys of all assets begin with.
        asset_executor: The executor of materialisations; ``None`` for Dagster's default.
        one_writer: Whether steps that write the same dataset take turns, in all runs.
        facts: Within which limits runs tell of the data they save.
        side_effects: The assets that stand for the run of a node, by the node.
    """

    project: ProjectSource
    datasets: Datasets
    jobs: Mapping[str, JobPlan]
    asset_steps: Mapping[str, AssetStepPlan]
    external: tuple[str, ...]
    parameters: Mapping[str, Any] = field(repr=False)
    hidden_parameters: frozenset[str] = frozenset()
    sensors: Mapping[str, dagster_yml.SensorOptions] = field(default_factory=dict)
    key_prefix: tuple[str, ...] = ()
    asset_executor: dagster_yml.ExecutorOptions | None = None
    one_writer: bool = False
    facts: dagster_yml.FactsOptions = field(default_factory=dagster_yml.FactsOptions)
    side_effects: Mapping[Node, str] = field(default_factory=dict)

    @functools.cached_property
    def by_identifier(self) -> Mapping[str, DatasetPlan]:
        """The datasets by the name of the op inputs and outputs that stand for them."""
        return {dataset.identifier: dataset for dataset in self.datasets.values()}

    @property
    def hidden_values(self) -> list[Any]:
        """The parameters that came through a resolver, except those that hold others."""
        hidden = (self.parameters[name] for name in self.hidden_parameters)
        return [value for value in hidden if not isinstance(value, Mapping)]

    def kedro_steps(self, job_name: str) -> Mapping[str, StepPlan]:
        """The steps that run Kedro nodes, in a job of this plan or in any other."""
        job = self.jobs.get(job_name)
        steps = job.steps if job else (one.step for one in self.asset_steps.values())
        return {step.name: step for step in steps}

    def nodes_to_recover(self, job: JobPlan, steps: Iterable[StepPlan]) -> Nodes:
        """The nodes that must run again before some steps whose transient inputs are lost."""
        steps = tuple(steps)
        own = {node for step in steps for node in step.nodes}
        lost = {name for step in steps for name in step.inputs if name in self._transient}
        others = [node for node in job.pipeline.nodes if node not in own]
        return nodes_making(others, lost, self._transient)

    @functools.cached_property
    def _transient(self) -> frozenset[str]:
        return frozenset(name for name, one in self.datasets.items() if not one.persisted)


def data_inputs(node: Node) -> Iterator[str]:
    """The datasets a node reads, parameters left out and transcoded names as one."""
    return (strip_transcoding(name) for name in node.inputs if not is_parameter(name))


def data_outputs(node: Node) -> Iterator[str]:
    """The datasets a node writes, transcoded names as one."""
    return map(strip_transcoding, node.outputs)


def nodes_making(
    nodes: Sequence[Node], wanted: set[str], transient: frozenset[str], ends: Container[Node] = ()
) -> Nodes:
    """Of nodes in order, the ends, those that make some datasets, and transient inputs of these."""
    needed = []
    for node in reversed(nodes):
        if node in ends or wanted.intersection(data_outputs(node)):
            needed.append(node)
            wanted.update(transient.intersection(data_inputs(node)))
    return tuple(reversed(needed))


def partitioned_in(names: Iterable[str], datasets: Datasets) -> dict[str, Partitioning]:
    """Of some datasets, those that are partitioned, each with its partitioning."""
    partitionings = ((name, datasets[name].partitioning) for name in names)
    return {name: partitioning for name, partitioning in partitionings if partitioning}
