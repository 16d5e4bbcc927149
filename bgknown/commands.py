"""The base of all command lines: types of arguments, signals, and errors as one line."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bgknown.errors import BgknownError
from bgknown.jobs import stopping, surroundings
from bgknown.shown import escape_text
from bgknown.userpath import user_path

_KEPT = "; finished work is kept, and the same command resumes where it left off"


class UserPath(click.Path):
    """A path; a leading ``~`` is expanded even if the shell does not do it (``--out=~/x``)."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path, expanded."""
        return super().convert(user_path(value) if os.fspath(value) else value, param, ctx)


HELP_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Settings of a program's outermost group."""
FOLDER_PATH = UserPath(file_okay=False)
FILE_PATH = UserPath(dir_okay=False)
ANY_PATH = UserPath()


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line, on stdout or stderr, with control characters escaped."""
    click.echo(escape_text(str(message)), err=err, nl=nl)


class _Formatter(logging.Formatter):
    """Log lines with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Escape control characters."""
        return escape_text(super().format(record))


def begin_logging(level: int, form: str = "%(levelname)s: %(message)s", *, force: bool = False) -> None:
    """Send the log to stderr, unless a log is set up already and ``force`` is not given."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(handlers=[handler], level=level, force=force)
    logging.addLevelName(logging.WARNING, "warning")


class Command(click.Command):
    """A command whose help ends in its example."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **_end_in_example(settings))


class Group(click.Group):
    """A group whose commands turn the project's errors into one line and a status of 1.

    An interrupt (Ctrl-C, SIGTERM, SIGHUP) is one line too; the status is 128 and the signal's number.
    """

    command_class = Command

    def __init__(self, *args: Any, resumable: Iterable[str] = (), **settings: Any) -> None:
        """Make the group.

        Args:
            args: as for ``click.Group``.
            resumable: its commands that resume where they were interrupted.
            settings: as for ``click.Group``.
        """
        super().__init__(*args, **_end_in_example(settings))
        self.resumable = frozenset(resumable)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line."""
        surroundings.adapt()
        with stopping.listen():
            return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a traceback is only for defects."""
        try:
            return super().invoke(ctx)
        except BgknownError as error:
            echo(f"error: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:  # `bgknown ... | head`: click ends quietly
            raise
        except OSError as error:  # unforeseen: a vanished mount, a failing disk
            echo(f"error: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt as error:
            stopping.acknowledge()
            echo(f"interrupted{_KEPT if ctx.invoked_subcommand in self.resumable else ''}", err=True)
            ctx.exit(128 + getattr(error, "number", signal.SIGINT))


def _end_in_example(settings: dict[str, Any]) -> dict[str, Any]:
    """A command's settings with the example of its help moved to the end, below the options."""
    text, found, example = inspect.cleandoc(settings.get("help") or "").partition("\b\nExample:")
    return {**settings, "help": text.rstrip(), "epilog": found + example} if found else settings
