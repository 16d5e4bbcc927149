"""``python -m bgknown``."""

from bgknown.cli import main

main(prog_name="bgknown")
