"""The models of ``dagster.yml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from . import values

MULTIPROCESS = ("multiprocess", "multiprocess_executor")
"""The names of the executor that has workers."""

GroupBy = Literal["memory", "namespace", "tag", "pipeline"]


class Options(BaseModel):
    """Base of the models of ``dagster.yml``: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, coerce_numbers_to_str=True
    )


class DevOptions(Options):
    """Options of ``kedro dagster dev``, as ``dagster dev`` takes them."""

    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    log_format: Literal["colored", "json", "rich"] = "colored"
    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=0, le=65535)
    live_data_poll_rate: int = Field(default=2000, ge=0)


class ScheduleOptions(Options):
    """When a job runs by itself, in UTC where no time zone is given; becomes a Dagster schedule.

    ``default_status`` says whether it is on before anybody has switched it.
    """

    cron_schedule: values.Cron
    execution_timezone: values.TimeZone | None = None
    description: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    default_status: Literal["RUNNING", "STOPPED"] = "STOPPED"
    runtime_params: dict[str, Any] = Field(default_factory=dict)


class LoggerOptions(Options):
    """A Dagster logger, in the words of :func:`logging.config.dictConfig`."""

    level: values.AnyCaseLevel = Field(
        default="INFO", validation_alias=AliasChoices("level", "log_level")
    )
    handlers: values.Handlers = Field(default_factory=dict)
    formatters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    filters: dict[str, dict[str, Any]] = Field(default_factory=dict)


class ExecutorOptions(Options):
    """A Dagster executor and its options: ``{multiprocess: {max_concurrent: 2}}``.

    It is a name, or the dotted path of any ``dagster.ExecutorDefinition``. The options are checked
    against its own Dagster schema, not here; ``max_steps_per_worker`` stands among them.
    """

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)
    max_steps_per_worker: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Mapping) and len(value) == 1:
            ((kind, options),) = value.items()
            if options is None or isinstance(options, Mapping):
                options, own = dict(options or {}), {}
                if kind in MULTIPROCESS and "max_steps_per_worker" in options:
                    own = {"max_steps_per_worker": options.pop("max_steps_per_worker")}
                return {"kind": str(kind), "options": options, **own}
        raise ValueError(
            f"an executor is one name with its options, such as "
            f"{{multiprocess: {{max_concurrent: 2}}}}; this is {value!r}."
        )


class PipelineOptions(Options):
    """Which nodes of which Kedro pipelines a job runs: the arguments of ``Pipeline.filter``.

    Several pipelines are summed up, as by ``kedro run --pipelines``.
    """

    pipeline_name: str | None = None
    pipeline_names: values.Names = Field(default_factory=list)
    tags: values.Names | None = None
    from_nodes: values.Names | None = None
    to_nodes: values.Names | None = None
    node_names: values.Names | None = None
    from_inputs: values.Names | None = None
    to_outputs: values.Names | None = None
    node_namespaces: values.Names | None = Field(
        default=None, validation_alias=AliasChoices("node_namespaces", "node_namespace")
    )

    @model_validator(mode="after")
    def _one_way_to_name(self) -> PipelineOptions:
        if self.pipeline_name and self.pipeline_names:
            raise ValueError("give either pipeline_name or pipeline_names, not both.")
        return self

    @property
    def names(self) -> list[str]:
        """The registered pipelines to sum up; ``__default__`` where none is named."""
        return self.pipeline_names or [self.pipeline_name or "__default__"]

    @property
    def filters(self) -> dict[str, list[str] | None]:
        """The keyword arguments for ``Pipeline.filter``."""
        return self.model_dump(exclude={"pipeline_name", "pipeline_names"})


class AfterOptions(Options):
    """A job after which another one starts: of this code location, unless it names another."""

    job: str
    location: str | None = None

    def __str__(self) -> str:
        return "/".join(filter(None, (self.location, self.job)))


def _name_or_options(value: Any) -> str:
    return "name" if isinstance(value, str) else "options"


_Name = Annotated[str, Tag("name")]
_ByKind = Discriminator(_name_or_options)
ExecutorReference = Annotated[_Name | Annotated[ExecutorOptions, Tag("options")], _ByKind]
ScheduleReference = Annotated[_Name | Annotated[ScheduleOptions, Tag("options")], _ByKind]
JobReference = Annotated[_Name | Annotated[AfterOptions, Tag("options")], _ByKind]
LoggerReference = Annotated[_Name | Annotated[LoggerOptions, Tag("options")], _ByKind]


class RunnerOptions(Options):
    """A Kedro runner: its name or dotted path, or that as ``type`` with the arguments it takes."""

    type: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"type": value}
        if isinstance(value, Mapping) and isinstance(value.get("type"), str):
            arguments = {str(key): one for key, one in value.items() if key != "type"}
            return {"type": value["type"], "arguments": arguments}
        raise ValueError(
            f"a runner is a name, or {{type: ThreadRunner, max_workers: 4}}; this is {value!r}."
        )


class PresetOptions(Options):
    """Another way to run a job: a job of its own, whose runs have these options unless told else.

    They are those that the config of a run has; its schedule is given by name or in place.
    """

    runtime_params: dict[str, Any] = Field(default_factory=dict)
    partition_keys: Any = None
    schedule: ScheduleReference | None = None
    description: str | None = None

    @property
    def run_options(self) -> dict[str, Any]:
        """What stands in the config of its runs."""
        return self.model_dump(include={"runtime_params", "partition_keys"}, exclude_defaults=True)


class JobOptions(Options):
    """A Dagster job: a Kedro pipeline, how it is run and when.

    The executor, the schedule and the loggers are given by name or in place. With ``after``, it
    starts by itself when each of those jobs has succeeded since its last run. By default each node
    is a step, static partitions fan out, and of other partitions a run takes one; with
    ``partitions: all``, each node runs once with all of them, as ``kedro run`` does.

    With ``target: assets`` it makes the assets of the pipeline, or those that ``select`` chooses.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["pipeline"]}, {"required": ["select"]}]}
    )

    target: Literal["ops", "assets"] = "ops"
    select: values.AssetSelection | None = None
    pipeline: PipelineOptions = Field(default_factory=PipelineOptions, validate_default=True)
    executor: ExecutorReference | None = None
    schedule: ScheduleReference | None = None
    after: Annotated[list[JobReference], values.OneOrMore] = Field(default_factory=list)
    loggers: list[LoggerReference] = Field(default_factory=list)
    group_by: GroupBy | None = None
    runner: RunnerOptions | None = None
    partitions: Literal["fan_out", "per_run", "all"] | None = None
    max_concurrent_runs: int | None = Field(default=None, ge=1)
    when_busy: Literal["queue", "skip"] = "queue"
    only_missing_outputs: bool = False
    presets: dict[values.DagsterName, PresetOptions] = Field(default_factory=dict)
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("pipeline", mode="before")
    @classmethod
    def _or_select(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, PipelineOptions) and info.data.get("select", "wrong") is None:
            raise PydanticKnownError("missing")  # the file has none: there, it is a mapping
        return value

    @model_validator(mode="after")
    def _busy_at_how_many(self) -> JobOptions:
        if "when_busy" in self.model_fields_set and self.max_concurrent_runs is None:
            raise ValueError("when_busy: give max_concurrent_runs too, which says when it is so.")
        return self

    @property
    def names_pipeline(self) -> bool:
        """Whether it says which pipeline it is of, rather than to select from all assets."""
        return "pipeline" in self.model_fields_set

    @property
    def starts_after(self) -> tuple[AfterOptions, ...]:
        """The jobs after which it starts, each once."""
        named = (AfterOptions(job=one) if isinstance(one, str) else one for one in self.after)
        return tuple(dict.fromkeys(named))


class RetryOptions(Options):
    """When a step that has failed is tried again: a ``dagster.RetryPolicy``, in seconds."""

    max_retries: int = Field(default=1, ge=0)
    delay: float | None = Field(default=None, ge=0)
    backoff: values.AnyCaseBackoff | None = None
    jitter: values.AnyCaseJitter | None = None

    @model_validator(mode="after")
    def _delay_to_vary(self) -> RetryOptions:
        if self.delay is None and (self.backoff or self.jitter):
            raise ValueError("backoff and jitter vary the delay: give it too, in seconds.")
        return self


class NodeOptions(Options):
    """How Dagster runs some nodes; ``null`` removes a setting that another key gives them.

    A node with ``partitions: all`` runs once, with all partitions of its datasets.
    """

    retry_policy: RetryOptions | None = None
    pool: values.Pool | None = None
    timeout: values.Duration | None = None
    partitions: Literal["all"] | None = None
    tags: values.OpTags = Field(default_factory=dict)


class SensorOptions(Options):
    """Runs a job for each new file of a ``DagsterPartitionedDataset`` with dynamic partitions."""

    dataset: str
    job: str
    minimum_interval_seconds: int = Field(default=30, ge=1)
    description: str | None = None
    default_status: Literal["RUNNING", "STOPPED"] = "STOPPED"


class FactsOptions(Options):
    """What runs tell of the data they save: for how long they may look at it, and how much."""

    enabled: bool = True
    milliseconds: int = Field(default=50, ge=0)
    kilobytes: int = Field(default=20, ge=0, le=1_000)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return {"enabled": value} if isinstance(value, bool) else value


class AssetsOptions(Options):
    """What holds for all assets: how they are materialised outside of jobs, what runs tell of them.

    The prefix of their keys tells projects apart. With ``side_effects``, nodes that no asset needs
    are assets too; with ``from_hooks``, hooks are called at load, for what they put into the
    catalog.
    """

    executor: ExecutorReference | None = None
    key_prefix: values.KeyPrefix = Field(default_factory=list)
    facts: FactsOptions = Field(default_factory=FactsOptions)
    side_effects: bool = False
    from_hooks: bool = False


class KedroDagsterConfig(Options):
    """The whole of ``dagster.yml``: each section has its entries by name.

    ``one_writer`` lets no two steps of any runs write the same dataset at the same time.
    Under ``nodes`` they are called by name, pattern, ``namespace:name`` or ``tag:name``.
    """

    requires_helper: values.HelperVersion = ""
    one_writer: bool = False
    dev: DevOptions = Field(default_factory=DevOptions)
    executors: dict[str, ExecutorOptions] = Field(default_factory=dict)
    assets: AssetsOptions = Field(default_factory=AssetsOptions)
    schedules: dict[values.DagsterName, ScheduleOptions] = Field(default_factory=dict)
    loggers: dict[str, LoggerOptions] = Field(default_factory=dict)
    nodes: dict[str, NodeOptions] = Field(default_factory=dict)
    sensors: dict[values.DagsterName, SensorOptions] = Field(default_factory=dict)
    jobs: dict[values.DagsterName, JobOptions] = Field(default_factory=dict)

    @property
    def preset_jobs(self) -> dict[str, tuple[str, str]]:
        """The jobs that presets are, each with the job and the preset."""
        return {
            f"{job}_{preset}": (job, preset)
            for job, options in self.jobs.items()
            for preset in options.presets
        }
