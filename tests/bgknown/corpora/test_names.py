"""Names of clips: those that pathlib gives."""

from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bgknown.corpora.names import drop_type, name_clip, name_clip_by_path

PATHS = st.text("a.é/ ", max_size=12).filter(lambda file: not file.startswith("/"))


@given(PATHS)
def test_names_are_those_of_pathlib(file):
    path = PurePosixPath(file)
    assume(not path.name.endswith("."))  # some Pythons count this dot as a type
    assert name_clip(file) == path.stem
    if path.name in {"", ".."}:
        return
    assert drop_type(file) == str(path.with_suffix(""))
    assert name_clip_by_path(file) == "_".join(path.with_suffix("").parts)


@pytest.mark.parametrize(
    ("file", "name", "by_path"),
    [
        ("fold1/bark.v2.wav", "bark.v2", "fold1_bark.v2"),
        ("a.b/c", "c", "a.b_c"),
        (".hidden", ".hidden", ".hidden"),
        ("x/.hidden.wav", ".hidden", "x_.hidden"),
        ("dot.", "dot.", "dot."),
        ("./a//b.wav", "b", "a_b"),
    ],
)
def test_names_of_files(file, name, by_path):
    assert (name_clip(file), name_clip_by_path(file)) == (name, by_path)
