"""Miniature corpora in the layouts in which the nine tasks' owners publish them; a class is a pitch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from benchmark.tasks.listing import read_published_table

RATE_HZ = 8_000


def sound(path: Path, hz: float, *, seconds: float = 0.3, rate_hz: int = RATE_HZ) -> None:
    """A tone in noise; a file's noise, level and phase are its name's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(abs(hash_of(path.name)))
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    audio = random.uniform(0.2, 0.6) * np.sin(2 * np.pi * hz * time + random.uniform(0, 6)) + 0.02 * random.normal(
        size=time.size
    )
    soundfile.write(path, np.clip(audio, -1, 1).astype(np.float32), rate_hz)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode()[-7:], "little")


def make_esc50(root: Path) -> None:
    rows = []
    for fold in range(1, 6):
        for target, (category, hz) in enumerate({"dog": 300, "rain": 800, "siren": 2000}.items()):
            for take in "AB":
                source = 1000 * fold + 10 * target + (take == "A")
                name = f"{fold}-{source}-{take}-{target}.wav"
                # two of a class are longer than 5 s, so that they are cut
                sound(root / "audio" / name, hz, seconds=6.0 if fold == 1 and take == "A" else 1.0)
                rows.append((name, fold, target, category, False, source, take))
    (root / "meta").mkdir()
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "meta" / "esc50.csv", index=False)


def make_us8k(root: Path) -> None:
    rows = []
    for fold in range(1, 11):
        for number, (label, hz) in enumerate({"air_conditioner": 300, "car_horn": 800, "dog_bark": 2000}.items()):
            for occurrence in range(2):
                source = 100_000 + 100 * fold + number
                name = f"{source}-{number}-{occurrence}-0.wav"
                sound(root / "audio" / f"fold{fold}" / name, hz, rate_hz=44_100 if fold == 3 else RATE_HZ)
                rows.append((name, source, 0.0, 0.3, 1, fold, number, label))
    (root / "metadata").mkdir()
    columns = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "metadata" / "UrbanSound8K.csv", index=False)


def make_spcv2(root: Path) -> None:
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word, hz in {"yes": 300, "no": 800, "up": 2000}.items():
        for speaker in range(10):
            file = f"{word}/{speaker:08x}_nohash_0.wav"
            sound(root / file, hz, seconds=1.5 if speaker == 0 else 0.8)
            if speaker >= 6:
                lists["testing_list.txt" if speaker >= 7 else "validation_list.txt"].append(file)
    sound(root / "_background_noise_" / "running_tap.wav", 100, seconds=2)
    (root / "README.md").write_text("Speech Commands")
    for name, files in lists.items():
        (root / name).write_text("".join(f"{file}\n" for file in files))


def make_vc1(root: Path) -> None:
    lines = []
    for number, hz in enumerate((300, 800, 2000)):
        for video, split in {"aaaaaaaaaaa": 1, "bbbbbbbbbbb": 1, "ccccccccccc": 2, "ddddddddddd": 3}.items():
            for clip in range(3):
                file = f"id1000{number}/{number}{video}/0000{clip}.wav"
                sound(root / "wav" / file, hz, seconds=9.0 if clip == 0 else 4.0)
                lines.append(f"{split} {file}")
    (root / "iden_split.txt").write_text("\n".join(lines) + "\n")


def make_voxforge(root: Path) -> None:
    users = ["ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jim", "kay", "lee", "mia", "ned", "ola"]
    for language, hz in {"de": 300, "en": 800, "ru": 2000}.items():
        for number, user in enumerate(users):
            upload = root / language / f"{user}{language}-2010071{number % 10}-abc"
            kind = "flac" if number % 2 else "wav"
            for clip in range(2):
                sound(upload / kind / f"{language}-{number:02d}{clip}.{kind}", hz)
                if number == 0:  # an upload that has both
                    sound(upload / "flac" / f"{language}-{number:02d}{clip}.flac", hz)
            (upload / "etc").mkdir()
            (upload / "etc" / "README").write_text(f"User Name:{user}")


def make_cremad(root: Path) -> None:
    for speaker in (1001, 1002, 1003, 1004, 1005, 1006, 1007, 1009, 1011, 1017):
        for emotion, hz in {"ANG": 300, "NEU": 800, "SAD": 2000}.items():
            for sentence in ("DFA", "IEO"):
                sound(root / "AudioWAV" / f"{speaker}_{sentence}_{emotion}_XX.wav", hz, seconds=2.0)
    sound(root / "AudioWAV" / "1040_ITH_SAD_X.wav", 2000)  # is left out
    (root / "AudioWAV" / ".DS_Store").write_bytes(b"")


def make_gtzan(root: Path) -> None:
    table = read_published_table("gtzan_fault_filtered.csv", ["file", "split"])
    genres = {"blues": 300, "jazz": 800, "rock": 2000}
    for genre, hz in genres.items():
        part = table[table["file"].str.startswith(genre)]
        for _, files in part.groupby("split")["file"]:
            for file in files.head(5):
                sound(root / file, hz)
    (root / "jazz" / "jazz.00054.wav").write_bytes(b"not audio")
    sound(root / "blues" / "blues.00012.wav", 300)


def make_nsynth(root: Path) -> None:
    for split, count in {"train": 8, "valid": 3, "test": 5}.items():
        notes = {}
        for family, hz in {"bass": 300, "flute": 800, "reed": 2000, "synth_lead": 3000}.items():
            if family == "synth_lead" and split != "train":
                continue
            for number in range(count):
                instrument = f"{family}_acoustic_{'0' if split == 'train' else '9'}{number:02d}"
                note = f"{instrument}-060-{number:03d}"
                sound(root / f"nsynth-{split}" / "audio" / f"{note}.wav", hz, seconds=4.0, rate_hz=16_000)
                notes[note] = {"instrument_family_str": family, "instrument_str": instrument, "pitch": 60}
        (root / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes))


def make_surge(root: Path) -> None:
    for tone in range(40):
        for midi, hz in {21: 300, 60: 800, 108: 2000}.items():
            sound(root / f"tone {tone:02d}" / f"{midi}.ogg", hz)


MAKERS = {
    "esc50": make_esc50,
    "us8k": make_us8k,
    "spcv2": make_spcv2,
    "vc1": make_vc1,
    "voxforge": make_voxforge,
    "cremad": make_cremad,
    "gtzan": make_gtzan,
    "nsynth": make_nsynth,
    "surge": make_surge,
}


def make_all(root: Path) -> None:
    for name, make in MAKERS.items():
        (root / name).mkdir(parents=True)
        make(root / name)


def copy_of(corpora: Path, name: str, to: Path) -> Path:
    """A corpus of its own for a test that damages it."""
    return Path(shutil.copytree(corpora / name, to / name))
