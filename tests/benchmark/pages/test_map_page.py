"""The difference map: its points, its figures of the full space, and the page in Chromium."""

import base64
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark import tasks
from benchmark.cli import main
from benchmark.embedding.embed import EmbedSettings
from benchmark.encoders.registry import load_encoder
from benchmark.evaluate import embed_folds
from benchmark.pages import map_data
from benchmark.tasks.contract import TaskOptions
from tests.benchmark.pages.made_pages import read_blocks, wait_until_it_plays
from tests.browser import browser, open_page  # noqa: F401  (fixtures)

ENCODERS = ("logmel", "melpower")
REFERENCES = ("a", "b", "c", "shuffled")


def run_map(root, built, *more, esc50=True):
    corpora, dataset = built
    data = ["--data", f"bgknown={dataset}"] + ["--data", f"esc50={corpora.esc50}"] * esc50
    arguments = ["--cache", str(root / "cache"), "--out", str(root / "pages" / "map.html"), "--device", "cpu", *more]
    return CliRunner().invoke(main, ["map", *data, *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, built):
    root = tmp_path_factory.mktemp("map")
    done = run_map(root, built, *(word for name in ENCODERS for word in ("--encoder", name)))
    assert done.exit_code == 0, done.output
    assert f"page  {root / 'pages' / 'map.html'}  (" in done.output
    return root


@pytest.fixture(scope="module")
def blocks(folder):
    return read_blocks(folder / "pages" / "map.html")


@pytest.fixture(scope="module")
def measured(folder, built):
    """The task, and the embeddings of the first encoder, which are in the cache."""
    options = TaskOptions(cache=folder / "cache", data={"esc50": built[0].esc50})
    data = tasks.prepare("bgknown", built[1], options)
    _, embeddings = next(embed_folds(load_encoder("logmel"), data, EmbedSettings(cache=folder / "cache"), []))
    return data, embeddings


def unpack(packed):
    bits, count, text = packed
    data = base64.b64decode(text)
    if bits == 1:
        return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count]
    return np.frombuffer(data, f"<u{bits // 8}")


def place(layout):
    """[points, 2] the coordinates of a layout."""
    return np.stack([unpack(packed) * step + low for packed, low, step in (layout["x"], layout["y"])], axis=1)


def test_the_nearest_clips_are_those_of_all_dimensions(blocks, measured):
    """Computed with numpy alone: centred by the means of the training part, cosine similarity."""
    data, embeddings = measured
    fold, clips = data.folds[0], data.clips()
    gallery = embeddings["clean"][fold.test] - embeddings["clean"][fold.train].mean(axis=0)
    assert list(clips[fold.test]) == sorted(clips[fold.test])  # one draw: rows are clips
    for reference in ("a", "b", "c"):
        remainders = embeddings["mix"] - embeddings[reference]
        queries = remainders[fold.test] - remainders[fold.train].mean(axis=0)
        similar = queries @ gallery.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(gallery, axis=1)
        nearest = similar.argmax(axis=1)
        assert unpack(blocks["map-0"]["nearest"][reference]).tolist() == nearest.tolist()
        own = nearest == np.arange(len(nearest))
        assert unpack(blocks["map-0"]["hits"][reference][0]).tolist() == own.tolist()
        assert blocks["map-0"]["figures"][reference]["clip R@1"] == pytest.approx(100 * own.mean())


def test_components_and_their_shares_are_those_of_a_singular_value_decomposition(blocks, measured):
    data, embeddings = measured
    rows = map_data.find_map_rows(data)
    points = map_data.stack_points(data, embeddings, rows, REFERENCES, centred=True)
    assert points.shape == (len(rows.test) * (1 + len(REFERENCES)) + len(rows.clean), 128)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0, abs=1e-5)
    centred = points - points.mean(axis=0)
    u, s, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    layout = next(one for one in blocks["map-0"]["layouts"] if one["centred"])
    assert layout["method"] == "PCA"
    assert layout["shares"] == pytest.approx((s**2 / (s**2).sum())[:2], abs=1e-4)
    found, expected = place(layout), u[:, :2] * s[:2]
    signs = np.sign((found * expected).sum(axis=0))
    assert found * signs == pytest.approx(expected, abs=1e-3)


def test_points_know_their_clips(folder, built, blocks):
    points = blocks["points"]
    assert points["mixtures"] == ["4-400-A-0", "4-401-A-1", "5-500-A-0", "5-501-A-1"]
    assert points["clean"] == points["mixtures"]
    assert unpack(points["own"]).tolist() == [0, 1, 2, 3]
    assert blocks["encoders"] == list(ENCODERS)
    assert blocks["map-0"]["references"] == list(REFERENCES)
    assert (folder / "pages" / points["audio"]["clean"]["folder"]).samefile(built[0].esc50 / "audio")


def test_umap_is_added_where_it_is_installed(measured, monkeypatch):
    data, embeddings = measured

    class Fake:
        def __init__(self, **settings):
            assert settings == {"n_components": 2, "random_state": 0}

        def fit_transform(self, points):
            return points[:, :2] * 7

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Fake))
    found = map_data.describe_map(load_encoder("logmel"), data, embeddings, umap=True)
    assert [(one["method"], one["centred"]) for one in found["layouts"]] == [
        *(("PCA", True), ("UMAP", True), ("PCA", False), ("UMAP", False))
    ]
    rows = map_data.find_map_rows(data)
    points = map_data.stack_points(data, embeddings, rows, REFERENCES, centred=True)
    assert place(found["layouts"][1]) == pytest.approx(points[:, :2] * 7, abs=1e-3)


def test_without_clean_clips_there_are_no_figures(built, tmp_path):
    done = run_map(tmp_path, built, "--encoder", "logmel", esc50=False)
    assert done.exit_code == 0, done.output
    blocks = read_blocks(tmp_path / "pages" / "map.html")
    assert blocks["points"]["clean"] == []
    assert blocks["map-0"]["figures"] == {}
    assert "(16 remainders, " in done.output
    assert "Clean clips are missing" in (tmp_path / "pages" / "map.html").read_text()


def test_only_pages_are_overwritten(built, tmp_path):
    page = tmp_path / "pages" / "map.html"
    page.parent.mkdir()
    page.write_text("mine")
    done = run_map(tmp_path, built, "--encoder", "logmel")
    assert done.exit_code == 1
    assert f"error: {page}: already exists and is not a page of bgknown; give another --out" in done.output
    assert page.read_text() == "mine"
    assert not (tmp_path / "cache").exists()  # found before anything is embedded


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--encoder", "logmell"], "no encoder 'logmell'; did you mean logmel"),
        (["--encoder", "logmel", "--encoder", "melpower", "--name", "x"], "the name 'x' is for one encoder, but 2 are"),
        (["--encoder", "logmel", "--data", "gtzan=."], "no such data; there are: bgknown, esc50"),
    ],
)
def test_errors_are_one_line_and_leave_no_page(built, tmp_path, more, message):
    done = run_map(tmp_path, built, *more)
    assert done.exit_code == 1
    assert message in done.output.splitlines()[-1]
    assert not (tmp_path / "pages").exists()


@pytest.mark.browser
def test_pointing_choosing_and_playing(folder, open_page):  # noqa: F811
    with open_page(folder / "pages" / "map.html") as opened:
        page = opened.page
        assert "of the variance of all points" in page.inner_text("#share")
        before = page.evaluate("document.getElementById('map').toDataURL()")
        page.select_option("#reference", "shuffled")
        assert page.evaluate("document.getElementById('map').toDataURL()") != before
        assert "reference shuffled" in page.inner_text("#full")
        page.select_option("#encoder", label="melpower")
        assert page.inner_text("#full").startswith("melpower")
        page.select_option("#centring", "0")
        # the pointer on a clean clip shows its name, and a click plays it
        x, y = page.evaluate(
            "() => { const [x, y] = scene.place('clean', 2); const box = canvas.getBoundingClientRect();"
            " return [x + box.left, y + box.top]; }"
        )
        page.mouse.move(x, y)
        assert page.inner_text("#tip").startswith("clean clip: 5-500-A-0")
        page.mouse.click(x, y)
        assert wait_until_it_plays(page).endswith("5-500-A-0.wav")
        page.click("#class-title")
        page.click("#no-classes")
        page.check("#class-0")
        assert page.locator("#mixtures option").count() == 2
        assert page.inner_text("#class-title") == "Classes (1 of 2)"
        opened.check_quiet()


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_map_by_keyboard(folder, open_page, dark):  # noqa: F811
    with open_page(folder / "pages" / "map.html", width=400, dark=dark) as opened:
        page = opened.page
        page.focus("#mixtures")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        chosen = page.locator("#mixtures").input_value()
        assert page.inner_text("#detail dd >> nth=0") == page.evaluate(f"points.mixtures[{chosen}]")
        page.keyboard.press("Enter")
        assert "/audio/mix/" in wait_until_it_plays(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        opened.check_accessible()
        opened.check_quiet()
