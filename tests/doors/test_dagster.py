"""Each private name of Dagster's is taken away: the plain way works, with one warning."""

import ast
import builtins
import importlib
import inspect
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution import api
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.multiprocess import MultiprocessExecutor
from dagster._core.system_config.objects import ResolvedRunConfig
from dagster._core.test_utils import instance_for_test

from kedro_dagster.doors import dagster as door
from kedro_dagster.doors import dagster_workers, fallback
from kedro_dagster.errors import UnsupportedVersionError
from kedro_dagster.launcher import MonitoredRunLauncher
from kedro_dagster.run.event_log import event_log


class PlanData(NamedTuple):
    dagster_run: dg.DagsterRun | None


RUN = dg.DagsterRun(job_name="job")
CONTEXT_OF_RUN: Any = SimpleNamespace(
    plan_data=PlanData(None), log=None, output_capture=None, resume_from_failure=False
)
WARNING = "kedro_dagster does not fit"
MULTIPROCESS = MultiprocessExecutor(RetryMode.DISABLED, max_concurrent=1)


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    """A warning is given once in a process: let each test have its own."""
    fallback._told.clear()
    yield
    fallback._told.clear()


def records_in_a_step() -> list[str]:
    """What Dagster's event log shows of two records."""

    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        with event_log(context.log, context.instance):
            logging.getLogger("project").warning("first")
            logging.getLogger("project").warning("second")

    with instance_for_test() as instance:
        job = dg.GraphDefinition("job", node_defs=[step]).to_job()
        run = job.execute_in_process(instance=instance)
        entries = instance.all_logs(run.run_id)
    messages = [entry.user_message for entry in entries if not entry.is_dagster_event]
    return [message for message in messages if not message.startswith(WARNING)]


def handed_over() -> str | None:
    """What a run is given of what its code server hands over."""
    if door.has_runs_to_come():
        door.hand_to_runs("key", "text")
    return door.handed_over("key")


class Way(NamedTuple):
    """What needs private names, and what it comes to without one."""

    go: Callable[[], Any]
    plain: Any
    imported: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


CONTEXT = "dagster._core.definitions.definitions_load_context.DefinitionsLoadContext"
OPTIONAL = {
    "batches": Way(
        records_in_a_step,
        ["first", "second"],
        ("SqlEventLogStorage",),
        ("dagster._core.storage.event_log.SqlEventLogStorage.prepare_insert_event_batch",),
    ),
    "records of Dagster's": Way(
        records_in_a_step, ["first", "second"], ("has_log_record_metadata",)
    ),
    "forked steps": Way(
        lambda: door.is_multiprocess(MULTIPROCESS), False, ("MultiprocessExecutor",)
    ),
    "a context for other executors": Way(
        lambda: door.context_for(CONTEXT_OF_RUN, MULTIPROCESS, RUN),
        None,
        ("PlanOrchestrationContext",),
    ),
    "steps in workers": Way(
        lambda: dagster_workers.processes_from(MULTIPROCESS),
        None,
        (
            "create_execution_plan",
            "execute_plan_iterator",
            "ExecutionPlan",
            "ResolvedRunConfig",
            "ChildProcessCommand",
            "ChildProcessDoneEvent",
            "_execute_command_in_child_process",
        ),
        (
            "multiprocessing.context._concrete_contexts",
            "dagster._core.execution.plan.plan.ExecutionPlan.build_subset_plan",
        ),
    ),
    "outlines": Way(
        handed_over,
        None,
        ("DefinitionsLoadContext", "DefinitionsLoadType"),
        (f"{CONTEXT}.load_type", f"{CONTEXT}.add_to_pending_reconstruction_metadata"),
    ),
    "refused runs": Way(
        lambda: door.back_to_queue(KeyError("shut down")),
        None,
        ("DagsterUserCodeUnreachableError",),
    ),
    "lost runs": Way(
        lambda: MonitoredRunLauncher().supports_check_run_worker_health,
        False,
        (
            "DagsterUserCodeUnreachableError",
            "CheckRunHealthResult",
            "WorkerStatus",
            "CanCancelExecutionRequest",
            "CanCancelExecutionResult",
        ),
        ("dagster._core.launcher.DefaultRunLauncher._get_grpc_client_for_termination",),
    ),
}
DOORS = (door.__name__, dagster_workers.__name__)
LETTERS = dg.StaticPartitionsDefinition(["a", "b"])
NEEDED = {
    "InProcessExecutor": lambda: door.is_in_process(MULTIPROCESS),
    "infer_partition_mapping": lambda: door.mapping_between(None, LETTERS, LETTERS),
}


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the door find a name no more, where it imports it or looks it up."""
    find = builtins.__import__

    def take_away(name: str) -> None:
        def found(
            module: str, scope: Any = None, _: Any = None, fromlist: Any = (), level: int = 0
        ):
            if scope and scope["__name__"] in DOORS and name in (fromlist or ()):
                raise ImportError(f"cannot import name {name!r} from {module!r}")
            return find(module, scope, _, fromlist, level)

        if "." in name:
            monkeypatch.delattr(name)
        else:
            monkeypatch.setattr(builtins, "__import__", found)

    return take_away


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case, way in OPTIONAL.items() for name in way.imported + way.attributes],
)
def test_without_a_private_name_the_plain_way_works_and_is_told_once(
    case: str, name: str, take_away: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    take_away(name)
    for _ in range(2):
        assert OPTIONAL[case].go() == OPTIONAL[case].plain
    (told,) = [one.getMessage() for one in caplog.records if one.name == fallback.__name__]
    assert told.startswith(f"{WARNING} dagster {dg.__version__}: ")
    assert name.rpartition(".")[2] in told


class JobOfAWorker(InMemoryJob):
    def with_repository_load_data(self, _: object) -> InMemoryJob:
        return self


def test_a_worker_plans_a_run_once_and_knows_of_earlier_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans, configs, attempts = [], [], []
    make, resolve = api.create_execution_plan, ResolvedRunConfig.build

    def count(*arguments: Any, **options: Any) -> Any:
        plans.append(make(*arguments, **options))
        return plans[-1]

    def count_configs(*arguments: Any) -> Any:
        configs.append(resolve(*arguments))
        return configs[-1]

    monkeypatch.setattr(api, "create_execution_plan", count)
    monkeypatch.setattr(ResolvedRunConfig, "build", staticmethod(count_configs))

    @dg.op(out=dg.Out(dg.Nothing))
    def one(context: dg.OpExecutionContext) -> None:
        attempts.append(context.retry_number)

    job = dg.GraphDefinition(
        "job",
        node_defs=[one],
        dependencies={"one": {}, dg.NodeInvocation("one", alias="two"): {}},
    ).to_job()
    with instance_for_test() as instance:
        run = instance.create_run_for_job(job)
        plans.clear()
        configs.clear()
        execute = dagster_workers.StepExecutor(JobOfAWorker(job), run, {}, RetryMode.ENABLED, None)
        for step, known in (
            ("one", KnownExecutionState()),
            ("two", KnownExecutionState()),
            ("two", KnownExecutionState(previous_retry_attempts={"two": 1})),
        ):
            (end,) = [one for one in execute(instance, step, known) if one.is_step_success]
            assert end.step_key == step
    assert attempts == [0, 0, 1]
    assert len(plans) == 1
    assert len(configs) == 2  # that of the plan, and that of all steps


def test_the_first_message_of_a_worker_tells_that_it_heeds_interrupts() -> None:
    heeds: list[bool] = []

    def put(_: object) -> None:
        heeds.append(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a worker is, see worker_processes
    try:
        dagster_workers.send_events(put, iter(["event"]))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert heeds == [True, True, True]


@pytest.mark.parametrize("case", OPTIONAL)
def test_with_all_names_nothing_is_told(case: str, caplog: pytest.LogCaptureFixture) -> None:
    OPTIONAL[case].go()
    assert not [one for one in caplog.records if one.name == fallback.__name__]


@pytest.mark.parametrize("name", NEEDED)
def test_without_a_name_that_is_needed_a_run_is_refused(
    name: str, take_away: Callable[[str], None]
) -> None:
    take_away(name)
    with pytest.raises(UnsupportedVersionError, match=f"does not fit dagster .+ .?{name}"):
        NEEDED[name]()


@pytest.mark.parametrize("name", ["properties", "is_asset", "asset_key"])
def test_without_an_attribute_that_is_needed_a_run_is_refused(name: str) -> None:
    properties = SimpleNamespace(is_asset=True, asset_key=None)
    output = SimpleNamespace(name="made", properties=properties)
    assert door.outputs_to_make([output]) == []
    delattr(output if name == "properties" else properties, name)
    with pytest.raises(UnsupportedVersionError, match=f"does not fit dagster .+ {name!r}"):
        door.outputs_to_make([output])


def test_each_name_that_the_doors_import_is_taken_away_here() -> None:
    trees = [ast.parse(inspect.getsource(sys.modules[name])) for name in DOORS]
    functions = [one for tree in trees for one in tree.body if hasattr(one, "args")]
    imports = [one for function in functions for one in ast.walk(function)]
    names = {
        alias.name for one in imports if isinstance(one, ast.ImportFrom) for alias in one.names
    }
    taken = {name for way in OPTIONAL.values() for name in way.imported}
    assert names == taken | NEEDED.keys()


def test_without_the_compute_logs_of_dagster_ours_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "kedro_dagster.doors.compute_logs", raising=False)
    monkeypatch.setitem(sys.modules, "dagster._core.storage.local_compute_log_manager", None)
    with pytest.raises(UnsupportedVersionError, match=WARNING):
        importlib.import_module("kedro_dagster.doors.compute_logs")
