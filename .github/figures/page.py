"""Takes the picture of the page of a dataset in the READMEs, from the built-in miniature corpora.

    pip install '.[plot,test]'
    python .github/figures/page.py

Needs Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import bgknown
from bgknown.pages.dataset_page import write_dataset_page
from bgknown.pages.options import PageOptions

OUT = Path(__file__).resolve().parents[1] / "page.png"
SIZE = {"width": 1_000, "height": 760}
COLOURS = 128


def take_picture(page: Path) -> bytes:
    """A screenshot of the first rows, with reference a of the first chosen, in the middle."""
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.getuid() != 0)
        tab = browser.new_page(viewport=SIZE)
        tab.goto(page.as_uri())
        tab.evaluate("selectRow(shown[0]); switchTo(1)")
        tab.wait_for_function("() => player.audio.every((audio) => audio.readyState >= 3)")
        tab.evaluate("seekTo(2.1)")
        tab.wait_for_function("() => document.querySelectorAll('[aria-current] svg path').length === 5")
        tab.evaluate("document.activeElement.blur(); window.scrollTo(0, cards[shown[0]].offsetTop - 250)")
        tab.wait_for_timeout(500)
        picture = tab.screenshot()
        browser.close()
    return picture


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bgknown-miniature"
        bgknown.build_dataset(root)
        written = write_dataset_page(PageOptions(folder=root))
        picture = Image.open(io.BytesIO(take_picture(written.page)))
    picture.convert("RGB").quantize(COLOURS).save(OUT, optimize=True)
