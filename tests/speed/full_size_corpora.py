"""Corpora with as many files as the published ones: hard links to a few synthetic files, with synthetic metadata.

Names, folders, tables and lists are laid out as published; durations are typical. Links to one file have one inode and
one content, so they cost no disk space, and reading them never waits for a disk.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

ESC50_CLIPS, ESC50_SOURCES = 2_000, 1_524
FSD50K = {"dev": 40_966, "eval": 10_231}
SOURCES_IN_FSD50K = 577
"""Recordings of FSD50K that clips of ESC-50 were cut from."""
VC1 = {"1": 138_361, "2": 6_904, "3": 8_251}
VC1_SPEAKERS = 1_251
NSYNTH = {"train": 289_205, "valid": 12_678, "test": 4_096}
DURATIONS_S = {
    "dev": (0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 29.0),
    "eval": (0.7, 1.1, 1.6, 2.1, 3.1, 4.1, 6.1, 8.1, 11.1, 15.1, 29.1),
}
"""Of FSD50K's recordings, in turn: a mean of about 7.4 s, and 3 of 11 are 10 s or longer. The parts have no duration in
common, because recordings of equal length in both parts are compared by their audio."""
RATE_HZ = 44_100
CATEGORIES = ("dog", "footsteps", "chirping_birds", *(f"class_{number:02}" for number in range(3, 50)))


def write_noise(path: Path, duration_s: float, *, rate_hz: int = RATE_HZ, channels: int = 1, seed: int = 0) -> Path:
    """Noise in 16 bits whose loudness rises and falls."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    frames = round(duration_s * rate_hz)
    swell = 1.0 + 0.8 * np.sin(2 * np.pi * random.uniform(0.1, 2.0) * np.arange(frames) / rate_hz)
    audio = 0.1 * swell[:, None] * random.standard_normal((frames, channels))
    soundfile.write(str(path), np.clip(audio, -1.0, 1.0), rate_hz, subtype="PCM_16")
    return path


def link_many(bases: Sequence[Path], paths: Sequence[Path]) -> None:
    """Link paths to the files, in turn; their folders must exist."""
    for number, path in enumerate(paths):
        path.hardlink_to(bases[number % len(bases)])


def make_esc50(root: Path, *, per_class_and_fold: int = 8, categories: Sequence[str] = CATEGORIES) -> Path:
    """ESC-50 with its 2,000 clips of 5 s, or fewer; folds have no audio in common."""
    bases = [write_noise(root / "made" / f"{seed}.wav", 5.0, seed=seed) for seed in range(10)]
    recordings = list_recording_numbers("dev", SOURCES_IN_FSD50K)
    for name in ("audio", "meta"):
        (root / name).mkdir()
    rows: list[tuple[object, ...]] = []
    for fold in range(1, 6):
        for target, category in enumerate(categories):
            for take in range(per_class_and_fold):
                number = len(rows) * ESC50_SOURCES // ESC50_CLIPS
                source = recordings[number] if number < SOURCES_IN_FSD50K else 900_000 + number
                clip = f"{fold}-{source}-{'ABCDEFGH'[take]}-{target}.wav"
                rows.append((clip, fold, target, category, False, source, "ABCDEFGH"[take]))
    for fold in range(1, 6):
        of_fold = [root / "audio" / str(row[0]) for row in rows if row[1] == fold]
        link_many(bases[2 * fold - 2 : 2 * fold], of_fold)
    names = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    _write_table(root / "meta" / "esc50.csv", names, rows)
    return root


def list_recording_numbers(part: str, count: int) -> list[int]:
    """Freesound ids of a part of FSD50K."""
    return [10_000 + 7 * number + (part == "eval") for number in range(count)]


def make_fsd50k(root: Path, counts: dict[str, int], *, labels: Sequence[str] = ("Wind", "Rain", "Engine")) -> Path:
    """FSD50K with its 51,197 recordings and their metadata, or fewer."""
    (root / "FSD50K.ground_truth").mkdir(parents=True)
    (root / "FSD50K.metadata").mkdir()
    for part, count in counts.items():
        numbers = list_recording_numbers(part, count)
        bases = [
            write_noise(root / "made" / f"{part}{seed}.wav", duration_s, seed=seed)
            for seed, duration_s in enumerate(DURATIONS_S[part])
        ]
        (root / f"FSD50K.{part}_audio").mkdir()
        link_many(bases, [root / f"FSD50K.{part}_audio" / f"{number}.wav" for number in numbers])
        split = ["train"] if part == "dev" else []
        rows = [(number, labels[number % len(labels)], "/m/0", *split) for number in numbers]
        names = ("fname", "labels", "mids", *(["split"] if part == "dev" else []))
        _write_table(root / "FSD50K.ground_truth" / f"{part}.csv", names, rows)
        licence = "http://creativecommons.org/licenses/by/3.0/"
        about = {
            str(number): {"title": f"recording {number}", "description": "noise", "tags": ["noise"],
                          "license": licence, "uploader": f"user {number % 500}"}
            for number in numbers
        }  # fmt: skip
        (root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json").write_text(json.dumps(about))
    return root


def make_vc1(root: Path, counts: dict[str, int] | None = None) -> Path:
    """VoxCeleb1 with its 153,516 clips of 1,251 speakers; eight clips a video."""
    bases = [write_noise(root / "made" / f"{seed}.wav", 4.0 + seed, rate_hz=16_000, seed=seed) for seed in range(9)]
    lines, paths = [], []
    for number, split in enumerate(_repeat(counts or VC1)):
        speaker, turn = number % VC1_SPEAKERS, number // VC1_SPEAKERS
        folder = f"id1{speaker:04}/{split}{speaker:04}{turn // 8:06}"
        lines.append(f"{split} {folder}/{turn:05}.wav\n")
        paths.append(root / "wav" / folder / f"{turn:05}.wav")
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True)
    link_many(bases, paths)
    (root / "iden_split.txt").write_text("".join(lines))
    return root


def make_nsynth(root: Path, counts: dict[str, int] | None = None) -> Path:
    """NSynth with its 305,979 notes of eleven families."""
    bases = [write_noise(root / "made" / f"{seed}.wav", 4.0, rate_hz=16_000, seed=seed) for seed in range(9)]
    families = [f"family{number}" for number in range(11)]
    for split, count in (counts or NSYNTH).items():
        folder = root / f"nsynth-{split}"
        (folder / "audio").mkdir(parents=True)
        about, paths = {}, []
        for number in range(count):
            family = families[number % 11]
            instrument = f"{family}_acoustic_{split}{number // 11 // 60:03}"
            note = f"{instrument}-{number % 88:03}-{number:06}"
            about[note] = {"note": number, "instrument_family_str": family, "instrument_str": instrument, "pitch": 60,
                           "velocity": 100, "sample_rate": 16_000, "qualities_str": ["dark"]}  # fmt: skip
            paths.append(folder / "audio" / f"{note}.wav")
        link_many(bases, paths)
        (folder / "examples.json").write_text(json.dumps(about))
    return root


def make_clips(root: Path, count: int, duration_s: float, *, rate_hz: int, channels: int = 1) -> Path:
    """A folder of different clips, each a file of its own, for passes that recognise the same audio."""
    for number in range(count):
        write_noise(root / f"{number:05}.wav", duration_s, rate_hz=rate_hz, channels=channels, seed=number)
    return root


def _repeat(counts: dict[str, int]) -> Iterator[str]:
    for name, count in counts.items():
        yield from [name] * count


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
