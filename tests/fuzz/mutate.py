"""Mutations: of bytes, and of what a file's format makes of them (rows and fields, keys and values, lines)."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

OUTSIDE = "/tmp/outside/secret.wav"
TEXTS = [
    *("", " ", "\0", "..", ".", "/", "../x", "../../outside/secret.wav", OUTSIDE, "/etc/passwd", "C:\\x", "..\\..\\x"),
    *("a" * 300, "é" * 200, "x/y/z", "NA", "nan", "inf", "1e999", "1e5", "007", "-1", "0", "1", "1.5", "9" * 30),
    *("9" * 5000, "²", "١", "True", "\u202eabc", "\x1b[31mred", "=1+1", "@x", "a\nb", "a,b", '"', "'", "%s", "{}"),
    *("\u2028", "x" * 140_000, "1_000", " 1", "train", "dev", "1:1", "é/é.wav", "~", "~root/x", "*", "|", "<b>"),
]
SCALARS: list[Any] = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**19, 1.5, 1e308, -0.0, [], {}, [[]], {"a": None}]
TOKENS = [b"\0", b"\xff", b'"', b",", b"\r\n", b"\n", b"\xef\xbb\xbf", b"[" * 3000, b"{" * 3000, b"]", b"}", b"=", b":"]
TOKENS += [b"9" * 5000, b"NaN", b"1e999", b"-", b"&a [*a]", b"*a", b"!!python/object:os.system", b"'", b"#", b"\x80"]


def mutate(kind: str, data: bytes, draw: random.Random) -> bytes:
    """A mutation of a file.

    Args:
        kind: csv, json, toml, yaml, lines, safetensors or bytes.
        data: a good file.
        draw: what the mutation is drawn from.
    """
    structured = BY_KIND.get(kind)
    for _ in range(1 + (draw.random() < 0.3)):
        if structured is not None and draw.random() < 0.75:
            try:
                data = structured(data, draw)
            except (ValueError, LookupError, TypeError, AttributeError, csv.Error, struct.error, RecursionError):
                data = _bytes(data, draw)
        else:
            data = _bytes(data, draw)
    return data


def tree(value: Any, draw: random.Random) -> Any:
    """A tree of plain values with something in it replaced, taken away, repeated or nested."""
    places = list(_places(value, ()))
    place = draw.choice(places)
    return _changed(value, place, draw)


def scalar(draw: random.Random) -> Any:
    """A value of any type."""
    return draw.choice(TEXTS) if draw.random() < 0.5 else draw.choice(SCALARS)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    at, to = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
    match draw.randrange(7):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + draw.choice(TOKENS) + data[at:]
        case 2:
            return data[: min(at, to)] + data[max(at, to) :]
        case 3:
            return data[:at] + data[min(at, to) : max(at, to)] + data[at:]
        case 4:
            return data[:at] + draw.randbytes(draw.randrange(1, 20)) + data[at:]
        case _:
            changed = bytearray(data)
            for _ in range(draw.randrange(1, 8)):
                if changed:
                    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            return bytes(changed)


def _csv(data: bytes, draw: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    row = draw.randrange(len(rows))
    column = draw.randrange(len(rows[row]))
    match draw.randrange(8):
        case 0:
            rows[row].insert(column, draw.choice(TEXTS))
        case 1:
            del rows[row][column]
        case 2:
            rows.insert(row, list(draw.choice(rows)))
        case 3:
            del rows[row]
        case 4:
            other = draw.randrange(len(rows[row]))
            rows[row][column], rows[row][other] = rows[row][other], rows[row][column]
        case 5:
            for each in rows:
                del each[column : column + 1]
        case _:
            rows[row][column] = draw.choice(TEXTS)
    text = io.StringIO()
    csv.writer(text, lineterminator=draw.choice(["\n", "\r\n"])).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _json(data: bytes, draw: random.Random) -> bytes:
    text = json.dumps(tree(json.loads(data), draw))
    if draw.random() < 0.15:  # what json.dumps would not write
        number = draw.choice(["9" * 5000, "1e999", "NaN", "-Infinity", "1" * 25, '"\\ud800"', "[" * 70 + "]" * 70])
        text = re.sub(r"(?<=[:\[ ])-?\d+(\.\d+)?", lambda _: number, text, count=draw.randrange(1, 3))
    return text.encode()


def _settings(sign: str) -> Callable[[bytes, random.Random], bytes]:
    """Mutations of a text of lines ``key SIGN value``."""
    values = ["true", "0", "-1", "1.5", "inf", "nan", '"x"', '""', "[]", "[1]", "{}", "9" * 5000, "1e999", "2001-99-99"]
    values += [
        "2001-01-01",
        "[" * 80 + "]" * 80,
        "[" * 3000,
        '["../x"]',
        "null",
        "~",
        "!!omap x",
        "&a [*a]",
        "*a",
        "0x1",
    ]

    def mutation(data: bytes, draw: random.Random) -> bytes:
        lines = data.decode().splitlines()
        at = draw.randrange(len(lines))
        key, found, _ = lines[at].partition(sign)
        match draw.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw.randrange(len(lines))])
            case 2:
                lines[at] = draw.choice(
                    ["[../x]", "a.b.c = 1", "x" + ".x" * 200 + " = 1", f"new {sign} 1", "[[views]]"]
                )
            case 3 if found:
                lines[at] = f"{json.dumps(draw.choice(TEXTS))} {sign} 1"
            case _ if found:
                value = json.dumps(draw.choice(TEXTS)) if draw.random() < 0.3 else draw.choice(values)
                lines[at] = f"{key}{sign} {value}"
            case _:
                lines[at] = draw.choice(TEXTS)
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    return mutation


def _lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.decode().splitlines()
    at = draw.randrange(len(lines))
    pieces = re.split("([ /:]+)", lines[at])
    match draw.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, draw.choice(lines))
        case 2:
            lines[at] = draw.choice(TEXTS)
        case _:
            pieces[draw.randrange(len(pieces))] = draw.choice(TEXTS)
            lines[at] = "".join(pieces)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _safetensors(data: bytes, draw: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    facts = header["__metadata__"]
    if draw.random() < 0.6:  # metadata are texts, which hold JSON
        name = draw.choice(list(facts))
        facts[name] = _json(facts[name].encode(), draw).decode() if facts[name][:1] in "{[" else draw.choice(TEXTS)
    else:
        header = tree(header, draw)
    text = json.dumps(header).encode()
    size = len(text) if draw.random() < 0.9 else draw.choice([0, 2**63, 2**64 - 1, len(data)])
    return struct.pack("<Q", size) + text + data[8 + length :]


def _places(value: Any, place: tuple[Any, ...]) -> Any:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def _changed(value: Any, place: tuple[Any, ...], draw: random.Random) -> Any:
    if not place:
        return _other(value, draw)
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) > 1 or draw.random() < 0.7:
        copy[place[0]] = _changed(value[place[0]], place[1:], draw)
    else:
        del copy[place[0]]
    return copy


def _other(value: Any, draw: random.Random) -> Any:
    deep = value
    for _ in range(100):
        deep = [deep]
    choices = [[value], {"a": value}, deep, *(scalar(draw) for _ in range(4))]
    if isinstance(value, list):
        choices.append(value + value)
    if isinstance(value, dict):
        choices.append({**value, draw.choice(TEXTS): scalar(draw)})
    return draw.choice(choices)


BY_KIND: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "csv": _csv,
    "json": _json,
    "toml": _settings("="),
    "yaml": _settings(":"),
    "lines": _lines,
    "safetensors": _safetensors,
}
