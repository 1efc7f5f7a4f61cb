"""Names in Dagster: of datasets and steps, and of the resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dagster._core.definitions.utils import DISALLOWED_NAMES

from ..utils import INVALID_CHARACTER, digest


def unique_names(
    names: Iterable[str], form: Callable[[str], str], reserved: Iterable[str] = ()
) -> Mapping[str, str]:
    """Give each Kedro name a valid Dagster name of its own.

    Where two names would become one, the first in sorted order keeps it and the others get a
    suffix made of their Kedro name, so that no name depends on the order of definition.
    """
    table: dict[str, str] = {}
    taken = {*reserved, *DISALLOWED_NAMES, ""}
    for name in sorted(set(names)):
        formatted = INVALID_CHARACTER.sub("_", form(name))
        if formatted in taken:
            formatted = f"{formatted}_{digest(name)[:8]}"
        taken.add(formatted)
        table[name] = formatted
    return table


def op_name(job: str, step: str) -> str:
    """The name of the op of a job's step, which no other job's is and none of an asset."""
    prefix = digest(job) if "__" in f"{job}_" else job  # so that it ends at the first "__"
    return f"{prefix}__{step}__op"


KEDRO = "kedro"


KEDRO_IO_MANAGER = "kedro_io_manager"


IO_MANAGER = "io_manager"


TRANSIENT_IO_MANAGER = "kedro_transient_io_manager"
