import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.errors import InvalidInputError
from bgknown.settings import (
    check_above,
    check_at_least,
    check_one_of,
    check_within,
    list_tables,
    read_options,
    read_record,
    read_text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int = 3
    lambda_: float = 0.5

    def __post_init__(self):
        check_at_least("inner.size", self.size, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str = "x"
    fast: bool = False
    kind: Literal["wav", "flac"] = "wav"
    limit: int | None = None
    rates: tuple[float, ...] = ()
    span: tuple[float, float] = (0.0, 1.0)
    weights: dict[str, float] = field(default_factory=dict)
    folder: Path = Path()
    inner: Inner = field(default_factory=Inner)


def test_tables_become_records():
    text = """
    name = "y"
    fast = true
    kind = "flac"
    limit = 3
    rates = [1, 2.5]
    span = [0, 2]
    weights = {a = 1}
    folder = "~/data"
    [inner]
    lambda = 1
    """
    found = read_record(Outer, tomllib.loads(text), "x.toml")
    assert found == Outer(
        name="y",
        fast=True,
        kind="flac",
        limit=3,
        rates=(1.0, 2.5),
        span=(0.0, 2.0),
        weights={"a": 1.0},
        folder=Path.home() / "data",
        inner=Inner(lambda_=1.0),
    )
    assert [type(rate) for rate in found.rates] == [float, float]
    assert list_tables(found)["inner"] == {"size": 3, "lambda": 1.0}
    assert read_record(Outer, {}, "x") == Outer()
    assert read_record(Outer, {"limit": None}, "x") == Outer()


def test_a_base_keeps_what_is_not_given():
    base = Outer(name="base", inner=Inner(size=9))
    assert read_record(Outer, {"inner": {"lambda": 0.25}}, "x", base=base) == Outer(
        name="base", inner=Inner(size=9, lambda_=0.25)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nane": "y"}, "unknown key 'nane'; did you mean name? there are: name, fast"),
        ({"inner": {"sizes": 3}}, "unknown key 'sizes' in [inner]; did you mean size? there are: size, lambda"),
        ({"inner": {"lambda_": 3.0}}, "unknown key 'lambda_' in [inner]; did you mean lambda?"),
        ({"name": 3}, "name is 3; it must be a text"),
        ({"fast": 1}, "fast is 1; it must be true or false"),
        ({"limit": True}, "limit is True; it must be a whole number"),
        ({"limit": 2.0}, "limit is 2.0; it must be a whole number"),
        ({"kind": "mp3"}, "kind is 'mp3'; it must be one of wav, flac"),
        ({"rates": 1.0}, "rates is 1.0; it must be a list of numbers"),
        ({"rates": [1.0, "a"]}, "rates.2 is 'a'; it must be a number"),
        ({"rates": [10**400]}, "it must be a number"),
        ({"span": [1.0]}, "span is [1.0]; it must be a list of 2 values"),
        ({"weights": []}, "weights is []; it must be a table"),
        ({"weights": {"a": "b"}}, "weights.a is 'b'; it must be a number"),
        ({"weights": {"a\nb": "b"}}, r"weights.a\nb is 'b'; it must be a number"),
        ({"a\nb": 1}, r"unknown key 'a\nb'"),
        ({"inner": 3}, "inner is 3; it must be a table: write [inner] above its keys"),
        ({"inner": {"size": 0}}, "inner.size is 0; it must be at least 1"),
        ([], "x.toml is []; it must be a table"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_key_value_and_rule(values, message):
    with pytest.raises(InvalidInputError) as caught:
        read_record(Outer, values, "x.toml")
    assert str(caught.value).startswith("x.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fields_that_a_file_cannot_set_are_unknown():
    with pytest.raises(InvalidInputError, match="unknown key 'name'"):
        read_record(Outer, {"name": "y"}, "x", without=("name",))


def test_complete_records_name_what_is_missing():
    with pytest.raises(InvalidInputError, match="x: lambda missing; there must be size, lambda"):
        read_record(Inner, {"size": 3}, "x", complete=True)
    assert read_record(Inner, {"size": 3, "lambda": 1}, "x", complete=True) == Inner(lambda_=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    counts: Inner
    skipped: tuple[Inner, ...]
    facts: dict[str, Any]


def test_other_keys_are_skipped_where_a_file_holds_more():
    values = {"counts": {"size": 1, "other": 2}, "skipped": [{"size": 2, "more": 0}], "facts": {"a": [1]}, "date": 0}
    assert read_record(Needed, values, "x", others=True) == Needed(
        counts=Inner(size=1), skipped=(Inner(size=2),), facts={"a": [1]}
    )
    with pytest.raises(InvalidInputError, match="x: skipped is missing"):
        read_record(Needed, {"counts": {}, "facts": {}}, "x", others=True)
    with pytest.raises(InvalidInputError, match="x: skipped.1 is 3; it must be a table$"):
        read_record(Needed, {**values, "skipped": [3]}, "x", others=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    layer: int | None = None
    gain: float = 1.0
    printed_as_int: str = "a"


def test_the_type_decides_and_not_the_words_in_its_annotation():
    options = {"layer": "none", "gain": "2", "printed_as_int": "3"}
    assert read_options(Simple, options, "x") == Simple(layer=None, gain=2.0, printed_as_int="3")
    with pytest.raises(InvalidInputError, match="x: option layer is '1.5'; it must be a whole number"):
        read_options(Simple, {"layer": "1.5"}, "x")


@given(st.floats(allow_nan=False), st.integers())
def test_numbers_keep_their_values(number, whole):
    assert read_text(float, repr(number), "x") == number
    assert read_text(int, str(whole), "x") == whole
    assert read_record(Outer, json.loads(json.dumps({"rates": [whole % 2**53]})), "x").rates == (float(whole % 2**53),)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_one_of("k", "z", ("a", "b")), "k is 'z'; it must be one of a, b"),
        (lambda: check_at_least("k", 0, 1), "k is 0; it must be at least 1"),
        (lambda: check_above("k", float("nan"), 0.0), "k is nan; it must be above 0"),
        (lambda: check_above("k", float("inf"), 0.0), "k is inf; it must be above 0"),
        (lambda: check_within("k", 2.0, 0.0, 1.0), "k is 2.0; it must be from 0 to 1"),
    ],
)
def test_checks_name_key_value_and_rule(check, message):
    with pytest.raises(InvalidInputError, match=message):
        check()


def test_reading_settings_needs_nothing_but_python():
    code = (
        "import sys, bgknown.settings; there = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'numpy', 'pandas', 'torch', 'click', 'attr', 'cattrs', 'msgspec'}\n"
        "sys.exit(', '.join(sorted(there & heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
