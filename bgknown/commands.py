"""What the command lines of all packages share: types of arguments, signals, and errors as one line."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import click

from bgknown import stopping, surroundings
from bgknown.errors import BgknownError
from bgknown.userpath import user_path

KEPT = "; finished work is kept, and the same command resumes where it left off"


class UserPath(click.Path):
    """A path of which a leading ``~`` is expanded, also where the shell does not do it (``--out=~/x``)."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path, expanded."""
        return super().convert(user_path(value), param, ctx)


FOLDER = UserPath(file_okay=False)
FILE = UserPath(dir_okay=False)
PATH = UserPath()


class Group(click.Group):
    """A group whose commands turn the project's errors into one line and a status of 1.

    An interrupt (Ctrl-C, SIGTERM, SIGHUP) is one line too; the status is 128 and the signal's number.
    """

    resumable: frozenset[str] = frozenset({"build"})
    """Commands that resume where they were interrupted."""

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
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:  # `bgknown ... | head`: click ends quietly
            raise
        except OSError as error:  # what no part of the library could foresee: a vanished mount, a failing disk
            click.echo(f"error: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt as error:
            stopping.acknowledge()
            click.echo(f"interrupted{KEPT if ctx.invoked_subcommand in self.resumable else ''}", err=True)
            ctx.exit(128 + getattr(error, "number", signal.SIGINT))
