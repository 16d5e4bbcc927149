"""``python -m pretrain``."""

from pretrain.cli import main

main(prog_name="pretrain")
