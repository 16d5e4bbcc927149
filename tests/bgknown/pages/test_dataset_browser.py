"""Pages of datasets in Chromium: filters, search, playing, comparing, keys, hostile data, contrast."""

import shutil
from pathlib import Path

import pytest

from bgknown import open_dataset
from tests.bgknown.apwd.conftest import make_pairs
from tests.bgknown.pages.test_dataset_page import NEW, copy_dataset, edit_manifest, make_page, write_attribution
from tests.browser import browser, open_page  # noqa: F401  (fixtures)

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>document.title = 'changed'</script><img src=x onerror=\"document.title = 'changed'\">"
PLAYS = "[...document.querySelectorAll('audio')].every((audio) => audio.readyState >= 3 && !audio.paused)"
HEARD = "[...document.querySelectorAll('audio')].filter((audio) => !audio.muted).map((audio) => audio.dataset.signal)"
POSITIONS = "[...document.querySelectorAll('audio')].map((audio) => audio.currentTime)"


@pytest.fixture(scope="module")
def page(built, tmp_path_factory):
    return make_page(built[1], out=tmp_path_factory.mktemp("page")).page


@pytest.fixture
def opened(page, open_page):  # noqa: F811
    with open_page(page, height=500) as found:
        yield found
        found.check_quiet()


def list_shown(opened):
    return opened.page.eval_on_selector_all(".card", "cards => cards.map((card) => card.getAttribute('aria-label'))")


def wait_for_count(opened, text):
    opened.page.wait_for_function("text => document.getElementById('count').textContent === text", arg=text)


def wait_for(opened, expression):
    opened.page.wait_for_function(f"() => {expression}")  # the page's policy refuses to evaluate text


def wait_until_playing(opened, after_s=0.3):
    wait_for(opened, PLAYS)
    wait_for(opened, f"Math.min(...{POSITIONS}) > {after_s}")


def test_filters_search_and_order(opened, built):
    table, page = open_dataset(built[1]).table, opened.page
    wait_for_count(opened, "10 of 10 mixtures")
    page.locator("[name=category]").select_option("bell")
    wait_for_count(opened, "5 of 10 mixtures")
    page.locator("[name=split]").select_option("test")
    wait_for_count(opened, "2 of 10 mixtures")
    chosen = table[(table["category"] == "bell") & (table["split"] == "test")]
    assert list_shown(opened) == chosen["clip_id"].tolist()
    page.get_by_role("button", name="Clear").click()
    wait_for_count(opened, "10 of 10 mixtures")
    low = table["achieved_snr_db"].sort_values().iloc[6]
    page.get_by_label("SNR from, dB").fill(str(low))
    wait_for_count(opened, "4 of 10 mixtures")
    page.locator("[name=order]").select_option("SNR, high first")
    page.wait_for_timeout(200)
    highest = table.sort_values("achieved_snr_db", ascending=False)["clip_id"].tolist()
    assert list_shown(opened) == highest[:4]
    page.get_by_role("button", name="Clear").click()
    page.locator("[name=label]").select_option("Rain")
    page.get_by_label("Search").fill("DRUM 4-401")
    wait_for_count(opened, "1 of 10 mixtures")
    assert list_shown(opened) == ["4-401-A-1"]
    page.get_by_label("Search").fill("nothing like this")
    wait_for_count(opened, "0 of 10 mixtures")


def test_a_row_says_what_it_is(opened, built):
    row = open_dataset(built[1]).rows()[0]
    card = opened.page.locator(".card").first
    text = card.inner_text().replace("−", "-").replace("\u00a0", " ")
    assert f"{row.split}, fold {row.fold} · SNR {row.achieved_snr_db:.2f} dB (asked: {row.snr_db:.2f} dB)" in text
    assert f"a {row.a_start / 44_100:.1f}–{row.a_start / 44_100 + 5:.1f} s" in text
    assert "background: Rain" in text
    number = row.foreground_file.split("-")[1]
    assert (
        card.get_by_role("link", name=row.foreground_file).get_attribute("href") == f"https://freesound.org/s/{number}/"
    )
    wait_for(opened, "document.querySelectorAll('.card svg path').length >= 5")
    bright = "canvas => Math.max(...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
    assert opened.page.eval_on_selector(".card canvas", "canvas => [canvas.width, canvas.height]") == [60, 40]
    assert opened.page.eval_on_selector(".card canvas", bright) == 255


def test_signals_switch_at_the_same_position_while_they_play(opened, built):
    page = opened.page
    page.locator("h2").click()  # focus is nowhere
    page.keyboard.press("Space")
    wait_until_playing(opened, 0.6)
    assert page.evaluate(HEARD) == ["mix"]
    for key, name in (("2", "a"), ("5", "mix − a"), ("x", "a"), ("x", "mix − a"), ("1", "mix")):
        wait_for(opened, f"Math.max(...{POSITIONS}) - Math.min(...{POSITIONS}) < 0.03")
        before = page.evaluate("getPosition()")
        page.keyboard.press(key)
        assert page.evaluate(HEARD) == [name]
        assert before - 0.05 < page.evaluate("getPosition()") < before + 0.8
    assert page.locator('.panel[aria-pressed="true"]').get_attribute("data-signal") == "0"
    page.keyboard.press("Space")
    assert page.evaluate("player.audio.every((audio) => audio.paused)")
    stopped = page.evaluate("getPosition()")
    page.keyboard.press("3")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("getPosition()") == pytest.approx(stopped + 0.5, abs=0.02)
    page.keyboard.press("0")
    assert page.evaluate(POSITIONS) == [0.0] * 5


def test_everything_works_by_keyboard_alone(opened):
    page = opened.page
    page.keyboard.press("/")
    page.keyboard.type("bell")
    wait_for_count(opened, "5 of 10 mixtures")
    page.keyboard.press("Escape")
    assert page.input_value("input[type=search]") == "bell", "leaving the field keeps what was searched"
    bells = list_shown(opened)
    for key, place in (("j", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        assert page.locator('.card[aria-current="true"]').get_attribute("aria-label") == bells[place]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the second panel
    wait_until_playing(opened)
    assert page.evaluate(HEARD) == ["a"]
    page.keyboard.press("j")  # goes on with the next row
    wait_until_playing(opened)
    assert page.evaluate("[player.row, shown[1]]") == [page.evaluate("shown[1]")] * 2
    assert page.evaluate(HEARD) == ["a"]
    page.keyboard.press("l")
    assert page.get_by_label("repeat").is_checked()
    page.locator("#play").focus()
    page.keyboard.press("Space")  # the button's own key
    assert page.locator("#play").inner_text() == "Play"
    page.locator("#keys summary").click()
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("j")
    assert page.evaluate("player.row === shown[1]")


def test_a_click_on_a_picture_plays_from_there(opened):
    box = opened.page.locator(".card .panel canvas").nth(1)
    box.scroll_into_view_if_needed()
    size = box.bounding_box()
    box.click(position={"x": size["width"] * 0.6, "y": 5})
    wait_until_playing(opened, 3.0)
    assert opened.page.evaluate(HEARD) == ["a"]


def test_only_rows_near_the_window_are_filled(opened, page, open_page):  # noqa: F811
    filled = "document.querySelectorAll('.card h3').length"
    assert 1 <= opened.page.evaluate(filled) < 8
    last = list_shown(opened)[-1]
    with open_page(Path(f"{page}"), height=300) as other:
        other.page.goto(f"{page.as_uri()}#{last}")
        other.page.evaluate("openNamed()")
        assert other.page.locator('.card[aria-current="true"] h3').inner_text() == last
        wait_for(other, f"{filled} < 8 && cards[0].firstChild === null")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False)])
def test_nothing_serious_by_axe(page, open_page, width, dark):  # noqa: F811
    with open_page(page, width=width, dark=dark) as opened:
        opened.page.locator("#keys summary").click()
        opened.page.evaluate("selectRow(0)")
        opened.check_accessible()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        opened.check_quiet()


@pytest.fixture
def hostile(built, tmp_path):
    folder = copy_dataset(built[1], tmp_path / "a#b %20<img src=x>")
    table = open_dataset(folder).table
    name = "audio/mix/a#b?c%20<img src=x onerror=alert(1)>'.wav"
    (folder / table["mix_file"].iloc[0]).rename(folder / name)
    files = [name, *table["mix_file"].iloc[1:]]
    edit_manifest(folder, **{**NEW, "fsd50k_labels": HOSTILE, "category": HOSTILE, "mix_file": files})
    edit_manifest(folder, esc50_title=HOSTILE, esc50_licence="")
    write_attribution(folder)
    attribution = folder / "ATTRIBUTION.csv"
    attribution.write_text(attribution.read_text().replace("https://", "javascript:alert(1)//"))
    return folder


def test_hostile_labels_and_names_stay_text(hostile, tmp_path, open_page):  # noqa: F811
    (hostile / open_dataset(hostile).table["c_file"].iloc[0]).unlink()
    with open_page(make_page(hostile, out=tmp_path / "page.html").page) as opened:
        page = opened.page
        wait_for(opened, "document.querySelectorAll('.card svg path').length >= 4")
        assert page.locator(".card .absent").first.inner_text() == "no audio"
        assert page.locator(".card .chip").first.inner_text() == HOSTILE
        assert HOSTILE in page.locator(".card p").first.inner_text()
        assert page.locator("img").count() == 0
        assert page.locator('a[href^="javascript"]').count() == 0
        page.locator("[name=category]").select_option(HOSTILE)
        page.keyboard.press("Escape")
        page.evaluate("selectRow(1)")
        page.evaluate("togglePlaying()")
        wait_until_playing(opened)
        assert "changed" not in page.title()
        opened.check_quiet()
        opened.check_accessible()


def test_a_page_that_was_moved_says_so_and_can_be_told(built, page, tmp_path, open_page):  # noqa: F811
    moved = tmp_path / "far" / "away" / "page.html"
    moved.parent.mkdir(parents=True)
    shutil.copy(page, moved)
    shutil.copytree(page.with_name("index_remainders"), moved.with_name("index_remainders"))
    with open_page(moved) as opened:
        opened.page.evaluate("selectRow(0)")
        opened.page.locator("#missing", has_text="No audio found for mix, a, b, c").wait_for()
        opened.page.get_by_label("Folder or address of the dataset").fill(str(built[1]))
        opened.page.get_by_role("button", name="Use").click()
        opened.page.locator("#missing").wait_for(state="hidden")
        opened.page.evaluate("togglePlaying()")
        wait_until_playing(opened)


def test_a_page_behind_a_link_finds_the_dataset_from_either_side(built, tmp_path, open_page):  # noqa: F811
    (tmp_path / "real").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "link").symlink_to(tmp_path / "real")
    make_page(built[1], sample=1, out=tmp_path / "a" / "b" / "link")
    with open_page(tmp_path / "real" / "index.html") as opened:
        opened.page.evaluate("togglePlaying()")
        wait_until_playing(opened)
        opened.page.goto((tmp_path / "a" / "b" / "link" / "index.html").as_uri())
        opened.page.evaluate("togglePlaying()")
        wait_until_playing(opened)


def test_audio_in_the_page_plays_alone(built, tmp_path, open_page):  # noqa: F811
    page = make_page(built[1], inline_audio=1, out=tmp_path / "mail.html").page
    with open_page(page) as opened:
        opened.page.evaluate("togglePlaying()")
        wait_until_playing(opened)
        opened.page.keyboard.press("5")
        assert opened.page.evaluate(HEARD) == ["mix − a"]
        assert [url[:30] for url in opened.requests if url.startswith("file:")] == [page.as_uri()[:30]]
        opened.check_quiet()


def test_pairs_play_side_by_side_and_show_their_change(tmp_path, open_page):  # noqa: F811
    pairs = make_pairs(tmp_path / "made")
    pairs.build(tmp_path / "set", limit=14)
    page = make_page(tmp_path / "set", jams=pairs.jams).page
    for width, dark in ((1280, False), (400, True)):
        with open_page(page, width=width, dark=dark) as opened:
            opened.page.locator("[name=kind]").select_option("event added")
            wait_for_count(opened, "4 of 14 pairs")
            opened.page.get_by_label("Search").fill("dev_two")
            wait_for_count(opened, "1 of 14 pairs")
            card = opened.page.locator(".card")
            card.locator(".chip").first.wait_for()
            assert card.locator(".chip.change").all_inner_texts() == ["thunder added", "dog removed"]
            lanes = card.locator(".lanes").nth(1).inner_text()
            assert "thunder added" in lanes
            assert "0.2–0.6 s, SNR 7.0 dB" in lanes
            assert "dog removed" in lanes
            bar = card.locator(".lanes").nth(1).locator(".bar.changed span").first
            share = bar.evaluate("bar => [bar.style.left, bar.style.width]")
            assert share == ["20%", "40%"]
            opened.page.get_by_label("repeat").check()
            opened.page.evaluate("togglePlaying()")
            wait_until_playing(opened, 0.1)
            opened.page.evaluate("document.activeElement.blur()")
            opened.page.keyboard.press("2")
            assert opened.page.evaluate(HEARD) == ["s2"]
            opened.check_accessible()
            opened.check_quiet()
