"""Adds to the site of the documentation what machines read: ``llms.txt``, and each page as it is.

MkDocs calls :func:`on_post_build`. The format is that of https://llmstxt.org.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Entry = str | Mapping[str, Any]


def on_post_build(config: Mapping[str, Any]) -> None:
    """Write them beside the pages, by the same names as in the repository."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    text = llms_txt(config["site_name"], config["nav"], docs)
    (site / "llms.txt").write_text(text, encoding="utf-8")
    for page in docs.rglob("*.md"):
        shutil.copyfile(page, site / page.relative_to(docs))


def llms_txt(name: str, nav: Sequence[Entry], docs: Path) -> str:
    """List the pages by section, each with how it begins."""
    return f"# {name}\n\n> {summary(docs / 'index.md')}\n" + "".join(sections(nav, docs))


def sections(nav: Sequence[Entry], docs: Path) -> Iterator[str]:
    """The sections of the navigation."""
    for entry in nav:
        if not isinstance(entry, str):
            for title, pages in entry.items():
                yield f"\n## {title}\n\n"
                for page in pages:
                    yield f"- [{title_of(docs / page)}]({page}): {summary(docs / page)}\n"


def title_of(page: Path) -> str:
    """The title of a page."""
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def summary(page: Path) -> str:
    """The first sentence of a page that is no heading, table or picture, without links."""
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    text = next(one for one in paragraphs if re.match(r"[A-Z*\[]|`\w", one))
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(text.split()))
    return re.split(r"(?<=[a-z`)]\.) (?=[A-Z`])", plain)[0]
