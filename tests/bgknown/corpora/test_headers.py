import os

import numpy as np
import pytest

from bgknown.corpora import headers
from tests.conftest import RATE_HZ, noise, write_wav


@pytest.fixture
def corpus(tmp_path):
    for name in "abc":
        write_wav(tmp_path / "corpus" / f"{name}.wav", noise(0.1, ord(name)))
    return tmp_path / "corpus"


def facts(corpus):
    return headers.read_header_facts(corpus, ["a.wav", "b.wav", "c.wav"], cache=corpus.parent / "cache", title="")


def test_headers_of_files_that_have_not_changed_are_not_read_again(corpus, monkeypatch):
    first = facts(corpus)
    monkeypatch.setattr(headers, "read_header", lambda path: pytest.fail(f"{path} read again"))
    assert facts(corpus).equals(first)


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_again(corpus):
    facts(corpus)
    path, state = corpus / "a.wav", (corpus / "a.wav").stat()
    write_wav(corpus / "new.wav", np.stack([noise(0.05, 1)] * 2, axis=1), RATE_HZ // 2)
    os.utime(corpus / "new.wav", ns=(state.st_atime_ns, state.st_mtime_ns))
    (corpus / "new.wav").replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) != (0, 0)
    assert facts(corpus)["rate_hz"].tolist() == [RATE_HZ // 2, RATE_HZ, RATE_HZ]


def test_no_damage_to_the_cache_gives_a_wrong_length(corpus):
    expected = facts(corpus)
    (table,) = (corpus.parent / "cache" / "headers").iterdir()
    whole = table.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(len(damaged)))
            match random.integers(4):
                case 0:
                    damaged[place] = int(random.integers(256))
                case 1:
                    damaged[place] = ord("0") + int(random.integers(10))
                case 2:
                    del damaged[place : place + int(random.integers(1, 40))]
                case _:
                    damaged[place:place] = b"9" * int(random.integers(1, 40))
        table.write_bytes(damaged)
        assert facts(corpus).equals(expected)
