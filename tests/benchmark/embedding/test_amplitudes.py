"""Silent and clipped clips are reported wherever clips are read; broken files are listed together."""

import logging

import numpy as np
import pytest

from benchmark.embedding.clips import BrokenClipError, Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.embed_files import embed_files
from benchmark.encoders.registry import load_encoder
from benchmark.tasks import inventory
from pretrain.pack import PackOptions, pack
from tests.conftest import noise, write_wav

SILENT = "clips that are silent (their mono audio stays within one step of 16 bits): 1 (the first: {})"


@pytest.fixture
def folder(tmp_path):
    sound = noise(1.0, 0, rate_hz=16_000)
    write_wav(tmp_path / "audio" / "antiphase.wav", np.stack([sound, -sound], axis=1), 16_000)
    write_wav(tmp_path / "audio" / "loud.wav", 3.0 * sound, 16_000, subtype="FLOAT")
    write_wav(tmp_path / "audio" / "plain.wav", sound, 16_000)
    return tmp_path / "audio"


def test_embed_reports_silence_and_clipping_also_of_cached_clips(folder, tmp_path, caplog):
    clips = [Clip(path=path) for path in sorted(folder.iterdir())]
    for _ in range(2):
        notes, settings = [], EmbedSettings(cache=tmp_path / "cache")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            embed_clips(load_encoder("logmel"), clips, settings, notes=notes)
        assert notes == [
            SILENT.format(folder / "antiphase.wav"),
            f"clips that are beyond full scale: 1 (the first: {folder / 'loud.wav'})",
        ]
        assert set(notes) <= set(caplog.messages)


def test_embed_lists_all_broken_files_or_leaves_them_out(folder, tmp_path):
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no audio")
    settings = EmbedSettings(cache=tmp_path / "cache")
    with pytest.raises(BrokenClipError, match=r"2 of 5 clips cannot be used: .*empty\.wav.*text\.wav.*--skip-broken"):
        embed_files(load_encoder("logmel"), [folder], tmp_path / "out", settings, duration_s=None)
    assert not (tmp_path / "out").exists()
    count = embed_files(
        load_encoder("logmel"), [folder], tmp_path / "out", settings, duration_s=None, skip_broken=True
    ).clips
    assert count == len(np.load(tmp_path / "out" / "embeddings.npy")) == 3


def test_pack_reports_silence_and_clipping(folder, tmp_path):
    report = pack(PackOptions(audio=(folder,), out=tmp_path / "corpus", jobs=1))
    assert (report.silent, report.clipped) == (1, 1)
    assert report.notes == (
        SILENT.format("antiphase.wav"),
        "clips that are beyond full scale and cut off there: 1 (the first: loud.wav)",
    )
    assert pack(PackOptions(audio=(folder,), out=tmp_path / "corpus", jobs=1)).notes == report.notes


def test_validate_names_silent_clips(folder, tmp_path):
    rows = ["antiphase.wav,a,train", "loud.wav,b,train", "plain.wav,a,test"]
    (folder / "own.csv").write_text("\n".join(["file,label,split", *rows]) + "\n")
    found = inventory.validate(str(folder / "own.csv"), folder, cache=tmp_path / "cache", decode=True)
    assert any(note.startswith(f"{folder / 'antiphase.wav'}: is silent") for note in found.notes)
    assert not any(
        "is silent" in note
        for note in inventory.validate(str(folder / "own.csv"), folder, cache=tmp_path / "cache").notes
    )
