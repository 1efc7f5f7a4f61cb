"""Each mistake in a project gives one readable message, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.errors import DagsterConfigError, KedroDagsterError
from kedro_dagster.plan.describe import describe
from projects import OMEGACONF, Project, make_project

PIPELINES = """\
from kedro.pipeline import Pipeline, node


def same(value):
    return value


def register_pipelines():
    default = Pipeline(
        [
            node(same, "raw", "clean", name="clean_node", tags="prepare"),
            node(same, "clean", "model", name="train_node", tags="learn", namespace="training"),
        ]
    )
    return {"__default__": default, "learning": default.only_nodes_with_tags("learn"),
            "empty": Pipeline([])}
"""
CATALOG = """\
raw: {type: json.JSONDataset, filepath: data/raw.json}
"{namespace}.model": {type: json.JSONDataset, filepath: "data/{namespace}.json"}
"""
JOB = "jobs: {all: {pipeline: {pipeline_name: __default__}}}\n"
NOT_A_CRON = (
    "is not a cron schedule. Write five fields (minute, hour, day of month, month, day of week), "
    "such as '0 6 * * 1-5', or '@daily'."
)
NOT_A_NAME = (
    "cannot be a name in Dagster. Use letters, digits and underscores, and no word of Python's own."
)
UNFINISHED, TAB = "did not find expected node content", "found character"
if OMEGACONF < (2, 4):  # which reads YAML with PyYAML alone, and that has words of its own
    UNFINISHED, TAB = "expected the node content, but found '<stream end>'", f"{TAB} '\\t'"


@pytest.fixture(scope="module", autouse=True)
def kedro_leaves_no_trace() -> Iterator[None]:
    """Take back what Kedro does to this process when it finds a project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("PYTHONPATH", "")
        yield


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(
        tmp_path_factory.mktemp("bad_input") / "project",
        pipelines=PIPELINES,
        parameters="model: {rate: 1}\nsize: '${runtime_params:own.size, 1}'\n",
        files={"src/shop/incomplete.py": "import nowhere.inside\n"},
    )


@pytest.fixture
def project(shared_project: Project) -> Project:
    """A project without mistakes, whose configuration a test may overwrite."""
    for name, text in {"base/dagster": JOB, "base/catalog": CATALOG, "local/dagster": ""}.items():
        write(shared_project, f"conf/{name}.yml", text)
    return shared_project


def write(project: Project, name: str, text: str) -> None:
    (project.path / name).write_text(text, encoding="utf-8")


def told(project: Project, env: str | None = None) -> str:
    """What a user is told of a project."""
    with pytest.raises(KedroDagsterError) as caught:
        KedroProjectTranslator(project.path, env=env)
    return str(caught.value)


def mistakes(project: Project, env: str | None = None) -> list[str]:
    """The mistakes that a user is told of."""
    with pytest.raises(DagsterConfigError) as caught:
        KedroProjectTranslator(project.path, env=env)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_preset_may_have_a_parameter_that_conf_asks_for(project: Project) -> None:
    text = "jobs: {a: {pipeline: {}, presets: {b: {runtime_params: {own: {size: 2}, size: 1}}}}}"
    write(project, "conf/base/dagster.yml", text)
    assert KedroProjectTranslator(project.path).plan.jobs.keys() == {"a", "a_b"}


def test_a_project_without_mistakes_loads(project: Project) -> None:
    definitions = KedroProjectTranslator(project.path).to_definitions()
    assert definitions.get_repository_def().has_job("all")


def test_a_handler_may_have_no_filters_in_so_many_words(project: Project) -> None:
    handler = "{class: logging.StreamHandler, filters: null}"
    write(project, "conf/base/dagster.yml", f"loggers: {{a: {{handlers: [{handler}]}}}}\n{JOB}")
    assert KedroProjectTranslator(project.path).plan.jobs.keys() == {"all"}


def test_schedules_that_would_have_one_name_load_too(project: Project) -> None:
    write(
        project,
        "conf/base/dagster.yml",
        """
        schedules: {a_schedule: {cron_schedule: "@daily"}}
        jobs:
          a: {pipeline: {}, schedule: {cron_schedule: "@hourly"}}
          b: {pipeline: {}, schedule: a_schedule}
        """,
    )
    schedules = KedroProjectTranslator(project.path).to_definitions().schedules or ()
    assert {schedule.name for schedule in schedules} == {"a_schedule", "b_schedule"}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("in_process", "in_process"),
        ("multiprocess", "multiprocess"),
        ("multiprocess_executor", "multiprocess"),
        ("dagster.in_process_executor", "in_process"),
    ],
)
def test_an_executor_of_dagsters_needs_no_definition(
    project: Project, word: str, name: str
) -> None:
    write(project, "conf/base/dagster.yml", f"jobs: {{all: {{pipeline: {{}}, executor: {word}}}}}")
    translator = KedroProjectTranslator(project.path)
    assert translator.to_definitions().get_job_def("all").executor_def.name == name
    assert f"executor {word}," in describe(translator.plan)


def test_an_executor_of_the_projects_own_may_have_the_name_of_one_of_dagsters(
    project: Project,
) -> None:
    write(
        project,
        "conf/base/dagster.yml",
        "executors: {in_process: multiprocess}\njobs: {all: {pipeline: {}, executor: in_process}}",
    )
    definitions = KedroProjectTranslator(project.path).to_definitions()
    assert definitions.get_job_def("all").executor_def.name == "multiprocess"


@pytest.mark.parametrize(
    ("yaml", "mistake"),
    [
        # YAML
        ("jobs:\n  all: [1,\n", f"line 3, column 1: {UNFINISHED}."),
        ("jobs:\n\tall: 1\n", f"line 2, column 1: {TAB} that cannot start any token."),
        (
            "- jobs\n",
            (
                "its top level must have the keys 'requires_helper', 'one_writer', 'dev', "
                "'executors', 'assets', 'schedules', 'loggers', 'nodes', 'sensors', 'jobs'."
            ),
        ),
        (
            "jobs:\n  all: {pipeline: {}}\n  all: {pipeline: {}}\n",
            "line 3, column 3: found duplicate key all.",
        ),
        (
            "jobs: {all: {pipeline: {pipeline_name: '${nope}'}}}",
            "jobs.all.pipeline.pipeline_name: Interpolation key 'nope' not found",
        ),
        (
            "true\n",
            (
                "its top level must have the keys 'requires_helper', 'one_writer', 'dev', "
                "'executors', 'assets', 'schedules', 'loggers', 'nodes', 'sensors', 'jobs'."
            ),
        ),
        # Keys
        (f"job: {{}}\n{JOB}", "job: unknown key. Did you mean 'jobs'?"),
        (f"dev: {{prot: 3000}}\n{JOB}", "dev.prot: unknown key. Did you mean 'port'?"),
        (
            "jobs: {all: {pipeline: {}, executer: fast}}",
            "jobs.all.executer: unknown key. Did you mean 'executor'?",
        ),
        (
            "jobs: {all: {pipeline: {node_name: [clean_node]}}}",
            (
                "jobs.all.pipeline.node_name: unknown key. Did you mean 'node_names' or "
                "'node_namespaces' or 'pipeline_name'?"
            ),
        ),
        (
            f"schedules: {{night: {{cron_schedule: '@daily', timezone: UTC}}}}\n{JOB}",
            "schedules.night.timezone: unknown key. Did you mean 'execution_timezone'?",
        ),
        (
            "jobs: {all: {pipeline: {}, schedule: {cron_schedule: '@daily', describtion: x}}}",
            "jobs.all.schedule.describtion: unknown key. Did you mean 'description'?",
        ),
        (
            "jobs: {all: {pipeline: {}, loggers: [{handler: {}}]}}",
            "jobs.all.loggers.0.handler: unknown key. Did you mean 'handlers'?",
        ),
        ("jobs: {all: {}}", "jobs.all.pipeline: this key is required."),
        (
            "schedules: {night: {}}",
            "schedules.night.cron_schedule: this key is required.",
        ),
        ("jobs: [all]", "jobs: ['all'] is not valid here. Write keys with values."),
        (
            "jobs: {all: {pipeline: {}, tags: [x]}}",
            "jobs.all.tags: ['x'] is not valid here. Write keys with values.",
        ),
        (
            "jobs: {all: {pipeline: {}, schedule: [x]}}",
            (
                "jobs.all.schedule: ['x'] is not valid here. Write keys with values: "
                "'cron_schedule', 'execution_timezone', 'description', 'metadata', "
                "'default_status', 'runtime_params'."
            ),
        ),
        (
            "jobs: {schedule: {pipeline: {}, schedul: {}}}",
            "jobs.schedule.schedul: unknown key. Did you mean 'schedule'?",
        ),
        # Values
        (
            "dev: {log_level: loud}",
            (
                "dev.log_level: 'loud' is not allowed. Allowed: 'critical', 'error', 'warning', "
                "'info' or 'debug'."
            ),
        ),
        (
            "dev: {port: high}",
            (
                "dev.port: 'high' is not valid: input should be a valid integer, unable to parse "
                "string as an integer."
            ),
        ),
        (
            "loggers: {audit: {log_level: loud}}",
            (
                "loggers.audit.log_level: 'loud' is not allowed. Allowed: 'CRITICAL', 'ERROR', "
                "'WARNING', 'INFO' or 'DEBUG'."
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, group_by: nodes}}",
            (
                "jobs.all.group_by: 'nodes' is not allowed. Allowed: 'memory', 'namespace', "
                "'tag' or 'pipeline'."
            ),
        ),
        (
            "jobs: {all: {pipeline: {pipeline_name: a, pipeline_names: [b]}}}",
            "jobs.all.pipeline: give either pipeline_name or pipeline_names, not both.",
        ),
        (
            "schedules: {night: {cron_schedule: 61 * * * *}}",
            f"schedules.night.cron_schedule: '61 * * * *' {NOT_A_CRON}",
        ),
        (
            "jobs: {all: {pipeline: {}, schedule: {cron_schedule: 5}}}",
            f"jobs.all.schedule.cron_schedule: 5 {NOT_A_CRON}",
        ),
        (
            "schedules: {night: {cron_schedule: '@daily', execution_timezone: Europe/Pariss}}",
            (
                "schedules.night.execution_timezone: 'Europe/Pariss' is not a time zone. Write one "
                "like 'Europe/Paris'."
            ),
        ),
        # Names
        ("jobs: {my-job: {pipeline: {}}}", f"jobs.my-job: 'my-job' {NOT_A_NAME}"),
        ("jobs: {config: {pipeline: {}}}", f"jobs.config: 'config' {NOT_A_NAME}"),
        (
            "schedules: {every night: {cron_schedule: '@daily'}}",
            f"schedules.every night: 'every night' {NOT_A_NAME}",
        ),
        (
            "executors: {fast: in_process}\njobs: {all: {pipeline: {}, executor: fats}}",
            "jobs.all.executor: 'fats' is not defined in 'executors'. Did you mean 'fast'?",
        ),
        (
            "jobs: {all: {pipeline: {}, executor: multiproces}}",
            (
                "jobs.all.executor: 'multiproces' is not defined in 'executors'. Did you mean "
                "'multiprocess' or 'multiprocess_executor' or 'in_process'?"
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, executor: nowhere.executor}}",
            (
                "jobs.all.executor: executor 'nowhere.executor' needs a package that is not "
                "installed (No module named 'nowhere'). Install it: pip install nowhere"
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, executor: shop.incomplete.executor}}",
            (
                "jobs.all.executor: executor 'shop.incomplete.executor' needs a package that is "
                "not installed (No module named 'nowhere'). Install it: pip install nowhere"
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, executor: shop.executers.fast}}",
            (
                "jobs.all.executor: executor 'shop.executers.fast' cannot be imported: "
                "ModuleNotFoundError: No module named 'shop.executers'"
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, schedule: nightly}}",
            (
                "jobs.all.schedule: 'nightly' is not defined in 'schedules'. There is none to "
                "choose from."
            ),
        ),
        (
            "loggers: {audit: {}}\njobs: {all: {pipeline: {}, loggers: [file]}}",
            "jobs.all.loggers: 'file' is not defined in 'loggers'. Allowed: 'audit'.",
        ),
        # Pipelines and their filters
        (
            "jobs: {all: {pipeline: {pipeline_name: lerning}}}",
            (
                "jobs.all.pipeline.pipeline_name: pipeline 'lerning' is not registered. Did you "
                "mean 'learning'?"
            ),
        ),
        (
            "jobs: {all: {pipeline: {pipeline_names: [learning, nope]}}}",
            (
                "jobs.all.pipeline.pipeline_names: pipeline 'nope' is not registered. Allowed: "
                "'__default__', 'empty', 'learning'."
            ),
        ),
        (
            "jobs: {all: {pipeline: {from_nodes: clean_nod}}}",
            (
                "jobs.all.pipeline.from_nodes: 'clean_nod' is not in the pipeline. Did you mean "
                "'clean_node'?"
            ),
        ),
        (
            "jobs: {all: {pipeline: {tags: [prepared]}}}",
            "jobs.all.pipeline.tags: 'prepared' is not in the pipeline. Did you mean 'prepare'?",
        ),
        (
            "jobs: {all: {pipeline: {node_namespaces: [train]}}}",
            (
                "jobs.all.pipeline.node_namespaces: 'train' is not in the pipeline. Did you mean "
                "'training'?"
            ),
        ),
        (
            "jobs: {all: {pipeline: {from_inputs: [row]}}}",
            "jobs.all.pipeline.from_inputs: 'row' is not in the pipeline. Did you mean 'raw'?",
        ),
        (
            "jobs: {all: {pipeline: {tags: [prepare], node_names: [training.train_node]}}}",
            (
                "jobs.all.pipeline: selects no node: Pipeline contains no nodes after applying all "
                "provided filters. Please ensure that at least one pipeline with nodes has been "
                "defined."
            ),
        ),
        (
            "jobs: {all: {pipeline: {pipeline_name: empty}}}",
            "jobs.all.pipeline: selects no node: pipeline empty is empty.",
        ),
        # Executors
        (
            "jobs: {all: {pipeline: {}, executor: {in_process: {}, multiprocess: {}}}}",
            (
                "jobs.all.executor: an executor is one name with its options, such as "
                "{multiprocess: {max_concurrent: 2}}; this is "
                "{'in_process': {}, 'multiprocess': {}}."
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, executor: {multiproces: {}}}}",
            (
                "jobs.all.executor: there is no executor 'multiproces'. Did you mean "
                "'multiprocess' or 'multiprocess_executor' or 'in_process'? "
                "Any other is named by its dotted path."
            ),
        ),
        (
            (
                "executors: {fast: {multiprocess: {max_concurrent: many}}}\n"
                "jobs: {all: {pipeline: {}, executor: fast}}"
            ),
            (
                "executors.fast.multiprocess.max_concurrent: 'many' is not valid: its type must be "
                "Int."
            ),
        ),
        (
            "jobs: {all: {pipeline: {}, executor: {multiprocess: {max_concurent: 2}}}}",
            (
                "jobs.all.executor.multiprocess.max_concurent: unknown key. Did you mean "
                "'max_concurrent' or 'tag_concurrency_limits'?"
            ),
        ),
        (
            (
                "jobs: {all: {pipeline: {}, executor: "
                "{multiprocess: {start_method: {forkserver: {preload: []}}}}}}"
            ),
            (
                "jobs.all.executor.multiprocess.start_method.forkserver.preload: unknown key. Did "
                "you mean 'preload_modules'?"
            ),
        ),
        # Jobs after others
        ("jobs: {a: {pipeline: {}, after: a}}", "jobs.a.after: a job cannot start after itself."),
        (
            "jobs: {'{n}_job': {pipeline: {tags: '{n}'}, after: lern_job}}",
            ("jobs.{n}_job.after: 'lern_job' is not defined in 'jobs'. Did you mean 'learn_job'?"),
        ),
        (
            (
                "jobs: {a: {pipeline: {}, after: [c]}, b: {pipeline: {}, after: [a]}, "
                "c: {pipeline: {}, after: [b, {job: a, location: other}]}}"
            ),
            "jobs.a.after: these jobs would start each other for ever: a -> b -> c -> a.",
        ),
        (
            "jobs: {a: {pipeline: {}, after: {job: b}}}",
            "jobs.a.after: {'job': 'b'} is not valid: input should be a valid list.",
        ),
        # Presets
        (
            "jobs: {a: {pipeline: {}, presets: {small: {runtime_param: {}}}}}",
            "jobs.a.presets.small.runtime_param: unknown key. Did you mean 'runtime_params'?",
        ),
        (
            "jobs: {a: {pipeline: {}, presets: {small: {runtime_params: {model: {rat: 1}}}}}}",
            (
                "jobs.a.presets.small.runtime_params.model.rat: no parameter has this name, and "
                "nothing asks for ${runtime_params:model.rat}. Did you mean 'rate'?"
            ),
        ),
        (
            "jobs: {a: {pipeline: {}, presets: {small: {partition_keys: [a]}}}}",
            ("jobs.a.presets.small.partition_keys: no step of job 'a' is for one partition."),
        ),
        (
            "jobs: {a: {pipeline: {}, presets: {b: {}}}, a_b: {pipeline: {}}}",
            "jobs.a.presets.b: its job is called 'a_b', as is jobs.a_b. Choose another name.",
        ),
        (
            "jobs: {a: {pipeline: {}, presets: {b: {schedule: daily}}}}",
            (
                "jobs.a.presets.b.schedule: 'daily' is not defined in 'schedules'. There is none "
                "to choose from."
            ),
        ),
        # Job factories
        (
            "jobs: {'{a}_job': {pipeline: {node_namespaces: '{b}'}}}",
            (
                "jobs.{a}_job: {a} stands for nothing: it is not in pipeline_name, pipeline_names, "
                "node_namespaces or tags of its pipeline. Allowed: 'b'."
            ),
        ),
        (
            "jobs: {'{name}': {pipeline: {tags: '{name}'}, tags: {x: 'is {nam}'}}}",
            (
                "jobs.{name}.tags.x: {nam} stands for nothing: it is not in pipeline_name, "
                "pipeline_names, node_namespaces or tags of its pipeline. Did you mean 'name'?"
            ),
        ),
        (
            "jobs: {'{name}': {pipeline: {pipeline_name: 'learn{name}s'}}}",
            (
                "jobs.{name}.pipeline.pipeline_name: 'learn{name}s' matches nothing. Did you mean "
                "'learning'?"
            ),
        ),
        (
            "jobs: {'{a}': {pipeline: {node_namespaces: '{a}.{b}'}}}",
            (
                "jobs.{a}.pipeline.node_namespaces: '{a}.{b}' matches nothing. There is none to "
                "choose from."
            ),
        ),
        (
            "jobs: {'{a}': {pipeline: {pipeline_name: lerning, tags: '{a}'}}}",
            "jobs.{a}.pipeline: pipeline 'lerning' is not registered. Did you mean 'learning'?",
        ),
        (
            "jobs: {'{a}': {pipeline: {tags: '{a}'}}, 'l{c}': {pipeline: {tags: 'l{c}'}}}",
            "jobs.l{c}: it gives job 'learn', and so does '{a}'. Change one of these names.",
        ),
        (
            "jobs: {'{a}': {pipeline: {tags: ['{a}', '{b}']}}}",
            ("jobs.{a}: it gives job 'learn' twice: write all of its placeholders in its name."),
        ),
        ("jobs: {'{a}': {}}", "jobs.{a}: write a 'pipeline' whose names have its placeholders."),
        (
            "jobs: {'{a}-x': {pipeline: {tags: 'l{a}'}}}",
            f"jobs.{{a}}-x: 'earn-x' {NOT_A_NAME}",
        ),
        (  # of two jobs, once
            "jobs: {'{a}': {pipeline: {tags: '{a}'}, schedule: daily}}",
            (
                "jobs.{a}.schedule: 'daily' is not defined in 'schedules'. There is none to choose "
                "from."
            ),
        ),
        # Nodes
        (
            f"nodes: {{clean_nod: {{pool: a}}}}\n{JOB}",
            "nodes.clean_nod: there is no node of this name. Did you mean 'clean_node'?",
        ),
        (
            (
                "nodes: {clean_node: {pool: a}, tag:learn: {pool: b}}\n"
                "jobs: {all: {pipeline: {}, group_by: pipeline}}"
            ),
            (
                "nodes.tag:learn.pool: nodes 'clean_node' and 'training.train_node' share a step, "
                "and 'clean_node' has another value (from 'clean_node'). Give both the same, or "
                "make two steps of them: save what passes between them, or leave out 'group_by'."
            ),
        ),
        # Loggers
        (
            "loggers: {audit: {handlers: {file: {class: logging.FileHandlr}}}}",
            (
                "loggers.audit.handlers.file.class: 'logging.FileHandlr' cannot be imported: No "
                "module named 'logging.FileHandlr'. Write one like 'logging.StreamHandler'."
            ),
        ),
        (
            (
                "loggers: {audit: {handlers: {file: {class: logging.StreamHandler, "
                "formatter: plane}}, formatters: {plain: {}}}}"
            ),
            (
                "loggers.audit.handlers.file.formatter: 'plane' is not defined in 'formatters'. "
                "Did you mean 'plain'?"
            ),
        ),
        (
            "loggers: {audit: {handlers: [{class: logging.FileHandlr}]}}",
            (
                "loggers.audit.handlers.0.class: 'logging.FileHandlr' cannot be imported: No "
                "module named 'logging.FileHandlr'. Write one like 'logging.StreamHandler'."
            ),
        ),
    ],
)
def test_a_mistake_in_dagster_yml_is_told_with_its_place_and_the_remedy(
    project: Project, yaml: str, mistake: str
) -> None:
    write(project, "conf/base/dagster.yml", yaml)
    assert mistakes(project) == [f"conf/base/dagster.yml: {mistake}"]


@pytest.mark.parametrize(
    ("dagster", "catalog", "mistake"),
    [
        (
            "jobs: {all: {pipeline: {}, executor: shop.broken.fast}}",
            CATALOG,
            "dagster.yml: jobs.all.executor: executor 'shop.broken.fast' cannot be imported: ",
        ),
        (
            "loggers: {audit: {handlers: [{class: shop.broken.Handler}]}}",
            CATALOG,
            "dagster.yml: loggers.audit.handlers.0.class: 'shop.broken.Handler' cannot be import",
        ),
        (
            JOB,
            "raw: {type: shop.broken.Dataset}",
            "catalog.yml: raw.type: 'shop.broken.Dataset' cannot be imported: ",
        ),
        (
            JOB,
            (
                "raw: {type: kedro_dagster.datasets.DagsterPartitionedDataset, path: raw, "
                "dataset: json.JSONDataset, partition: shop.broken.Days}"
            ),
            "catalog.yml: raw.partition.type: there is no class 'shop.broken.Days' (",
        ),
    ],
    ids=["executor", "handler", "dataset", "partitions"],
)
@pytest.mark.parametrize("text", ["from json import nothing\n", "def broken(:\n"])
def test_a_module_of_the_projects_own_that_fails_is_told(
    project: Project, dagster: str, catalog: str, mistake: str, text: str
) -> None:
    write(project, "src/shop/broken.py", text)
    write(project, "conf/base/dagster.yml", dagster)
    write(project, "conf/base/catalog.yml", catalog)
    (found,) = mistakes(project)
    assert found.startswith(f"conf/base/{mistake}")
    assert ("nothing" in found) is ("nothing" in text)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [("${oc", "jobs.all.description: "), ("\x01", "unacceptable character #x0001: ")],
)
def test_a_text_that_no_parser_takes_is_told(project: Project, text: str, mistake: str) -> None:
    yaml = f"jobs: {{all: {{pipeline: {{}}, description: '{text}'}}}}"
    write(project, "conf/base/dagster.yml", yaml)
    (found,) = mistakes(project)
    assert found.startswith(f"conf/base/dagster.yml: {mistake}")
    assert "\n" not in found


def test_all_mistakes_come_at_once(project: Project) -> None:
    write(
        project,
        "conf/base/dagster.yml",
        """\
        job: {}
        schedules: {night: {cron_schedule: never}}
        jobs:
          1: {pipeline: {}, executor: {in_process: {retry: 1, marker: 2}}}
          first: {pipeline: {tags: [nope]}, schedule: night, executor: nope}
          second: {}
        """,
    )
    write(project, "conf/base/catalog.yml", "raw: {type: json.JSONDatset}")
    assert [mistake.split(": ")[:2] for mistake in mistakes(project)] == [
        ["conf/base/dagster.yml", "schedules.night.cron_schedule"],
        ["conf/base/dagster.yml", "jobs.second.pipeline"],
        ["conf/base/dagster.yml", "job"],
        ["conf/base/dagster.yml", "jobs.1.executor.in_process.marker"],
        ["conf/base/dagster.yml", "jobs.1.executor.in_process.retry"],
        ["conf/base/dagster.yml", "jobs.first.executor"],
        ["conf/base/dagster.yml", "jobs.first.pipeline.tags"],
        ["conf/base/catalog.yml", "raw.type"],
    ]


def test_a_mistake_is_told_in_the_file_that_holds_it(project: Project) -> None:
    write(project, "conf/base/dagster.yml", "jobs: {a: {pipeline: {}, executor: fast}}")
    write(project, "conf/local/dagster.yml", "executors: {fast: {in_process: {x: 1}}}")
    (mistake,) = mistakes(project)
    assert mistake.startswith("conf/local/dagster.yml: executors.fast.in_process.x: unknown key.")


def test_a_job_in_two_files_of_one_environment_is_told_with_both(project: Project) -> None:
    other = project.path / "conf/base/dagster_more.yml"
    other.write_text(JOB, encoding="utf-8")
    try:
        message = told(project)
    finally:
        other.unlink()
    assert "Duplicate keys found in" in message
    assert "conf/base/dagster.yml" in message
    assert "conf/base/dagster_more.yml" in message
    assert message.endswith(": jobs")


def test_a_project_without_dagster_yml_is_told_where_to_write_it(project: Project) -> None:
    for env in ("base", "local"):
        (project.path / f"conf/{env}/dagster.yml").unlink()
    assert mistakes(project, env="prod") == [
        (
            "dagster.yml: there is none. Write conf/base/dagster.yml or conf/prod/dagster.yml, "
            "with at least 'jobs: {default: {pipeline: {pipeline_name: __default__}}}'."
        )
    ]


def test_an_executor_that_is_not_installed_is_told_with_its_package(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_dask", None)
    write(project, "conf/base/dagster.yml", "jobs: {a: {pipeline: {}, executor: {dask: {}}}}")
    (mistake,) = mistakes(project)
    assert mistake.startswith(
        "conf/base/dagster.yml: jobs.a.executor: executor 'dask' needs a package that is not "
        "installed"
    )
    assert mistake.endswith("Install it: pip install dagster-dask")


@pytest.mark.parametrize(
    ("yaml", "mistake"),
    [
        (
            "raw: {type: json.JSONDatset, filepath: raw.json}",
            (
                "raw.type: 'json.JSONDatset' cannot be imported: Dataset 'JSONDatset' not found in "
                "'json'. Make sure the dataset name is correct."
            ),
        ),
        ("raw: {filepath: raw.json}", "raw.type: this key is required."),
        (
            '"{name}aw": {type: nowhere.Dataset}',
            (
                "raw.type: 'nowhere.Dataset' cannot be imported: No module named 'nowhere'. Please "
                "install the missing dependencies for nowhere.Dataset"
            ),
        ),
        (
            "raw: {type: json.JSONDataset, filepath: x, metadata: {group_name: my group}}",
            (
                "raw.metadata.group_name: 'my group' is no group name: use letters, digits and "
                "underscores."
            ),
        ),
        (
            "raw: {type: json.JSONDataset, filepath: x, metadata: {dagster: {ownrs: [me]}}}",
            "raw.metadata.dagster.ownrs: unknown key. Did you mean 'owners'?",
        ),
        (
            "raw: {type: json.JSONDataset, filepath: x, metadata: {description: 4}}",
            "raw.metadata.description: 4 is no text. Write it in quotes.",
        ),
        (
            "raw: {type: json.JSONDataset, filepath: x, metadata: important}",
            "raw.metadata: 'important' is not valid here. Write keys with values.",
        ),
    ],
)
def test_a_mistake_in_the_catalog_is_told_with_its_file(
    project: Project, yaml: str, mistake: str
) -> None:
    write(project, "conf/base/catalog.yml", yaml)
    assert mistakes(project) == [f"conf/base/catalog.yml: {mistake}"]


def test_a_catalog_that_is_no_yaml_is_told_with_its_line(project: Project) -> None:
    write(project, "conf/base/catalog.yml", "raw:\n  type: [\n")
    message = told(project)
    assert message.startswith("The catalog configuration cannot be read: ")
    assert "conf/base/catalog.yml, unable to read line 2" in message


@pytest.mark.parametrize(
    ("registry", "reason", "line"),
    [
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'", 1),
        ("def register_pipelines(:\n", "SyntaxError: invalid syntax", 1),
        ("def register_pipelines():\n    raise KeyError('lost')\n", "KeyError: 'lost'", 2),
    ],
    ids=["import", "syntax", "raises"],
)
def test_a_registry_that_fails_is_told_with_its_line(
    tmp_path: Path, request: pytest.FixtureRequest, registry: str, reason: str, line: int
) -> None:
    package = f"registry_{request.node.callspec.id}"
    project = make_project(tmp_path, pipelines=registry, dagster=JOB, package=package)
    file = tmp_path / "src" / package / "pipeline_registry.py"
    assert told(project) == (
        f"The pipelines of {package!r} cannot be loaded: {reason} ({file}, line {line})"
    )


@pytest.mark.filterwarnings("ignore:An error occurred while importing")
def test_a_pipeline_that_kedro_leaves_out_is_told_with_its_line(tmp_path: Path) -> None:
    nodes = "src/found/pipelines/training/nodes.py"
    project = make_project(
        tmp_path,
        package="found",
        pipelines="""\
        from kedro.framework.project import find_pipelines


        def register_pipelines():
            return find_pipelines()
        """,
        dagster="jobs: {train: {pipeline: {pipeline_name: training}}}",
        files={
            "src/found/pipelines/__init__.py": "",
            "src/found/pipelines/training/__init__.py": "from .nodes import train\n",
            nodes: "import sys\nimport nowhere\n",
        },
    )
    assert mistakes(project) == [
        (
            "conf/base/dagster.yml: jobs.train.pipeline.pipeline_name: pipeline 'training' is not "
            "registered: module found.pipelines.training fails on import: ModuleNotFoundError: No "
            f"module named 'nowhere' ({tmp_path / nodes}, line 2)"
        )
    ]


@pytest.mark.parametrize("name", ["my-package", "no.such.package", "1 2"])
def test_a_package_name_that_python_cannot_import_is_told(tmp_path: Path, name: str) -> None:
    project = make_project(tmp_path, pipelines=PIPELINES, dagster=JOB)
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('_name = "shop"', f'_name = "{name}"', 1))
    assert told(project) == (
        f"{pyproject}: tool.kedro.package_name: there is no Python package {name!r} in its source "
        "folder. Correct the name there."
    )
    with pytest.raises(KedroDagsterError, match=f"no Python package '{name}'. Install the project"):
        KedroProjectTranslator(package_name=name)


def test_settings_that_cannot_be_imported_are_told_with_their_line(tmp_path: Path) -> None:
    project = make_project(
        tmp_path, pipelines=PIPELINES, settings="\nimport nowhere\n", package="unsettled"
    )
    file = tmp_path / "src/unsettled/settings.py"
    assert told(project) == (
        "The settings of the Kedro project, unsettled.settings, cannot be imported: "
        f"ModuleNotFoundError: No module named 'nowhere' ({file}, line 2)"
    )


def test_a_folder_without_a_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(KedroDagsterError, match=f"{tmp_path} is not a Kedro project: "):
        KedroProjectTranslator(tmp_path)


def test_a_job_that_makes_one_partition_does_not_look_for_missing_outputs(project: Project) -> None:
    write(
        project,
        "conf/base/catalog.yml",
        CATALOG
        + """\
clean:
  type: kedro_dagster.datasets.DagsterPartitionedDataset
  path: data/clean
  dataset: json.JSONDataset
  partition: {type: dagster.DailyPartitionsDefinition, start_date: 2026-01-01}
""",
    )
    write(
        project,
        "conf/base/dagster.yml",
        "jobs: {all: {pipeline: {}, partitions: per_run, only_missing_outputs: true}}\n",
    )
    (mistake,) = mistakes(project)
    assert "jobs.all.only_missing_outputs: a run of this job makes one partition" in mistake
    write(
        project,
        "conf/base/dagster.yml",
        """\
jobs:
  all: {pipeline: {}, partitions: per_run, after: [every]}
  every: {pipeline: {}, partitions: all}
sensors: {all_sensor: {dataset: clean, job: every}}
""",
    )
    assert [mistake.partition(".yml: ")[2] for mistake in mistakes(project)] == [
        (
            "jobs.all.after: a run of 'all' takes one partition, and 'every' has not the same to "
            "pass on. Give it 'partitions: all', or a schedule."
        ),
        "sensors.all_sensor: the sensor of job 'all' has this name. Choose another one.",
        (
            "sensors.all_sensor.dataset: 'clean' is no dataset of a job with dynamic partitions. "
            "There is none to choose from."
        ),
    ]


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["etl", "ml"], "etl, or pipeline_names: [etl, ml] for several in one job."),
        (["etl"], "etl."),
    ],
)
def test_a_project_without_a_default_pipeline_is_told_what_to_write(
    tmp_path: Path, names: list[str], advice: str
) -> None:
    project = make_project(
        tmp_path / "project",
        pipelines=PIPELINES.partition("    return {")[0]
        + f"    return dict.fromkeys({names}, default)\n",
        catalog=CATALOG,
        dagster="jobs: {all: {pipeline: {}}}",
        package=f"only_{'_'.join(names)}",  # a process imports a package once
    )
    (mistake,) = mistakes(project)
    assert mistake == (
        "conf/base/dagster.yml: jobs.all.pipeline.pipeline_name: pipeline '__default__' is not "
        f"registered. Allowed: {', '.join(map(repr, names))}. Write pipeline_name: {advice}"
    )
    write(project, "conf/base/dagster.yml", "jobs: {all: {pipeline: {pipeline_name: etl}}}")
    assert set(KedroProjectTranslator(project.path).plan.jobs) == {"all"}
