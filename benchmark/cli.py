"""The command line of benchmark."""

from __future__ import annotations

import click

from bgknown import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="benchmark")
def main() -> None:
    """Measure audio encoders. This version has no commands yet; datasets are made by `bgknown`.

    \b
    Example:
      benchmark --version
    """
