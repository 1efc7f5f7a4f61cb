"""Where the project's code is on the web: told by its git repository, without running git."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

_REMOTE = re.compile(r'^\[remote "(.+?)"\]$(?:\n(?!\[).*)*?\n\s*url\s*=\s*(.+)$', re.MULTILINE)

_URL = re.compile(r"^(?:\w+://)?(?:[^@/]*@)?([^:/]+)(?::\d+)?[:/](.+?)(?:\.git)?/?$")


def find_repository(path: Path) -> tuple[Path, str] | None:
    """Find the root of the repository that a folder is in, and where its branch is on the web."""
    root = next((one for one in (path, *path.parents) if (one / ".git").exists()), None)
    if root is None:
        return None
    with suppress(OSError, UnicodeDecodeError):
        folder = root / ".git"
        if folder.is_file():  # of a worktree or a submodule
            folder = root / folder.read_text("utf-8").removeprefix("gitdir:").strip()
        common = folder / "commondir"
        shared = folder / common.read_text("utf-8").strip() if common.is_file() else folder
        remotes = dict(_REMOTE.findall((shared / "config").read_text("utf-8")))
        head = (folder / "HEAD").read_text("utf-8").strip()
        remote = remotes.get("origin") or next(iter(remotes.values()), "")
        if url := _web_address(remote, head.removeprefix("ref: refs/heads/")):
            return root, url
    return None


def _web_address(remote: str, branch: str) -> str | None:
    """The address of a branch, by the rules of ``dagster.link_code_references_to_git``."""
    if not (found := _URL.match(remote)):
        return None
    host, path = found.groups()
    parts = {"github": "tree", "gitlab": "-/tree"}
    part = next((part for name, part in parts.items() if name in host), None)
    return f"https://{host}/{path}/{part}/{quote(branch)}" if part else None
