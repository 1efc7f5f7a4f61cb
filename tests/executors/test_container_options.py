"""Mistakes in the options of containers, found with the schema of each installed package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kedro.io import CatalogConfigResolver

from kedro_dagster.plan.executors import check_executors
from kedro_dagster.read.messages import parse_config
from kedro_dagster.read.mistakes import Mistakes
from kedro_dagster.read.project import KedroProject

TAG = "dagster-k8s/config"


def mistakes(
    executor: str, options: Mapping[str, Any], tags: Mapping[str, Any] | None = None
) -> list[str]:
    """What a user is told of a job's executor and of the tags of a node, without the file."""
    config, unread = parse_config(
        {
            "jobs": {"all": {"pipeline": {}, "executor": {executor: options}}},
            "nodes": {"train": {"tags": tags}} if tags else {},
        }
    )
    assert not unread
    project = KedroProject(
        path=Path(),
        package_name="shop",
        env=None,
        conf_source="conf",
        pipelines={},
        import_failures={},
        catalog=CatalogConfigResolver({}),
        parameters={},
        config=config,
        config_files=(),
        catalog_files=(),
    )
    found = Mistakes(project)
    check_executors(config, found)
    return [str(mistake).partition(": ")[2] for mistake in found]


@pytest.mark.parametrize(
    ("executor", "options"),
    [
        (
            "docker",
            {"image": "shop", "registry": {"url": "x", "username": {"env": "A"}, "password": "b"}},
        ),
        ("docker_executor", {"image": "shop", "networks": ["inner"]}),
        ("k8s", {"job_image": "shop", "step_k8s_config": {"pod_spec_config": {"dns_policy": "x"}}}),
        ("k8s_job_executor", {"max_concurrent": 4}),
        ("celery_docker", {"docker": {"image": "shop"}, "broker": {"env": "BROKER"}}),
        ("celery_k8s", {"job_image": "shop", "backend": "rpc://"}),
    ],
)
def test_options_that_fit_the_package_are_no_mistake(
    executor: str, options: dict[str, Any]
) -> None:
    assert mistakes(executor, options) == []


@pytest.mark.parametrize(
    ("executor", "options", "mistake"),
    [
        ("docker", {"imag": "x"}, "docker.imag: unknown key. Did you mean 'image'?"),
        ("docker", {"networks": "x"}, "docker.networks: Value at path networks must be list."),
        ("k8s", {"image": "x"}, "k8s.image: unknown key. Did you mean 'job_image'?"),
        (
            "k8s",
            {"step_k8s_config": {"container": {}}},
            "k8s.step_k8s_config.container: unknown key. Did you mean 'container_config'?",
        ),
        ("celery_docker", {}, 'celery_docker: Missing required config entry "docker"'),
        (
            "celery_docker",
            {"docker": {"network": 3}},
            "celery_docker.docker.network: 3 is not valid: its type must be String.",
        ),
        ("celery_k8s", {"job_imag": "x"}, "celery_k8s.job_imag: unknown key. Did you mean 'job_im"),
    ],
)
def test_a_mistake_in_the_options_is_told_at_load(
    executor: str, options: dict[str, Any], mistake: str
) -> None:
    (found,) = mistakes(executor, options)
    assert found.startswith(f"jobs.all.executor.{mistake}")


def test_a_pod_of_a_node_that_fits_is_no_mistake() -> None:
    pod = {"container_config": {"resources": {"limits": {"memory": "8Gi"}}}}
    assert mistakes("k8s", {}, {TAG: pod}) == []


@pytest.mark.parametrize(
    ("pod", "mistake"),
    [
        ({"container": {}}, ".container: unknown key. Did you mean 'container_config'?"),
        (
            {"container_config": {"resources": {"limit": {}}}},
            ": Unexpected keys in model class V1ResourceRequirements: {'limit'}.",
        ),
        ("8Gi", ": '8Gi' is not valid here. Write keys with values."),
    ],
)
def test_a_mistake_in_the_pod_of_a_node_is_told_at_load(pod: Any, mistake: str) -> None:
    assert mistakes("k8s", {}, {TAG: pod}) == [f"nodes.train.tags.{TAG}{mistake}"]
