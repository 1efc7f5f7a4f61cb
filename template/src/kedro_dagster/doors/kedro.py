"""Every call into Kedro that its public interface has no word for, in one place.

Each was read in Kedro 1.0 to 1.7; when Kedro moves one, this module is where to look.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import kedro.io
from kedro.config import AbstractConfigLoader, MissingConfigException, omegaconf_config
from kedro.framework.context import KedroContext
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.io import (
    AbstractDataset,
    AbstractVersionedDataset,
    CachedDataset,
    CatalogProtocol,
    SharedMemoryDataset,
    Version,
    data_catalog,
)
from kedro.io.core import generate_timestamp, parse_dataset_definition
from kedro.pipeline.transcoding import TRANSCODING_SEPARATOR
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError
from packaging.version import parse as parse_version
from pluggy import PluginManager

from .omegaconf import Results, own_resolvers

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


def dataset_class(type_name: str) -> type[AbstractDataset[Any, Any]]:
    """Import the class that a catalog entry's ``type`` names."""
    class_, _ = parse_dataset_definition({"type": type_name})
    return class_


def planning_config_loader(
    conf_source: str, env: str | None, hidden: Results | None = None
) -> AbstractConfigLoader:
    """Make the project's config loader, for use before there is a run.

    One for which the results of resolvers are hidden reads placeholders in their place.
    """
    loader_class: type[AbstractConfigLoader] = settings.CONFIG_LOADER_CLASS
    results: Results = {}
    with _placeholders(), own_resolvers(results, hidden):
        loader: Any = loader_class(
            conf_source=conf_source, env=env, runtime_params=None, **settings.CONFIG_LOADER_ARGS
        )
    loader.own_resolvers = results, hidden
    planning_loader: AbstractConfigLoader = loader
    return planning_loader


def resolved_by(loader: AbstractConfigLoader) -> Results:
    """What the project's own resolvers have given to a planning loader."""
    results: Results = loader.own_resolvers[0]  # type: ignore[attr-defined]
    return results


def read_leniently(loader: AbstractConfigLoader, key: str) -> Any:
    """Read a kind of configuration, with a placeholder for each value that only a run knows.

    The resolver may be one that a hook adds, or want a variable that is set where runs are; the
    value may be a runtime parameter.
    """
    with _placeholders(), own_resolvers(*getattr(loader, "own_resolvers", ({}, None))):
        return loader[key]


@contextmanager
def _placeholders() -> Iterator[None]:
    """Let Kedro's config loader resolve what it can, where it would fail."""
    module: Any = omegaconf_config
    plain = getattr(module, "OmegaConf", None)
    if plain is None:  # no longer where it was: what cannot be resolved is a mistake
        yield
        return
    module.OmegaConf = _LenientOmegaConf
    try:
        yield
    finally:
        module.OmegaConf = plain


class _LenientOmegaConf(OmegaConf):
    @staticmethod
    def to_container(cfg: Any, *, resolve: bool = False, **options: Any) -> Any:
        try:
            return OmegaConf.to_container(cfg, resolve=resolve, **options)
        except InterpolationResolutionError:
            _fill_in(cfg, OmegaConf.to_container(cfg, resolve=False))
            return OmegaConf.to_container(cfg, resolve=resolve, **options)


def _fill_in(config: Any, raw: Any) -> None:
    """Put the text of an interpolation where it cannot be resolved: ``<secret:TOKEN>``."""
    for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
        if isinstance(value, (dict, list)):
            _fill_in(config[key], value)
        elif isinstance(value, str) and "${" in value:
            try:
                config[key]
            except InterpolationResolutionError:
                while value != (value := re.sub(r"\$\{([^{}]*)\}", r"<\1>", value)):
                    pass  # from the innermost outwards
                config[key] = value


def open_session(
    *,
    project_path: str,
    package_name: str,
    conf_source: str,
    run_id: str,
    env: str | None,
    runtime_params: Mapping[str, Any],
    values: Mapping[tuple[Any, ...], Any] | None = None,
) -> KedroSession:
    """Open a Kedro session of a given identity, and with some values in its configuration.

    ``KedroSession.create`` makes an identity of its own, and asks git about the project, in
    every process of a run.
    """
    session = KedroSession(
        session_id=run_id,
        package_name=package_name,
        project_path=project_path,
        conf_source=conf_source,
    )
    data = {"project_path": session._project_path, "session_id": run_id}
    if env:
        data["env"] = env
    if runtime_params:
        data["runtime_params"] = dict(runtime_params)
    session._store.update(data)
    if values:
        make_loader = session._get_config_loader

        def make_with_values() -> AbstractConfigLoader:
            loader = make_loader()
            with suppress(Exception):  # it may want what after_context_created adds
                set_configuration(loader, values)
            return loader

        session._get_config_loader = make_with_values  # type: ignore[method-assign]
    return session


def set_configuration(loader: AbstractConfigLoader, values: Mapping[tuple[Any, ...], Any]) -> None:
    """Put values into what a config loader gives, each at the keys that lead to it."""
    for kind in {path[0] for path in values}:
        loader[kind] = loader[kind]  # from now on, it is not read again
    for path, value in values.items():
        target: Any = loader
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value


@contextmanager
def configuration_read_once(loader: AbstractConfigLoader) -> Iterator[dict[str, Any]]:
    """Let Kedro find the same catalog and parameters whenever it reads them; give these."""
    found = {}
    for kind in ("catalog", "parameters"):
        if kind not in loader:
            with suppress(MissingConfigException):
                found[kind] = loader[kind]
                loader[kind] = copy.deepcopy(found[kind])
    try:
        yield found
    finally:
        for kind in found:
            del loader[kind]


def hook_manager_of(session: KedroSession) -> PluginManager:
    """The hook manager of a session, with the hooks of the project and of its plugins."""
    return session._hook_manager


def create_catalog(
    context: KedroContext,
    pipeline_names: list[str],
    save_version: str,
    load_versions: Mapping[str, str],
) -> CatalogProtocol[Any, Any]:
    """Create the catalog of a run as ``KedroSession.run`` does."""
    if "__default__" not in pipeline_names:
        context._pipelines_to_validate = pipeline_names
    return context._get_catalog(
        catalog_class=settings.DATA_CATALOG_CLASS,
        save_version=save_version,
        load_versions=dict(load_versions),
    )


def context_outside_of_runs(
    project_path: str, package_name: str, conf_source: str, env: str | None
) -> KedroContext:
    """Create the project's context where no run is.

    It is a run's, with the resolvers and credentials that hooks add.
    """
    session = open_session(
        project_path=project_path,
        package_name=package_name,
        conf_source=conf_source,
        run_id=generate_timestamp(),
        env=env,
        runtime_params={},
    )
    loader: Any = planning_config_loader(conf_source, env)
    session._get_config_loader = lambda: loader  # type: ignore[method-assign]
    return session.load_context()


def catalog_outside_of_runs(context: KedroContext) -> CatalogProtocol[Any, Any]:
    """Create the catalog of such a context, for datasets that do not depend on a run."""
    loader = context.config_loader
    loader["catalog"] = read_leniently(loader, "catalog")
    # No hook sees this catalog, and parameters may be those of a run
    context._hook_manager, context._get_parameters = _create_hook_manager(), dict  # type: ignore[method-assign]
    return context._get_catalog(catalog_class=settings.DATA_CATALOG_CLASS)


def datasets_in(catalog: CatalogProtocol[Any, Any]) -> dict[str, tuple[Any, Any]]:
    """The datasets that stand built in a catalog, each with the value it holds in memory."""
    return {
        name: (dataset, getattr(dataset, "_data", None))
        for name, dataset in catalog._datasets.items()
    }


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
        if not (same or only_built) or (only_built and _holds_data(dataset)):
            found[name] = dataset


def _holds_data(dataset: Any) -> bool:
    return isinstance(dataset, kedro.io.MemoryDataset) and dataset.exists()


@contextmanager
def datasets_built() -> Iterator[list[Any]]:
    """Collect the datasets that catalogs build of their configuration."""
    built: list[Any] = []
    lazy: Any = getattr(data_catalog, "_LazyDataset", None)
    if lazy is None:  # then all of them count as put there, which is right and slower
        yield built
        return
    plain = lazy.materialize

    def materialize(self: Any) -> Any:
        built.append(plain(self))
        return built[-1]

    lazy.materialize = materialize
    try:
        yield built
    finally:
        lazy.materialize = plain


def replace_quietly(
    catalog: CatalogProtocol[Any, Any], name: str, dataset: AbstractDataset[Any, Any]
) -> None:
    """Put a dataset in the place of another without the warning that Kedro has for users."""
    catalog._datasets[name] = dataset


def share_in_process(dataset: Any) -> None:
    """Give a ``SharedMemoryDataset`` a memory, as ``ParallelRunner`` does: that of this process."""
    if isinstance(dataset, SharedMemoryDataset) and dataset.shared_memory_dataset is None:
        # As a manager, Kedro's module gives a MemoryDataset that is of this process
        dataset.set_manager(kedro.io)  # type: ignore[arg-type]


def unwrap_cached(dataset: Any) -> Any:
    """What a ``CachedDataset`` wraps; any other dataset as it is."""
    return dataset._dataset if isinstance(dataset, CachedDataset) else dataset


def pin_version(dataset: Any, version: str) -> None:
    """Load a version if it is there, even when another run has saved a later one since."""
    dataset = unwrap_cached(dataset)
    if not isinstance(dataset, AbstractVersionedDataset) or not dataset._version:
        return
    if not dataset._version.load and dataset._exists_function(
        str(dataset._get_versioned_path(version))
    ):
        dataset._version = Version(version, dataset._version.save)


def raw_parameters(context: KedroContext) -> dict[str, Any]:
    """The parameters of a run before Kedro has built the typed ones."""
    raw: dict[str, Any] = context.config_loader["parameters"]
    return copy.deepcopy(raw)


def parameters_with(context: KedroContext, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Build the parameters as Kedro does, typed and validated, from other raw values."""
    other = copy.copy(context)
    other.config_loader = copy.copy(context.config_loader)
    other.config_loader["parameters"] = dict(raw)
    other._validated_params_cache = None
    return other._get_parameters()


def saved_path(dataset: AbstractDataset[Any, Any]) -> str | None:
    """Where a dataset is saved, for those that know: a path, with the version of this run."""
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    version = getattr(dataset, "_version", None)
    if path and version and version.save:
        path = dataset._get_versioned_path(version.save)  # type: ignore[attr-defined]
    return str(path) if path else None
