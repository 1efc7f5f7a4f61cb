"""Settings of nodes: which key of ``nodes:`` wins, what a step gets, and what is a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from kedro_dagster.plan.model import StepSettings
from kedro_dagster.plan.node_options import NodeOptionsResolver
from kedro_dagster.read.dagster_yml import RetryOptions
from kedro_dagster.read.messages import parse_config


def same(value: object) -> object:
    return value


PIPELINE = Pipeline(
    [
        node(same, "raw", "clean", name="clean", tags=["slow", "io"]),
        node(same, "clean", "model", name="train", namespace="learn.deep", tags="slow"),
        node(same, "model", "score", name="rate", namespace="learn"),
    ]
)
CLEAN, TRAIN, RATE = PIPELINE.nodes


def settings_of(text: str) -> NodeOptionsResolver:
    config, mistakes = parse_config({"nodes": yaml.safe_load(text)})
    assert not mistakes
    return NodeOptionsResolver(config.nodes, [PIPELINE], {})


def told(settings: NodeOptionsResolver, *nodes: Node) -> dict[str, str]:
    """The mistakes about nodes that share a step, by their place."""
    mistakes: dict[tuple[str, ...], str] = {}
    settings.settings_of(nodes, mistakes)
    return {".".join(path): message for path, message in mistakes.items()}


def of(settings: NodeOptionsResolver, *nodes: Node) -> StepSettings:
    """The settings of nodes that share a step, about which there is no mistake."""
    mistakes: dict[tuple[str, ...], str] = {}
    found = settings.settings_of(nodes, mistakes)
    assert not mistakes
    assert not settings.mistakes
    return found


def pools(text: str) -> list[str | None]:
    """The pools of the three nodes, each in a step of its own."""
    settings = settings_of(text)
    return [of(settings, one).pool for one in PIPELINE.nodes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", [None, None, None]),
        ("{learn.deep.train: {pool: a}}", [None, "a", None]),
        ("{tag:slow: {pool: a}}", ["a", "a", None]),
        ("{namespace:learn: {pool: a}}", [None, "a", "a"]),
        ("{namespace:learn.deep: {pool: a}}", [None, "a", None]),
        ("{learn.*: {pool: a}}", [None, "a", "a"]),
        ("{'?lean': {pool: a}, '*[ei]n': {pool: b}}", ["a", "b", None]),
        ("{'*': {pool: a}}", ["a", "a", "a"]),
    ],
)
def test_a_key_is_a_name_a_pattern_a_namespace_or_a_tag(
    text: str, expected: list[str | None]
) -> None:
    assert pools(text) == expected


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("'*'", "tag:slow"),
        ("tag:slow", "namespace:learn"),
        ("namespace:learn", "namespace:learn.deep"),
        ("namespace:learn.deep", "learn*"),
        ("learn*", "'*.train'"),
        ("'*.deep.train'", "learn.deep.train"),
    ],
)
def test_the_most_specific_key_wins_whatever_the_order(less: str, more: str, flip: bool) -> None:
    entries = [f"{less}: {{pool: less}}", f"{more}: {{pool: more}}"]
    assert pools(f"{{{', '.join(reversed(entries) if flip else entries)}}}")[1] == "more"


def test_each_setting_and_each_tag_is_decided_by_itself() -> None:
    found = settings_of(
        """
        "*": {pool: all, retry_policy: {max_retries: 3, delay: 1, backoff: linear}}
        tag:slow: {tags: {queue: slow, limits: {memory: 1Gi}, rank: 1}}
        learn.deep.train: {pool: gpu, tags: {limits: {memory: 8Gi, cpu: [1]}}}
        """
    )
    settings = of(found, TRAIN)
    assert settings.pool == "gpu"
    assert settings.retry_policy == RetryOptions(max_retries=3, delay=1, backoff="LINEAR")
    assert dict(settings.tags) == {
        "limits": '{"cpu": [1], "memory": "8Gi"}',
        "queue": "slow",
        "rank": "1",
    }


def test_null_takes_a_setting_away() -> None:
    settings = settings_of(
        """
        tag:slow: {pool: a, retry_policy: {}, tags: {queue: slow, other: x}}
        clean: {pool: null, retry_policy: null, tags: {queue: null}}
        """
    )
    found = of(settings, CLEAN)
    assert (found.pool, found.retry_policy, found.tags) == (None, None, (("other", "x"),))


def test_keys_that_are_as_specific_must_agree() -> None:
    settings = settings_of("{tag:slow: {pool: a}, tag:io: {pool: b}}")
    assert told(settings, CLEAN) == {
        "nodes.tag:io.pool": (
            "node 'clean' has another value from 'tag:slow', which is as specific. Write this "
            "setting under the node's name."
        )
    }


@pytest.mark.parametrize(
    "text",
    [
        "{tag:slow: {pool: a}, tag:io: {pool: a}}",
        "{tag:slow: {pool: a}, tag:io: {pool: b}, clean: {pool: c}}",
    ],
)
def test_keys_that_are_as_specific_may_give_the_same_or_yield_to_another(text: str) -> None:
    pools(text)


@pytest.mark.parametrize(
    ("text", "pool"),
    [
        ("{clean: {pool: a}}", "a"),
        ("{clean: {pool: a}, tag:slow: {pool: a}}", "a"),
        ("{'*': {pool: a}, learn.deep.train: {pool: b}}", "b"),
        ("{'*': {pool: a}, clean: {pool: b}}", "b"),
        ("{'*': {pool: a}, clean: {pool: null}}", "a"),
    ],
)
def test_a_step_of_several_nodes_has_what_any_of_them_has_for_itself(text: str, pool: str) -> None:
    settings = settings_of(text)
    assert of(settings, CLEAN, TRAIN).pool == pool


def test_a_step_of_several_nodes_has_the_tags_of_all() -> None:
    settings = settings_of("{clean: {tags: {a: 1}}, 'learn.*': {tags: {b: 2}}}")
    assert of(settings, CLEAN, TRAIN).tags == (("a", "1"), ("b", "2"))


def test_nodes_that_share_a_step_must_agree() -> None:
    settings = settings_of(
        """
        clean: {retry_policy: {max_retries: 1}, tags: {size: 1}}
        learn.deep.train: {retry_policy: {max_retries: 2}, tags: {size: 2}}
        """
    )
    message = (
        "nodes 'clean' and 'learn.deep.train' share a step, and 'clean' has another value (from "
        "'clean'). Give both the same, or make two steps of them: save what passes between them, "
        "or leave out 'group_by'."
    )
    assert told(settings, CLEAN, TRAIN) == {
        "nodes.learn.deep.train.retry_policy": message,
        "nodes.learn.deep.train.tags.size": message,
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("learn.deep.trian", "there is no node of this name. Did you mean 'learn.deep.train'"),
        ("train", "there is no node of this name. Allowed: 'clean', 'learn.deep.train', "),
        ("tag:slwo", "there is no tag of this name. Did you mean 'tag:slow'"),
        ("namespace:deep", "there is no namespace of this name. Did you mean 'namespace:learn.dee"),
        ("'lern.*'", "no node has a name like this. Did you mean 'learn.rate'?"),
        ("'tag:sl*'", "no node has a name like this."),
    ],
)
def test_a_key_that_means_no_node_is_a_mistake(key: str, message: str) -> None:
    ((path, found),) = settings_of(f"{{{key}: {{pool: a}}}}").mistakes.items()
    assert path == ("nodes", yaml.safe_load(key))
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"pol": "a"}, "pol", "unknown key. Did you mean 'pool'?"),
        ({"pool": "a b"}, "pool", "'a b' cannot be a pool. Write a word without spaces."),
        ({"retry_policy": 3}, "retry_policy", "3 is not valid here. Write keys with values: "),
        (
            {"retry_policy": {"retries": 3}},
            "retry_policy.retries",
            "unknown key. Did you mean 'max_retries'?",
        ),
        (
            {"retry_policy": {"max_retries": -1}},
            "retry_policy.max_retries",
            "-1 is not valid: input should be greater than or equal to 0.",
        ),
        (
            {"retry_policy": {"backoff": "exponential"}},
            "retry_policy",
            "backoff and jitter vary the delay: give it too, in seconds.",
        ),
        (
            {"retry_policy": {"delay": 1, "backoff": "quadratic"}},
            "retry_policy.backoff",
            "'QUADRATIC' is not allowed. Allowed: 'LINEAR' or 'EXPONENTIAL'.",
        ),
        ({"tags": ["a"]}, "tags", "['a'] is not valid here. Write keys with values"),
        ({"tags": {"a b": 1}}, "tags", "'a b' cannot be a tag in Dagster. Use up to 63 letters"),
        (
            {"tags": {"dagster/concurrency_key": "x"}},
            "tags",
            "'dagster/concurrency_key' is no tag to set here. Write a 'pool' instead.",
        ),
        ({"tags": {"a": {1: 2}}}, "tags", 'Invalid value for tag "a"'),
        (None, "", "None is not valid here. Write keys with values: 'retry_policy', 'pool', "),
    ],
)
def test_a_mistake_in_an_entry_is_told_with_its_place(
    options: Mapping[str, Any] | None, place: str, message: str
) -> None:
    config, ((path, found),) = parse_config({"nodes": {"clean": options}})
    assert ".".join(path) == f"nodes.clean.{place}".rstrip(".")
    assert found.startswith(message)
    assert not config.nodes


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ("{learn.deep.train: {partitions: all}}", {"learn.deep.train"}),
        ("{tag:slow: {partitions: all}}", {"clean", "learn.deep.train"}),
        ("{namespace:learn: {partitions: all}}", {"learn.deep.train", "learn.rate"}),
        (
            "{'*ea*': {partitions: all}, learn.rate: {partitions: null}}",
            {"clean", "learn.deep.train"},
        ),
        ("{clean: {timeout: 1m}}", set()),
    ],
    ids=["name", "tag", "namespace", "pattern_but_for_one", "another_setting"],
)
def test_nodes_are_told_to_take_all_partitions_as_any_setting_is_given(
    entries: str, names: set[str]
) -> None:
    settings = settings_of(entries)
    assert settings.whole_nodes(PIPELINE.nodes) == names


def test_a_node_that_takes_all_partitions_may_share_a_step_with_one_that_does_not() -> None:
    settings = settings_of("{learn.deep.train: {partitions: all}, learn.rate: {pool: p}}")
    assert of(settings, TRAIN, RATE) == StepSettings(pool="p")
