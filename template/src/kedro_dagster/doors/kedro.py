"""Every call into what is private to Kedro, in one place.

Each was read in Kedro 1.0 to 1.7. Where a name is gone that a run needs, the run is refused. Where
it is only an optimisation, the run goes on without it, and a warning says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import kedro.io
from kedro.config import AbstractConfigLoader, MissingConfigException, omegaconf_config
from kedro.framework.context import KedroContext
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.io import (
    AbstractDataset,
    AbstractVersionedDataset,
    CachedDataset,
    CatalogProtocol,
    MemoryDataset,
    SharedMemoryDataset,
    Version,
    data_catalog,
    memory_dataset,
)
from kedro.io.core import generate_timestamp
from kedro.pipeline.node import Node
from kedro.pipeline.transcoding import TRANSCODING_SEPARATOR
from kedro.runner import AbstractRunner
from packaging.version import parse as parse_version
from pluggy import PluginManager

from .fallback import needed, or_else, replaced
from .kedro_session import make_session
from .omegaconf import LenientOmegaConf, Results, own_resolvers

KEDRO = "kedro"

_RELEASE = parse_version(kedro.__version__).release

RUN_ID_PARAM = "run_id" if _RELEASE >= (1, 3) else "session_id"
"""What ``run_params`` calls the identity of a run."""


def pipelines_param(names: list[str]) -> dict[str, Any]:
    """How ``run_params`` says which pipelines a run is of."""
    if _RELEASE >= (1, 2):
        return {"pipeline_names": names}
    return {"pipeline_name": ",".join(names) or None}  # Kedro runs one there, or the default


def strip_transcoding(name: str) -> str:
    """Leave out the ``@format`` of a transcoded dataset name."""
    return name.partition(TRANSCODING_SEPARATOR)[0]


def planning_config_loader(
    conf_source: str, env: str | None, hidden: Results | None = None
) -> AbstractConfigLoader:
    """Make the project's config loader, for use before there is a run.

    It reads placeholders in the place of results of resolvers that are to be hidden.
    """
    results: Results = {}
    with own_resolvers(results, hidden), _placeholders():
        loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
            conf_source=conf_source, env=env, runtime_params=None, **settings.CONFIG_LOADER_ARGS
        )
    loader.own_resolvers = results, hidden  # type: ignore[attr-defined]
    return loader


def resolved_by(loader: AbstractConfigLoader) -> Results:
    """What the project's own resolvers have given to a planning loader."""
    results: Results = loader.own_resolvers[0]  # type: ignore[attr-defined]
    return results


def read_leniently(loader: AbstractConfigLoader, key: str) -> Any:
    """Read a kind of configuration, with a placeholder for each value that only a run knows.

    A hook may add the resolver, an environment variable may be set only where runs are, or the
    value may be a runtime parameter.
    """
    with own_resolvers(*getattr(loader, "own_resolvers", ({}, None))), _placeholders():
        return loader[key]


@contextmanager
def _placeholders() -> Iterator[None]:
    """Let Kedro's config loader go on where it cannot resolve a value."""
    loss = "what only a run can resolve is a mistake at load"
    with replaced(KEDRO, loss, omegaconf_config, "OmegaConf", lambda _: LenientOmegaConf):
        yield


def open_session(
    *,
    project_path: str,
    package_name: str,
    conf_source: str,
    env: str | None,
    run_id: str = "",
    runtime_params: Mapping[str, Any] | None = None,
    configure: Callable[[AbstractConfigLoader], None] | None = None,
) -> KedroSession:
    """Open a Kedro session under the identity of a run, or under a new one.

    ``configure`` gets the config loader before any hook does.
    """
    options = {"env": env, "runtime_params": dict(runtime_params or {})}
    session = make_session(
        run_id or generate_timestamp(), project_path, package_name, conf_source, options
    )
    if configure:
        loader: AbstractConfigLoader = needed(KEDRO, session, "_get_config_loader")()
        configure(loader)
        _replace(session, "_get_config_loader", lambda: loader)
    return session


def hook_manager_of(owner: KedroSession | KedroContext) -> PluginManager:
    """The hook manager of a session, with the hooks of the project and of its plugins."""
    manager: PluginManager = needed(KEDRO, owner, "_hook_manager")
    return manager


def _replace(owner: Any, name: str, value: Any) -> None:
    """Set a private attribute; refuse a Kedro that does not have it, and so would not use it."""
    needed(KEDRO, owner, name)
    setattr(owner, name, value)


def create_catalog(
    context: KedroContext,
    pipeline_names: list[str],
    save_version: str,
    load_versions: Mapping[str, str],
) -> CatalogProtocol[Any, Any]:
    """Create the catalog of a run as ``KedroSession.run`` does."""
    _copy_plain_values_without_pandas()
    if "__default__" not in pipeline_names and _RELEASE >= (1, 4):
        _validate_only(context, pipeline_names)
    return _catalog_of(context, save_version=save_version, load_versions=dict(load_versions))


@or_else(KEDRO, "parameters are validated for all pipelines, which each process imports", None)
def _validate_only(context: KedroContext, pipeline_names: list[str]) -> None:
    context._pipelines_to_validate  # noqa: B018  # Kedro would not look where it is set
    context._pipelines_to_validate = pipeline_names


def _catalog_of(context: KedroContext, **versions: Any) -> CatalogProtocol[Any, Any]:
    create = needed(KEDRO, context, "_get_catalog")
    catalog: CatalogProtocol[Any, Any] = create(
        catalog_class=settings.DATA_CATALOG_CLASS, **versions
    )
    return catalog


@or_else(KEDRO, "each process of a run that has parameters imports pandas", None)
def _copy_plain_values_without_pandas() -> None:
    """Let no number make Kedro import pandas, 45 MB and half a second, to ask if it is a table."""
    module: Any = memory_dataset
    infer = module._infer_copy_mode
    if hasattr(infer, "__wrapped__"):  # it is so by now
        return

    @wraps(infer)
    def infer_of_others(data: Any) -> Any:
        return "deepcopy" if type(data).__module__ == "builtins" else infer(data)

    module._infer_copy_mode = infer_of_others


def context_outside_of_runs(
    project_path: str, package_name: str, conf_source: str, env: str | None
) -> KedroContext:
    """Create the project's context outside of runs, with all resolvers and credentials of hooks."""
    session = open_session(
        project_path=project_path, package_name=package_name, conf_source=conf_source, env=env
    )
    loader = planning_config_loader(conf_source, env)
    _replace(session, "_get_config_loader", lambda: loader)
    return session.load_context()


def catalog_outside_of_runs(context: KedroContext) -> CatalogProtocol[Any, Any]:
    """Create the catalog of such a context, for datasets that do not depend on a run."""
    loader, hooks = context.config_loader, hook_manager_of(context)
    loader["catalog"] = read_leniently(loader, "catalog")
    # No hook sees this catalog, and parameters may be those of a run
    for plugin in hooks.get_plugins():
        hooks.unregister(plugin)
    _replace(context, "_get_parameters", dict)
    return _catalog_of(context)


def datasets_of_hooks(context: KedroContext) -> dict[str, AbstractDataset[Any, Any]]:
    """What hooks put into the catalog of such a context when it is created.

    They get the parameters as they stand in the files: typed ones may be those of a run.
    """
    loader = context.config_loader
    for kind in ("catalog", "parameters"):
        try:
            loader[kind] = read_leniently(loader, kind)
        except MissingConfigException:
            loader[kind] = {}
    if _RELEASE >= (1, 3):
        _replace(context, "_validated_params_cache", loader["parameters"])
    with datasets_built() as built:
        catalog = _catalog_of(context, save_version=generate_timestamp(), load_versions={})
    only_built = set(map(id, built))
    return {
        name: dataset
        for name, (dataset, _) in datasets_in(catalog).items()
        if not (id(dataset) in only_built or name.partition(":")[0] in ("parameters", "params"))
    }


@or_else(KEDRO, "of datasets that hooks put into the catalog, only the types are known", None)
def config_of(dataset: AbstractDataset[Any, Any]) -> dict[str, Any]:
    """The catalog entry of a dataset, as far as the dataset knows it."""
    return dataset._init_config()


def raw_parameters(context: KedroContext) -> dict[str, Any]:
    """The parameters of a run before Kedro has built the typed ones."""
    raw: dict[str, Any] = context.config_loader["parameters"]
    return copy.deepcopy(raw)


def parameters_with(context: KedroContext, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Build the parameters as Kedro does, typed and validated, from other raw values."""
    other = copy.copy(context)
    other.config_loader = copy.copy(context.config_loader)
    other.config_loader["parameters"] = dict(raw)
    if _RELEASE >= (1, 3):  # else Kedro gives the parameters that it validated before
        _replace(other, "_validated_params_cache", None)
    parameters: dict[str, Any] = needed(KEDRO, other, "_get_parameters")()
    return parameters


def datasets_in(catalog: CatalogProtocol[Any, Any]) -> dict[str, tuple[Any, Any]]:
    """The datasets that stand built in a catalog, each with the value it holds in memory."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, dataset in needed(KEDRO, catalog, "_datasets").items():
        if isinstance(dataset, MemoryDataset):
            needed(KEDRO, dataset, "_data")
        found[name] = dataset, getattr(dataset, "_data", None)
    return found


@contextmanager
def datasets_put(
    catalog: CatalogProtocol[Any, Any],
) -> Iterator[dict[str, AbstractDataset[Any, Any]]]:
    """Collect what is put into a catalog meanwhile, but not what it only builds to be looked at."""
    before, found = datasets_in(catalog), dict[str, AbstractDataset[Any, Any]]()
    with datasets_built() as built:
        yield found
    for name, (dataset, data) in datasets_in(catalog).items():
        same = name in before and before[name][0] is dataset and before[name][1] is data
        only_built = any(dataset is one for one in built)
        filled = only_built and isinstance(dataset, MemoryDataset) and dataset.exists()
        if filled or not (same or only_built):
            found[name] = dataset


@contextmanager
def datasets_built() -> Iterator[list[Any]]:
    """Collect the datasets that catalogs build of their configuration."""
    built: list[Any] = []

    def and_collect(materialize: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def materialize_and_collect(lazy: Any) -> Any:
            built.append(materialize(lazy))
            return built[-1]

        return materialize_and_collect

    loss = "datasets that a hook only looks at count as put into the catalog"
    lazy = getattr(data_catalog, "_LazyDataset", data_catalog)
    with replaced(KEDRO, loss, lazy, "materialize", and_collect):
        yield built


def replace_quietly(
    catalog: CatalogProtocol[Any, Any], name: str, dataset: AbstractDataset[Any, Any]
) -> None:
    """Put a dataset in the place of another without the warning that Kedro has for users."""
    needed(KEDRO, catalog, "_datasets")[name] = dataset


def share_in_process(dataset: Any) -> None:
    """Give a ``SharedMemoryDataset`` a memory, as ``ParallelRunner`` does: that of this process."""
    if isinstance(dataset, SharedMemoryDataset) and dataset.shared_memory_dataset is None:
        # As a manager, Kedro's module gives a MemoryDataset that is of this process
        dataset.set_manager(kedro.io)  # type: ignore[arg-type]


def unwrap_cached(dataset: Any) -> Any:
    """What a ``CachedDataset`` wraps; any other dataset as it is."""
    return needed(KEDRO, dataset, "_dataset") if isinstance(dataset, CachedDataset) else dataset


def pin_version(dataset: Any, version: str) -> None:
    """Load the version of this run if it is there, even when another run has saved a later one."""
    dataset = unwrap_cached(dataset)
    if not isinstance(dataset, AbstractVersionedDataset):
        return
    now: Version | None = needed(KEDRO, dataset, "_version")
    if now and not now.load:
        path = needed(KEDRO, dataset, "_get_versioned_path")(version)
        if needed(KEDRO, dataset, "_exists_function")(str(path)):
            _replace(dataset, "_version", Version(version, now.save))


def tell_of_nodes(runner: AbstractRunner, tell: Callable[[Node], None]) -> None:
    """Have a runner tell of each node that has run, which is when it would release datasets."""
    _replace(runner, "_release_datasets", lambda node, *_: tell(node))


@or_else(KEDRO, "assets of versioned datasets have no path in their metadata", None)
def saved_path(dataset: AbstractDataset[Any, Any]) -> str | None:
    """The path that a dataset is saved at, with the version of this run, if it knows its path."""
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    version = getattr(dataset, "_version", None)
    if path and version and version.save:
        path = dataset._get_versioned_path(version.save)  # type: ignore[attr-defined]
    return str(path) if path else None
