"""When, and by which state of this software, something was measured."""

from __future__ import annotations

import datetime
import functools
import os
import subprocess
from pathlib import Path

import bgknown


def read_clock() -> str:
    """This second in UTC, as 2025-01-31T12:00:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache
def find_commit() -> str:
    """Short git commit that this software runs from, with ``+`` if files were changed; empty outside a checkout."""
    return find_commit_of(Path(bgknown.__file__).resolve().parents[1])


def find_commit_of(root: Path) -> str:
    """The same for any folder; if git is missing, slow or fails, the folder counts as no checkout."""
    if not (root / ".git").exists():
        return ""
    # a git hook that runs this sets these variables to its own repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    answers = []
    for question in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *question],
                capture_output=True,
                timeout=5,
                check=True,
                env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        answers.append(done.stdout.decode(errors="replace").strip())
    return answers[0] + "+" * bool(answers[1])
