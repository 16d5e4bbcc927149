"""Broken inputs: found one by one, listed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from bgknown.errors import BgknownError, BrokenInputError, NotFiniteError, NotFoundError
from bgknown.shown import escape_line


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One input that cannot be used."""

    where: str
    """The clip, or the recording's file relative to its corpus."""
    code: str
    """A fixed word: missing, unreadable, not_finite, too_short, quiet_background, snr_undefined, snr_not_held."""
    what: str
    """One sentence that names the file and the rule."""

    def line(self) -> str:
        """The problem as one line for a person."""
        return escape_line(f"{self.where}: {self.code}: {self.what}")


def is_problem(value: object) -> bool:
    """Whether a value read from a file has exactly the fields of a problem."""
    names = {field.name for field in fields(Problem)}
    return isinstance(value, dict) and set(value) == names and all(isinstance(text, str) for text in value.values())


def list_problems(problems: Sequence[Problem]) -> str:
    """All problems, one line each, in a fixed order, at most 200."""
    lines = [f"  {problem.line()}" for problem in sorted(set(problems))]
    return "\n".join(lines[:200] + ([f"  ... and {len(lines) - 200} more"] if len(lines) > 200 else []))


def make_problem(error: BgknownError, *, where: str, what: str) -> Problem:
    """The problem of an input that could not be read.

    Args:
        error: the error.
        where: the clip or file it is reported under.
        what: the input, which is put before the error's message.
    """
    code = "unreadable"
    if isinstance(error, NotFoundError):
        code = "missing"
    elif isinstance(error, NotFiniteError):
        code = "not_finite"
    return Problem(where=where, code=code, what=f"{what}: {error}")


def refuse_broken(problems: Sequence[Problem], *, skip: bool, kept: str) -> None:
    """Stop if inputs are broken, unless they are to be skipped.

    Raises:
        BrokenInputError: lists all of them and says what to do.
    """
    if problems and not skip:
        count = f"{len(problems)} input is" if len(problems) == 1 else f"{len(problems)} inputs are"
        raise BrokenInputError(
            f"{count} broken:\n{list_problems(problems)}\n{kept}; repair the inputs and run the same command again, "
            "or leave them out with --skip-broken"
        )
