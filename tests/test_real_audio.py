"""BgKnown of real recordings: ESC-10, and recordings in the layout of FSD50K (../shared/data)."""

from __future__ import annotations

import pytest
import soundfile

from bgknown.build import build
from bgknown.configuration import BuildOptions
from bgknown.corpora.pair import open_corpora
from bgknown.dataset import open_dataset
from bgknown.verify import verify

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    corpora = open_corpora(shared_data / "esc10", shared_data / "fsd50k", cache=root / "cache")
    build(corpora, BuildOptions(cache=root / "cache"), root / "out")
    return root / "out"


def test_it_verifies_clean(real):
    assert verify(real, jobs=2)[1] == []


def test_it_has_the_rows_lengths_and_snrs_it_should(real):
    table = open_dataset(real).table
    assert table["split"].value_counts().to_dict() == {"train": 240, "test": 160}
    assert (table["achieved_snr_db"] - table["snr_db"]).abs().max() < 0.05
    assert {soundfile.info(path).frames for path in (real / "audio").rglob("*.wav")} == {220_500}


def test_backgrounds_are_disjoint_evenly_used_and_never_the_clips_own_source(real):
    table = open_dataset(real).table
    used = {split: set(part["fsd50k_file"]) for split, part in table.groupby("split")}
    assert not used["train"] & used["test"]
    assert (
        table.groupby("split")["fsd50k_file"].value_counts().groupby("split").agg(lambda n: n.max() - n.min()).max()
        == 1
    )
    assert "189237" not in table.loc["5-189237-A-12", "fsd50k_file"]


def test_the_five_wav_clips_build_too(shared_data, tmp_path):
    corpora = open_corpora(shared_data / "esc50_extra", shared_data / "fsd50k", cache=tmp_path / "cache")
    report = build(corpora, BuildOptions(cache=tmp_path / "cache", jobs=1), tmp_path / "out")
    assert len(report.table) == 5
    assert verify(tmp_path / "out", jobs=1)[1] == []
