"""Where the project's code is on the web: told by its git repository, without running git."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_REMOTE = re.compile(r'^\[remote "(.+?)"\]$(?:\n(?!\[).*)*?\n\s*url\s*=\s*(.+)$', re.MULTILINE)

_URL = re.compile(r"^(?:\w+://)?(?:[^@/]*@)?([^:/]+)(?::\d+)?[:/](.+?)(?:\.git)?/?$")


@dataclass(frozen=True)
class Repository:
    """A git repository that has a remote on a host that can show files.

    Args:
        root: Its folder here.
        url: What stands before the path of a file in it, without credentials.
    """

    root: Path
    url: str

    def url_of(self, file: Path) -> str | None:
        """The address of a file, unless it is no part of the repository."""
        if not file.is_relative_to(self.root) or "site-packages" in file.parts:
            return None
        return f"{self.url}/{quote(file.relative_to(self.root).as_posix())}"


def find_repository(path: Path) -> Repository | None:
    """Find the repository that a folder is in, and where the branch in use is on the web."""
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
            return Repository(root, url)
    return None


def _web_address(remote: str, branch: str) -> str | None:
    """The address of a branch, by the rules of ``dagster.link_code_references_to_git``."""
    if not (found := _URL.match(remote)):
        return None
    host, path = found.groups()
    parts = {"github": "tree", "gitlab": "-/tree"}
    part = next((part for name, part in parts.items() if name in host), None)
    return f"https://{host}/{path}/{part}/{quote(branch)}" if part else None
