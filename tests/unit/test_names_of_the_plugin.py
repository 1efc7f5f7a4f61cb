"""What projects of the plugin name: in catalogs, nodes, loggers and ``logging.yml``."""

from __future__ import annotations

import json
import logging.config
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import kedro_dagster
from kedro_dagster import datasets
from kedro_dagster.read.dagster_yml import LoggerOptions
from kedro_dagster.render.jobs import logger_definition
from projects import HELPER, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node

from kedro_dagster import NOTHING_OUTPUT


def register_pipelines():
    first = node(lambda: NOTHING_OUTPUT, None, "done", name="first")
    then = node(lambda done: [done], "done", "made", name="then")
    return {"__default__": Pipeline([first, then])}
"""
CATALOG = """\
done: {type: kedro_dagster.DagsterNothingDataset}
made: {type: json.JSONDataset, filepath: data/made.json}
"""
LOGGING = """\
version: 1
disable_existing_loggers: false
formatters:
  colored: {class: kedro_dagster.logging.DagsterColoredFormatter}
  json: {class: kedro_dagster.logging.DagsterJsonFormatter}
  rich: {class: kedro_dagster.logging.DagsterRichFormatter}
handlers:
  console: {class: logging.StreamHandler, stream: ext://sys.stdout, formatter: FORMATTER}
loggers: {}
root: {handlers: [console], level: INFO}
"""


@pytest.mark.parametrize(
    "name", ["DagsterPartitionedDataset", "DagsterNothingDataset", "NOTHING_OUTPUT"]
)
def test_the_datasets_are_names_of_the_package_too(name: str) -> None:
    assert getattr(kedro_dagster, name) is getattr(datasets, name)
    assert name in kedro_dagster.__all__


def test_they_are_imported_without_dagster() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HELPER.parent)!r}); "
        "from kedro_dagster import DagsterNothingDataset; import kedro_dagster.logging; "
        "print('dagster' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert process.stdout.split()[-1] == b"False"


@pytest.mark.slow
@pytest.mark.parametrize("formatter", ["colored", "json", "rich"])
def test_kedro_run_takes_formatters_and_datasets_by_the_names_of_the_plugin(
    tmp_path: Path, formatter: str
) -> None:
    project = make_project(
        tmp_path / "shop",
        pipelines=PIPELINES,
        catalog=CATALOG,
        files={"conf/logging.yml": LOGGING.replace("FORMATTER", formatter)},
    )
    output = project.kedro("run", KEDRO_LOGGING_MODULE_ALLOWLIST="kedro_dagster").stdout
    assert (project.path / "data/made.json").exists()
    (line,) = (line for line in output.splitlines() if "Kedro project shop" in line)
    if formatter == "json":
        assert json.loads(line)["message"] == "Kedro project shop"
        assert json.loads(line)["levelname"] == "INFO"
    elif formatter == "rich":
        assert line == "Kedro project shop"
    else:
        assert line.endswith(" - kedro.framework.session.session - INFO - Kedro project shop")


def record(level: int, **options: Any) -> logging.LogRecord:
    return logging.LogRecord("shop", level, __file__, 1, "made %s", ("it",), None, **options)


def test_a_warning_has_a_color() -> None:
    formatter = kedro_dagster_logging().DagsterColoredFormatter("%(levelname)s %(message)s")
    assert formatter.format(record(logging.WARNING)) == "\033[33mWARNING made it\033[0m"
    assert formatter.format(record(logging.INFO)) == "INFO made it"


def test_a_traceback_is_part_of_the_json() -> None:
    try:
        int("no")
    except ValueError:
        failed = logging.LogRecord("shop", 40, __file__, 1, "failed", (), sys.exc_info())
    content = json.loads(kedro_dagster_logging().DagsterJsonFormatter().format(failed))
    assert content["exc_info"].endswith("base 10: 'no'")


@pytest.mark.parametrize("kind", ["colored", "json", "rich"])
def test_the_formatters_are_made_by_factories_too(kind: str) -> None:
    configurator = logging.config.DictConfigurator({"version": 1})
    path = f"kedro_dagster.dagster_{kind}_formatter"
    formatter = configurator.configure_formatter({"()": path})
    assert "made it" in formatter.format(record(logging.INFO))


def kedro_dagster_logging() -> Any:
    return __import__("kedro_dagster.logging", fromlist=["logging"])


def test_the_handlers_of_a_logger_may_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    options = LoggerOptions.model_validate(
        {
            "log_level": "INFO",
            "formatters": {"simple": {"format": "[%(levelname)s] %(message)s"}},
            "handlers": [
                {"class": "logging.FileHandler", "filename": str(file), "formatter": "simple"},
                {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
            ],
        }
    )
    definition = logger_definition("file_logger", options)
    logger = definition.logger_fn(dg.build_init_logger_context())
    assert len(logger.handlers) == 2
    logger.info("here")
    assert file.read_text() == "[INFO] here\n"
    logger.handlers[0].close()
