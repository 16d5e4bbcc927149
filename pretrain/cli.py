"""The command line of pretrain."""

from __future__ import annotations

import click

from bgknown import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pretrain")
def main() -> None:
    """Train audio encoders. This version has no commands yet; datasets are made by `bgknown`.

    \b
    Example:
      pretrain --version
    """
