"""What the command lines of all packages share: types of arguments, and errors told in one line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from bgknown.errors import BgknownError
from bgknown.shown import shown

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line, on stdout or stderr; what names and messages of others hold cannot steer the terminal."""
    click.echo(shown(str(message)), err=err, nl=nl)


class _Formatter(logging.Formatter):
    """Log lines that cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write out control characters."""
        return shown(super().format(record))


def begin_logging(level: int, form: str = "%(levelname)s: %(message)s", *, force: bool = False) -> None:
    """Send the log to stderr, where none is set up yet or ``force`` replaces it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(handlers=[handler], level=level, force=force)
    logging.addLevelName(logging.WARNING, "warning")


class Group(click.Group):
    """A group whose commands turn the project's errors into one line and a status of 1."""

    resumable: frozenset[str] = frozenset({"build"})
    """Commands that go on where they were interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a traceback is only for defects."""
        try:
            return super().invoke(ctx)
        except BgknownError as error:
            echo(f"error: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:  # `bgknown ... | head`: click ends quietly
            raise
        except OSError as error:  # what no part of the library could foresee: a vanished mount, a failing disk
            echo(f"error: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            kept = "; what is finished is kept, the same command goes on from there"
            echo(f"interrupted{kept if ctx.invoked_subcommand in self.resumable else ''}", err=True)
            ctx.exit(130)
