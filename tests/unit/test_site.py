"""The site of the documentation: its navigation, and what machines read of it."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from projects import REPOSITORY

DOCS = REPOSITORY / "docs"
CONFIG = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
FIRST = {page for page in PAGES if page.count("/") == page.count("examples/README.md")}
"""All but the single examples."""


@pytest.fixture(scope="module")
def llms_txt() -> str:
    made = runpy.run_path(str(REPOSITORY / "helpers" / "site.py"))["llms_txt"]
    return str(made(CONFIG["site_name"], CONFIG["nav"], DOCS))


def test_llms_txt_links_to_each_page(llms_txt: str) -> None:
    links = re.findall(r"^- \[(.+)\]\((.+)\): (.+)$", llms_txt, re.MULTILINE)
    assert {page for _, page, _ in links} == PAGES - {"index.md"}
    for title, page, about in links:
        assert f"# {title}\n" in (DOCS / page).read_text(encoding="utf-8")
        assert len(about) > 20, f"{page} does not begin with what it is about: {about}"
    assert llms_txt.startswith("# Kedro on Dagster\n\n> What `kedro run` does, Dagster does")


def test_the_first_page_and_the_readme_link_to_all_others() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((.+?\.md)\)", text)) == FIRST - {"index.md"}
    listed = (DOCS / "examples" / "README.md").read_text(encoding="utf-8")
    linked = {f"examples/{name}" for name in re.findall(r"\]\((.+?/README\.md)\)", listed)}
    assert linked == PAGES - FIRST
    listed = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## Read on")[2]
    linked = re.findall(r"^- \[docs/(.+)\]\(docs/(.+)\): ", listed, re.MULTILINE)
    assert {page for _, page in linked} == FIRST - {"index.md"}
    assert all(name == page for name, page in linked)


COPY = re.compile(r"copier copy (?:-\S+ |deployment=\S+ |\.copier\S+ )*(\S+)")


@pytest.fixture(scope="module")
def address() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "helpers" / "address.py"))


def test_the_address_of_the_template_is_one(address: dict[str, Any], tmp_path: Path) -> None:
    for page in address["pages"](REPOSITORY):
        copy = tmp_path / page.relative_to(REPOSITORY)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(page, copy)
    for new in (CONFIG["extra"]["template"], "https://example.com/kedro-on-dagster", "gh:a/b"):
        address["set_address"](new, tmp_path)
        assert address["current"](tmp_path) == new
        texts = [page.read_text(encoding="utf-8") for page in address["pages"](tmp_path)]
        used = [word for text in texts for word in COPY.findall(text)]
        assert len(used) > 5
        assert set(used) == {new}
