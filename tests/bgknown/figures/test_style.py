"""Colours for every kind of sight and for grey print, text that fits its place, and files that are always the same."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.figures import style
from bgknown.figures.labels import clean_text, fit_names, fit_text, measure_width, wrap_text
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.saving import read_figure_formats, save_figure
from bgknown.figures.style import COLOURS, MARKERS, list_drawable, open_style, pick_mark

SIGHTS = {
    "usual": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What is seen of linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1)."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
HOSTILE = ("<script>alert(1)</script>", "$x^2$ and $y$", "a\nb", "W" * 300, "日本語", "עברית", "=1+1", "100 %", "")


def linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_for_every_kind_of_sight(sight):
    seen = [lab(SIGHTS[sight] @ linear(colour)) for colour in COLOURS]
    apart = min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))
    assert apart > 30  # 2.3 can just be told apart
    assert lab(linear("#ffffff"))[0] == pytest.approx(100, abs=0.01)


def test_colours_stand_out_from_white():
    for colour in (*COLOURS, style.GREY):
        luminance = float(TO_XYZ[1] @ linear(colour))
        assert 1.05 / (luminance + 0.05) >= 3, colour  # WCAG 2.1, 1.4.11


def test_series_differ_in_grey_print_too():
    marks = [pick_mark(number) for number in range(66)]
    assert len({(mark.colour, mark.marker) for mark in marks}) == 66
    assert len({mark.marker for mark in marks[: len(MARKERS)]}) == len(MARKERS)
    assert len({mark.line for mark in marks[:4]}) == 4


def test_text_fits_its_place_and_is_literal():
    with open_style():
        for text in HOSTILE:
            for width in (30.0, 100.0):
                assert measure_width(fit_text(text, width, 7.0), 7.0) <= width
                for line in wrap_text(text, width, 7.0).split("\n"):
                    assert measure_width(line, 7.0) <= width
        assert fit_text("plain", 100.0, 7.0) == "plain"
        assert clean_text("a\nb") == "a\\nb"
        assert clean_text("$x$") == "$x$"
        assert clean_text("日") == "\\u65e5"
        assert fit_text("first-" + "x" * 100 + "-last", 80.0, 7.0).startswith("first-x")
        assert fit_text("first-" + "x" * 100 + "-last", 80.0, 7.0).endswith("-last")
        assert wrap_text("one two three four", 40.0, 8.0, most=9).count("\n") >= 1
        assert wrap_text("word " * 100, 100.0, 8.0).count("\n") == 2
        assert wrap_text("word " * 100, 100.0, 8.0).endswith("…")


def test_names_that_would_look_the_same_get_a_number():
    names = [f"{'a' * 200}{middle}{'z' * 200}" for middle in "xyz"]
    with open_style():
        shown = fit_names(names, 80.0, 7.0)
        assert len(set(shown.values())) == 3
        assert shown[names[1]].endswith(" (2)")
        assert max(measure_width(text, 7.0) for text in shown.values()) <= 80


def test_other_fonts_are_used_for_characters_that_the_usual_one_lacks(monkeypatch):
    known = style._list_characters
    caches = (style._find_families, style._join_characters)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(
        style, "_list_characters", lambda name: known(name) - (set("é") if name == style.FONT else set())
    )
    with open_style(["é"]):
        assert "é" in list_drawable()
    with open_style(["e"]):
        assert "é" not in list_drawable()
    for cache in caches:
        cache.cache_clear()


def draw(names):
    facets = make_facets(2)
    handles = [facets.axes[0].plot([1, 2], [3, 4], **pick_mark(number).points())[0] for number in range(len(names))]
    facets.name(["one", "<two>"])
    add_legend(facets.figure, handles, names)
    set_title(facets.figure, " and ".join(names))
    return facets.figure


def save(folder, names=HOSTILE[:8]):
    table = pd.DataFrame({"name": names, "value": 0.1})
    with open_style(names):
        return save_figure(draw(names), table, folder / "figure", ("png", "svg", "pdf"))


def test_files_are_the_same_every_time_whatever_the_users_settings(tmp_path):
    matplotlib = style.import_matplotlib()
    first = save(tmp_path / "one")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30.0, "svg.fonttype": "path"}):
        second = save(tmp_path / "two")
        assert matplotlib.rcParams["font.size"] == 30.0
    assert dict(matplotlib.rcParams) == before
    assert [path.name for path in first] == ["figure.png", "figure.svg", "figure.pdf", "figure.csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    svg = first[1].read_text()
    assert "<script" not in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
    assert "$x^2$ and $y$" in svg
    assert "\\u65e5" in svg
    pdf = first[2].read_bytes()
    assert b"/FontFile2" in pdf  # TrueType: text can be searched and edited
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert "'=1+1,0.1" in first[3].read_text().splitlines()


def test_formats_are_read():
    assert read_figure_formats(" PNG, svg,png") == ("png", "svg")
    with pytest.raises(InvalidInputError, match="--format 'pngs': no such format; did you mean png"):
        read_figure_formats("svg,pngs")
    with pytest.raises(InvalidInputError, match="give one or more of png, svg, pdf"):
        read_figure_formats(",")


def test_a_missing_matplotlib_is_one_line(monkeypatch):
    style.import_matplotlib.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NotFoundError, match=r"figures need matplotlib; run: pip install 'bgknown\[plot\]'"):
        style.import_matplotlib()
    style.import_matplotlib.cache_clear()


def test_neither_a_home_nor_a_display_nor_a_folder_of_settings_is_needed(tmp_path):
    code = (
        "import sys, pathlib\nfrom tests.bgknown.figures.test_style import save\n"
        "save(pathlib.Path(sys.argv[1]), ['a'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {"PATH": "/usr/bin:/bin", "MPLCONFIGDIR": "/proc/none", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "there")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "there" / "figure.png").is_file()
