"""Other people's Python: modules found, run and told apart."""

import json
import sys

import numpy as np
import pytest

from benchmark.encoders.adapters import python
from benchmark.encoders.adapters.foreign import check_whole_number, import_file, import_name, import_path
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.made_encoders import write


@pytest.mark.parametrize(
    ("value", "number"), [(16_000, 16_000), (16_000.0, 16_000), (np.int64(8), 8), (np.float32(8), 8)]
)
def test_whole_numbers_may_be_of_any_type(value, number):
    assert check_whole_number(value, "rate") == number


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "16000", float("nan"), float("inf")])
def test_text_that_is_not_a_whole_number_is_refused(value):
    with pytest.raises(InvalidInputError, match="rate is .*; it must be a positive whole number"):
        check_whole_number(value, "rate")


def test_each_file_gets_the_modules_next_to_it(folder):
    for place in ("one", "two"):
        write(folder / place / "network.py", f"place = {place!r}\n")
        write(folder / place / "parts" / "__init__.py", "")
        write(folder / place / "parts" / "layer.py", f"place = {place!r}\n")
        write(folder / place / "mine.py", "import network\nfrom parts import layer\n")
    for place in ("one", "two", "one"):
        module = import_file(folder / place / "mine.py")
        assert (module.network.place, module.layer.place) == (place, place)


def test_a_module_of_another_current_folder_is_not_imported(folder, monkeypatch):
    for place in ("one", "two"):
        write(folder / place / "network.py", f"place = {place!r}\n")
        monkeypatch.chdir(folder / place)
        assert import_name("network").place == place


def test_modules_that_are_installed_stay(folder):
    write(folder / "json.py", "1 / 0\n")
    with import_path(folder):
        assert sys.modules["json"] is json


def test_a_file_that_fails_leaves_no_module(folder):
    before = set(sys.modules)
    with pytest.raises(InvalidInputError, match="cannot be run: ZeroDivisionError"):
        import_file(write(folder / "mine.py", "1 / 0\n"))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        ("import absent_library\n", "theirs", InvalidInputError, "No module named 'absent_library'.*theirs.py, line 1"),
        ("import theirs.absent\n", "theirs.part", InvalidInputError, "cannot be imported: ModuleNotFoundError"),
        ("x = (\n", "theirs", InvalidInputError, r"cannot be imported: SyntaxError.*theirs\.py, line 1"),
        ("raise SystemExit(3)\n", "theirs", InvalidInputError, "cannot be imported: SystemExit: 3"),
        ("", "theirz", NotFoundError, "no module 'theirz': .*; did you mean theirs?"),
        ("", "theirs.part", NotFoundError, r"no module 'theirs\.part'"),
        ("", "absent.part", NotFoundError, "neither installed nor in the current folder$"),
        ("", "", InvalidInputError, "cannot be imported: ValueError"),
    ],
)
def test_modules_that_cannot_be_imported_are_reported_in_one_line(folder, text, name, error, message):
    write(folder / "theirs.py", text)
    with pytest.raises(error, match=message) as raised:
        import_name(name)
    assert "\n" not in str(raised.value)


def test_the_line_that_is_named_is_theirs_and_not_a_librarys(folder):
    write(folder / "mine.py", "import torch\n\ndef make():\n    return torch.zeros(2) @ torch.zeros(3)\n")
    with pytest.raises(
        InvalidInputError, match=r"mine\.py:make: cannot be constructed: RuntimeError: .*mine\.py, line 4\)$"
    ):
        python.load("mine.py:make", python.Options())
