"""Headless Chromium for the tests of pages, driven by Playwright and checked by axe-core."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

ARGUMENTS = [
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
ARGUMENTS += ["--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


class Opened:
    """A page that was opened from disk, with what it logged and what it asked for."""

    def __init__(self, page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def check_quiet(self) -> None:
        """No error on the console, and no request to any host."""
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []

    def check_accessible(self) -> None:
        """axe-core reports nothing serious."""
        found = Axe().run(self.page).response["violations"]
        assert [
            (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in {"serious", "critical"}
        ] == []


_started: list[object] = []
"""The browser, once it is started: each file that imports the fixture has its own, and a process can have one."""


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if _started:
        yield _started[0]
        return
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, chromium_sandbox=os.getuid() != 0)
        _started.append(started)
        yield started
        _started.clear()
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens a file: ``with open_page(path, width=1280, dark=False) as opened``."""

    @contextmanager
    def open_file(path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Opened]:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(10_000)
        page = context.new_page()
        opened = Opened(page)
        page.goto(path.resolve().as_uri())
        yield opened
        context.close()

    return open_file
