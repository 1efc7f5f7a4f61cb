"""The question for deployment files: who gets them, what they say, and that they are the user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy
from dagster._core.instance.config import dagster_instance_config

from conftest import Render, git
from template.existing import copier, hashes, write_files, write_project

DEPLOYMENT = {
    ".github/workflows/ci.yml",
    "deployment/Dockerfile",
    "deployment/Dockerfile.dockerignore",
    "deployment/README.md",
    "deployment/compose.yaml",
    "deployment/dagster.yaml",
    "deployment/helm-values.yaml",
    "deployment/workspace.yaml",
}


@pytest.fixture(scope="module")
def added(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Kedro project with odd folders, to which Dagster and the files were added."""
    path = tmp_path_factory.mktemp("added") / "shop"
    files = {"code/company/__init__.py": ""}
    write_project(path, package="company.Shop", source="code", conf="config/kedro", files=files)
    run_copy(str(template), path, data={"deployment": True}, defaults=True, quiet=True)
    return path


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", [True, False])
def test_only_who_asks_for_them_is_given_the_files(render: Render, example: bool) -> None:
    without, given = (
        hashes(render(example=example)),
        hashes(render(example=example, deployment=True)),
    )
    assert set(given) - set(without) == DEPLOYMENT
    same = {name for name in without if without[name] == given[name]}
    assert set(without) - same == {".copier-answers.yml", "README.md"}


def test_an_existing_project_is_given_them_with_its_own_names(added: Path) -> None:
    assert set(hashes(added)) >= DEPLOYMENT
    compose = read(added / "deployment" / "compose.yaml")
    assert compose["name"] == "company-shop"
    assert "company.Shop.definitions" in compose["services"]["code-server"]["command"]
    dockerfile = (added / "deployment" / "Dockerfile").read_text()
    assert "\nCOPY config/kedro config/kedro\n" in dockerfile
    assert "\nCOPY src/kedro_dagster src/kedro_dagster\n" in dockerfile
    assert "data/01_raw" not in dockerfile
    ignored = (added / "deployment" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"config/kedro/local", "data", "**/.env", ".git"} <= set(ignored)


def test_files_that_a_project_has_stay_and_the_message_names_them(
    template: Path, tmp_path: Path
) -> None:
    own = {
        ".github/workflows/ci.yaml": "name: Mine\n",
        "deployment/Dockerfile": "FROM mine\n",
        "deployment/docker-compose.yml": "services: {}\n",
        "Dockerfile": "FROM mine\n",
    }
    write_project(tmp_path, files=own)
    before = hashes(tmp_path)
    message = copier(
        tmp_path, "copy", "--defaults", "-d", "deployment=true", str(template), "."
    ).stderr
    after = hashes(tmp_path)
    assert before.items() <= after.items()
    kept = {".github/workflows/ci.yml", "deployment/Dockerfile", "deployment/compose.yaml"}
    assert set(after) & DEPLOYMENT == DEPLOYMENT - kept | {"deployment/Dockerfile"}
    listed = {line.strip() for line in message.splitlines()}
    assert DEPLOYMENT - kept <= listed
    assert f"Not added, because the project has its own: {', '.join(sorted(kept))}." in message
    assert "How to run it in production: deployment/README.md" in message


@pytest.mark.parametrize("kind", ["new", "existing"])
def test_an_update_neither_changes_nor_brings_back_any_of_them(
    kind: str, template: Path, tmp_path: Path
) -> None:
    release, project = tmp_path / "template", tmp_path / "shop"
    git(template, "clone", "--quiet", str(template), str(release))
    if kind == "existing":
        write_project(project)
    run_copy(str(release), project, data={"deployment": True}, defaults=True, quiet=True)
    (project / "deployment" / "Dockerfile").write_text("FROM mine\n")
    for name in ("deployment/compose.yaml", ".github/workflows/ci.yml"):
        (project / name).unlink()
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=Mine")
    before = hashes(project)
    write_files(release, {"template/deployment/dagster.yaml": "new: true\n"})
    write_files(release, {"template/deployment/new.yaml": "new: true\n"})
    git(release, "add", "--all")
    git(release, "commit", "--quiet", "--message=Next")
    git(release, "tag", "9.0.0")
    copier(project, "update", "--defaults")
    after = hashes(project)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {
        ".copier-answers.yml"
    }


def test_a_later_copy_adds_them(template: Path, tmp_path: Path) -> None:
    run_copy(str(template), tmp_path / "shop", defaults=True, quiet=True)
    before = hashes(tmp_path / "shop")
    copier(tmp_path / "shop", "copy", "--defaults", "-d", "deployment=true", str(template), ".")
    after = hashes(tmp_path / "shop")
    assert set(after) - set(before) == DEPLOYMENT
    assert "existing_project: false" in (tmp_path / "shop" / ".copier-answers.yml").read_text()


def test_every_service_is_healthy_before_another_needs_it_and_comes_back(render: Render) -> None:
    compose = read(render(deployment=True) / "deployment" / "compose.yaml")
    services = compose["services"]
    assert set(services) == {"postgres", "code-server", "webserver", "daemon"}
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
        assert not service["image"].endswith(":latest")
        assert re.search(r":(\d+|\$\{IMAGE_TAG:-local\})$", service["image"])
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]
        needed = service.get("depends_on", {})
        assert all(need["condition"] == "service_healthy" for need in needed.values())
        expected = set() if name == "postgres" else {"postgres"}
        assert set(needed) == expected | (
            {"code-server"} if name in ("webserver", "daemon") else set()
        )
    assert [service.get("ports") for service in services.values()].count(None) == 3
    assert services["webserver"]["ports"] == ["127.0.0.1:3000:3000"]


def test_no_file_holds_a_secret(render: Render) -> None:
    project = render(deployment=True)
    text = (project / "deployment" / "compose.yaml").read_text()
    assert re.findall(r"PASSWORD: (\S+)", text) == ["${POSTGRES_PASSWORD:?is"] * 2
    storage = read(project / "deployment" / "dagster.yaml")["storage"]["postgres"]["postgres_db"]
    given = read(project / "deployment" / "compose.yaml")["services"]["daemon"]["environment"]
    named = {value["env"] for value in storage.values() if isinstance(value, dict)}
    assert named == {name for name in given if name.startswith("POSTGRES_")}
    assert ".env" in (project / ".gitignore").read_text().splitlines()


def test_the_image_is_slim_and_not_root(render: Render) -> None:
    lines = (render(deployment=True) / "deployment" / "Dockerfile").read_text().splitlines()
    assert {line for line in lines if line.startswith("FROM")} == {
        "FROM python:${PYTHON_VERSION}-slim AS build",
        "FROM python:${PYTHON_VERSION}-slim",
    }
    assert lines[-1] == "USER 1000"


def test_dagster_takes_the_instance_as_it_is(render: Render) -> None:
    config, _ = dagster_instance_config(str(render(deployment=True) / "deployment"))
    assert config["run_monitoring"]["enabled"]
    assert config["run_retries"]["enabled"]
    assert config["concurrency"]["pools"]["default_limit"] == 1


# Keys of Dagster's chart, as its templates and values.schema.json have them.
CHART = {
    "": "dagsterWebserver dagster-user-deployments postgresql generatePostgresqlPasswordSecret "
    "ingress computeLogManager runLauncher pythonLogs dagsterDaemon migrate telemetry "
    "serviceAccount global retention concurrency additionalInstanceConfig",
    "global": "postgresqlSecretName dagsterHome serviceAccountName celeryConfigSecretName",
    "postgresql": "image enabled postgresqlHost postgresqlUsername postgresqlPassword "
    "postgresqlDatabase postgresqlParams postgresqlScheme service",
    "dagster-user-deployments": "enabled enableSubchart imagePullSecrets deployments",
    "dagster-user-deployments.deployments": "name image dagsterApiGrpcArgs codeServerArgs "
    "includeConfigInLaunchedRuns port env envConfigMaps envSecrets podSecurityContext "
    "securityContext resources livenessProbe readinessProbe startupProbe labels volumeMounts "
    "volumes replicaCount",
    "dagster-user-deployments.deployments.image": "repository tag pullPolicy",
    "dagster-user-deployments.deployments.includeConfigInLaunchedRuns": "enabled",
    "runLauncher": "type config",
    "runLauncher.config": "celeryK8sRunLauncher k8sRunLauncher customRunLauncher",
    "runLauncher.config.k8sRunLauncher": "imagePullPolicy envConfigMaps envSecrets envVars "
    "volumeMounts volumes labels failPodOnRunFailure resources securityContext runK8sConfig",
    "runLauncher.config.k8sRunLauncher.runK8sConfig": "containerConfig podSpecConfig "
    "podTemplateSpecMetadata jobSpecConfig jobMetadata",
    "dagsterDaemon": "runCoordinator env envSecrets resources runMonitoring runRetries sensors",
    "dagsterDaemon.runMonitoring": "enabled startTimeoutSeconds cancelTimeoutSeconds "
    "maxRuntimeSeconds maxResumeRunAttempts pollIntervalSeconds freeSlotsAfterRunEndSeconds",
    "dagsterDaemon.runRetries": "enabled maxRetries retryOnAssetOrOpFailure",
    "concurrency": "enabled pools runs",
    "concurrency.pools": "defaultLimit granularity opGranularityRunBuffer",
    "concurrency.runs": "maxConcurrentRuns tagConcurrencyLimits",
    "concurrency.runs.tagConcurrencyLimits": "key value limit",
    "telemetry": "enabled",
}


def unknown_keys(values: Any, path: str = "") -> list[str]:
    """The paths of keys that the chart does not know."""
    if isinstance(values, list):
        return [found for value in values for found in unknown_keys(value, path)]
    if not isinstance(values, dict):
        return []
    known = CHART[path].split() if path in CHART else list(values)
    found = [f"{path}.{key}" for key in values if key not in known]
    for key, value in values.items():
        found += unknown_keys(value, f"{path}.{key}".lstrip("."))
    return found


def test_the_helm_values_are_ones_that_the_chart_knows(render: Render) -> None:
    values = read(render(deployment=True) / "deployment" / "helm-values.yaml")
    assert unknown_keys(values) == []
    assert unknown_keys({"dagsterDaemon": {"runRetries": {"max_retries": 1}}}) == [
        "dagsterDaemon.runRetries.max_retries"
    ]
    (code_server,) = values["dagster-user-deployments"]["deployments"]
    assert code_server["dagsterApiGrpcArgs"] == ["--module-name", "my_project.definitions"]


def test_kubernetes_and_compose_have_the_same_limits(render: Render) -> None:
    folder = render(deployment=True) / "deployment"
    values, instance = read(folder / "helm-values.yaml"), read(folder / "dagster.yaml")

    def in_snake_case(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): in_snake_case(item)
                for key, item in value.items()
            }
        return [in_snake_case(item) for item in value] if isinstance(value, list) else value

    ours = in_snake_case(instance["concurrency"])
    assert in_snake_case(values["concurrency"]) == {"enabled": True, **ours}
    assert in_snake_case(values["dagsterDaemon"]["runRetries"]) == instance["run_retries"]
