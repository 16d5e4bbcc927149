"""Which files of a folder are audio, and which file a name in a table means."""

import os
import time
import unicodedata

import numpy as np
import pytest
import soundfile

from bgknown.corpora.listing import (
    SUFFIXES,
    describe_hidden,
    find_by_stem,
    find_files,
    is_audio,
    list_audio,
    list_files,
    locate,
)
from bgknown.errors import InvalidInputError, NotFoundError

NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
FORMATS = {".oga": "OGG", ".opus": "OGG", ".aif": "AIFF", ".aifc": "AIFF", ".snd": "AU", ".wave": "WAV"}


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_type_that_is_listed_is_read(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    subtype = "OPUS" if suffix == ".opus" else None
    tone = 0.1 * np.sin(np.arange(4_800) / 10)
    soundfile.write(path, tone, 48_000, format=FORMATS.get(suffix, suffix[1:].upper()), subtype=subtype)
    assert soundfile.info(path).frames == 4_800
    assert list_audio(tmp_path).files == [path.name]
    assert is_audio(path.name.upper())


def test_hidden_files_are_counted_and_hidden_folders_not_entered(tmp_path):
    touch(tmp_path, "a.wav", "._a.wav", "b/._c.FLAC", "b/c.FLAC", ".git/x.wav", ".DS_Store", "b/.notes", "d.txt")
    found = list_audio(tmp_path)
    assert (found.files, found.hidden) == (["a.wav", "b/c.FLAC"], ["._a.wav", "b/._c.FLAC"])
    assert describe_hidden(found.hidden) == "2 hidden files are skipped, such as ._a.wav"
    assert describe_hidden(["._a.wav"]) == "1 hidden file is skipped, such as ._a.wav"
    assert list_audio(tmp_path, below=False).files == ["a.wav"]
    assert list_audio(tmp_path / ".git").files == ["x.wav"]  # the user named it


def test_folders_links_and_loops(tmp_path):
    root, elsewhere = tmp_path / "root", touch(tmp_path / "elsewhere", "e.wav")
    touch(root, "d.wav/a.wav", "b.wav")
    (root / "loop").symlink_to(root)
    (root / "linked").symlink_to(elsewhere)
    (root / "same").symlink_to(elsewhere)
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    (root / "self.wav").symlink_to(root / "self.wav")
    assert list_audio(root).files == ["b.wav", "d.wav/a.wav", "gone.wav", "linked/e.wav", "self.wav"]
    assert find_files(root, ["d.wav"]) == ["d.wav"]
    assert find_by_stem(root, ["d", "b"], missing_suffix=".flac") == ["d.flac", "b.wav"]


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/a\xff.wav", os.O_CREAT))
    with pytest.raises(InvalidInputError, match=r"a\\udcff\.wav': the name is not UTF-8; rename the file") as caught:
        list_audio(tmp_path)
    str(caught.value).encode()
    assert find_files(tmp_path, ["b.wav"]) == ["b.wav"]  # a file that no table names is of no concern


@pytest.mark.parametrize(
    ("there", "listed", "found"),
    [
        (("a.wav", "a.flac"), "a.wav", "a.wav"),
        (("a.flac", "a.ogg", "a.mp3"), "a.wav", "a.flac"),
        (("a.WAV",), "a.wav", "a.WAV"),
        (("a.wav",), "a.WAV", "a.wav"),
        (("a.WAV", "a.flac"), "a.wav", "a.WAV"),
        (("a.FLAC",), "a.wav", "a.FLAC"),
        (("A.wav",), "a.wav", "a.wav"),  # only suffixes may be in capitals
        ((f"{NFD}.wav",), f"{NFC}.wav", f"{NFD}.wav"),
        ((f"{NFC}.wav",), f"{NFD}.wav", f"{NFC}.wav"),
        ((f"{NFC}.wav", f"{NFD}.wav"), f"{NFD}.wav", f"{NFD}.wav"),
        ((f"{NFD}.FLAC",), f"{NFC}.wav", f"{NFD}.FLAC"),
        ((f"{NFD}/b/{NFD}.wav",), f"{NFC}/b/{NFC}.wav", f"{NFD}/b/{NFD}.wav"),
        (("._a.wav",), "a.wav", "a.wav"),
        (("b/a.wav",), "./b//a.wav", "b/a.wav"),
        ((), "b/a.wav", "b/a.wav"),
    ],
)
def test_which_file_a_name_means(there, listed, found, tmp_path):
    touch(tmp_path, *there)
    assert find_files(tmp_path, [listed]) == [found]
    if "/" not in listed:
        stem = listed.rpartition(".")[0]
        expected = found if (tmp_path / found).exists() else f"{stem}.wav"
        assert find_by_stem(tmp_path, [stem], missing_suffix=".wav") == [expected]


def test_absolute_names_are_found_outside_the_folder(tmp_path):
    other = touch(tmp_path / "other", "a.WAV")
    assert find_files(tmp_path / "root", [f"{other}/a.wav"]) == [f"{other}/a.WAV"]


def test_a_typed_name_is_located_in_its_own_type_only(tmp_path):
    touch(tmp_path, f"{NFD}/{NFD}.wav", "a.WAV", "b.flac")
    assert locate(tmp_path / NFC / f"{NFC}.wav") == tmp_path / NFD / f"{NFD}.wav"
    assert locate(tmp_path / NFC) == tmp_path / NFD
    assert locate(tmp_path / "a.wav") == tmp_path / "a.WAV"
    assert locate(tmp_path / "b.wav") == tmp_path / "b.wav"


def test_a_missing_folder(tmp_path):
    assert list_files(tmp_path, "nowhere", []) == []
    with pytest.raises(NotFoundError, match="nowhere: no such folder"):
        find_by_stem(tmp_path / "nowhere", ["a"], missing_suffix=".wav")


@pytest.mark.slow
def test_many_files_are_listed_quickly(tmp_path):
    names = [f"{number // 1_000:03d}/{number}.wav" for number in range(100_000)]
    for folder in range(100):
        (tmp_path / f"{folder:03d}").mkdir()
    for name in names:
        os.close(os.open(tmp_path / name, os.O_CREAT))
    began = time.process_time()
    assert len(list_audio(tmp_path).files) == len(find_files(tmp_path, names)) == 100_000
    assert time.process_time() - began < 10
