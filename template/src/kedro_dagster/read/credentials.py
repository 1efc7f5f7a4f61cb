"""Keeps credentials out of the texts that Dagster stores: logs, errors and paths."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from kedro.config import AbstractConfigLoader, MissingConfigException

from ..errors import StepFailedError, leaves

_SHOWN_INSTEAD = "<redacted>"  # as Kedro writes it

_IN_URL = r"(?<=://)[^\s/@'\"]+(?=@)"

_PASSWORD_IN_URL = re.compile(r"://[^\s:/@]*:([^\s@]+)@")

_known: dict[str, str] = {}
"""The credentials that this process has read, each with the pattern that finds it."""

_pattern = re.compile(_IN_URL)


def remember(credentials: Any) -> None:
    """Hide each text in some credentials from now on, however deep it stands."""
    _add(_texts_in(credentials))
    remember_urls(credentials)


def remember_urls(config: Any) -> None:
    """Hide the passwords and queries of URLs in some configuration from now on."""
    urls = [text for text in _texts_in(config) if "://" in text]
    _add(unquote(password) for url in urls for password in _PASSWORD_IN_URL.findall(url))
    _add(url.partition("?")[2] for url in urls)  # it may be a signature


def _add(texts: Iterable[str]) -> set[str]:
    """Hide some texts; return those that were not hidden before."""
    patterns = _patterns_of(texts)
    added = patterns.keys() - _known.keys()
    if added:
        _known.update(patterns)
        _redact_log_records()
        _compile()
    return added


def _patterns_of(texts: Iterable[str]) -> dict[str, str]:
    """The lines by which some texts may be told, each with the pattern that finds it."""
    patterns = {}
    for text in texts:
        for form in {text, repr(text)[1:-1], quote(text, safe=""), quote_plus(text)}:
            for line in form.splitlines():  # a log may show one line of a key
                if len(line) > 2:
                    # A short one may be part of any word
                    exact = re.escape(line)
                    patterns[line] = exact if len(line) > 7 else rf"(?<!\w){exact}(?!\w)"
    return patterns


def _compile() -> None:
    global _pattern  # noqa: PLW0603
    _pattern = _one_of(_known.values(), _IN_URL)


def _one_of(patterns: Iterable[str], *others: str) -> re.Pattern[str]:
    return re.compile("|".join((*sorted(patterns, key=len, reverse=True), *others)))


def remember_credentials(loader: AbstractConfigLoader) -> None:
    """Remember the credentials of a project."""
    try:
        remember(loader["credentials"])
    except MissingConfigException:
        return


def _texts_in(config: Any) -> Iterator[str]:
    for _, value in leaves(config):
        if isinstance(value, str):
            yield value
        elif isinstance(value, int) and value > 99_999:  # a port or a flag is found everywhere
            yield str(value)


def redact(text: str) -> str:
    """Replace credentials in a text, and what stands before the host in a URL."""
    return _pattern.sub(_SHOWN_INSTEAD, text)


def redactor(values: Any) -> Callable[[str], str]:
    """Make a function that replaces credentials in a text, and the texts in some values."""
    patterns = _patterns_of(_texts_in(values))
    if not patterns:
        return redact
    pattern = _one_of(patterns.values())
    return lambda text: pattern.sub(_SHOWN_INSTEAD, redact(text))


def tells_credentials(content: bytes) -> bool:
    """Whether something that is to be stored holds credentials."""
    text = content.decode("utf-8", "ignore")
    return redact(text) != text


def redact_path(path: str) -> str:
    """Replace what stands before the host in a path, and its query, which may be a signature.

    Kedro cuts off the protocol of most paths, but local ones are absolute.
    """
    if path.startswith("/"):
        return path
    scheme, protocol, rest = path.rpartition("://")
    place, query, _ = rest.partition("?")
    host, slash, file = place.partition("/")
    _, user, name = host.rpartition("@")
    if user and slash:
        place = f"{_SHOWN_INSTEAD}@{name}/{file}"
    return f"{scheme}{protocol}{place}{query and f'?{_SHOWN_INSTEAD}'}"


@cache
def _redact_log_records() -> None:
    """Replace credentials in what this process logs, before any handler sees it."""
    make = logging.getLogRecordFactory()

    def make_redacted(*args: Any, **options: Any) -> logging.LogRecord:
        record = make(*args, **options)
        try:
            text = message = record.getMessage()
        except Exception:  # noqa: BLE001  # its arguments do not fit: the handlers tell
            return record
        if record.exc_info and record.exc_info[1]:
            error = "".join(traceback.format_exception(record.exc_info[1]))
            if redact(error) != error:
                text, record.exc_info = f"{message}\n{error}", None
        if redact(text) != message:
            record.msg, record.args = redact(text), ()
        return record

    logging.setLogRecordFactory(make_redacted)


@contextmanager
def redacted_errors(values: Any = ()) -> Iterator[None]:
    """Replace an error that tells credentials: Dagster stores errors whole.

    The given values are hidden too, also in logs, until the block ends.
    """
    added = _add(_texts_in(values))
    try:
        yield
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        signal = type(error).__module__.partition(".")[0] == "dagster"  # such as RetryRequested
        if signal or redact(text) == text:
            raise
        raise StepFailedError(redact(str(error)), type(error).__name__, redact(text)) from None
    finally:
        for line in added:
            del _known[line]
        if added:
            _compile()
