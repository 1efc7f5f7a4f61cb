"""Credentials of the catalog reach no tag, log, metadata or error that Dagster stores."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from live.server import GraphQLError, serve
from projects import Project
from security.storage import places_of
from security.vault import SECRETS, make_vault

pytestmark = pytest.mark.slow

DATASETS = """\
import logging

from kedro.io import AbstractDataset

from kedro_dagster.datasets import DagsterPartitionedDataset

logger = logging.getLogger(__name__)


class Watched(DagsterPartitionedDataset):
    def stored_keys(self):
        raise ConnectionError(f"refused {self._credentials!r}")


class Vault(AbstractDataset):
    '''A dataset that tells its credentials at each opportunity.'''

    def __init__(self, credentials, fails="", filepath="", metadata=None):
        self._credentials = credentials
        self._fails = fails
        self._filepath = filepath.removeprefix("https://")  # as Kedro's own ones do

    def load(self):
        logger.info("Logging in with %s", self._credentials)
        self._do("load")
        return 1

    def save(self, data):
        self._do("save")

    def _do(self, what):
        if self._fails == what:
            try:
                raise ConnectionError(f"refused {self._credentials!r}")
            except ConnectionError as error:
                logger.exception("no %s", what)
                raise ValueError(f"no {what} at {self._filepath}") from error

    def _exists(self):
        return True

    def _describe(self):
        return {"credentials": self._credentials}
"""

CATALOG = """\
_url: "https://me:${secret:URL}@host/x"
reached: {type: shop.datasets.Vault, credentials: login, filepath: "${_url}"}
no_load: {type: shop.datasets.Vault, credentials: login, filepath: "${_url}", fails: load}
inline: {type: shop.datasets.Vault, credentials: {password: "${secret:INLINE}"}, fails: load}
"{name}_by_pattern":
  type: shop.datasets.Vault
  credentials: {of_pattern: "${secret:PATTERN}"}
  fails: load
watched:
  type: shop.datasets.Watched
  path: data/watched
  dataset: json.JSONDataset
  partition: {type: dagster.DynamicPartitionsDefinition, name: watched}
  credentials: login
of_hook: {type: shop.datasets.Vault, credentials: from_hook, fails: load}
no_save: {type: shop.datasets.Vault, credentials: login, fails: save}
written: {type: shop.datasets.Vault, credentials: login, filepath: "${_url}?sig=${secret:URL}"}
"""

CREDENTIALS = """\
login: {user: me, password: "${oc.env:LOGIN}", nested: {list: ["${secret:PASSWORD_OF_LOGIN}"]}}
"""

INPUTS = ("reached", "no_load", "inline", "a_by_pattern", "of_hook")

PIPELINES = f"""\
from kedro.pipeline import Pipeline, node

INPUTS = {INPUTS!r}


def register_pipelines():
    found = {{
        name: Pipeline([node(lambda x: x, name, "written", name=f"read_{{name}}")])
        for name in INPUTS
    }}
    found["no_save"] = Pipeline([node(lambda x: x, "reached", "no_save", name="save")])
    given = ["params:rate", "params:token"]
    found["text"] = Pipeline([node(lambda *_: None, given, None, name="text")])
    found["watched"] = Pipeline([node(lambda x: None, "watched", None, name="watch")])
    return {{**found, "__default__": found["reached"]}}
"""

HOOKS = """\
import logging
import os

from kedro.framework.hooks import hook_impl

from shop.datasets import Vault


class ProjectHooks:
    @hook_impl
    def after_context_created(self, context):
        known = context.config_loader["credentials"]
        context.config_loader["credentials"] = {**known, "from_hook": {"key": os.environ["HOOK"]}}

    @hook_impl
    def after_catalog_created(self, conf_creds):
        logging.getLogger(__name__).warning("All: %s", conf_creds)

    @hook_impl
    def before_pipeline_run(self, run_params, catalog):
        credentials = catalog.get("reached")._credentials
        catalog["hooked"] = Vault(credentials)
        if run_params["runtime_params"].get("hook_fails"):
            raise ValueError(f"refused {credentials}")

    @hook_impl
    def on_pipeline_error(self, error):
        with open("errors.txt", "a") as file:
            file.write(f"{type(error).__name__} {error}\\n")
"""


DEFINITIONS = """\
import dagster as dg

from kedro_dagster import KedroProjectTranslator


@dg.asset(ins={"no_load": dg.AssetIn(input_manager_key="kedro_io_manager")})
def native(no_load):
    pass


defs = dg.Definitions.merge(
    KedroProjectTranslator(package_name="shop").to_definitions(),
    dg.Definitions(
        assets=[native],
        jobs=[
            dg.define_asset_job(
                "native_in_process",
                dg.AssetSelection.assets(native),
                executor_def=dg.in_process_executor,
            ),
            dg.define_asset_job("assets_in_process", dg.AssetSelection.assets("written")),
        ],
    ),
)
"""

RUNS = """\
import sys

import dagster as dg


def get(name):
    from shop.definitions import defs

    return defs.resolve_job_def(name)


def main(names):
    with dg.DagsterInstance.get() as instance:
        for name in names:
            way, _, job = name.rpartition(":")
            options = {"run_config": CONFIG if way == "hook" else {}, "raise_on_error": False}
            if way == "alone":
                result = get(job).execute_in_process(instance=instance, **options)
            else:
                recon = dg.build_reconstructable_job("shop.runs", "get", (job,))
                result = dg.execute_job(recon, instance, **options)
            print(name, "succeeded" if result.success else "failed")


CONFIG = {"resources": {"kedro": {"config": {"runtime_params": {"hook_fails": 1}}}}}

if __name__ == "__main__":
    main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    jobs: dict[str, Any] = {
        f"{name}_{executor}": {"pipeline": {"pipeline_name": name}, "executor": {executor: {}}}
        for name in (*INPUTS, "no_save", "watched", "text")
        for executor in ("in_process", "multiprocess")
    }
    jobs["reached_spawn"] = {
        "pipeline": {"pipeline_name": "reached"},
        "executor": {"multiprocess": {"start_method": {"spawn": {}}}},
    }
    sensors = {"sensor": {"dataset": "watched", "job": "watched_in_process"}}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield make_vault(
            tmp_path_factory.mktemp("vault") / "shop",
            pipelines=PIPELINES,
            hooks=HOOKS,
            parameters="{rate: 0.5, token: '${secret:TOKEN}'}",
            catalog=CATALOG,
            dagster={"jobs": jobs, "sensors": sensors},
            files={
                "src/shop/datasets.py": DATASETS,
                "src/shop/definitions.py": DEFINITIONS,
                "conf/local/credentials.yml": CREDENTIALS,
                "src/shop/runs.py": RUNS,
            },
        )


IN_PROCESS = [f"{name}_in_process" for name in (*INPUTS, "no_save", "native", "assets")]

RUNS_OF_EACH_KIND = {
    "in process": [*IN_PROCESS, "hook:reached_in_process"],
    "alone": [f"alone:{name}" for name in IN_PROCESS],
    "multiprocess": ["reached_multiprocess", "no_load_multiprocess", "hook:reached_multiprocess"],
    "spawn": ["reached_spawn", "hook:reached_spawn"],
}


@pytest.mark.parametrize("kind", RUNS_OF_EACH_KIND)
def test_no_credential_is_stored(kind: str, vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    done = project.run("-m", "shop.runs", *RUNS_OF_EACH_KIND[kind])
    for name in RUNS_OF_EACH_KIND[kind]:
        works = name.partition("_")[0] in ("reached", "alone:reached", "assets", "alone:assets")
        outcome = "succeeded" if works and "hook" not in name else "failed"
        assert f"{name} {outcome}" in done.stdout
    assert not places_of(SECRETS.values(), project.dagster_home)


def test_the_hook_gets_the_error_as_it_is(vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    project.execute("no_load_in_process", check=False)
    assert SECRETS["LOGIN"] in (project.path / "errors.txt").read_text()


def test_a_sensor_tells_no_credential(vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    catalog = project.path / "conf/base/catalog.yml"
    catalog.write_text(catalog.read_text().replace("from_hook", "login"))
    definitions = KedroProjectTranslator(project.path).to_definitions()
    sensor = definitions.resolve_sensor_def("sensor")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        with pytest.raises(Exception, match="refused") as error:
            sensor(context)
    shown = "".join(traceback.format_exception(error.value))
    assert [secret for secret in SECRETS.values() if secret in shown] == []


@pytest.mark.xdist_group("live")
def test_no_secret_is_stored_of_what_is_launched_in_the_ui(vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    with serve(project) as server:
        with pytest.raises(GraphQLError, match="params:rate: 'abc' is not valid"):
            server.launch("text_in_process", {"ops": {"text": {"config": {"params:rate": "abc"}}}})
        launched = {
            server.launch("text_in_process"): "SUCCESS",
            server.launch("reached_in_process"): "SUCCESS",
            server.launch("no_load_multiprocess"): "FAILURE",
            server.materialise(["written"]): "SUCCESS",
        }
        for run, status in launched.items():
            assert server.ended(run).status == status
        assert set(server.runs()) == set(launched)
    assert not places_of(SECRETS.values(), project.dagster_home)
