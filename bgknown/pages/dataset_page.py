"""The page of a dataset: listen to its rows, look at them, search them. One HTML file that opens from disk.

Audio is not copied: the page names the dataset's own files, relative to itself. Only the remainder mix - a, which is
not a file of the dataset, is written as FLAC into a folder next to the page. With ``inline_audio`` the page holds all
audio, compressed, and needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bgknown.apwd.manifest import read_manifest, read_pair_description
from bgknown.apwd.scenes import read_published_scenes
from bgknown.apwd.verify import find_count_faults
from bgknown.apwd.verify import verify as verify_pairs
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import advise_option, make_folder, write_whole
from bgknown.jobs.parallel import count_cores, in_processes
from bgknown.mixtures.dataset import DESCRIPTION, PAIRS, open_dataset
from bgknown.mixtures.verify import find_table_faults
from bgknown.mixtures.verify import verify as verify_mixtures
from bgknown.pages.listening import DrawnRow, draw_row
from bgknown.pages.mixture_rows import list_mixtures
from bgknown.pages.options import PageOptions, choose_page, list_bases
from bgknown.pages.pair_rows import list_pairs
from bgknown.pages.pictures import CHUNK_ROWS, PICTURE_BANDS, PICTURE_RANGE_DB, find_top_db, pack_rows
from bgknown.pages.remainders import count_remainder_bytes, get_remainder_folder, name_remainders, stage_remainders
from bgknown.pages.rows import Checks, PageListing
from bgknown.pages.shell import ASSETS, render_page
from bgknown.userpath import absolute

_SCRIPTS = ("pictures.js", "player.js", "cards.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReport:
    """A page that was written."""

    page: Path
    """The page."""
    remainders: Path | None
    """The folder of remainders; None if there are none."""
    rows: int
    """Rows of the page."""
    total: int
    """Rows of the dataset."""
    page_bytes: int
    """Size of the page."""
    picture_bytes: int
    """Of which pictures and waveforms."""
    remainder_bytes: int
    """Size of the remainders."""
    checks: Checks
    """Whether the dataset passed its checks."""
    faults: tuple[str, ...]
    """Audio that could not be read, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a page is about to hold."""

    listing: PageListing
    checks: Checks
    names: list[str]
    """Files of the remainders; none where there are no remainders."""
    drawn: list[DrawnRow]
    chunks: list[str]
    """The pictures, packed."""
    faults: tuple[str, ...]
    """Audio that could not be read."""


@advise_option("--out")
def write_dataset_page(options: PageOptions) -> PageReport:
    """Write the page of a dataset.

    Raises:
        NotFoundError: there is no finished dataset.
        InvalidInputError: its tables cannot be read, or the page must not be written there.
        StorageError: the page cannot be written, or no audio can be read.
    """
    page, jobs = choose_page(options), count_cores() if options.jobs is None else options.jobs
    listing, checks = _read_dataset(options, jobs)
    make_folder(page.parent)
    subtracted = any(row.remainder_gain is not None for row in listing.audio)
    names = name_remainders(listing.columns["id"]) if subtracted and not options.inline else []
    with stage_remainders(page, names) as staged:
        audio = listing.audio
        if staged is not None:
            audio = tuple(replace(row, remainder_file=staged / name) for row, name in zip(audio, names, strict=True))
        drawn = list(in_processes(draw_row, audio, jobs=jobs, title="page", unit="row", batch=4, ordered=True))
        content = _pack_content(options, listing, checks, names, drawn)
        html = _render(options, page, content).encode()
    write_whole(page, html)
    return PageReport(
        page=page,
        remainders=get_remainder_folder(page) if names else None,
        rows=len(listing.columns["id"]),
        total=listing.total,
        page_bytes=len(html),
        picture_bytes=sum(map(len, content.chunks)),
        remainder_bytes=count_remainder_bytes(page, names),
        checks=checks,
        faults=content.faults,
    )


def _read_dataset(options: PageOptions, jobs: int) -> tuple[PageListing, Checks]:
    root = options.folder
    if (root / DESCRIPTION).is_file() and read_object(root / DESCRIPTION).get("name") == PAIRS:
        description, table = read_pair_description(root), read_manifest(root)
        listing = list_pairs(root, table, description, count=options.rows, inline=options.inline, jams=options.jams)
        if options.verify:
            faults = verify_pairs(root, jobs=jobs, scenes=read_published_scenes()).faults
        else:
            faults = list(find_count_faults(description, table))
    else:
        if options.jams is not None:
            raise InvalidInputError(f"--jams is for APwD pairs, and {root} is another dataset; leave it out")
        data = open_dataset(root)
        listing = list_mixtures(data, count=options.rows, inline=options.inline)
        faults = verify_mixtures(root, jobs=jobs)[1] if options.verify else list(find_table_faults(data))
    return listing, Checks(full=options.verify, faults=_shorten_names(options, faults))


def _pack_content(
    options: PageOptions, listing: PageListing, checks: Checks, names: list[str], drawn: list[DrawnRow]
) -> _Content:
    """All that a page holds.

    Raises:
        StorageError: no audio can be read.
    """
    faults = _shorten_names(options, [fault for row in drawn for fault in row.faults])
    heard = [row for row in drawn if row.duration_s]
    if drawn and not heard:
        first = faults[0] if faults else "no row has any"
        raise StorageError(f"{options.folder}: no audio can be read, so no page was written (the first: {first})")
    top_db = find_top_db([picture for row in heard for picture in row.pictures]) if heard else 0.0
    chunks = pack_rows([row.pictures for row in drawn], top_db)
    return _Content(listing=listing, checks=checks, names=names, drawn=drawn, chunks=chunks, faults=faults)


def _shorten_names(options: PageOptions, faults: Sequence[str]) -> tuple[str, ...]:
    """Messages with the files' names relative to the dataset: the page may be sent to others."""
    return tuple(fault.replace(f"{options.folder}/", "") for fault in faults)


def _complete_columns(content: _Content) -> dict[str, Any]:
    """The columns with what the audio has shown: duration, T, labels."""
    columns = dict(content.listing.columns)
    if not content.drawn:
        return columns
    columns["duration"] = _shorten_column([round(row.duration_s, 4) for row in content.drawn])
    columns["width"] = _shorten_column([[len(picture.levels) for picture in row.pictures] for row in content.drawn])
    if any(row.label for row in content.drawn):
        columns["label"] = [row.label for row in content.drawn]
    if any(name != f"{row}.flac" for name, row in zip(content.names, columns["id"], strict=False)):
        columns["remainder"] = content.names
    return columns


def _shorten_column(values: list[Any]) -> Any:
    """A column, or its one value as ``{"all": value}``."""
    return {"all": values[0]} if all(value == values[0] for value in values) else values


def _render(options: PageOptions, page: Path, content: _Content) -> str:
    listing = content.listing
    data: dict[str, Any] = {
        "page": {
            "kind": listing.kind,
            "signals": [[signal.name, signal.about] for signal in listing.signals],
            "chunkRows": CHUNK_ROWS,
            "bands": PICTURE_BANDS,
            "inline": options.inline,
            "base": [] if options.inline else list_bases(options.folder, page),
            "remainders": get_remainder_folder(page).name if content.names else "",
        },
        "rows": _complete_columns(content),
        **{f"pictures-{place}": chunk for place, chunk in enumerate(content.chunks)},
    }
    if options.inline:
        data |= {f"audio-{place}": row.audio for place, row in enumerate(content.drawn)}
    return render_page(
        ASSETS / "dataset.html",
        title=f"{listing.title}: {absolute(options.folder).name}",
        data=data,
        styles=[ASSETS / "dataset.css"],
        scripts=[ASSETS / script for script in (*_SCRIPTS, f"{listing.kind}.js", "dataset.js")],
        listing=listing,
        checks=content.checks,
        faults=content.faults,
        shown=len(listing.columns["id"]),
        inline=options.inline,
        range_db=PICTURE_RANGE_DB,
        highest=max((bar.train + bar.test for bar in listing.snr_bars), default=1),
    )
