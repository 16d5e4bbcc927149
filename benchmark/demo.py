"""The whole pipeline in two minutes: miniature corpora, BgKnown built from them, two encoders, leaderboard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from benchmark.embedding.embed import EmbedSettings
from benchmark.pages.leaderboard_page import write_leaderboard_page
from benchmark.pages.map_page import MapOptions, write_map_page
from benchmark.protocol import open_protocol
from benchmark.run import Outcome, RunOptions, run
from benchmark.tasks.locations import Locations, parse_locations
from bgknown.corpora.miniature import make
from bgknown.corpora.pair import open_corpora
from bgknown.mixtures.build import build
from bgknown.mixtures.draw import DrawOptions
from bgknown.mixtures.engine import choose_engine
from bgknown.mixtures.options import BuildOptions
from bgknown.pages.dataset_page import write_dataset_page
from bgknown.pages.options import PageOptions
from bgknown.userpath import user_path

ENCODERS = ("melpower", "audiontt2022-untrained")
"""One that is linear in power, so that differences are nearly exact, and a random network."""


def demo(out: Path, *, cache: Path, jobs: int, device: str = "cpu") -> Iterator[Outcome]:
    """Build BgKnown from the miniature corpora and measure two encoders on it.

    Args:
        out: folder of the dataset (``bgknown``) and of the results (``results``).
        cache: the cache folder.
        jobs: number of processes.
        device: where encoders and probes run.

    Raises:
        BgknownError: the folder holds something else, or cannot be written.
    """
    out = user_path(out)
    logging.getLogger("bgknown.corpora").setLevel(logging.ERROR)  # these corpora are small on purpose
    esc50, fsd50k = make(cache / "miniature")
    options = BuildOptions(draw=DrawOptions(), engine=choose_engine(out / "bgknown"), cache=cache, jobs=jobs)
    build(open_corpora(esc50, fsd50k, cache=cache), options, out / "bgknown")
    yield from run(
        RunOptions(
            encoders=ENCODERS,
            tasks=("bgknown",),
            data=_locate(out, cache),
            out=out / "results",
            protocols=(open_protocol("linear"),),
            embedding=EmbedSettings(cache=cache),
            device=device,
        )
    )


def write_pages(out: Path, *, cache: Path, jobs: int) -> list[tuple[str, Path]]:
    """Write the pages of a finished demo: what each is, and its file.

    Args:
        out: folder of the demo.
        cache: the cache folder, with its embeddings.
        jobs: number of processes.

    Raises:
        BgknownError: the demo is not finished, or a page cannot be written.
    """
    out = user_path(out)
    listening = out / "bgknown.html"
    write_dataset_page(PageOptions(folder=out / "bgknown", out=listening, jobs=jobs))
    datasets = [str(out / "bgknown"), f"esc50={cache / 'miniature' / 'ESC-50'}"]
    board = write_leaderboard_page([out / "results"], out / "leaderboard.html", datasets=datasets)
    options = MapOptions(encoders=ENCODERS, data=_locate(out, cache), embedding=EmbedSettings(cache=cache))
    difference_map = write_map_page(options, out / "map.html")
    return [("listen", listening), ("leaderboard", board.path), ("map", difference_map.path)]


def _locate(out: Path, cache: Path) -> Locations:
    return parse_locations([f"bgknown={out / 'bgknown'}", f"esc50={cache / 'miniature' / 'ESC-50'}"])
