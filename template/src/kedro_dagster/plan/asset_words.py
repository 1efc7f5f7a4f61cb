"""What a catalog entry says of its asset in Dagster's own words, below ``metadata: dagster:``."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster.components import AssetAttributesModel
from dagster.components.utils import TranslatorResolvingInfo
from pydantic_core import from_json, to_json

from ..errors import KeyPath
from ..read.messages import mistakes_in
from ..read.step_words import StepWords

_NAMING = {"key", "key_prefix"}
_EXPRESSIONS = {"automation_condition", "freshness_policy"}
"""What must be a template. Its braces may be left out: Kedro takes none in patterns."""

_OWN = StepWords.model_fields.keys()
_DAGSTERS = AssetAttributesModel.model_fields.keys()
_NOT_HERE = {
    "partitions_def": (
        "a dataset has the partitions that its files have. Write the 'partition' of a "
        "kedro_dagster.datasets.DagsterPartitionedDataset."
    )
}
_EXAMPLES = {  # where Dagster's model has none
    "key": "warehouse/sales/orders",
    "automation_condition": "{{ automation_condition.eager() }}",
    "freshness_policy": "{{ dg.FreshnessPolicy.cron(deadline_cron='0 9 * * *', "
    "lower_bound_delta=datetime.timedelta(hours=1)) }}",
    "key_prefix": ["warehouse", "sales"],
    "metadata": {"source": "the warehouse"},
    "skippable": True,
}

_OF_ASSET = re.compile(r" for asset 'AssetKey\(\[.*?\]\)'")


def read_words(
    words: Any, base: dg.AssetSpec, tell: Callable[[KeyPath, str], None]
) -> tuple[dg.AssetSpec, StepWords | None]:
    """Read what an entry says of its asset, and of the step that makes it; tell of mistakes."""
    words, reason = from_json(to_json(words, fallback=str, inf_nan_mode="strings")), ""
    if isinstance(words, dict) and not words.keys() & _NOT_HERE:
        own = {key: value for key, value in words.items() if key not in _DAGSTERS}
        try:
            return asset_said(words, base), StepWords.model_validate(own) if own else None
        except Exception as error:  # noqa: BLE001  # whatever Dagster raises
            reason = str(error).splitlines()[0]
    for keys, message in tuple(mistakes_in_words(words, base)) or (((), reason),):
        tell(keys, message)
    return base, None


def asset_said(words: Mapping[str, Any], base: dg.AssetSpec) -> dg.AssetSpec:
    """Add to an asset what an entry says of it; resolved by Dagster, as in its components."""
    given = {key: value for key, value in words.items() if key not in _OWN}
    for key in _EXPRESSIONS & given.keys():
        if isinstance(given[key], str) and "{" not in given[key]:
            given[key] = f"{{{{ {given[key]} }}}}"
    naming = {key: given.pop(key) for key in _NAMING & given.keys()}
    text = given.pop("description", None) if "{" not in str(given.get("description")) else None
    spec = base
    if given:
        spec = _resolved(to_json(given)).replace_attributes(key=base.key)
    if text is not None:
        spec = spec.replace_attributes(description=text)
    if isinstance(path := naming.get("key"), list) and path:  # Dagster's model takes a text
        naming["key"] = dg.AssetKey(path).to_user_string()
    return _resolve(naming, spec) if naming else spec


@functools.cache
def _resolved(words: bytes) -> dg.AssetSpec:
    """Resolve words once that many entries have: to compile a template takes half a millisecond."""
    return _resolve(from_json(words), dg.AssetSpec("any"))


def _resolve(words: Mapping[str, Any], base: dg.AssetSpec) -> dg.AssetSpec:
    scope = {"dg": dg, "datetime": dt, **dg.ResolutionContext.default().scope}
    scope["automation_condition"] = dg.AutomationCondition  # Dagster's warns that it will go
    context = dg.ResolutionContext(scope=scope)
    info = TranslatorResolvingInfo(AssetAttributesModel(**words), context)
    return info.get_asset_spec(base, {"spec": base})


def mistakes_in_words(words: Any, base: dg.AssetSpec) -> Iterator[tuple[KeyPath, str]]:
    """Find what Dagster refuses of what an entry says, and say what it would take."""
    if not isinstance(words, Mapping):
        yield (), f"{words!r} is not valid here. Write keys with values."
        return
    own = {key: value for key, value in words.items() if key not in _DAGSTERS}
    yield from mistakes_in(StepWords, own, other_keys=_DAGSTERS - _NOT_HERE.keys())
    for key in words.keys() - own.keys():
        if key in _NOT_HERE:
            yield (key,), _NOT_HERE[key]
            continue
        try:
            asset_said({key: words[key]}, base)
        except Exception as error:  # noqa: BLE001  # whatever Dagster raises
            field = AssetAttributesModel.model_fields[key]
            example = _EXAMPLES.get(key) or next(iter(field.examples or ()), None)
            reason = field.description or ""
            if isinstance(error, dg.DagsterInvalidDefinitionError):
                reason = _OF_ASSET.sub("", str(error).splitlines()[0])
            message = f"{words[key]!r} is not valid. {reason}".rstrip()
            yield (key,), f"{message} Write one like {example!r}." if example else message
