"""Schedules and loggers of ``dagster.yml``, in the definitions and in a run."""

from __future__ import annotations

import json

import pytest

from projects import Project, make_project

PIPELINES = """\
import logging

from kedro.pipeline import Pipeline, node


def talk(number):
    logging.getLogger("shop.nodes").warning("quiet: hush")
    logging.getLogger("shop.nodes").warning("the number is %s", number)
    return number


def register_pipelines():
    return {"__default__": Pipeline([node(talk, "params:number", "said", name="talk")])}
"""
CATALOG = "said: {type: json.JSONDataset, filepath: data/said.json}\n"
PARAMETERS = 'number: "${runtime_params:number, 1}"\n'
FILTERS = """\
class Hush:
    def __init__(self, word):
        self.word = word

    def filter(self, record):
        return self.word not in record.getMessage()
"""
DAGSTER = """\
schedules:
  nightly:
    cron_schedule: 0 2 * * 1-5
    execution_timezone: Europe/Paris
    description: Every working night.
    metadata: {owner: sales, retries: 2}
    default_status: RUNNING
    runtime_params: {number: 7}
  often: {cron_schedule: ["@hourly", "30 * * * *"]}
loggers:
  audit:
    log_level: warning
    formatters: {short: {format: "AUDIT %(levelname)s %(message)s"}}
    filters: {hush: {(): shop.filters.Hush, word: hush}}
    handlers:
      file:
        class: logging.FileHandler
        filename: audit.log
        formatter: short
        filters: [hush]
jobs:
  logged:
    pipeline: {}
    executor: {in_process: {}}
    schedule: nightly
    loggers: [audit, {level: ERROR, handlers: {f: {class: logging.FileHandler, filename: e.log}}}]
  inline: {pipeline: {}, schedule: {cron_schedule: "@daily"}, executor: {in_process: {}}}
  first: {pipeline: {}, schedule: often}
  second: {pipeline: {}, schedule: often}
"""
SHOW = """\
import json
from datetime import datetime, timezone

import dagster as dg

from shop.definitions import defs

repository = defs.get_repository_def()
shown = {}
for schedule in repository.schedule_defs:
    context = dg.build_schedule_context(
        repository_def=repository, scheduled_execution_time=datetime.now(timezone.utc)
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    shown[schedule.name] = {
        "job": schedule.job_name,
        "cron": schedule.cron_schedule,
        "timezone": schedule.execution_timezone,
        "description": schedule.description,
        "metadata": {key: value.value for key, value in schedule.metadata.items()},
        "status": schedule.default_status.value,
        "config": request.run_config,
        "executor": repository.get_job(schedule.job_name).executor_def.name,
    }
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("scheduled") / "shop",
        pipelines=PIPELINES,
        catalog=CATALOG,
        parameters=PARAMETERS,
        dagster=DAGSTER,
        files={"src/shop/filters.py": FILTERS},
    )


@pytest.fixture(scope="module")
def schedules(project: Project) -> dict[str, dict[str, object]]:
    """The schedules as Dagster has them, and what a tick of each asks for."""
    shown: dict[str, dict[str, object]] = json.loads(
        project.run("-c", SHOW).stdout.splitlines()[-1]
    )
    return shown


@pytest.mark.slow
def test_a_schedule_has_all_that_dagster_yml_says(schedules: dict[str, dict[str, object]]) -> None:
    assert schedules["logged_schedule"] == {
        "job": "logged",
        "cron": "0 2 * * 1-5",
        "timezone": "Europe/Paris",
        "description": "Every working night.",
        "metadata": {"owner": "sales", "retries": 2},
        "status": "RUNNING",
        "config": {
            "loggers": {"audit": {}, "logger_1": {}},
            "resources": {"kedro": {"config": {"runtime_params": {"number": 7}}}},
        },
        "executor": "in_process",
    }


@pytest.mark.slow
def test_a_schedule_of_two_jobs_becomes_one_for_each(
    schedules: dict[str, dict[str, object]],
) -> None:
    both = {name: schedules[name] for name in ("first_schedule", "second_schedule")}
    assert [schedule["job"] for schedule in both.values()] == ["first", "second"]
    assert all(schedule["cron"] == ["@hourly", "30 * * * *"] for schedule in both.values())


@pytest.mark.slow
def test_a_schedule_and_an_executor_may_be_written_in_place(
    schedules: dict[str, dict[str, object]],
) -> None:
    inline = schedules["inline_schedule"]
    assert inline["job"] == "inline"
    assert inline["cron"] == "@daily"
    assert inline["status"] == "STOPPED"
    assert inline["executor"] == "in_process"


@pytest.mark.slow
def test_a_run_as_scheduled_writes_through_its_loggers(
    project: Project, schedules: dict[str, dict[str, object]]
) -> None:
    config = project.path / "scheduled.json"
    config.write_text(json.dumps(schedules["logged_schedule"]["config"]), encoding="utf-8")
    project.execute("logged", "-c", config.name)
    assert json.loads((project.path / "data/said.json").read_text()) == 7
    lines = (project.path / "audit.log").read_text().splitlines()
    (said,) = (line for line in lines if " - talk - " in line)
    assert said.startswith("AUDIT WARNING logged - ")
    assert said.endswith(" - talk - the number is 7")
    assert (project.path / "e.log").read_text() == ""
