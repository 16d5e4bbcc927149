"""The command ``benchmark map``: embeddings of BgKnown in two dimensions, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmark.cli_options import encoders_option, loading_options, local_embedding_options, read_embedding_options
from bgknown.cli_options import limit_option
from bgknown.commands import FILE_PATH, Command, echo
from bgknown.jobs.files import advise_option


@click.command(name="map", cls=Command)
@encoders_option
@click.option(
    "--data", multiple=True, help="Folder of BgKnown, bgknown=DIR, and of ESC-50, esc50=DIR [default: $BGKNOWN_DATA]."
)
@click.option("--out", type=FILE_PATH, required=True, help="The HTML page.")
@limit_option("clips")
@local_embedding_options
@loading_options
def difference_map(*, encoders: tuple[str, ...], out: Path, **given: Any) -> None:
    """Draw the difference map: does y_mix - y_bg land on the clip that was added?

    The page joins mixtures, remainders and clean clips in two dimensions (PCA, and UMAP where umap-learn is installed).
    Embeddings come from the cache that `benchmark run` fills.

    \b
    Example:
      benchmark map --encoder logmel --data bgknown=bgknown-esc50 --data esc50=ESC-50 --out map.html
    """
    from benchmark.pages.map_page import MapOptions, write_map_page  # noqa: PLC0415
    from benchmark.processes import pick_device  # noqa: PLC0415
    from benchmark.tasks.locations import parse_locations  # noqa: PLC0415

    options = MapOptions(
        encoders=encoders,
        data=parse_locations(given["data"]),
        embedding=read_embedding_options(given),
        device=pick_device(given["device"]),
        **{name: given[name] for name in ("trust_code", "name", "limit")},
    )
    with advise_option("--out"):
        report = write_map_page(options, out)
    echo(f"page  {report.path}  ({report.predictions:,} remainders, {report.size / 1e6:.1f} MB)")
