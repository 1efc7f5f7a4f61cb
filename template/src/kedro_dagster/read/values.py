"""Values in ``dagster.yml`` that Dagster decides on: each is tried on a definition of Dagster's."""

from __future__ import annotations

import functools
import re
import warnings
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import dagster as dg
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BeforeValidator

from ..versions import __version__

HOW_TO_SELECT = (
    "Write one as in Dagster's UI, such as 'tag:nightly', 'group:sales and not kind:csv', "
    "'key:\"sales/*\"' or '+key:report'."
)


@functools.cache
def is_dagster_name(value: str) -> bool:
    """Whether Dagster takes a name for a job, an op or an input."""
    try:
        dg.GraphDefinition(name=value)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def _dagster_name(value: str) -> str:
    if not is_dagster_name(value):
        raise ValueError(
            f"{value!r} cannot be a name in Dagster. Use letters, digits and underscores, and no "
            "word of Python's own."
        )
    return value


def _cron(value: Any) -> Any:
    try:
        dg.ScheduleDefinition(name="name", job_name="job", cron_schedule=value)
    except Exception:  # noqa: BLE001  # it depends on the type of what is given
        raise ValueError(
            f"{value!r} is not a cron schedule. Write five fields (minute, hour, day of month, "
            "month, day of week), such as '0 6 * * 1-5', or '@daily'."
        ) from None
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, LookupError, OSError):
        close, *_ = (*get_close_matches(value, available_timezones(), n=1), "Europe/Paris")
        raise ValueError(f"{value!r} is not a time zone. Write one like {close!r}.") from None
    return value


def _helper_version(value: str) -> str:
    try:
        fits = SpecifierSet(value, prereleases=True).contains(__version__)
    except InvalidSpecifier:
        raise ValueError(f"{value!r} is no range of versions. Write one like '>=0.1'.") from None
    if not fits:
        raise ValueError(
            f"this file is written for kedro_dagster {value}, and the one in use is {__version__}. "
            "Run `copier update`, or correct the range."
        )
    return value


def _seconds(value: Any) -> float:
    seconds = 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (parts := _DURATION.fullmatch(value.replace(" ", ""))):
        hours, minutes, rest = (float(part or 0) for part in parts.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f"{value!r} is no duration. Write a number of seconds, or one like '90s', '10m' or "
            "'1h30m'."
        )
    return seconds


def _pool(value: str) -> str:
    if not value or any(map(str.isspace, value)):
        raise ValueError(f"{value!r} cannot be a pool. Write a word without spaces.")
    return value


def _op_tags(value: dict[str, Any]) -> dict[str, str | None]:
    """Check tags, and write them as Dagster does: what is no text becomes JSON."""
    for key in value:
        if key == "dagster/concurrency_key":
            raise ValueError(f"{key!r} is no tag to set here. Write a 'pool' instead.")
        try:
            dg.AssetSpec("asset", tags={key: ""})  # an op would only warn of the key
        except dg.DagsterInvalidDefinitionError:
            raise ValueError(
                f"{key!r} cannot be a tag in Dagster. Use up to 63 letters, digits, '_', '-' and "
                "'.', with a namespace before a '/' if you like."
            ) from None
    given = {key: one for key, one in value.items() if one is not None}
    try:
        tags = dg.OpDefinition(lambda: None, "op", tags=given).tags
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError(str(error)) from error
    return {key: tags.get(key) for key in value}


def _key_prefix(value: list[str]) -> list[str]:
    for part in value:
        if not part or "/" in part:
            raise ValueError(f"{part!r} is no part of a key. Write them in a list: [shop, europe].")
    return value


def _asset_selection(value: str) -> str:
    if selection_of("key:a or key:b") is None:
        raise ValueError(
            f"{value!r} cannot be read: OmegaConf pins a version of ANTLR with which Dagster reads "
            "no selections. Do `pip install 'omegaconf>=2.4'`."
        )
    if selection_of(value) is None:
        raise ValueError(f"{value!r} is no selection of assets. {HOW_TO_SELECT}")
    return value


def selection_of(text: str) -> dg.AssetSelection | None:
    """The selection that a text is in Dagster's syntax, if it is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster warns of parameters that it gives itself
        try:
            found: dg.AssetSelection = dg.AssetSelection.from_string(text)
        except Exception:  # noqa: BLE001  # its parser, of which there are two, raises what it likes
            return None
    return found


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) else value


def _by_name(value: Any) -> Any:
    """Write a list as a mapping: nobody uses the names."""
    return dict(enumerate(value)) if isinstance(value, list) else value


Level = Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"]

LEVELS = get_args(Level)


def _level(value: Any) -> Any:
    return value.upper() if isinstance(value, str) and value.upper() in LEVELS else value


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")

AssetSelection = Annotated[str, AfterValidator(_asset_selection)]
AnyCaseLevel = Annotated[Level, BeforeValidator(_level)]
AnyCaseBackoff = Annotated[Literal["LINEAR", "EXPONENTIAL"], BeforeValidator(_upper)]
AnyCaseJitter = Annotated[Literal["FULL", "PLUS_MINUS"], BeforeValidator(_upper)]
Cron = Annotated[str | list[str], BeforeValidator(_cron)]
Duration = Annotated[float, BeforeValidator(_seconds)]
DagsterName = Annotated[str, AfterValidator(_dagster_name)]
Handlers = Annotated[dict[str, dict[str, Any]], BeforeValidator(_by_name)]
HelperVersion = Annotated[str, AfterValidator(_helper_version)]
KeyPrefix = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_key_prefix)]
OneOrMore = BeforeValidator(_as_list)
Names = Annotated[list[str], OneOrMore]
OpTags = Annotated[dict[str, Any], AfterValidator(_op_tags)]
Pool = Annotated[str, AfterValidator(_pool)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
