"""The leaderboard page in Chromium: what a reader does with it, by mouse and by keyboard."""

import io

import pandas as pd
import pytest

from benchmark.pages.leaderboard_page import write_leaderboard_page
from benchmark.predictions import read_predictions
from benchmark.results.board import BoardOptions
from benchmark.results.classes import format_confusion
from benchmark.results.export import format_latex, format_page
from benchmark.results.leaderboard import arrange
from benchmark.results.rows import read_rows
from benchmark.results.runs import list_runs
from tests.benchmark.pages.made_pages import HOSTILE, HOSTILE_FILE, wait_for, wait_until_it_plays
from tests.benchmark.results.made_runs import draw_answers, write_results
from tests.browser import browser, open_page  # noqa: F401  (fixtures)

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(board_folder, open_page):  # noqa: F811
    with open_page(board_folder / "pages" / "leaderboard.html") as opened:
        yield opened
        opened.check_quiet()


def read_encoders(opened):
    return opened.page.locator("#board tbody .encoder").all_inner_texts()


def open_tab(opened, start):
    opened.page.locator('[role="tab"]', has_text=start).click()


def answers(board_folder, encoder, setting):
    """Right or wrong of each clip of an encoder on BgKnown."""
    run = next(
        run for run in list_runs(board_folder / "results") if (run.row.encoder, run.row.task) == (encoder, "bgknown")
    )
    table = read_predictions(run.folder)
    return table[table["setting"] == setting].set_index("clip_id")["score"]


def test_sorting_filtering_and_search(opened):
    page = opened.page
    open_tab(opened, "bgknown · linear")
    assert read_encoders(opened) == ["good", "fair", HOSTILE]
    assert page.locator('#board th[aria-sort="descending"]').inner_text() == "a*"
    page.locator("#board th button", has_text="encoder").click()
    assert read_encoders(opened) == [HOSTILE, "fair", "good"]
    assert page.locator('#board th[aria-sort="ascending"]').inner_text() == "encoder"
    page.locator("#board th button", has_text="a* - mix").click()
    figures = [float(text) for text in page.locator("#board tbody tr td:nth-child(6) .mean").all_inner_texts()]
    assert figures == sorted(figures, reverse=True)
    page.locator("#board th button", has_text="a* - mix").click()
    assert [float(text) for text in page.locator("#board tbody tr td:nth-child(6) .mean").all_inner_texts()] == figures[
        ::-1
    ]
    page.fill("#search", "FAI")
    assert read_encoders(opened) == ["fair"]
    assert page.inner_text("#count") == "1 of 3 encoders · accuracy in %"
    page.fill("#search", "")
    assert not page.locator("#filter-tied").is_visible()  # folded away
    page.click("#filters-title")
    page.check("#filter-tied")
    assert read_encoders(opened) == ["good"]
    assert page.inner_text("#filters-title") == "Filters (1 on)"
    page.uncheck("#filter-tied")
    page.uncheck("#filter-ours")
    assert read_encoders(opened) == []


def test_tabs_metrics_and_columns(opened):
    page = opened.page
    assert page.locator('[role="tab"]').count() == 3
    open_tab(opened, "bgknown · paper")
    assert page.locator("#board tbody .badge", has_text="as published").count() >= 1
    assert page.locator("#board button.figure").count() == 0  # nobody has their predictions
    open_tab(opened, "bgknown · linear")
    assert page.locator("#board thead th").count() == 3 + 6
    page.get_by_role("button", name="All settings").click()
    assert page.locator("#board thead th").count() == 3 + 8
    assert (
        max(len(text.split(".")[-1].rstrip("]")) for text in page.locator(".mean").all_inner_texts() if "." in text)
        <= 2
    )


def test_the_shown_columns_are_explained_in_words(opened):
    page = opened.page
    open_tab(opened, "bgknown · linear")
    assert page.locator("#columns").is_visible()
    explained = page.locator("#columns strong").all_inner_texts()
    assert "a* - mix" in explained
    assert "a* minus mix, on the same clips" in page.inner_text("#columns")


def test_copies_are_what_the_command_prints(board_folder, opened):
    page = opened.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_tab(opened, "bgknown · linear")
    board = arrange(read_rows(board_folder / "results"), BoardOptions(), outs=[board_folder / "results"])
    copied = {}
    for form, name in (("latex", "LaTeX"), ("markdown", "Markdown"), ("csv", "CSV")):
        page.click(f"#copy-{form}")
        wait_for(page, f"document.getElementById('copied').textContent === 'Copied as {name}'")
        copied[form] = page.evaluate("navigator.clipboard.readText()")
    assert copied["latex"].startswith("\\begin{table}")
    assert copied["latex"] in format_latex(board)
    assert copied["markdown"].count("\n") == 4
    assert copied["markdown"] in format_page(board)
    table = pd.read_csv(io.StringIO(copied["csv"]))
    line = next(table for table in board.tables if table.protocol == "linear").lines[0]
    assert table.loc[0, ["encoder", "rank", "tie"]].tolist() == ["good", line.rank.place, line.rank.tie]
    assert table.loc[0, "a mean"] == pytest.approx(line.cells[0].row.mean, abs=1e-4)


def test_a_figure_opens_the_wrong_clips_which_play(board_folder, built, opened):
    page = opened.page
    open_tab(opened, "bgknown · linear")
    row = page.locator("#board tbody tr", has_text="fair")
    row.locator("button.figure").nth(4).click()  # mix
    wrong = answers(board_folder, "fair", "mix")
    wrong = set(wrong.index[wrong == 0])
    assert page.locator("#clips [role=status]").inner_text() == f"{len(wrong)} of 40 clips: wrong"
    more = page.locator("#clips > div > button", has_text="Show")
    if more.is_visible():
        more.click()
    assert set(page.locator("#clips th.clip").all_inner_texts()) == wrong
    for signal, name in (("mix", "audio/mix/"), ("clean", "ESC-50/audio/")):
        page.select_option("#clips-part", "right")
        buttons = page.locator(f'#clips button.play:has-text("▶ {signal}")')
        if buttons.count() == 0:
            page.select_option("#clips-part", "wrong")
        buttons.first.click()
        assert name in wait_until_it_plays(page)
    assert page.inner_text("#playing").startswith("clean clip of ")


def test_a_hostile_file_plays_and_hostile_labels_are_text(opened):
    page = opened.page
    open_tab(opened, "several tasks · paper")
    page.locator("#board button.figure").first.click()
    page.select_option("#clips-part", "right")
    if HOSTILE_FILE not in page.locator("#clips th.clip").all_inner_texts():
        page.select_option("#clips-part", "wrong")
    line = page.locator("#clips tbody tr", has_text=HOSTILE_FILE)
    assert line.locator("td").first.inner_text() == HOSTILE
    line.locator("button.play").first.click()
    assert wait_until_it_plays(page).endswith(HOSTILE_FILE)
    assert "seeds)" in page.inner_text("#clips tbody")


def test_two_encoders(board_folder, opened):
    page = opened.page
    open_tab(opened, "bgknown · linear")
    page.click("#pairs summary")
    good, fair = (answers(board_folder, name, "a*") for name in ("good", "fair"))
    counts = {"a": (good > fair).sum(), "b": (good < fair).sum(), "right": ((good == fair) & (good == 1)).sum()}
    for part, count in counts.items():
        assert page.inner_text(f"#part-{part}").endswith(f": {count}")
    assert page.inner_text("#difference strong").startswith(f"A − B: {100 * (good - fair).mean():+.1f} [")
    page.click("#part-b")
    assert set(page.locator("#pairs th.clip").all_inner_texts()) == set(good.index[good < fair])
    page.select_option("#pair-b", label=HOSTILE)
    page.select_option("#setting-a", "mix")
    one, two = answers(board_folder, "good", "mix"), answers(board_folder, HOSTILE, "a*")
    assert page.inner_text("#part-a").endswith(f": {(one > two).sum()}")
    assert "benchmark compare 'good:mix'" in page.inner_text("#pairs")
    # a gain opens its two settings
    page.locator("#board tbody tr", has_text="fair").locator("button.figure", has_text="+").first.click()
    assert page.locator("#pair-a").input_value() == page.locator("#pair-b").input_value()
    assert {page.locator(f"#setting-{mark}").input_value() for mark in "ab"} <= {"a*", "mix", "shuffled*"}


def test_confusion_is_that_of_the_command(board_folder, opened):
    page = opened.page
    open_tab(opened, "bgknown · linear")
    printed = pd.read_csv(
        io.StringIO(format_confusion(read_rows(board_folder / "results"), [board_folder / "results"]))
    )
    printed = printed[(printed["encoder"] == "fair") & (printed["setting"] == "a") & (printed["task"] == "bgknown")]
    shown = page.evaluate(
        "() => { const line = currentTable().lines.find((one) => one.name === 'fair');"
        " return countConfusion(makeSide(line.cells[0][5], 'fair', 'a', 'accuracy')); }"
    )
    expected = set(printed[["label", "predicted", "count"]].itertuples(index=False, name=None))
    assert {(one["label"], one["predicted"], one["count"]) for one in shown} == expected
    page.click("#classes summary")
    page.select_option("#confusion-encoder", label="fair")
    page.select_option("#class-setting", label="a")
    first = page.locator("table.confusions tbody tr").first
    count = int(first.locator("td.number").inner_text())
    first.locator("button").click()
    assert page.locator("#clips tbody tr").count() == count
    page.locator("#classes th button", has_text="fair").click()
    page.click("#bands summary")
    page.select_option("#band-setting", "a")
    assert page.locator("#bands svg.chart .series").count() == 3


def test_the_keyboard_alone(opened):
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.getAttribute('aria-selected')")
    while not page.evaluate("document.activeElement.textContent").startswith("bgknown · linear"):
        page.keyboard.press("ArrowRight")
    assert chosen == "true"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "figure":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "H2"  # the heading of the clips
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "play":
            break
    page.keyboard.press("Enter")
    assert wait_until_it_plays(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe(board_folder, open_page, dark):  # noqa: F811
    with open_page(board_folder / "pages" / "leaderboard.html", dark=dark) as opened:
        page = opened.page
        open_tab(opened, "bgknown · linear")
        page.locator("#board button.figure").first.click()
        for part in ("filters-title", "pairs summary", "classes summary", "bands summary"):
            page.click(f"#{part}")
        page.locator("#clips button.play").first.click()
        opened.check_accessible()
        opened.check_quiet()


def test_without_audio_the_page_says_how_to_get_it(board_folder, tmp_path, open_page):  # noqa: F811
    write_leaderboard_page([board_folder / "results"], tmp_path / "page.html")
    with open_page(tmp_path / "page.html", width=400) as opened:
        open_tab(opened, "bgknown · linear")
        opened.page.locator("#board button.figure").first.click()
        assert "--dataset DIR" in opened.page.inner_text("#clips .notice")
        assert opened.page.locator("#clips button.play").count() == 0
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 400
        opened.check_quiet()


def test_pairs_of_several_tasks_are_of_the_same_clips(tmp_path, open_page):  # noqa: F811
    answers = {"plain": draw_answers(0.5, 1, seeds=1, clips=["1.wav", "2.wav", "3.wav", "4.wav"])}
    for encoder, task in (("one", "mine"), ("one", "yours"), ("other", "yours")):
        labels = dict.fromkeys(["1.wav", "3.wav"], "cat") | dict.fromkeys(["2.wav", "4.wav"], "dog")
        write_results(tmp_path, encoder, answers, labels=labels, task=task, protocol="linear", dataset_sha256=task)
    write_leaderboard_page([tmp_path], tmp_path / "page.html")
    with open_page(tmp_path / "page.html") as opened:
        opened.page.click("#pairs summary")
        opened.page.wait_for_selector("#pair-b")
        chosen = "document.getElementById('pair-{}').selectedOptions[0].textContent"
        assert [opened.page.evaluate(chosen.format(mark)) for mark in "ab"] == ["one, yours", "other, yours"]
        assert "4 clips, accuracy" in opened.page.inner_text("#pairs")
        opened.check_quiet()
