import pytest

from bgknown.errors import InvalidInputError
from bgknown.paths import check_inside, find_fault, find_fault_of_plain


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("..", "leads out"),
        ("a/../../b", "leads out"),
        ("a\\..\\b", "leads out"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\x", "absolute"),
        ("C:\\x", "absolute"),
        ("c:x", "absolute"),
        ("a\0", "NUL"),
        (".", "the folder itself"),
        ("./", "the folder itself"),
        ("x" * 256, "longer than"),
        ("é" * 128, "longer than"),
        ("a/" * 1_500 + "a", "longer than"),
        ("\ud800", "not valid text"),
    ],
)
def test_names_that_lead_outside_are_refused(tmp_path, name, fault):
    assert fault in find_fault(name)
    with pytest.raises(InvalidInputError, match=fault):
        check_inside([name], [2], tmp_path / "t.csv", "file")


@pytest.mark.parametrize("name", ["a.wav", "a/b.wav", "..a/b..", "a//b", "./a", "é/日本.wav", "a b", "-x", "~"])
def test_names_inside_are_accepted(tmp_path, name):
    assert find_fault(name) == ""
    check_inside([name], [2], tmp_path / "t.csv", "file")


def test_plain_names_have_no_folders():
    assert find_fault_of_plain("a.wav") == ""
    assert "folders" in find_fault_of_plain("a/b.wav")
    assert "folders" in find_fault_of_plain("a\\b.wav")


def test_a_column_is_named_with_its_line(tmp_path):
    with pytest.raises(InvalidInputError, match=r"t\.csv, line 7: file '\.\./x' leads out of the folder; it must be"):
        check_inside(["a", "../x"], [3, 7], tmp_path / "t.csv", "file")
