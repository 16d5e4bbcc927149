"""APwD pairs of real recordings: rain, and the other classes of ESC-10 (../shared/data)."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.apwd.build import PairBuildOptions, build
from bgknown.apwd.draw import PairDrawOptions, draw
from bgknown.apwd.scenes import read_published_scenes
from bgknown.apwd.sources.prepare import PrepareOptions, prepare
from bgknown.apwd.verify import verify
from tests.bgknown.apwd.reading import read_text

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """The classes, the source tree, the JAMS and the set."""
    root = tmp_path_factory.mktemp("real")
    with (shared_data / "esc10" / "meta" / "esc50.csv").open() as file:
        classes = tuple(sorted({row["category"] for row in csv.DictReader(file)} - {"rain"}))
    prepare(
        PrepareOptions(
            fsd50k=shared_data / "fsd50k",
            esc50=shared_data / "esc10",
            out=root / "source",
            cache=root / "cache",
            backgrounds={"rain": ("Rain",)},
            events={label: label for label in classes},
        )
    )
    pairs = {"dev": 80, "eval": 20}
    draw(PairDrawOptions(source=root / "source", out=root / "jams", scene="rain", events=classes, pairs=pairs))
    build(PairBuildOptions(jams=root / "jams", source=root / "source", out=root / "set"))
    return classes, root


def test_two_hundred_soundscapes_are_scapers_sample_for_sample(real):
    _, root = real
    folders = {"jams": root / "jams", "source": root / "source"}
    checked = verify(root / "set", jobs=2, scenes=read_published_scenes(), against_scaper=200, **folders)
    assert checked.faults == []
    assert checked.against_scaper == (200, 0)


def test_texts_say_what_changes(real):
    classes, root = real
    table = pd.read_csv(root / "set" / "manifest.csv", keep_default_na=False)
    assert len(table) == 100
    assert (table["changes"] != "").all()
    for row in table.itertuples():
        said = read_text(row.text, read_published_scenes(), [*classes, "rain"])
        named = [code.partition("_")[2].split(":") for code in row.changes.split(";")]
        assert sorted([deed, label] for deed, label, _, _ in said) == sorted(named)
    heard = {label for column in ("classes_s1", "classes_s2") for text in table[column] for label in text.split(";")}
    assert heard - {""} == set(classes)


def test_splits_share_no_source(real):
    _, root = real
    table = pd.read_csv(root / "source" / "sources.csv")
    dev, evaluated = (set(table["origin"][table["split"] == split]) for split in ("dev", "eval"))
    assert dev
    assert evaluated
    assert not dev & evaluated
    folds = {origin.split("/")[-1][0] for origin in dev if origin.startswith("ESC-50")}
    assert folds == {"1", "2", "3", "4"}


def test_audio_is_decoded_and_differs(real):
    _, root = real
    for first in sorted((root / "set" / "audio").rglob("*_s1.wav"))[:20]:
        pcm = [soundfile.read(path)[0] for path in (first, first.with_name(first.name.replace("_s1", "_s2")))]
        assert all(audio.size == 441_000 for audio in pcm)
        assert all(np.sqrt(np.mean(audio**2)) > 1e-3 for audio in pcm)
        assert not np.array_equal(*pcm)
