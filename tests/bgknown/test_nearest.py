import time
from pathlib import Path

import pytest

from bgknown.nearest import nearest, suggest


@pytest.mark.parametrize(
    ("name", "names", "close"),
    [("bgknow", ["esc50", "bgknown"], "bgknown"), ("xyz", ["esc50", "bgknown"], ""), ("a", [], "")],
)
def test_the_closest_name_is_found(name, names, close):
    assert nearest(name, names) == close


def test_suggestions_name_the_closest_and_list_all():
    assert suggest("papr", ["paper", "evar"]) == "did you mean paper? there are: paper, evar"
    assert suggest("xyz", ["paper", "evar"]) == "there are: paper, evar"
    assert suggest("xyz", []) == "there are none"
    assert suggest("xyz", [], none="it takes none") == "it takes none"
    assert "\n" not in suggest("ab", ["a\nb"])


def test_very_long_names_are_not_compared():
    began = time.monotonic()
    assert nearest("ab" * 100_000, ["ba" * 100_000, "short"]) == ""
    assert time.monotonic() - began < 5


def test_nothing_else_looks_for_close_names():
    root = Path(__file__).resolve().parents[2]
    files = [path for package in ("bgknown", "benchmark", "pretrain") for path in (root / package).rglob("*.py")]
    users = [path.relative_to(root).as_posix() for path in files if "difflib" in path.read_text()]
    assert users == ["bgknown/nearest.py"]
