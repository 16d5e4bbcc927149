"""A miniature pair of synthetic corpora in the layouts of ESC-50 and FSD50K.

Twelve classes of sounds that differ in pitch, envelope and spectrum, in five folds, and backgrounds of eight kinds.
Some recordings are too short to be used, one is half silent, and one shares its Freesound id with a clip.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ, encode, to_pcm16
from bgknown.errors import StorageError
from bgknown.jobs.caches import MINIATURE
from bgknown.jobs.files import advise_option, describe_storage_error, hash_file, make_folder, write_whole
from bgknown.seeding import make_generator

Signal = NDArray[np.float64]
Voice = Callable[[Signal, np.random.Generator], Signal]

CLIP_S = 5.0
_SEED = 50
_TWINS = 0  # the clip whose Freesound id a recording shares
_VERSION = 1


@advise_option("--cache")
def make(root: Path, *, takes: int = 2, recordings: tuple[int, int] = (40, 26)) -> tuple[Path, Path]:
    """Write both corpora, unless they already exist.

    Args:
        root: folder in which ``ESC-50`` and ``FSD50K`` are made.
        takes: clips of each class in each fold.
        recordings: number of usable recordings in FSD50K's development and evaluation sets.

    Returns:
        The two corpora's folders.

    Raises:
        StorageError: they cannot be written, or a folder of that name exists and was not made here.
    """
    parts = dict(zip(("dev", "eval"), recordings, strict=True))
    makers: dict[str, Callable[[Path], None]] = {
        "ESC-50": lambda folder: _make_esc50(folder, takes),
        "FSD50K": lambda folder: _make_fsd50k(folder, parts),
    }
    size = f"miniature {_VERSION}: {takes} takes, {recordings[0]} and {recordings[1]} recordings\n"
    for name, maker in makers.items():
        _make_whole(root / name, maker, size)
    return root / "ESC-50", root / "FSD50K"


def _make_whole(folder: Path, maker: Callable[[Path], None], size: str) -> None:
    """Make a corpus aside and rename it; keep an existing one, and refuse to touch one that was not made here."""
    if _is_made(folder, size):
        return
    if folder.exists() and not (folder / MINIATURE.mark).is_file():
        raise StorageError(f"{folder}: already exists and was not made by this command; choose another folder")
    make_folder(folder.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        maker(aside)
        write_whole(aside / MINIATURE.mark, _format_mark(aside, size))
        aside.chmod(0o755)
        if _is_made(folder, size):  # another process was faster
            return
        if folder.exists():  # made here, of another size
            folder.rename(aside.with_suffix(".old"))
        aside.rename(folder)
    except OSError as error:
        if not _is_made(folder, size):  # otherwise another process has made it meanwhile
            raise error if isinstance(error, StorageError) else describe_storage_error(error, folder) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(aside.with_suffix(".old"), ignore_errors=True)


def _is_made(folder: Path, size: str) -> bool:
    """Whether a corpus of this size exists, with every file as it was made."""
    mark = folder / MINIATURE.mark
    try:
        return mark.is_file() and mark.read_bytes() == _format_mark(folder, size)
    except OSError:
        return False


def _format_mark(folder: Path, size: str) -> bytes:
    """The content of the mark of a corpus: its size, and the SHA-256 of every file."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in files if name.endswith((".wav", ".csv"))]
    return "".join([size, *(f"{hash_file(folder / name)}  {name}\n" for name in names)]).encode()


def _make_esc50(root: Path, takes: int) -> None:
    make_folder(root / "meta")
    make_folder(root / "audio")
    rows = []
    for fold in range(1, 6):
        for target, (category, voice) in enumerate(VOICES.items()):
            for take in range(takes):
                clip = 1000 * fold + 10 * target + take
                name = f"{fold}-{clip}-A-{target}"
                random = make_generator(_SEED, "clip", name)
                time_s = np.arange(int(CLIP_S * RATE_HZ)) / RATE_HZ
                _write_audio(root / "audio" / f"{name}.wav", voice(time_s, random), peak=random.uniform(0.2, 0.9))
                rows.append([f"{name}.wav", fold, target, category, False, clip, "A"])
    _write_table(
        root / "meta" / "esc50.csv", ["filename", "fold", "target", "category", "esc10", "src_file", "take"], rows
    )


def _make_fsd50k(root: Path, usable: dict[str, int]) -> None:
    make_folder(root / "FSD50K.ground_truth")
    for part, count in usable.items():
        make_folder(root / f"FSD50K.{part}_audio")
        rows: list[list[object]] = []
        short = max(count // 8, 1)
        for place in range(count + short):
            number = 1000 + _TWINS if (part, place) == ("dev", 0) else {"dev": 20_000, "eval": 30_000}[part] + place
            random = make_generator(_SEED, "recording", str(number))
            duration_s = random.uniform(10.0, 18.0) if place < count else random.uniform(1.0, 9.5)
            label, voice = list(BACKGROUNDS.items())[place % len(BACKGROUNDS)]
            time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
            audio = voice(time_s, random)
            if place == 1:
                audio[: audio.size // 2] = 0.0
            _write_audio(
                root / f"FSD50K.{part}_audio" / f"{number}.wav", audio, peak=10.0 ** random.uniform(-1.6, -0.1)
            )
            rows.append(
                [number, label, "/m/" + label.lower()[:6], *([["train", "val"][place % 2]] if part == "dev" else [])]
            )
        columns = ["fname", "labels", "mids", *(["split"] if part == "dev" else [])]
        _write_table(root / "FSD50K.ground_truth" / f"{part}.csv", columns, rows)


def _write_audio(path: Path, audio: Signal, *, peak: float) -> None:
    write_whole(path, encode(to_pcm16(audio * (peak / np.abs(audio).max())), "wav"))


def _write_table(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def _noise(size: int, random: np.random.Generator, low_hz: float, high_hz: float, slope: float = 0.0) -> Signal:
    """Gaussian noise of a band, with a power of frequency as its spectrum's envelope."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequency_hz = np.fft.rfftfreq(size, 1.0 / RATE_HZ)
    inside = (frequency_hz >= low_hz) & (frequency_hz <= high_hz)
    return np.asarray(np.fft.irfft(spectrum * inside * np.maximum(frequency_hz, 20.0) ** slope, size))


def _bursts(time_s: Signal, random: np.random.Generator, rate: float, decay_s: float) -> Signal:
    """An envelope of about ``rate`` decaying strokes per second."""
    envelope = np.zeros_like(time_s)
    onset_s = random.uniform(0.0, 0.3)
    while onset_s < time_s[-1]:
        since = time_s - onset_s
        envelope += np.where(since >= 0.0, np.exp(-np.maximum(since, 0.0) / decay_s), 0.0) * random.uniform(0.6, 1.0)
        onset_s += random.uniform(0.8, 1.2) / rate
    return envelope


def _sweep(time_s: Signal, random: np.random.Generator, *, rising: bool) -> Signal:
    period_s = random.uniform(0.7, 1.1)
    place = (time_s % period_s) / period_s
    octaves = 3.0 * (place if rising else 1.0 - place)
    return np.asarray(
        np.sin(2 * np.pi * np.cumsum(random.uniform(250, 350) * 2.0**octaves) / RATE_HZ) * np.sin(np.pi * place)
    )


def _tone(time_s: Signal, random: np.random.Generator, low_hz: float, high_hz: float, partials: int) -> Signal:
    pitch_hz = random.uniform(low_hz, high_hz)
    return np.asarray(sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, partials + 1)))


def _bell(time_s: Signal, random: np.random.Generator) -> Signal:
    pitch_hz = random.uniform(500, 700)
    partials = sum(np.sin(2 * np.pi * ratio * pitch_hz * time_s) for ratio in (0.56, 0.92, 1.19, 1.71, 2.74))
    return np.asarray(partials * _bursts(time_s, random, 0.8, 0.6))


def _siren(time_s: Signal, random: np.random.Generator) -> Signal:
    wave = np.sin(2 * np.pi * random.uniform(0.4, 0.7) * time_s)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(900 + 400 * wave) / RATE_HZ))


def _warble(time_s: Signal, random: np.random.Generator) -> Signal:
    wave = np.sin(2 * np.pi * random.uniform(25, 35) * time_s)
    return np.asarray(np.sin(2 * np.pi * 2500 * time_s + 12 * wave) * _bursts(time_s, random, 3.0, 0.15))


def _modulate(time_s: Signal, random: np.random.Generator, noise: Signal, rate_hz: float) -> Signal:
    return np.asarray(noise * (1.0 + 0.7 * np.sin(2 * np.pi * rate_hz * time_s + random.uniform(0, 6))))


VOICES: dict[str, Voice] = {
    "rising_chirp": lambda t, r: _sweep(t, r, rising=True),
    "falling_chirp": lambda t, r: _sweep(t, r, rising=False),
    "low_tone": lambda t, r: _tone(t, r, 90, 130, 12),
    "high_tone": lambda t, r: _tone(t, r, 1800, 2400, 2),
    "bell": _bell,
    "siren": _siren,
    "warble": _warble,
    "knocks": lambda t, r: _tone(t, r, 110, 150, 3) * _bursts(t, r, 4.0, 0.03),
    "clicks": lambda t, r: _noise(t.size, r, 2000, 16000) * _bursts(t, r, 10.0, 0.002),
    "shots": lambda t, r: _noise(t.size, r, 100, 8000, -0.3) * _bursts(t, r, 0.7, 0.12),
    "hiss": lambda t, r: _noise(t.size, r, 5000, 14000),
    "tremolo": lambda t, r: _tone(t, r, 400, 550, 5) * (np.sin(2 * np.pi * r.uniform(5, 8) * t) > 0),
}
"""The twelve classes, in the order of their targets."""

BACKGROUNDS: dict[str, Voice] = {
    "Wind": lambda t, r: _modulate(t, r, _noise(t.size, r, 30, 800, -0.8), 0.2),
    "Rain": lambda t, r: _noise(t.size, r, 500, 15000, -0.2),
    "Traffic_noise_and_roadway_noise": lambda t, r: _modulate(t, r, _noise(t.size, r, 40, 2000, -0.6), 0.1),
    "Ocean": lambda t, r: _modulate(t, r, _noise(t.size, r, 100, 6000, -0.5), 0.12),
    "Mechanical_fan": lambda t, r: _tone(t, r, 80, 120, 6) * 0.3 + 40.0 * _noise(t.size, r, 200, 3000, -0.7),
    "Stream": lambda t, r: _modulate(t, r, _noise(t.size, r, 800, 9000), 3.0),
    "Engine": lambda t, r: _tone(t, r, 45, 70, 15) + _noise(t.size, r, 100, 1500),
    "Crowd": lambda t, r: _modulate(t, r, _noise(t.size, r, 200, 3500, -0.4), 4.0) + _noise(t.size, r, 200, 3000, -0.4),
}
"""The eight kinds of backgrounds, by their FSD50K label."""
