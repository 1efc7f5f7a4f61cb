"""A parameter that came through a resolver of the project's own is not shown and not stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kedro_dagster import KedroProjectTranslator
from kedro_dagster.doors import fallback
from kedro_dagster.doors import omegaconf as door
from projects import Project
from security.storage import places_of
from security.vault import HIDDEN, SECRETS, SHOWN, make_vault


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield make_vault(tmp_path_factory.mktemp("vault") / "shop")


@pytest.fixture(scope="module")
def definitions(vault: Project) -> dg.Definitions:
    return KedroProjectTranslator(vault.path).to_definitions()


@pytest.fixture(scope="module")
def fields(definitions: dg.Definitions) -> dict[str, dg.Field]:
    """The fields that the launchpad shows for the node."""
    (op,) = definitions.resolve_job_def("in_process").nodes
    found: dict[str, dg.Field] = op.definition.config_schema.config_type.fields  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("name", SHOWN)
def test_a_parameter_of_kedro_s_own_resolvers_has_its_default(
    name: str, fields: dict[str, dg.Field]
) -> None:
    assert fields[name].default_value == SHOWN[name]


@pytest.mark.parametrize("name", HIDDEN)
def test_a_parameter_of_another_resolver_has_none(name: str, fields: dict[str, dg.Field]) -> None:
    assert not fields[name].default_provided
    assert not fields[name].is_required
    assert "conf" in str(fields[name].description)


@pytest.mark.parametrize("name", HIDDEN)
def test_it_can_be_given_all_the_same(name: str, definitions: dg.Definitions) -> None:
    config = {"ops": {"read": {"config": {name: "given"}}}}
    job = definitions.resolve_job_def("in_process")
    found: Any = dg.validate_run_config(job, config)
    assert found["ops"]["read"]["config"][name] == "given"


def test_no_secret_is_in_the_snapshot_of_a_job(definitions: dg.Definitions) -> None:
    for name in ("in_process", "multiprocess"):
        job = definitions.resolve_job_def(name)
        snapshot = dg.serialize_value(job.get_job_snapshot())
        assert "digests" in snapshot
        assert not [secret for secret in SECRETS.values() if secret in snapshot]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["in_process", "multiprocess"])
def test_the_nodes_get_what_kedro_gives_them(job: str, vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    file = project.path / "data" / "digests.json"
    project.kedro("run")
    wanted = json.loads(file.read_text())
    file.unlink()
    project.execute(job)
    assert json.loads(file.read_text()) == wanted
    assert not places_of(SECRETS.values(), project.dagster_home)


def test_metadata_of_the_catalog_that_came_through_a_resolver_is_left_out(
    definitions: dg.Definitions,
) -> None:
    spec = definitions.resolve_asset_graph().get(dg.AssetKey("digests"))
    shown = {key: value for key, value in spec.metadata.items() if "/" not in key}
    assert shown == {"contacts": ["open"], "deep": {"kept": 1}, "team": "shown"}
    assert SECRETS["METADATA"] not in str(spec.description)
    assert spec.group_name == "vaults"


def test_an_address_that_came_through_a_resolver_is_left_out(tmp_path: Path) -> None:
    catalog = """
        digests: {type: json.JSONDataset, filepath: "data/${secret:METADATA}/digests.json"}
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        project = make_vault(tmp_path / "shop", catalog=catalog)
        shown = KedroProjectTranslator(project.path).to_definitions()
        plain = catalog.replace("${secret:METADATA}", "here")
        (project.path / "conf/base/catalog.yml").write_text(plain.strip())
        changed = KedroProjectTranslator(project.path).to_definitions()
    (spec,), (other,) = (one.resolve_all_asset_specs() for one in (shown, changed))
    assert SECRETS["METADATA"] not in str(spec.metadata)
    assert "dagster/uri" not in spec.metadata
    assert other.metadata["dagster/uri"] == "data/here/digests.json"


def shown_in(project: Project) -> set[str]:
    """The parameters of the only node that have a default."""
    definitions = KedroProjectTranslator(project.path).to_definitions()
    (op,) = definitions.resolve_job_def("in_process").nodes
    fields = op.definition.config_schema.config_type.fields  # type: ignore[attr-defined]
    return {name for name, field in fields.items() if field.default_provided}


PIPELINES = """\
from kedro.pipeline import Pipeline, node


def register_pipelines():
    names = ["params:plain", "params:picked", "params:token"]
    return {"__default__": Pipeline([node(lambda *_: 1, names, "digests", name="read")])}
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Project]:
    parameters = "{plain: {a: 1}, which: a, picked: '${plain.${which}}', token: '${calls:a}'}"
    settings = """\
        calls = []


        def note(text):
            calls.append(text)
            return text


        CONFIG_LOADER_ARGS = {
            "base_env": "base",
            "default_run_env": "local",
            "custom_resolvers": {"calls": note},
        }
        """
    yield make_vault(
        tmp_path / "small",
        package="small",
        pipelines=PIPELINES,
        settings=settings,
        hooks="",
        parameters=parameters,
        catalog={"digests": {"type": "json.JSONDataset", "filepath": "data/digests.json"}},
        files={},
    )
    sys.modules.pop("small.settings", None)


def rewrite(project: Project, parameters: str) -> None:
    (project.path / "conf/base/parameters.yml").write_text(parameters)


def test_a_resolver_is_called_once_to_tell_what_came_through_it(small: Project) -> None:
    assert shown_in(small) == {"params:plain", "params:picked"}
    assert sys.modules["small.settings"].calls == ["a"]


def test_a_resolver_that_is_not_there_yet_hides_its_values(small: Project) -> None:
    rewrite(small, "{plain: 1, picked: 'a ${of_a_hook:}', token: '${oc.env:HOME}'}")
    assert shown_in(small) == {"params:plain"}


def test_a_value_that_a_resolver_picked_is_hidden(small: Project) -> None:
    rewrite(small, "{plain: {a: 1}, picked: '${plain.${calls:a}}', token: 2}")
    assert shown_in(small) == {"params:plain", "params:token"}


def test_a_resolver_that_fails_here_hides_its_values(small: Project) -> None:
    rewrite(small, "{plain: 1, picked: 'a ${calls:}', token: 2}")
    assert shown_in(small) == {"params:plain", "params:token"}


def test_an_environment_may_give_a_value_without_a_resolver(small: Project) -> None:
    (small.path / "conf/local/parameters.yml").write_text("token: open")
    assert shown_in(small) == {"params:plain", "params:picked", "params:token"}


def test_without_the_private_part_of_omegaconf_nothing_is_shown(
    small: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "_FIND_RESOLVER", "gone")
    monkeypatch.setattr(fallback, "_told", set())
    door.can_tell.cache_clear()
    assert shown_in(small) == set()
    assert sum("no parameter has a default" in message for message in caplog.messages) == 1
    door.can_tell.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("kedro.validation") is None, reason="needs Kedro 1.5")
def test_an_error_of_validation_does_not_tell_the_value(vault: Project, tmp_path: Path) -> None:
    project = vault.copy(tmp_path / "shop")
    nodes = project.path / "src/shop/nodes.py"
    nodes.write_text(
        "from pydantic import BaseModel\n\n\nclass Account(BaseModel):\n    user: int\n\n\n"
        "def digest(account: Account):\n    return 1\n"
    )
    registry = project.path / "src/shop/pipeline_registry.py"
    registry.write_text(registry.read_text().replace("PARAMETERS, ", '"params:account", '))
    done = project.execute("in_process", check=False)
    assert done.returncode
    assert "user" in done.stderr
    assert "int_parsing" in done.stderr
    assert not places_of(SECRETS.values(), project.dagster_home)
