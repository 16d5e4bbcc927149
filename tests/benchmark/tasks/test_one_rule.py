"""One rule for hidden files, capitals, Unicode forms and types of audio: every task, corpus and command."""

import os
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest

from benchmark import tasks
from benchmark.embedding import embed_files
from benchmark.embedding.embed import EmbedSettings
from benchmark.tasks.contract import TaskOptions
from bgknown.apwd.pairs import find_pairs
from bgknown.apwd.sources.tree import open_tree
from bgknown.corpora import esc50, fsd50k
from bgknown.corpora.headers import STATE_COLUMNS
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError
from bgknown.mixtures.verify import verify
from pretrain.audio_files import drop_nested
from pretrain.pack import PackOptions, pack
from tests.benchmark.corpora import MAKERS, copy_of, make_all, sound
from tests.benchmark.made_encoders import Bands, loaded, write
from tests.bgknown.apwd.conftest import make_pairs
from tests.conftest import contents, make_tiny

NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
NINE = tasks.SUITES["nine"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    make_all(root)
    return root


@pytest.fixture
def options(tmp_path):
    return TaskOptions(cache=tmp_path / "cache", skip_broken=True)


def hide(root):
    """macOS' companion of one audio file of each folder, and a hidden folder; the number of the files."""
    count = 0
    for folder in sorted({path.parent for path in root.rglob("*") if path.suffix in {".wav", ".ogg", ".flac"}}):
        clip = next(path for path in sorted(folder.iterdir()) if path.suffix in {".wav", ".ogg", ".flac"})
        (folder / f"._{clip.name}").write_bytes(b"\0\5\x16\7")
        (folder / ".ipynb_checkpoints").mkdir()
        shutil.copy(clip, folder / ".ipynb_checkpoints" / clip.name)
        count += not folder.name.startswith("_")
    return count


def clips_of(data):
    return [(clip.path.name.lower(), clip.place) for clip in data.signals["audio"]]


@pytest.mark.parametrize("name", NINE)
def test_hidden_files_of_a_task_are_skipped_and_counted(name, corpora, options, tmp_path, caplog):
    before = tasks.prepare(name, corpora / name, options)
    root = copy_of(corpora, name, tmp_path)
    count = hide(root)
    caplog.clear()
    after = tasks.prepare(name, root, options)
    pd.testing.assert_frame_equal(after.table.drop(columns=STATE_COLUMNS), before.table.drop(columns=STATE_COLUMNS))
    assert (after.sha256, after.skipped, after.notes) == (before.sha256, before.skipped, before.notes)
    told = [record.getMessage() for record in caplog.records if "hidden file" in record.getMessage()]
    assert len(told) == 1
    if name not in {"gtzan", "voxforge"}:  # their tables and uploads do not look into every folder
        assert f"{count} hidden file" in told[0]


@pytest.mark.parametrize("name", NINE)
def test_suffixes_in_capitals_are_the_same_clips(name, corpora, options, tmp_path):
    before = tasks.prepare(name, corpora / name, options)
    root = copy_of(corpora, name, tmp_path)
    for path in list(root.rglob("*")):
        if path.suffix in {".wav", ".ogg", ".flac"}:
            path.rename(path.with_suffix(path.suffix.upper()))
    after = tasks.prepare(name, root, options)
    assert sorted(after.table["label"]) == sorted(before.table["label"])
    assert len(after.table) == len(before.table)
    assert after.skipped == before.skipped
    assert sorted(name for name, _ in clips_of(after)) == sorted(name for name, _ in clips_of(before))


def with_accents(root, corpus, form):
    """A copy of a corpus in which folders, stems and tables have an accent; names on disk are in a Unicode form."""
    copy = root / form / corpus.name
    copy.mkdir(parents=True)
    for path in sorted(corpus.rglob("*")):
        name = path.relative_to(corpus).as_posix()
        if path.suffix in {".wav", ".ogg", ".flac"}:
            name = accented(name, corpus.name).replace("é", NFC if form == "NFC" else NFD)
        if path.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in {".csv", ".txt", ".json"}:
                (copy / name).write_text(accented(path.read_text(), corpus.name), encoding="utf-8")
            else:
                shutil.copy(path, copy / name)
    return copy


ACCENTS = {
    "esc50": ("-A-", "-é-"),
    "us8k": ("-0-0.wav", "-é-0.wav"),
    "spcv2": ("yes/", "yés/"),
    "vc1": ("id10001", "idé001"),
    "voxforge": ("annde-", "annéde-"),
    "nsynth": ("bass_acoustic", "bass_acoustiqué"),
    "surge": ("tone 0", "toné 0"),
}
"""What is replaced in names and tables. CREMA-D and GTZAN allow ASCII names only."""


def accented(text, corpus):
    old, new = ACCENTS[corpus]
    return text.replace(old, unicodedata.normalize("NFC", new))


@pytest.mark.parametrize("name", ACCENTS)
def test_both_unicode_forms_on_disk_are_the_same_task(name, corpora, options, tmp_path):
    composed, decomposed = (
        tasks.prepare(name, with_accents(tmp_path, corpora / name, form), options) for form in ("NFC", "NFD")
    )
    assert decomposed.skipped == composed.skipped == 0
    assert decomposed.sha256 == composed.sha256
    assert decomposed.leak_check == composed.leak_check
    columns = ["clip_id", "label", "group", "split" if "split" in composed.table else "fold"]
    pd.testing.assert_frame_equal(decomposed.table[columns], composed.table[columns])
    assert composed.table["clip_id"].str.contains("é").any()
    assert [place for _, place in clips_of(decomposed)] == [place for _, place in clips_of(composed)]
    assert all(clip.path.is_file() for clip in decomposed.signals["audio"])


def test_own_tables_follow_the_rule(options, tmp_path, caplog):
    rows = []
    for number, (there, listed) in enumerate(
        [(f"{NFD}.wav", f"{NFC}.wav"), ("b.WAV", "b.wav"), ("c.flac", "c.wav"), ("d.aiff", "d.aiff")]
    ):
        sound(tmp_path / "1" / there, 300)
        rows += [f"1/{listed},{'ab'[number % 2]},{'train' if number < 2 else 'test'}"]
    (tmp_path / "1" / "._b.wav").write_bytes(b"x")
    table = write(tmp_path / "my.csv", "file,label,split\n" + "\n".join([*rows, "1/._b.wav,a,train"]) + "\n")
    data = tasks.prepare(str(table), tmp_path, options)
    assert (len(data.table), data.skipped) == (4, 0)
    assert f"{table}: 1 hidden file is skipped, such as 1/._b.wav" in caplog.text
    assert all(clip.path.is_file() for clip in data.signals["audio"])


def test_splits_of_another_unicode_form(corpora, options, tmp_path):
    root = with_accents(tmp_path, corpora / "surge", "NFD")
    data = tasks.prepare("surge", root, options)
    rows = [
        f"{name},{'train' if place % 2 else 'test'},{label}"
        for place, (name, label) in enumerate(zip(data.table["clip_id"], data.table["label"], strict=True))
    ]
    table = write(tmp_path / "splits.csv", "file_name,split,label\n" + "\n".join(rows) + "\n")
    assert len(tasks.prepare("surge", root, TaskOptions(cache=tmp_path, splits=table)).table) == len(data.table)


def test_source_corpora_follow_the_rule(tmp_path, caplog):
    corpora = make_tiny(tmp_path / "corpora")
    before = [index(root, cache=tmp_path) for index, root in indexed(corpora)]
    clip, recording = corpora.clip("1-100-A-0"), corpora.recording("dev", 7000)
    for path in (clip, recording):
        path.with_name(f"._{path.name}").write_bytes(b"x")
        path.with_name(f"._{path.stem}.flac").write_bytes(b"x")
        path.rename(path.with_suffix(".WAV"))
    after = [index(root, cache=tmp_path) for index, root in indexed(corpora)]
    for old, new in zip(before, after, strict=True):
        assert not new.problems()
        assert new.listing_sha256() == old.listing_sha256()
    assert caplog.text.count("2 hidden files are skipped, such as ._") == 2


def indexed(corpora):
    return (esc50.index, corpora.esc50), (fsd50k.index, corpora.fsd50k)


def test_pairs_and_source_trees_follow_the_rule(tmp_path, caplog):
    made = make_pairs(tmp_path / "made")
    labels = ["rain", "dog"]
    before, pairs = open_tree(made.source).sha256(labels), find_pairs(made.jams)
    for folder in sorted({path.parent for path in made.source.rglob("*.wav")}):
        (folder / "._a.wav").write_bytes(b"x")
    (made.source / "dev" / "background" / ".DS_Store").write_bytes(b"x")
    first = next(made.jams.rglob("*.jams"))
    first.with_name(f"._{first.name}").write_bytes(b"x")
    assert open_tree(made.source).sha256(labels) == before
    assert find_pairs(made.jams) == pairs
    assert "hidden files are skipped, such as dev/background" in caplog.text
    assert f"{made.jams}: 1 hidden file is skipped" in caplog.text


def test_a_dataset_with_hidden_files_has_no_faults(built, tmp_path, caplog):
    shutil.copytree(built[1], tmp_path / "set")
    for name in ("audio/.DS_Store", "audio/mix/._1-100-A-0.wav", "jams/._x.jams"):
        (tmp_path / "set" / name).write_bytes(b"x")
    assert verify(tmp_path / "set", jobs=1)[1] == []
    assert "2 hidden files are skipped" in caplog.text


@pytest.fixture
def audio(tmp_path):
    """A folder with everything that is listed, and everything that is not."""
    root = tmp_path / "real audio"
    for name in ("a.wav", "b/c.WAV", "b/d.aiff", f"b/{NFD}.flac", "e.mp3"):
        sound(root / name, 300, rate_hz=16_000)
    for name in ("._a.wav", "b/._c.WAV", ".git/x.wav", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


LISTED = ["a.wav", "b/c.WAV", "b/d.aiff", f"b/{NFD}.flac", "e.mp3"]


def test_embed_follows_the_rule(audio, tmp_path, caplog):
    report = embed_files.embed_files(
        loaded(Bands()), [audio], tmp_path / "out", EmbedSettings(cache=tmp_path / "c"), duration_s=None
    )
    table = pd.read_csv(tmp_path / "out" / "clips.csv")
    assert table["file"].tolist() == [f"{audio}/{name}" for name in LISTED]
    assert (report.clips, report.problems) == (5, {})
    assert "2 hidden files are skipped, such as ._a.wav" in caplog.text
    assert np.load(tmp_path / "out" / "embeddings.npy").shape == (5, 24)


def test_pack_follows_the_rule(audio, tmp_path, caplog):
    pack(PackOptions(audio=(audio,), out=tmp_path / "corpus", jobs=1))
    assert pd.read_csv(tmp_path / "corpus" / "index.csv")["file"].tolist() == LISTED
    assert "2 hidden files are skipped, such as ._a.wav" in caplog.text
    description = contents(tmp_path / "corpus")
    (audio / "._a.wav").unlink()
    assert pack(PackOptions(audio=(audio,), out=tmp_path / "corpus", jobs=1)).kept == 5
    assert contents(tmp_path / "corpus") == description


def test_packed_names_are_those_that_were_typed(audio, tmp_path):
    (tmp_path / "ESC-50").symlink_to(audio)
    sound(tmp_path / "other" / "x.wav", 300, rate_hz=16_000)
    folders = (tmp_path / "ESC-50", tmp_path / "other")
    pack(PackOptions(audio=folders, out=tmp_path / "corpus", match=("ESC-50/b/*", f"*/{NFC}.*"), jobs=1))
    assert pd.read_csv(tmp_path / "corpus" / "index.csv")["file"].tolist() == [f"ESC-50/{name}" for name in LISTED[1:4]]
    with pytest.raises(NotFoundError, match=r"no files that match x/\*; there are ESC-50/a\.wav, .*other/x\.wav$"):
        pack(PackOptions(audio=folders, out=tmp_path / "none", match=("x/*",), jobs=1))
    assert drop_nested([tmp_path / "ESC-50", audio, audio / "b"]) == [tmp_path / "ESC-50"]
    assert drop_nested([audio / "b", audio]) == [audio]


def test_embed_says_which_files_exist_instead(audio, tmp_path):
    (tmp_path / "link").symlink_to(audio)
    assert embed_files.find_clips([tmp_path / "link" / "b" / f"{NFC}.flac"])[0] == [tmp_path / "link/b" / f"{NFD}.flac"]
    assert embed_files.find_clips([audio / "._a.wav"])[0] == [audio / "._a.wav"]
    _, missing = embed_files.find_clips([audio / "a.wave", audio / "zzz.ogg", tmp_path / "no" / "a.wav"])
    assert list(missing.values()) == [
        f"no such file; did you mean {audio}/a.wav?",
        "no such file; in this folder there are a.wav, e.mp3",
        "no such file",
    ]
    (audio / "texts").mkdir()
    (audio / "texts" / "a.m4a").write_bytes(b"x")
    with pytest.raises(NotFoundError, match=r"texts: no audio files .* there are files of other types: \.m4a$"):
        embed_files.find_clips([audio / "texts"])


def test_names_that_are_not_utf8_are_reported_in_one_line(audio, tmp_path):
    os.close(os.open(os.fsencode(audio) + b"/a\xff.wav", os.O_CREAT))
    for act in (
        lambda: embed_files.find_clips([audio]),
        lambda: pack(PackOptions(audio=(audio,), out=tmp_path / "corpus", jobs=1)),
    ):
        with pytest.raises(InvalidInputError, match="the name is not UTF-8; rename the file"):
            act()


def test_broken_links_are_missing_files_and_not_left_out_in_silence(audio, tmp_path):
    (audio / "gone.wav").symlink_to(audio / "nowhere")
    with pytest.raises(BrokenInputError, match=r"gone\.wav: missing: audio: no such file"):
        pack(PackOptions(audio=(audio,), out=tmp_path / "corpus", jobs=1))


def test_every_task_is_in_this_contract():
    assert set(MAKERS) == set(NINE)
    assert set(NINE) - set(ACCENTS) == {"cremad", "gtzan"}
