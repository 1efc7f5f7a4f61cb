"""What is hidden in the texts that Dagster stores, and what is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

import dagster as dg
import pytest

from kedro_dagster.errors import StepFailedError
from kedro_dagster.read import credentials
from kedro_dagster.read.credentials import (
    redact,
    redact_path,
    redacted_errors,
    remember,
    remember_urls,
)

PLANTED = "Zq7 pa'ss/wörd\\n"
KEY = "-----BEGIN KEY-----\nZq7firstline\nZq7secondline\n-----END KEY-----"
URL = "postgresql://me:Zq7%40inurl@host/db"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(credentials, "_known", {})
    remember({"a": {"password": PLANTED, "list": [KEY, "abc", 12345678]}, "con": URL, "port": 80})
    yield
    monkeypatch.undo()
    credentials._compile()


@pytest.mark.parametrize(
    "text",
    [
        f"as it is: {PLANTED}.",
        f"in a dictionary: { ({'x': PLANTED}) }",
        f"in a query: {quote(PLANTED, safe='')}",
        "a line: Zq7secondline",
        "a short one: abc!",
        "a number: 12345678",
        f"all of a URL: {URL}",
        "its password: Zq7@inurl",
        "any other URL: https://me:Zq7@example.com/file",
        "a user alone: ftp://Zq7@example.com/file",
    ],
)
def test_a_credential_is_hidden(text: str) -> None:
    shown = redact(text)
    assert "Zq7" not in shown
    assert "<redacted>" in shown
    assert shown.startswith(text.partition(":")[0])


@pytest.mark.parametrize(
    "text",
    ["a word with abcdef", "port 80", "https://example.com/a@b?x=1", "me@example.com", "12345"],
)
def test_other_text_is_not(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/data/a@b/what?.csv", "/data/a@b/what?.csv"),
        ("bucket/file.csv", "bucket/file.csv"),
        ("report@2024.csv", "report@2024.csv"),
        ("me:Zq7@host/file.csv", "<redacted>@host/file.csv"),
        ("host/file.csv?sig=Zq7", "host/file.csv?<redacted>"),
        ("sftp://me:Zq7@host/a/file.csv", "sftp://<redacted>@host/a/file.csv"),
        ("https://host/file.csv?sig=Zq7", "https://host/file.csv?<redacted>"),
    ],
)
def test_a_path_tells_the_place_alone(path: str, shown: str) -> None:
    assert redact_path(path) == shown


def test_the_password_and_the_query_of_a_url_in_the_catalog_are_hidden_elsewhere_too() -> None:
    remember_urls({"x": {"filepath": "https://me:Zq7ofurl@host/x?sig=Zq7signature", "n": 123456}})
    assert (
        redact("Zq7ofurl and sig=Zq7signature of 123456") == "<redacted> and <redacted> of 123456"
    )


def failing(error: Exception) -> None:
    try:
        {}[PLANTED]
    except KeyError as cause:
        raise error from cause


def test_an_error_that_tells_a_credential_is_another_one() -> None:
    with pytest.raises(StepFailedError) as caught, redacted_errors():
        failing(ValueError("cannot log in"))
    assert caught.value.cls_name == "ValueError"
    text = str(caught.value)
    assert "cannot log in" in text
    assert "KeyError" in text
    assert "Zq7" not in text
    assert caught.value.__suppress_context__


def test_any_other_error_is_raised_as_it_is() -> None:
    error = ValueError("nothing to hide")
    with pytest.raises(ValueError, match="nothing") as caught, redacted_errors():
        raise error
    assert caught.value is error


def test_a_signal_to_dagster_is_raised_as_it_is() -> None:
    with pytest.raises(dg.RetryRequested), redacted_errors():
        failing(dg.RetryRequested(max_retries=1))


def test_other_values_are_hidden_for_as_long_as_a_block_lasts() -> None:
    with pytest.raises(StepFailedError), redacted_errors(["Zq7moment"]):
        raise ValueError("Zq7moment")
    assert redact("Zq7moment") == "Zq7moment"


def test_log_records_are_redacted_for_every_handler(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("anybody")
    logger.warning("with %s", {"key": PLANTED})
    try:
        failing(ValueError("cannot log in"))
    except ValueError:
        logger.exception("it failed")
    logger.warning("nothing to hide in %d", 1)
    logger.warning("does %s not fit")
    assert "Zq7" not in caplog.text
    assert "cannot log in" in caplog.text
    assert caplog.records[2].args == (1,)
