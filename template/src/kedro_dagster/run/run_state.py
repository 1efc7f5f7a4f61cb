"""The state of a Kedro run that its processes would not find by themselves, where none is forked.

The run worker collects and stores it once, after ``before_pipeline_run``: what a hook has put into
the catalog, attributes of hooks, and configuration that comes out otherwise when it is read again,
such as the time. What comes out the same, as a secret does, each process reads for itself.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, TypeAlias

from kedro.config import AbstractConfigLoader, MissingConfigException
from pluggy import PluginManager

from ..doors import kedro as kedro_door
from ..read.credentials import tells_credentials
from . import mlflow_run

Place: TypeAlias = tuple[Any, ...]
"""Where a value belongs: ``config``, ``dataset``, ``hook`` or ``nodes``, then where there."""

References: TypeAlias = Mapping[str, Any]
"""What each process has of its own, and no value takes along: the catalog, the context."""


@contextmanager
def changes_of_hooks(hook_manager: PluginManager, catalog: Any) -> Iterator[dict[Place, Any]]:
    """Collect what hooks put into the catalog meanwhile, and which of their attributes change."""
    changes = dict[Place, Any]()
    before = {place: (value, _content(value)) for place, value in _attributes(hook_manager)}
    with kedro_door.datasets_put(catalog) as datasets:
        yield changes
    changes |= {("dataset", name): dataset for name, dataset in datasets.items()}
    changes |= {
        place: value
        for place, value in _attributes(hook_manager)
        if place not in before
        or before[place][0] is not value
        or before[place][1] != _content(value)
    }


def set_configuration(loader: AbstractConfigLoader, values: Mapping[Place, Any]) -> None:
    """Put values into what a config loader gives, each at the keys that lead to it."""
    for kind in {path[0] for path in values}:
        loader[kind] = loader[kind]  # from now on, it is not read again
    for path, value in values.items():
        target: Any = loader
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value


def set_configuration_early(values: Mapping[Place, Any], loader: AbstractConfigLoader) -> None:
    """Do so before any hook, if the loader wants nothing that ``after_context_created`` adds."""
    with suppress(Exception):
        set_configuration(loader, values)


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


def changed_configuration(before: Any, now: Any, place: Place = ("config",)) -> dict[Place, Any]:
    """Find what stood in some configuration, and stands there no more when it is read again."""
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        return {
            inner: value
            for key in before
            for inner, value in changed_configuration(before[key], now[key], (*place, key)).items()
        }
    return {} if _same(before, now) else {place: before}


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  # of arrays, for example: these are rather sent
        return False


def pack(
    values: Mapping[Place, Any], references: References
) -> tuple[dict[Place, bytes], dict[Place, str]]:
    """Pickle values, one by one; give those that cannot be stored too, and why."""
    packed, lost = {}, {}
    for place, value in values.items():
        file = io.BytesIO()
        try:
            _Pickler(file, references).dump(value)
        except Exception as error:  # noqa: BLE001  # whatever the user's class raises
            lost[place] = str(error)
        else:
            if tells_credentials(file.getvalue()):
                lost[place] = "it holds credentials"
            else:
                packed[place] = file.getvalue()
    return packed, lost


def unpack(packed: Mapping[Place, bytes], kind: str, references: References) -> dict[Place, Any]:
    """Take the values of a kind out again, each by where it belongs."""
    return {
        place[1:]: _Unpickler(io.BytesIO(content), references).load()
        for place, content in packed.items()
        if place[0] == kind
    }


def set_attributes(hook_manager: PluginManager, values: Mapping[Place, Any]) -> None:
    """Set attributes of hooks to what they are in another process."""
    hooks = dict(_hooks(hook_manager))
    for (*hook, attribute), value in values.items():
        if tuple(hook) in hooks:
            setattr(hooks[tuple(hook)], attribute, value)


def _attributes(hook_manager: PluginManager) -> Iterator[tuple[Place, Any]]:
    for place, hook in _hooks(hook_manager):
        for attribute, value in getattr(hook, "__dict__", {}).items():
            yield ("hook", *place, attribute), value


def _hooks(hook_manager: PluginManager) -> Iterator[tuple[Place, Any]]:
    """The hooks, each as the first, second ... one of its class."""
    count: dict[str, int] = {}
    of_mlflow = mlflow_run.find_hook(hook_manager)  # it has a way of its own
    for _, hook in hook_manager.list_name_plugin():
        if hook is None or hook is of_mlflow or isinstance(hook, (type, ModuleType)):
            continue
        name = f"{type(hook).__module__}.{type(hook).__qualname__}"
        count[name] = count.get(name, 0) + 1
        yield (name, count[name]), hook


def _content(value: Any) -> Any:
    """What changes where a value is changed in place: of a large one, how much there is."""
    if not isinstance(value, (dict, list, set)):
        return None
    if len(value) > 10_000:
        return len(value)
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001  # whatever is in it
        return None


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, references: References) -> None:
        super().__init__(file)
        self._names = {id(value): name for name, value in references.items()}

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, references: References) -> None:
        super().__init__(file)
        self._references = references

    def persistent_load(self, pid: str) -> Any:
        return self._references[pid]
