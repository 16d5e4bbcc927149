import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bgknown.commands import Group, echo
from bgknown.errors import InvalidInputError
from bgknown.shown import escape_cell, escape_line, escape_text, markdown, unescape_cell


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\udce9", "\\udce9"),
        ("a\nb\tc", "a\nb\tc"),
        ("é 日本 ± \u0301", "é 日本 ± \u0301"),
    ],
)
def test_characters_that_steer_a_terminal_are_escaped(text, wanted):
    assert escape_text(text) == wanted


def test_a_name_is_reported_in_one_line():
    assert escape_line("a\nerror: b\tc\u2028d") == "a\\nerror: b\\tc\\u2028d"


@given(st.text())
def test_cells_are_restored_and_are_not_formulas(text):
    stored = escape_cell(text)
    assert unescape_cell(stored) == text
    assert not stored.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["'=x", "''@x", "'x", "=cmd|' /C calc'!A0", "-1", "+", "it's"])
def test_cells_with_apostrophes_are_restored(text):
    assert unescape_cell(escape_cell(text)) == text


def test_markdown_shows_text_as_it_is():
    text = "a|b <img src=x onerror=y> [l](javascript:z) `c` *d* _e_ @f https://g www.h\n# i $j$ ~k~ \\"
    safe = markdown(text)
    assert "\n" not in safe
    assert "<" not in safe
    for mark in ("|", "[", "]", "`", "*", "_", "~", "$"):
        assert safe.count(mark) == safe.count("\\" + mark)
    assert "://" not in safe
    assert "www." not in safe
    assert "@" not in safe


def test_commands_print_nothing_that_steers_the_terminal():
    @click.group(cls=Group)
    def main() -> None:
        pass

    @main.command()
    def fail() -> None:
        echo("label \x1b[2J")
        raise InvalidInputError("the file \x1b]0;x\x07 is \u202ewrong")

    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == 1
    assert result.stdout == "label \\x1b[2J\n"
    assert result.stderr == "error: the file \\x1b]0;x\\x07 is \\u202ewrong\n"
