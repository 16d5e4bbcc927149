import numpy as np
import pandas as pd
import pytest

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.tables import (
    find_line_numbers,
    list_records,
    parse_numbers,
    parse_whole_numbers,
    read_csv,
    read_text_table,
)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content):
    return read_csv(write(tmp_path / "t.csv", content), advice="give another")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pair,text\np1,put a dog, then a cat\n", r"line 2: 3 fields, the header has 2; .* must be in quotes"),
        ("pair,text\np1,a\np2\n", "line 3: 1 field, the header has 2; fields are missing"),
        ('pair,text\np1,"a\nb"\np2,b,c\n', "line 4: 3 fields"),
        ('pair,text\r\np1,"a\r\nb"\r\n\r\np2,b,c\r\n', "line 5: 3 fields"),
        ("pair,pair\na,b\n", "line 1: there are two columns 'pair'"),
        ("pair,text\na,b\0\n", "line 2: .*NUL byte"),
        (b"pair,text\na,b\nc,\xe9\n", "line 3: not a CSV table in UTF-8"),
        ("pair,text\na,b\n".encode("utf-16"), "line 1: not a CSV table in UTF-8"),
        ('pair,text\na,"b\nc,d\n', "line 2: not a CSV table .a quote is opened and never closed"),
        ("pair,text\na,b\nc," + "x" * 10_000_000 + "\n", "line 3: not a CSV table .a field is longer than 131,072"),
        ("", "the file is empty; give another"),
        (b"\xef\xbb\xbf", "the file is empty"),
        ("pair,text\n", "the table has no rows; give another"),
        ("pair,text\n\n\n", "the table has no rows"),
    ],
)
def test_text_that_is_not_a_table_is_refused_by_line(tmp_path, content, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_value_remains_text(tmp_path):
    values = ["NA", "nan", "1e5", "007", "", " x ", "True", "None", "1.0", "null"]
    content = "a,b\n" + "".join(f'{value},"{value}"\n' for value in values)
    table = read(tmp_path, content)
    assert table["a"].tolist() == values == table["b"].tolist()


@pytest.mark.parametrize("content", ["\ufeffa,b\r\n1,2\r\n", "a,b\n1,2", 'a,b\r\n"1","2"\r\n\r\n', "\na,b\n1,2\n"])
def test_byte_order_mark_line_ends_and_empty_lines_do_not_matter(tmp_path, content):
    table = read(tmp_path, content)
    assert (list(table.columns), table.to_numpy().tolist()) == (["a", "b"], [["1", "2"]])


def test_line_numbers_are_those_of_an_editor(tmp_path):
    table = read(tmp_path, 'n,text\n1,"a\nb\nc"\n\n2,b\nx,c\n')
    assert list(find_line_numbers(table)) == [2, 6, 7]
    with pytest.raises(InvalidInputError, match="line 7: n is 'x'; it must be a whole number"):
        parse_whole_numbers(table, "n", tmp_path / "t.csv")
    with pytest.raises(InvalidInputError, match="line 7: n is 'x'; it must be a number"):
        parse_numbers(table[["n"]], "n", tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["1_000", "9" * 5_000, "²", "1e3", "", "١", "0x1"])
def test_text_that_is_not_a_whole_number_is_refused(tmp_path, text):
    table = read(tmp_path, f"n,b\n{text},x\n")
    with pytest.raises(InvalidInputError, match="must be a whole number"):
        parse_whole_numbers(table, "n", tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["1e999", "nan", "-inf", "1_0", "x"])
def test_text_that_is_not_a_number_is_refused(tmp_path, text):
    with pytest.raises(InvalidInputError, match="must be a number"):
        parse_numbers(read(tmp_path, f"n,b\n{text},x\n"), "n", tmp_path / "t.csv")


def test_spaces_around_a_number_do_not_matter(tmp_path):
    table = read(tmp_path, "n,b\n 7 ,x\n\x1e8,x\n")
    assert parse_whole_numbers(table, "n", tmp_path / "t.csv") == [7, 8]


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(NotFoundError, match="no such file; give another"):
        read_csv(tmp_path / "none.csv", advice="give another")
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")
    with pytest.raises(InvalidInputError, match="columns c, d missing; give another"):
        read_text_table(path, ["a", "c", "d"], advice="give another")


@pytest.mark.parametrize(
    "columns",
    [
        {"a": ["x", ""], "b": [1, -2], "c": [0.5, np.inf], "d": [True, False]},
        {"a": ["x", None], "b": pd.array([1, None], dtype="Int64"), "c": [0.5, 2], "d": [np.int64(3), "x"]},
        {"a": pd.Categorical(["u", "v"]), "b": pd.to_datetime(["2020-01-01"] * 2), "c": [[1], {"d": 2}]},
        {"a": np.array([1, 2], dtype=np.uint16), "b": np.array([1.5, 2], dtype=np.float32)},
        {"a": []},
        {},
    ],
)
def test_records_are_those_of_pandas(columns):
    table = pd.DataFrame(columns)
    records, expected = list_records(table), table.to_dict("records")
    assert repr(records) == repr(expected)
    assert [[type(value) for value in row.values()] for row in records] == [
        [type(value) for value in row.values()] for row in expected
    ]


def test_names_of_columns_become_texts():
    assert list_records(pd.DataFrame({0: [1], "b": ["x"]})) == [{"0": 1, "b": "x"}]
