"""A project whose parameters and credentials are secrets, planted one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from projects import Project, make_project

SECRETS = {
    name: f"Zq7{name.lower().replace('_', '')}planted"
    for name in (
        "TOKEN",
        "IN_TEXT",
        "LISTED",
        "LEAF",
        "SHARED",
        "FROM_ENV",
        "DECODED",
        "USER",
        "PASSWORD",
        "METADATA",
        "LOGIN",
        "PASSWORD_OF_LOGIN",
        "INLINE",
        "PATTERN",
        "URL",
        "HOOK",
    )
}
"""What is planted, by the environment variable that the project reads it from."""

SETTINGS = """\
import os

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from shop.hooks import ProjectHooks

HOOKS = (ProjectHooks(),)


def account():
    return OmegaConf.create(
        {"user": os.environ["USER"], "password": os.environ["PASSWORD"], "tries": 3}
    )


CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {
        "secret": lambda name: os.environ[name],
        "account": account,
        "group": lambda: "vaults",
        "oc.env": oc.env,
    },
}
"""

PARAMETERS = """\
plain: 7
token: ${secret:TOKEN}
in_text: "https://example.com/?key=${secret:IN_TEXT}"
alias: ${token}
alias_in_text: "Bearer ${token}"
deep: {plain: 1, listed: [1, "${secret:LISTED}"], leaf: {inner: "${secret:LEAF}"}, empty: {}}
of_globals: ${globals:open}
of_secret_globals: ${globals:shared}
from_env: ${oc.env:FROM_ENV}
decoded: ${oc.decode:${secret:DECODED}}
account: ${account:}
part: ${account.password}
looked_up: ${deep.${which.key}}
which: {key: plain}
late: ${runtime_params:late, 5}
not_a_number: .nan
"""

GLOBALS = """\
open: shown
shared: ${secret:SHARED}
"""

SHOWN = {
    "params:plain": 7,
    "params:deep.plain": 1,
    "params:deep.empty": {},
    "params:of_globals": "shown",
    "params:looked_up": 1,
    "params:which": {"key": "plain"},
    "params:late": 5,
    "params:not_a_number": "nan",
}
"""The parameters that the launchpad shows, each with its default."""

HIDDEN = [
    "parameters",
    "params:token",
    "params:in_text",
    "params:alias",
    "params:alias_in_text",
    "params:deep",
    "params:deep.listed",
    "params:deep.leaf",
    "params:deep.leaf.inner",
    "params:of_secret_globals",
    "params:from_env",
    "params:decoded",
    "params:account",
    "params:account.user",
    "params:account.tries",
    "params:part",
]
"""Those that it does not show."""

PIPELINES = f"""\
from kedro.pipeline import Pipeline, node

from shop.nodes import digest

PARAMETERS = {[*SHOWN, *HIDDEN]!r}


def register_pipelines():
    return {{"__default__": Pipeline([node(digest, PARAMETERS, "digests", name="read")])}}
"""

NODES = """\
import hashlib


def digest(*values):
    return [hashlib.sha256(repr(value).encode()).hexdigest() for value in values]
"""

HOOKS = """\
class ProjectHooks:
    pass
"""

CATALOG = """\
_owner: ${secret:METADATA}
digests:
  type: json.JSONDataset
  filepath: data/digests.json
  metadata:
    owner: ${_owner}
    contacts: [open, "mailto:${secret:METADATA}"]
    deep: {kept: 1, lost: "${secret:METADATA}"}
    team: ${globals:open}
    description: Of ${_owner}.
    group_name: ${group:}
"""

JOBS: dict[str, Any] = {
    "in_process": {"pipeline": {}, "executor": {"in_process": {}}},
    "multiprocess": {"pipeline": {}, "executor": {"multiprocess": {}}},
}


def make_vault(path: Path, **changes: Any) -> Project:
    """Write the project."""
    return make_project(
        path,
        **{
            "pipelines": PIPELINES,
            "nodes": NODES,
            "hooks": HOOKS,
            "settings": SETTINGS,
            "parameters": PARAMETERS,
            "catalog": CATALOG,
            "dagster": {"jobs": JOBS},
            "files": {"conf/base/globals.yml": GLOBALS},
            **changes,
        },
    )
