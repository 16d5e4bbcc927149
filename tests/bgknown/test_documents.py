import json
import sys
import time

import pytest

from bgknown.documents import parse_json, parse_toml, read_object, read_yaml
from bgknown.errors import InvalidInputError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 64 levels"),
        ('{"a":' * 100_000, "nested more than 64 levels"),
        ("[" * 500 + "]" * 500, "nested more than 64 levels"),
        ("1" * 5_000, "a whole number of 5,000 digits"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": }', "Expecting value"),
        (b"\xff", "not JSON"),
        ("", "not JSON"),
        ('{"a": "\0"}', "not JSON"),
    ],
)
def test_text_that_is_not_json_is_reported_in_one_short_line(text, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        parse_json(text, "x.json")
    assert str(caught.value).startswith("x.json: not JSON (")
    assert "\n" not in str(caught.value)
    assert "set_int_max_str_digits" not in str(caught.value)


def test_good_json_is_read():
    value = {"a": [1, -2, 2.5, 10**19, None, True, {"b": "é"}]}
    assert parse_json(json.dumps(value), "x") == value


def test_only_a_json_object_is_accepted(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(InvalidInputError, match=r"x\.json: damaged \(not a JSON object\)"):
        read_object(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "nested more than 64"),
        ("a = " + "[" * 90 + "]" * 90, "nested more than 64"),
        ("a" + ".a" * 100_000 + " = 1", "nested more than 64"),
        ("a = " + "9" * 5_000, "more than 20 digits"),
        ("a = " + "9" * 500, "more than 20 digits"),
        ("a = 1e999", "too large"),
        ("a = ", "not TOML"),
        ("#" + "x" * 300_000, "longer than"),
    ],
)
def test_text_that_is_not_toml_is_quickly_reported_in_one_short_line(text, message):
    began = time.monotonic()
    with pytest.raises(InvalidInputError, match=message) as caught:
        parse_toml(text, "x.toml")
    assert str(caught.value).startswith("x.toml: not TOML (")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 20 aliases"),
        ("a: &a [*a]", "nested more than 64"),
        ("a: " + "[" * 100_000, "nested more than 64"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: " + "9" * 5_000, "more than 20 digits"),
        ("a: .nan", "not finite"),
        ("? [1, 2]\n: x", "not YAML"),
        ("a: {2001-01-01: x}", "is not a text"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: 'b", "not YAML"),
        ("a: \0", "not YAML"),
    ],
)
def test_text_that_is_not_yaml_is_quickly_reported_in_one_short_line(tmp_path, text, message):
    (tmp_path / "x.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10


def test_aliases_that_do_not_multiply_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("base: &b {a: 1}\nother: {<<: *b, c: 2}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"base": {"a": 1}, "other": {"a": 1, "c": 2}}


def test_a_missing_pyyaml_is_reported_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(InvalidInputError, match=r"PyYAML is not installed; run: pip install 'bgknown\[yaml\]'"):
        read_yaml(tmp_path / "x.yaml")
