"""What ``tests.fuzz.undisturbed`` notices of a run that ends otherwise than an undisturbed one."""

import sys
from types import SimpleNamespace

import pytest

from tests.conftest import contents
from tests.fuzz.undisturbed import RunFolders, UndisturbedEnd

PROGRAM = "import pathlib; p = pathlib.Path('out'); p.mkdir(); (p / 'a').write_text('1'); pathlib.Path('tmp/x').touch()"


def make_case(program):
    return SimpleNamespace(name="one, two", read=contents, command=lambda folder: [sys.executable, "-c", program])


def test_other_results_files_and_leftovers_are_noticed(tmp_path):
    folders = RunFolders("one, two", tmp_path)
    end = UndisturbedEnd(make_case(PROGRAM), folder=folders.make())
    folder = folders.make()
    assert folder == tmp_path / "one_two" / "2"
    (folder / "out").mkdir()
    (folder / "out" / "a").write_text("1")
    (folder / "tmp" / "x").touch()
    assert list(end.compare(folder)) == []
    (folder / "tmp" / "y").touch()
    assert list(end.compare(folder)) == ["left behind: ['tmp/y']"]
    (folder / "out" / "a").write_text("2")
    (folder / "out" / ".b.part").touch()
    assert list(end.compare(folder)) == [
        "other results: ['.b.part', 'a']",
        "other files: ['.b.part']",
        "left behind: ['out/.b.part', 'tmp/y']",
    ]


def test_a_command_that_fails_undisturbed_ends_the_fuzzing(tmp_path):
    with pytest.raises(AssertionError, match="one, two: ends with 3 undisturbed: said"):
        UndisturbedEnd(make_case("print('said'); exit(3)"), folder=RunFolders("a", tmp_path).make())
