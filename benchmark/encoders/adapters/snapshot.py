"""The files of a transformers model: in a folder, or in the hub's snapshot in the cache."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.nearest import nearest

HUB_ID = r"[A-Za-z0-9_]([\w.-]*/)?[\w.-]*"
"""The form of an id on the hub: a name, or an owner and a name."""
FACT_FILES = ("*.json", "*.txt")
WEIGHTS = ("*.safetensors", "*.bin")
"""The files of a folder that determine an embedding; safetensors are preferred."""
_LONGEST = 400  # characters of a reason


def find_model_folder(
    target: str, *, revision: str | None = None, local_files_only: bool = False, kind: str = "hf:"
) -> Path:
    """The folder of a model; one on the hub is downloaded once, as safetensors if it has them.

    Args:
        target: a folder, or an id on the hub.
        revision: branch, tag or commit on the hub.
        local_files_only: use files downloaded earlier, without contacting the hub.
        kind: the prefix of the target in messages.

    Raises:
        NotFoundError: the folder does not exist, or the hub lacks the model or cannot be reached.
        InvalidInputError: no model is named, or a revision is given for a folder.
    """
    if not target:
        raise InvalidInputError(f"{kind} names no model; write {kind}DIRECTORY or {kind}OWNER/NAME")
    if Path(target).is_dir():
        if revision is not None:
            raise InvalidInputError(f"{kind}{target}: is a folder; option revision is for models on the hub")
        return Path(target)
    if re.fullmatch(HUB_ID, target) is None:
        raise NotFoundError(f"{kind}{target}: no such folder{_suggest(Path(target))}")
    transformers = import_transformers()
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (comes with transformers)

    folder = Path()
    with silence(transformers), explain_loading_failure(target, kind=kind):
        for pattern in WEIGHTS:
            fetched = snapshot_download(
                target,
                revision=revision,
                allow_patterns=[*FACT_FILES, pattern],
                local_files_only=local_files_only,
            )
            folder = Path(fetched)
            if any(folder.glob(pattern)):
                break
    return folder


def _suggest(path: Path) -> str:
    siblings = [folder.name for folder in path.parent.iterdir() if folder.is_dir()] if path.parent.is_dir() else []
    close = nearest(path.name, siblings)
    return f"; did you mean {path.with_name(close)}?" if close else ", and ids on the hub have another form"


@contextlib.contextmanager
def explain_loading_failure(target: str, *, kind: str = "hf:", what: str = "cannot be loaded") -> Iterator[None]:
    """Report in one line why a model cannot be loaded or run.

    Args:
        target: the folder or id.
        kind: its prefix in messages.
        what: what cannot be done.

    Raises:
        NotFoundError: it is not on the hub, or the hub cannot be reached and the model was not downloaded.
        InvalidInputError: any other reason.
    """
    try:
        yield
    except (BgknownError, MemoryError):
        raise
    except OSError as error:
        if Path(target).is_dir():
            raise InvalidInputError(
                f"{kind}{target}: this folder does not hold a whole model ({_take_first_line(error)})"
            ) from error
        raise NotFoundError(
            f"{kind}{target}: no such folder, and the hub lacks it or cannot be reached ({_take_first_line(error)}); "
            f"use a folder that save_pretrained wrote, or download the model first on a machine with a network: "
            f"hf download {target}"
        ) from error
    except Exception as error:
        raise InvalidInputError(f"{kind}{target}: {what} ({shorten_reason(error)})") from error


def shorten_reason(error: BaseException) -> str:
    """The message of an exception of transformers or torch, without internals that only programmers understand."""
    if isinstance(error, ImportError):
        return f"a package is not installed: {_take_first_line(error)}"
    if isinstance(error, AttributeError | TypeError | LookupError | AssertionError | NameError | NotImplementedError):
        return f"transformers {import_transformers().__version__} fails on its configuration or its files"
    return _take_first_line(error)


def _take_first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0].strip().rstrip(".:")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


@contextlib.contextmanager
def silence(transformers: Any) -> Iterator[None]:
    """Keep transformers from printing progress and remarks while it loads a model."""
    verbosity = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()


def import_transformers() -> Any:
    """The package transformers.

    Raises:
        NotFoundError: it is not installed.
    """
    try:
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("models of transformers need it: pip install transformers") from error
    return transformers
