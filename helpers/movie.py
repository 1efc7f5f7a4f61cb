"""Records the README's moving picture from the real thing: `nox -s movie`.

Copier renders this repository, `kedro dagster dev` starts on what it has rendered, and Chromium
launches a job in the UI. What the commands print is shown by a terminal emulator, and what the
browser shows by screenshots; only the pauses are chosen. Port 3000 must be free.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Locator, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / "docs" / "images" / "launch.webp"
URL = "http://127.0.0.1:3000"

SIZE = (960, 600)
WINDOW = (1440, 900)  # of the browser, whose picture is made smaller
QUALITY = 70
CELL = (11, 22)  # pixels of a character
COLUMNS, LINES = SIZE[0] // CELL[0] - 2, SIZE[1] // CELL[1] - 1
FONT = "DejaVuSansMono.ttf"

INK: Mapping[str, str] = {
    "default": "#d8dee9",
    "red": "#ff7a85",
    "green": "#8fd694",
    "brown": "#ebcb8b",
    "blue": "#81a1f1",
    "magenta": "#c9a0dc",
    "cyan": "#88d0d8",
    "white": "#ffffff",
}
PAPER = "#1d2330"
PAUSE = 0.2  # seconds between frames of what goes on
RING = "#e4572e"


@dataclass
class Movie:
    """Frames, each with the milliseconds for which it is shown."""

    frames: list[tuple[Image.Image, int]] = field(default_factory=list)

    def show(self, picture: Image.Image, milliseconds: int) -> None:
        """Add a frame, or let the last one stay if it looks the same."""
        if self.frames and self.frames[-1][0].tobytes() == picture.tobytes():
            last, before = self.frames.pop()
            picture, milliseconds = last, before + milliseconds
        self.frames.append((picture, milliseconds))

    def save(self, file: Path) -> None:
        """Write it as an animated WebP."""
        (first, _), *others = self.frames
        first.save(
            file,
            save_all=True,
            append_images=[picture for picture, _ in others],
            duration=[milliseconds for _, milliseconds in self.frames],
            loop=0,
            quality=QUALITY,
            method=6,
        )


class Terminal:
    """A terminal in which commands are typed, and shown as they run."""

    def __init__(self, movie: Movie, folder: Path) -> None:
        self.movie, self.folder = movie, folder
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.font = ImageFont.truetype(FONT, 18)

    def type(self, command: str) -> None:
        """Show how a command is typed."""
        self.stream.feed(b"\x1b[32m$\x1b[0m ")
        for start in range(0, len(command), 4):
            self.stream.feed(command[start : start + 4].encode())
            self.show(70)
        self.show(500)
        self.stream.feed(b"\r\n")

    @contextmanager
    def run(self, *command: str, since: str, until: str) -> Iterator[None]:
        """Show what a command prints, from a line to another; it may run on after that."""
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        try:
            self._watch(parent, since.encode(), until.encode())
            rest = threading.Thread(target=drain, args=[parent], daemon=True)
            rest.start()
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)

    def _watch(self, output: int, since: bytes, until: bytes) -> None:
        printed, last, deadline = b"", 0.0, time.monotonic() + 120
        while until not in printed:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{until!r} was not printed:\n{printed.decode()}")
            if select.select([output], [], [], 1)[0]:
                text = os.read(output, 2048)
                begun = since in printed
                printed += text
                if since in printed:
                    line = printed.rfind(b"\n", 0, printed.index(since)) + 1
                    self.stream.feed(text if begun else printed[line:])
                if time.monotonic() - last > PAUSE:
                    last = time.monotonic()
                    self.show(120)
        self.show(120)

    def show(self, milliseconds: int) -> None:
        """Add what the terminal shows to the movie."""
        picture = Image.new("RGB", SIZE, PAPER)
        draw = ImageDraw.Draw(picture)
        for line in range(LINES):
            for column in range(COLUMNS):
                char = self.screen.buffer[line][column]
                if char.data != " ":
                    place = ((column + 1) * CELL[0], line * CELL[1] + CELL[1] // 2)
                    draw.text(place, char.data, INK.get(char.fg, INK["default"]), self.font)
        self.movie.show(picture, milliseconds)


def drain(output: int) -> None:
    """Read what a command goes on to print: it would wait for that."""
    with suppress(OSError):  # as a terminal ends
        while os.read(output, 2048):
            pass
    os.close(output)


class Browser:
    """Dagster's UI."""

    def __init__(self, movie: Movie, page: Page) -> None:
        self.movie, self.page = movie, page

    def show(self, milliseconds: int, ring: Locator | None = None) -> None:
        """Add what the browser shows to the movie, with a ring around what is clicked next."""
        file = Path(tempfile.gettempdir()) / "movie.png"
        self.page.screenshot(path=file)
        with Image.open(file) as taken:
            picture = taken.convert("RGB")
        if ring and (box := ring.bounding_box()):
            corners = (box["x"] - 6, box["y"] - 6, box["x"] + box["width"] + 6)
            ImageDraw.Draw(picture).rounded_rectangle(
                (*corners, box["y"] + box["height"] + 6), radius=12, outline=RING, width=5
            )
        self.movie.show(picture.resize(SIZE, Image.Resampling.LANCZOS), milliseconds)

    def click(self, locator: Locator) -> None:
        """Click on something, and show where it is."""
        locator.wait_for()
        self.page.wait_for_timeout(700)
        self.show(1_100, locator)
        locator.click()
        self.page.mouse.move(0, 0)  # where it points at nothing

    def lineage(self, milliseconds: int) -> None:
        """Show the assets, in groups that are open."""
        self.page.goto(f"{URL}/asset-groups")
        self.page.get_by_text("maintenance").first.wait_for()
        if not self.page.get_by_text("depot_comparison").count():
            self.page.keyboard.press("Alt+KeyE")
            self.page.get_by_text("depot_comparison").first.wait_for()
            self.page.reload()  # fits all of it in
        self.page.get_by_text("depot_comparison").first.wait_for()
        self.page.wait_for_timeout(2_500)
        self.show(milliseconds)

    def launch(self, job: str) -> None:
        """Launch a job from its launchpad, and look on until it has ended."""
        self.page.goto(f"{URL}/locations/bike_demand.definitions/jobs/{job}/playground")
        self.click(self.page.get_by_role("button", name="Launch Run"))
        self.page.wait_for_url(re.compile("/runs/"))
        self.page.get_by_text("RUN_STARTING").wait_for()
        self.show(900)
        self.page.get_by_text("RUN_START", exact=True).wait_for()
        ended = self.page.get_by_text("Success", exact=True)
        deadline = time.monotonic() + 120
        while not ended.count() and time.monotonic() < deadline:
            self.show(400)
            self.page.wait_for_timeout(PAUSE * 1_000)
        ended.first.wait_for()
        self.page.wait_for_timeout(1_500)
        self.show(2_000)


@contextmanager
def browser(movie: Movie) -> Iterator[Browser]:
    """Open Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]})
        # Dagster's dialog of a first visit would hide what is looked at
        context.add_init_script("localStorage.setItem('communityNux', '\"1\"')")
        context.add_init_script("localStorage.setItem('dagster.panel-width.run-gantt', '55')")
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield Browser(movie, page)
        chromium.close()


def record(folder: Path) -> Movie:
    """Make a project and run it, on camera."""
    movie = Movie()
    terminal = Terminal(movie, folder)
    terminal.type("copier copy --defaults <template> bike-demand")
    copy = ("copier", "copy", "--defaults", "--vcs-ref=HEAD", str(REPOSITORY), "bike-demand")
    with terminal.run(*copy, since="Copying from", until="copier update --defaults"):
        terminal.show(1_500)
    terminal.screen.reset()
    terminal.type('cd bike-demand && pip install -e ".[dev]"')  # which takes a minute: cut
    terminal.folder = folder / "bike-demand"
    terminal.type("kedro dagster dev")
    dev = ("kedro", "dagster", "dev")
    with terminal.run(*dev, since="Launching Dagster", until="Serving dagster-webserver on"):
        terminal.show(1_500)
        with browser(movie) as ui:
            ui.lineage(1_500)
            ui.launch("everything")
            ui.lineage(3_500)
    return movie


def main(write: Callable[[str], Any] = sys.stdout.write) -> None:
    """Record it, and write it where the README shows it."""
    os.environ.update(DO_NOT_TRACK="1", KEDRO_DISABLE_TELEMETRY="1", MPLBACKEND="Agg")
    os.environ["PYTHONPATH"] = "src"  # so that the project need not be installed
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # which is shown
        movie = record(Path(folder))
    movie.save(PICTURE)
    seconds = sum(milliseconds for _, milliseconds in movie.frames) / 1_000
    size = PICTURE.stat().st_size / 1024
    write(f"{PICTURE.name}: {len(movie.frames)} frames, {seconds:.0f} s, {size:.0f} kB\n")


if __name__ == "__main__":
    main()
