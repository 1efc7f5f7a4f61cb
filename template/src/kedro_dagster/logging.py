"""Formatters for ``conf/logging.yml`` that write like ``dagster dev`` with each ``--log-format``.

Kedro reads that file before it looks for the project's source folder, so this package must be on
Python's path. Kedro 1.7 imports classes of modules in ``KEDRO_LOGGING_MODULE_ALLOWLIST`` only.
"""

from __future__ import annotations

import json
import logging
from logging import getLogger
from typing import Any

__all__ = ["DagsterColoredFormatter", "DagsterJsonFormatter", "DagsterRichFormatter", "getLogger"]

_LINE = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

_COLORS = {"DEBUG": 34, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}


class DagsterColoredFormatter(logging.Formatter):
    """Writes the level and the message in a color."""

    def __init__(self, fmt: str | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(fmt or _LINE, *arguments, **options)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Write the line of a record, without its traceback."""
        color = _COLORS.get(record.levelname)
        line = super().formatMessage(record)
        return f"\033[{color}m{line}\033[0m" if color else line


class DagsterJsonFormatter(logging.Formatter):
    """Writes a JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        content = {
            "asctime": self.formatTime(record),
            "name": record.name,
            "levelname": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(content)


class DagsterRichFormatter(logging.Formatter):
    """Writes the message alone: Rich's handler has columns for the time and the level."""


# As factories, in "()", which Kedro takes up to 1.6
dagster_colored_formatter = DagsterColoredFormatter
dagster_json_formatter = DagsterJsonFormatter
dagster_rich_formatter = DagsterRichFormatter
