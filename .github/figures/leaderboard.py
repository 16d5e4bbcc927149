"""Takes the picture of the leaderboard page that README shows, from a page that was written before.

    pip install playwright pillow
    python .github/figures/leaderboard.py leaderboard.html

README's picture is the page of `benchmark demo` and `benchmark run --encoder logmel` on its dataset: synthetic audio.
The address of Chromium is taken from $CHROMIUM, else from the path.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1_170, 900
"""Of the window, pixels."""
STORED_WIDTH = 1_000


def take_picture(page: Path, out: Path) -> None:
    """Open the page, select a figure, and store what is visible.

    Args:
        page: the HTML file.
        out: the PNG to write.
    """
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.getuid() != 0)
        opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        opened.locator("#board button.figure").first.click()
        opened.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        picture = Image.open(io.BytesIO(opened.screenshot()))
        browser.close()
    size = (STORED_WIDTH, round(STORED_WIDTH * HEIGHT / WIDTH))
    picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(220).save(out, optimize=True)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), Path(__file__).resolve().parents[1] / "leaderboard.png")
