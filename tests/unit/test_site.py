"""The site of the documentation: its navigation, and what machines read of it."""

from __future__ import annotations

import re
import runpy

import pytest
import yaml

from projects import REPOSITORY

DOCS = REPOSITORY / "docs"
CONFIG = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = {page.name for page in DOCS.glob("*.md")}


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


def test_the_first_page_links_to_all_others() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((.+?\.md)\)", text)) == PAGES - {"index.md"}
