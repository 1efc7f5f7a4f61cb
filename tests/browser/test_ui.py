"""What people see in Dagster's UI, in a real browser; `PICTURES=docs/images` keeps the pictures."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from live.server import Server, serve
from projects import KEDRO, Project

playwright = pytest.importorskip("playwright.sync_api", reason="session browser installs it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

SIZE = {"width": 1500, "height": 900}
LOOK_AGAIN = 30_000  # milliseconds that the UI may take to show something

Picture = Callable[[str], None]


@pytest.fixture(scope="module")
def server(rendered_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The UI of the example, whose main job has run."""
    example = rendered_example.copy(tmp_path_factory.mktemp("browser") / "bike_demand")
    example.execute("everything")
    with serve(example) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    scheme = request.getfixturevalue("scheme") if "scheme" in request.fixturenames else "light"
    context = browser.new_context(viewport=SIZE, color_scheme=scheme)
    # Dagster's dialog of a first visit would hide what is looked at
    context.add_init_script("localStorage.setItem('communityNux', '\"1\"')")
    page = context.new_page()
    page.set_default_timeout(LOOK_AGAIN)
    yield page
    context.close()


@pytest.fixture
def picture(page: Any, tmp_path: Path) -> Picture:
    """Keep what the browser shows."""
    folder = Path(os.environ.get("PICTURES", tmp_path))

    def keep(name: str) -> None:
        page.wait_for_timeout(1_500)  # until what moves stands still
        page.screenshot(path=folder / f"{name}.png")

    return keep


def test_lineage_has_groups_and_kinds(
    server: Server, page: Any, scheme: str, picture: Picture
) -> None:
    page.set_viewport_size({"width": 1900, "height": 1250})
    page.goto(f"{server.url}/asset-groups")
    page.get_by_text("maintenance").first.wait_for()
    for group in ("casual", "data_processing", "external", "member", "reporting"):
        assert page.get_by_text(group, exact=True).count(), group
    page.keyboard.press("Alt+KeyE")  # show all groups with what is in them
    page.get_by_text("depot_comparison").first.wait_for()
    page.reload()  # fits all of it in
    page.get_by_text("depot_comparison").first.wait_for()
    picture(f"lineage-{scheme}")


def test_an_asset_has_a_schema_rows_and_a_preview(
    server: Server, page: Any, picture: Picture
) -> None:
    page.goto(f"{server.url}/assets/daily_trips")
    page.get_by_text("Row count").wait_for()
    for words in ("91", "temperature_c", "data/03_primary/daily_trips.csv", "Open nodes.py"):
        assert page.get_by_text(words).count(), words
    picture("asset")
    page.get_by_text("2024-04-01").first.wait_for()  # in the first rows, below


def test_a_plot_is_a_picture(server: Server, page: Any, picture: Picture) -> None:
    page.goto(f"{server.url}/assets/forecast_plot")
    page.get_by_text("[Show Markdown]").first.click()
    shown = page.locator("img[src^='data:image/']")
    shown.wait_for()
    assert shown.evaluate("image => image.naturalWidth") > 100
    picture("plot")


def test_a_partition_is_picked(server: Server, page: Any) -> None:
    page.goto(f"{server.url}/assets/clean_repairs?view=partitions")
    page.get_by_text("harbour").first.click()
    page.get_by_text("data/02_intermediate/clean_repairs/harbour.csv").first.wait_for()


def test_a_run_with_a_changed_parameter(server: Server, page: Any, picture: Picture) -> None:
    plot = {"size": [6, 4], "colors": {"actual": "#000000", "predicted": "#ff0000"}}
    config = {"ops": {"plot_forecasts": {"config": {"params:plot": plot}}}}
    location = f"{server.project.package}.definitions"
    launchpad = f"{server.url}/locations/{location}/jobs/reporting/playground/setup"
    page.goto(f"{launchpad}?config={quote(yaml.safe_dump(config))}")
    launch = page.get_by_role("button", name="Launch Run")
    launch.wait_for()
    picture("launchpad")
    launch.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    page.get_by_text("Success", exact=True).first.wait_for(timeout=90_000)
    picture("run")
    run = server.run(page.url.rpartition("/")[2].partition("?")[0])
    assert "#ff0000" in run.config


VALIDATOR = """
def no_gaps(weather):
    gaps = int(weather["temperature_c"].isna().sum())
    if gaps:
        raise ValueError(f"{gaps} of {len(weather)} days have no temperature")
"""
RELOAD = """
mutation ($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) {
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename } }
  }
}"""


@pytest.mark.skipif(KEDRO < (1, 6), reason="this Kedro has no validators")
def test_a_check_fails(server: Server, page: Any, picture: Picture) -> None:
    """Last, since it gives the project a validator: of a dataset that no node makes."""
    project = server.project
    (project.path / "src" / project.package / "schemas.py").write_text(VALIDATOR)
    file = project.path / "conf" / "base" / "catalog.yml"
    entries = yaml.safe_load(file.read_text())
    entries["weather"]["validator"] = {"class": f"{project.package}.schemas.no_gaps"}
    file.write_text(yaml.safe_dump(entries))
    server.query(RELOAD, name=f"{project.package}.definitions")
    page.set_viewport_size({"width": 1500, "height": 680})
    page.goto(f"{server.url}/assets/weather?view=checks")
    page.get_by_role("button", name="Execute all").click()
    page.get_by_text("1 of 91 days have no temperature").wait_for(timeout=90_000)
    assert page.get_by_text("Failed", exact=True).count()
    picture("check")
