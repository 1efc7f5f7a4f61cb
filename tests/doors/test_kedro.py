"""Each private name of Kedro's is taken away: refused, or the plain way with one warning."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kedro
import numpy as np
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader, omegaconf_config
from kedro.framework.context import KedroContext
from kedro.framework.hooks import _create_hook_manager, hook_impl
from kedro.framework.session import KedroSession
from kedro.framework.session import session as session_module
from kedro.io import (
    AbstractDataset,
    AbstractVersionedDataset,
    CachedDataset,
    DataCatalog,
    MemoryDataset,
    Version,
    data_catalog,
    memory_dataset,
)
from kedro.pipeline import Pipeline, node
from kedro.runner import AbstractRunner, SequentialRunner
from kedro_datasets.json import JSONDataset

from kedro_dagster.doors import fallback, kedro_session
from kedro_dagster.doors import kedro as door
from kedro_dagster.doors.kedro_runner import with_missing_outputs
from kedro_dagster.doors.omegaconf import LenientOmegaConf
from kedro_dagster.errors import UnsupportedVersionError

CATALOG = "made: {type: MemoryDataset}\n"
RELEASE = tuple(map(int, kedro.__version__.split(".")[:2]))


@pytest.fixture(autouse=True)
def nothing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test have its own warnings, and a project with a catalog and a parameter."""
    monkeypatch.setattr(fallback, "_told", set())
    for name, text in {"catalog": CATALOG, "parameters": "rate: 1\n"}.items():
        file = tmp_path / f"conf/base/{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "conf/local").mkdir()


@pytest.fixture
def context(tmp_path: Path) -> KedroContext:
    loader = OmegaConfigLoader(
        str(tmp_path / "conf"), base_env="base", default_run_env="local", runtime_params={}
    )
    return KedroContext(tmp_path, loader, "local", "shop", _create_hook_manager())


@pytest.fixture
def versioned(tmp_path: Path) -> JSONDataset:
    """A versioned dataset with one version, that of the run."""
    file = tmp_path / "data.json/run/data.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(1))
    return JSONDataset(filepath=str(tmp_path / "data.json"), version=Version(None, "run"))


def open_session(tmp_path: Path, **more: Any) -> KedroSession:
    return door.open_session(
        project_path=str(tmp_path),
        package_name="shop",
        conf_source=str(tmp_path / "conf"),
        run_id="id",
        env="test",
        runtime_params={"rate": 2},
        **more,
    )


def refused(name: str) -> Any:
    return pytest.raises(UnsupportedVersionError, match=rf"does not fit kedro .+{name}")


class StrippedSession(KedroSession):
    """A session without some of what Kedro's has in private."""

    without = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        del vars(self)[self.without]


def test_a_session_has_the_identity_and_the_options_of_the_run(tmp_path: Path) -> None:
    store = open_session(tmp_path).store
    assert store == {
        "project_path": tmp_path.resolve(),
        "session_id": "id",
        "env": "test",
        "runtime_params": {"rate": 2},
    }


def test_a_session_is_refused_that_takes_no_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StrippedSession, "without", "_store")
    monkeypatch.setattr(kedro_session, "session_class", lambda: StrippedSession)
    with refused("_store"):
        open_session(tmp_path)


def test_a_session_is_refused_whose_hooks_are_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StrippedSession, "without", "_hook_manager")
    session = StrippedSession("id", "shop", tmp_path)
    with refused("_hook_manager"):
        door.hook_manager_of(session)


def test_a_context_outside_of_runs_is_refused_that_would_read_as_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(KedroSession, "_get_config_loader")
    with refused("_get_config_loader"):
        door.context_outside_of_runs(str(tmp_path), "shop", str(tmp_path / "conf"), None)


def test_a_session_is_refused_whose_configuration_cannot_have_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(KedroSession, "_get_config_loader")
    with refused("_get_config_loader"):
        open_session(tmp_path, configure=print)


@pytest.mark.parametrize("name", ["_get_catalog", "_get_parameters"])
def test_a_catalog_outside_of_runs_is_refused(
    name: str, context: KedroContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(KedroContext, name)
    with refused(name):
        door.catalog_outside_of_runs(context)


class Hooks:
    @hook_impl
    def after_catalog_created(self) -> None:
        raise AssertionError("a hook is called")


def test_no_hook_and_no_parameter_has_to_do_with_a_catalog_outside_of_runs(
    context: KedroContext, tmp_path: Path
) -> None:
    (tmp_path / "conf/base/parameters.yml").write_text("rate: ${runtime_params:rate}\n")
    context._hook_manager.register(Hooks())
    assert "made" in door.catalog_outside_of_runs(context)


def test_a_run_is_refused_whose_catalog_cannot_be_made(
    context: KedroContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(KedroContext, "_get_catalog")
    with refused("_get_catalog"):
        door.create_catalog(context, ["__default__"], "id", {})


def test_parameters_of_the_launchpad_are_those_that_nodes_get(context: KedroContext) -> None:
    assert context.params == {"rate": 1}
    assert door.parameters_with(context, {"rate": 2})["params:rate"] == 2
    assert context.params == {"rate": 1}


@pytest.mark.parametrize("name", ["_get_parameters", "_validated_params_cache"])
def test_a_run_is_refused_that_would_use_other_parameters(
    name: str, context: KedroContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "_get_parameters":
        monkeypatch.delattr(KedroContext, name)
    elif RELEASE < (1, 3):
        pytest.skip("Kedro 1.3 begins to keep the parameters that it has validated")
    else:
        del vars(context)[name]
    with refused(name):
        door.parameters_with(context, {"rate": 2})


@pytest.mark.parametrize(
    "use", [door.datasets_in, lambda catalog: door.replace_quietly(catalog, "a", MemoryDataset(1))]
)
def test_a_catalog_is_refused_whose_datasets_are_elsewhere(use: Callable[[Any], Any]) -> None:
    catalog = DataCatalog()
    use(catalog)
    del catalog._datasets
    with refused("_datasets"):
        use(catalog)


def test_a_dataset_is_refused_whose_value_in_memory_is_not_found() -> None:
    catalog = DataCatalog({"a": (dataset := MemoryDataset(1))})
    assert door.datasets_in(catalog) == {"a": (dataset, 1)}
    del dataset._data
    with refused("_data"):
        door.datasets_in(catalog)


def test_a_cached_dataset_is_refused_that_does_not_tell_what_it_wraps() -> None:
    cached = CachedDataset(wrapped := MemoryDataset(1))
    assert door.unwrap_cached(cached) is wrapped
    del cached._dataset
    with refused("_dataset"):
        door.unwrap_cached(cached)


@pytest.mark.parametrize("name", ["_version", "_get_versioned_path", "_exists_function"])
def test_a_dataset_is_refused_whose_version_cannot_be_held(
    name: str, versioned: JSONDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in vars(versioned):
        del vars(versioned)[name]
    else:
        monkeypatch.delattr(AbstractVersionedDataset, name)
    with refused(name):
        door.pin_version(versioned, "run")


def test_a_runner_is_refused_that_does_not_tell_of_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner, told_of = SequentialRunner(), list[Any]()
    door.tell_of_nodes(runner, told_of.append)
    runner.run(Pipeline([node(lambda: 1, None, "a", name="make")]), DataCatalog())
    assert [one.name for one in told_of] == ["make"]
    monkeypatch.delattr(AbstractRunner, "_release_datasets")
    with refused("_release_datasets"):
        door.tell_of_nodes(SequentialRunner(), told_of.append)


def test_a_version_is_held(versioned: JSONDataset) -> None:
    door.pin_version(versioned, "other")
    assert versioned.resolve_load_version() == "run"
    door.pin_version(versioned, "run")
    assert versioned._version.load == "run"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == fallback.__name__]


def test_without_its_omegaconf_a_config_loader_reads_strictly_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loader: Any = {"parameters": {"rate": 1}}
    door.read_leniently(loader, "parameters")
    assert not told(caplog)
    monkeypatch.delattr(omegaconf_config, "OmegaConf")
    for _ in range(2):
        assert door.read_leniently(loader, "parameters") == {"rate": 1}
    (message,) = told(caplog)
    assert f"does not fit kedro {kedro.__version__}" in message
    assert "what only a run can resolve is a mistake at load" in message


def overlapping(second: Callable[[], Any]) -> Callable[[], threading.Thread]:
    """Give a function that starts another one in a thread, and gives it a moment."""

    def start() -> threading.Thread:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        return thread

    return start


def test_threads_that_read_at_once_all_read_leniently() -> None:
    plain, read = omegaconf_config.OmegaConf, dict[str, Any]()

    class Loader(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            thread = start() if name == "first" else None
            read[name] = omegaconf_config.OmegaConf
            return thread

    loader: Any = Loader()
    start = overlapping(lambda: door.read_leniently(loader, "second"))
    door.read_leniently(loader, "first").join()
    assert read == dict.fromkeys(("first", "second"), LenientOmegaConf)
    assert omegaconf_config.OmegaConf is plain


def test_threads_that_open_sessions_at_once_have_identities_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, over = session_module.generate_timestamp, threading.Event()
    made, threads = list[str](), list[threading.Thread]()

    def make(identity: str) -> None:
        session = kedro_session.make_session(identity, str(tmp_path), "shop", "conf", {})
        made.append(session.session_id)
        over.set()

    class OwnSession(KedroSession):
        @classmethod
        def create(cls, **options: Any) -> KedroSession:
            if threads:
                over.wait(1)
            else:
                threads.append(start())
            return super().create(**options)

    start = overlapping(lambda: make("second"))
    monkeypatch.setattr(kedro_session, "session_class", lambda: OwnSession)
    monkeypatch.setattr(session_module, "validate_settings", lambda: None)
    make("first")
    threads[0].join()
    assert made == ["first", "second"]
    assert session_module.generate_timestamp is plain


def put_by_a_hook() -> set[str]:
    """The datasets that count as put into a catalog where one is put and one looked at."""
    catalog = DataCatalog.from_config({"seen": {"type": "MemoryDataset"}})
    with door.datasets_put(catalog) as found:
        catalog.get("seen")
        catalog["put"] = MemoryDataset(1)
    return set(found)


@pytest.mark.parametrize("others", [{}, {"_LazyDataset": type("Lazy", (), {})}])
def test_without_lazy_datasets_those_only_seen_count_as_put_and_that_is_told(
    others: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert put_by_a_hook() == {"put"}
    assert not told(caplog)
    module = SimpleNamespace(__name__=data_catalog.__name__, **others)
    monkeypatch.setattr(door, "data_catalog", module)
    for _ in range(2):
        assert put_by_a_hook() == {"put", "seen"}
    (message,) = told(caplog)
    assert "datasets that a hook only looks at count as put into the catalog" in message


@pytest.mark.skipif(RELEASE < (1, 4), reason="Kedro 1.4 begins to validate for some pipelines")
def test_where_pipelines_to_validate_are_not_told_all_are_and_that_is_told(
    context: KedroContext, caplog: pytest.LogCaptureFixture
) -> None:
    def create(**_: Any) -> DataCatalog:
        return DataCatalog()

    vars(context)["_get_catalog"] = create
    door.create_catalog(context, ["one"], "id", {})
    assert context._pipelines_to_validate == ["one"]
    assert not told(caplog)
    del vars(context)["_pipelines_to_validate"]
    for _ in range(2):
        door.create_catalog(context, ["one"], "id", {})
        vars(context).pop("_pipelines_to_validate", None)
    (message,) = told(caplog)
    assert "parameters are validated for all pipelines" in message


def test_a_path_without_its_version_is_not_shown_and_that_is_told(
    versioned: JSONDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    versioned._version = Version(None, "run")
    assert str(door.saved_path(versioned)).endswith("data.json/run/data.json")
    monkeypatch.delattr(AbstractVersionedDataset, "_get_versioned_path")
    for _ in range(2):
        assert door.saved_path(versioned) is None
    (message,) = told(caplog)
    assert "have no path in their metadata" in message


def test_of_a_dataset_that_does_not_know_its_entry_there_is_none_and_that_is_told(
    versioned: JSONDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = door.config_of(versioned)
    assert entry is not None
    assert entry["versioned"] is True
    assert not told(caplog)
    monkeypatch.delattr(AbstractDataset, "_init_config")
    for _ in range(2):
        assert door.config_of(versioned) is None
    (message,) = told(caplog)
    assert "only the types are known" in message


def test_where_kedro_copies_values_by_another_rule_it_imports_pandas_and_that_is_told(
    context: KedroContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    door.create_catalog(context, ["__default__"], "id", {})
    assert not told(caplog)
    monkeypatch.setattr(door, "memory_dataset", SimpleNamespace())
    for _ in range(2):
        door.create_catalog(context, ["__default__"], "id", {})
    (message,) = told(caplog)
    assert "imports pandas" in message


@pytest.mark.parametrize("value", [1, [1], {"a": [1]}, None, np.ones(2), pd.DataFrame({"a": [1]})])
def test_values_are_copied_by_the_rule_of_kedro(
    value: Any, context: KedroContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = inspect.unwrap(memory_dataset._infer_copy_mode)
    monkeypatch.setattr(memory_dataset, "_infer_copy_mode", rule)
    door.create_catalog(context, ["__default__"], "id", {})
    assert memory_dataset._infer_copy_mode is not rule
    assert memory_dataset._infer_copy_mode(value) == rule(value)


def test_a_kedro_is_refused_that_does_not_find_missing_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, name = Pipeline([]), "_filter_pipeline_for_missing_outputs"
    if hasattr(AbstractRunner, name):
        assert with_missing_outputs(SequentialRunner(), pipeline, DataCatalog()).nodes == []
        monkeypatch.delattr(AbstractRunner, name)
        with refused(name):
            with_missing_outputs(SequentialRunner(), pipeline, DataCatalog())
    monkeypatch.setattr(AbstractRunner, "run", AbstractRunner._run)
    with pytest.raises(UnsupportedVersionError, match="does not have this option of 'kedro run'"):
        with_missing_outputs(SequentialRunner(), pipeline, DataCatalog())
