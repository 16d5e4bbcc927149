"""The work of one process of a page: one row's audio, measured for its pictures and encoded for listening."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ, encode, read_file
from bgknown.documents import read_object
from bgknown.errors import BgknownError
from bgknown.jobs.files import write_aside
from bgknown.jobs.memory import keep_freed_memory
from bgknown.pages.pictures import Picture, make_empty_picture, measure_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRow:
    """One row of a page for a worker."""

    files: tuple[Path | None, ...]
    """The row's audio; for a mixture, the mixture and its references a, b and c. None for audio that does not exist."""
    remainder_gain: float | None = None
    """The factor by which a is multiplied before it is subtracted from the mixture; None for rows without remainder."""
    remainder_file: Path | None = None
    """Where the remainder goes; None if it is not written."""
    jams: Path | None = None
    """JAMS that names the background's label; None if the label is known."""
    inline: bool = False
    """Whether the audio is needed for the page itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRow:
    """What a page shows of a row's audio."""

    pictures: tuple[Picture, ...]
    """Of each file, and of the remainder."""
    duration_s: float
    """Of the first file that can be read; 0 if there is none."""
    label: str = ""
    """The background's label in the JAMS."""
    audio: tuple[str, ...] = ()
    """Of each file, and of the remainder, as a data address; empty for audio that cannot be read."""
    faults: tuple[str, ...] = ()
    """What could not be read, one line each."""


def draw_row(row: AudioRow) -> DrawnRow:
    """Read the audio of a row, measure it for its pictures, and write its remainder.

    Raises:
        StorageError: the remainder cannot be written.
    """
    _prepare_process()
    faults: list[str] = []
    signals = [_read_signal(path, faults) for path in row.files]
    if row.remainder_gain is not None:
        signals.append(_subtract(signals[0], signals[1], row.remainder_gain))
        if row.remainder_file is not None and signals[-1] is not None:
            pcm = np.rint(signals[-1] * np.float32(32_768.0)).astype(np.int16)
            write_aside(row.remainder_file, encode(pcm, "flac"), flush=False)()
    there = [signal for signal in signals if signal is not None]
    return DrawnRow(
        pictures=tuple(make_empty_picture() if signal is None else measure_picture(signal) for signal in signals),
        duration_s=there[0].size / RATE_HZ if there else 0.0,
        label="" if row.jams is None else _read_label(row.jams, faults),
        audio=tuple("" if signal is None else encode_address(signal) for signal in signals) if row.inline else (),
        faults=tuple(faults),
    )


def encode_address(audio: NDArray[np.float32]) -> str:
    """[N] samples at 44.1 kHz as a data address: MP3, or Ogg Vorbis where this libsndfile does not write MP3."""
    kind = ("MP3", "MPEG_LAYER_III", "audio/mpeg")
    if kind[0] not in soundfile.available_formats():
        kind = ("OGG", "VORBIS", "audio/ogg")
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, RATE_HZ, format=kind[0], subtype=kind[1])
    return f"data:{kind[2]};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@cache
def _prepare_process() -> None:
    keep_freed_memory()  # a third of the time would otherwise go into new pages


def _read_signal(path: Path | None, faults: list[str]) -> NDArray[np.float32] | None:
    if path is None:
        return None
    try:
        return read_file(path, RATE_HZ, np.float32)[1]
    except (BgknownError, OSError) as error:
        faults.append(f"{path}: {error}")
        return None


def _subtract(
    mixture: NDArray[np.float32] | None, background: NDArray[np.float32] | None, gain: float
) -> NDArray[np.float32] | None:
    """Mixture minus background, within the range of 16 bits; None if the two do not belong together."""
    if mixture is None or background is None or mixture.size != background.size:
        return None
    return np.clip(mixture - np.float32(gain) * background, np.float32(-1.0), np.float32(32_767 / 32_768))


def _read_label(path: Path, faults: list[str]) -> str:
    """The label of the first background of a JAMS."""
    try:
        annotations: Any = read_object(path)["annotations"]
        values = [item["value"] for item in annotations[0]["data"]]
        return str(next(value["label"] for value in values if value["role"] == "background"))
    except (BgknownError, OSError) as error:
        faults.append(str(error))
    except (KeyError, IndexError, TypeError, StopIteration):
        faults.append(f"{path}: names no background")
    return ""
