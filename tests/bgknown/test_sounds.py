"""Lists of sounds: Freesound ids in names, what a user wrote, and the compact form that is stored with a model."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.freesound import find_freesound_id
from bgknown.sounds import SoundList, decode_sounds, list_file_sounds, make_sound_list, read_sound_list

SHA = hashlib.sha256(b"a clip").hexdigest()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("64760.wav", 64760),
        ("FSD50K.dev_audio/64760.flac", 64760),
        ("64760", 64760),
        ("1-100032-A-0.wav", 100032),
        ("audio/5-9032-B-12.ogg", 9032),
        ("mix/test/1-100032-A-0_r3.wav", 100032),
        ("100032-3-0-12.wav", 100032),
        ("345__someone__a.door.wav", 345),
        ("00012.wav", None),  # VoxCeleb1, and others that number their files
        ("1234567890.wav", None),
        ("blues.00000.wav", None),
        ("6-100032-A-0.wav", None),
        ("1001_DFA_ANG_XX.wav", None),
        ("bass_synthetic_068-049-025.wav", None),
        ("0a7c2a8d_nohash_0.wav", None),
        ("84-121123-0000.flac", None),
        ("", None),
    ],
)
def test_ids_are_found_in_the_names_of_freesound_corpora_only(name, number):
    assert find_freesound_id(name) == number


def same(one, other):
    return one.sha256 == other.sha256 and one.to_lines() == other.to_lines()


@given(
    st.sets(st.integers(1, 10**9 - 1), max_size=20),
    st.sets(st.binary(min_size=32, max_size=32), max_size=20),
    st.integers(0, 9),
)
def test_a_list_survives_its_compact_form_and_its_lines(ids, digests, unidentified):
    hashes = [digest.hex() for digest in digests]
    sounds = make_sound_list([*map(str, ids), *hashes, *["a door"] * unidentified])
    assert same(decode_sounds(json.loads(json.dumps(sounds.encode())), "x"), sounds)
    again = make_sound_list(sounds.to_lines())
    assert again.to_lines() == sounds.to_lines()
    assert again.has_ids(sorted(ids)).all()
    assert again.has_hashes(hashes).all()
    assert not again.has_ids([None, 10**9]).any()
    assert not again.has_hashes(["", "x", SHA]).any() or SHA[:16] in again.to_lines()


def test_a_file_is_identified_by_either_its_name_or_its_hash():
    sounds = list_file_sounds(["1-5-A-0.wav", "door.wav", "rain.wav"], [SHA, SHA[::-1], "0"])
    assert sounds.freesound_ids.tolist() == [5]
    assert len(sounds.file_sha256) == 2
    assert sounds.unidentified == 1
    both = sounds | make_sound_list(["7", "5"])
    assert both.freesound_ids.tolist() == [5, 7]
    assert both.unidentified == 1


def test_an_empty_list_says_that_there_was_no_training():
    assert SoundList().is_empty
    assert not make_sound_list(["a door"]).is_empty
    assert SoundList().sha256 != make_sound_list(["a door"]).sha256


def test_a_list_is_described_by_its_size():
    assert SoundList().describe() == "not trained"
    assert make_sound_list(["7", "8", SHA]).describe() == "trained on 2 Freesound ids and 1 file"
    assert make_sound_list([SHA]).describe() == "trained on 1 file"
    assert make_sound_list(["a door"]).describe() == "trained on sounds without ids and hashes"


def test_200_000_clips_take_3_2_megabytes():
    random = np.random.default_rng(0)
    sounds = SoundList(
        freesound_ids=np.unique(random.choice(800_000, 200_000, replace=False).astype("<u4")),
        file_sha256=np.unique(random.integers(0, 2**63, 200_000).astype("<u8")),
    )
    assert len(json.dumps(sounds.encode())) < 3.3e6


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {},
        {"freesound_ids": "", "file_sha256": 3},
        {"freesound_ids": "é", "file_sha256": ""},
        {"freesound_ids": "AAA=", "file_sha256": ""},
        {"freesound_ids": "", "file_sha256": "", "unidentified": -1},
        {"freesound_ids": "", "file_sha256": "", "unidentified": "1"},
    ],
)
def test_a_damaged_list_is_one_line(facts):
    with pytest.raises(InvalidInputError, match=r"^model\.pt: .*copy"):
        decode_sounds(facts, "model.pt")


TEXTS = {
    "plain lines": f"# mine\n100032\n\n1-7-A-0.wav\n{SHA.upper()}\n",
    "byte order mark and Windows line ends": f"\ufeff100032\r\n7\r\n{SHA[:16]}\r\n",
    "the index of pretrain pack": f"file,start,length,sha256\nx/100032.wav,0,16000,{SHA}\n7.wav,16000,5,0\n",
    "a quoted header": f'"sha256","freesound_id"\n"{SHA}",100032\n,7\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_user_s_list_is_text_or_a_table(text, tmp_path):
    (tmp_path / "list").write_bytes(text.encode())
    sounds = read_sound_list(tmp_path / "list")
    assert sounds.freesound_ids.tolist() == [7, 100032]
    assert sounds.has_hashes([SHA]).all()
    assert sounds.unidentified == 0


def test_tables_of_the_corpora_are_lists(tiny):
    assert read_sound_list(tiny.esc50 / "meta" / "esc50.csv").freesound_ids.tolist() == [
        100 * fold + target for fold in range(1, 6) for target in (0, 1)
    ]
    assert read_sound_list(tiny.fsd50k / "FSD50K.ground_truth" / "dev.csv").freesound_ids[0] == 7000


def test_a_list_that_names_nothing_is_one_line(tmp_path):
    path = tmp_path / "list.csv"
    with pytest.raises(NotFoundError, match="no such file"):
        read_sound_list(path)
    for text, match in (
        ("", "names no Freesound id and no SHA-256"),
        ("a door\nrain\n", "names no Freesound id and no SHA-256"),
        ("clip,start\n7,0\n", "has the columns clip, start; one must be sha256, freesound_id"),
        ("file,label\n7.wav\n", "line 2"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInputError, match=match):
            read_sound_list(path)
    path.write_bytes(b"\xff\xfe7\n")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_sound_list(path)
