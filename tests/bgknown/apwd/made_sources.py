"""Small corpora, published lists and options for the tests of the source preparation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from bgknown.apwd.sources.prepare import PrepareOptions
from tests.conftest import RATE_HZ, TinyCorpora, make_tiny, write_table


def make_small(root: Path) -> TinyCorpora:
    """The tiny corpora with four recordings of rain in dev and one in eval, and five clips of bells."""
    corpora = make_tiny(root)
    for part, keep in (("dev", 4), ("eval", 1)):
        path = corpora.fsd50k / "FSD50K.ground_truth" / f"{part}.csv"
        head, *rows = path.read_text().splitlines()
        other = [row.replace("Rain", "Snow") for row in rows[keep:]]
        path.write_text("\n".join([head, *rows[:keep], *other]) + "\n")
    return corpora


def options(corpora: TinyCorpora, out: Path, **changes) -> PrepareOptions:
    labels = {} if "lists" in changes else {"backgrounds": {"rain": ("Rain",)}, "events": {"chime": "bell"}}
    given = {"fsd50k": corpora.fsd50k, "esc50": corpora.esc50, "cache": corpora.root / "cache", "jobs": 1}
    return PrepareOptions(out=out, **{**given, **labels, **changes})


def pcm(path: Path) -> np.ndarray:
    audio, rate_hz = soundfile.read(str(path), dtype="int16")
    assert rate_hz == RATE_HZ
    assert audio.ndim == 1
    return audio.astype(np.int64)


def write_apwd(root, *, rain_dev=("7000", "7001"), rain_eval=("8000",), bells=None):
    for split, names in (("dev", rain_dev), ("eval", rain_eval)):
        rows = [{"fname": name, "label": "rain"} for name in names]
        write_table(root / "background" / "fsd50k" / "rain" / f"{split}.csv", rows)
    bells = bells or [("1-100-A-0", "TRUE"), ("2-200-A-0", "FALSE"), ("5-500-A-0", "TRUE")]
    rows = [{"fname": f"{n}.wav", "label": "bells", "clean": clean, "noise desc": "風?"} for n, clean in bells]
    write_table(root / "event" / "esc50" / "church_bell.csv", rows)
    return root


def write_audiodiffcaps(root, *, clips=(("1-100-A-0", "dev", 10, 5000),), recordings=(("7000", "dev"),)):
    rows = [
        {"": n, "fname": f"{name}.wav", "label": "rain", "split": split, "length": 1}
        for n, (name, split) in enumerate(recordings)
    ]
    write_table(root / "bg" / "fsd50k.csv", rows)
    rows = [
        {"": n, "fname": f"{name}.wav", "label": "bells", "split": split, "st": start, "ed": stop}
        for n, (name, split, start, stop) in enumerate(clips)
    ]
    write_table(root / "ev" / "esc50.csv", rows)
    return root
