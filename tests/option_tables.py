"""Option tables of the READMEs, generated from the commands' own help.

A table is between ``<!-- options of bgknown build -->`` and ``<!-- end of options -->``.
``python -m tests.option_tables`` fails where one differs from the help; with ``--write`` it is replaced.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from benchmark.cli import main as benchmark
from bgknown.cli import main as bgknown
from pretrain.cli import main as pretrain

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / name for name in ("README.md", "bgknown/README.md", "benchmark/README.md", "pretrain/README.md")]
GROUPS = {"bgknown": bgknown, "benchmark": benchmark, "pretrain": pretrain}
BLOCK = re.compile(r"(<!-- options of ([a-z -]+) -->\n)(.*?)(<!-- end of options -->)", re.DOTALL)
DEFAULT = re.compile(r"\s*\[default: (.*)\]\.?\s*$")


def find_command(name: str) -> click.Command:
    """The command that ``bgknown apwd draw`` names."""
    first, *rest = name.split()
    command: click.Command = GROUPS[first]
    for part in rest:
        assert isinstance(command, click.Group)
        command = command.commands[part]
    return command


def format_table(command: click.Command) -> str:
    """The options of a command as a Markdown table: option, what it does, default."""
    lines = ["| option | what it does | default |", "| --- | --- | --- |"]
    context = click.Context(command)
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        text = option.help or ""
        found = DEFAULT.search(text)
        default = found.group(1) if found else ""
        text = text[: found.start()] if found else text
        if not found and option.show_default and option.default is not None:
            default = str(option.default)
        elif option.required:
            default = "required"
        value = "" if option.is_flag else f" {option.make_metavar(context)}"
        text = text if text.endswith("...") else text.removesuffix(".")
        cells = [f"`{option.opts[-1]}{value}`", text, default]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def fill(text: str) -> str:
    """A README with every table as the help has it now."""
    return BLOCK.sub(lambda found: found[1] + format_table(find_command(found[2])) + found[4], text)


def main() -> None:
    """Check the tables, or write them."""
    stale = [path for path in READMES if fill(path.read_text()) != path.read_text()]
    for path in stale:
        if "--write" in sys.argv[1:]:
            path.write_text(fill(path.read_text()))
        else:
            print(f"{path.relative_to(ROOT)}: an option table differs from the help; run it again with --write")
    sys.exit(1 if stale and "--write" not in sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
