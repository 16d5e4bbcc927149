"""The shell of pages, in a browser and without one."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from bgknown.pages.shell import format_data, render_page
from tests.browser import browser, open_page  # noqa: F401  (fixtures)

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \u2028 \" ' \u202efdp.exe"
TEMPLATE = '{% extends "shell.html" %}{% block main %}<p id="said">{{ said }}</p><div id="made"></div>{% endblock %}'
SCRIPT = """
const hostile = readData("hostile").text;
document.getElementById("made").append(make("p", {title: hostile}, hostile), makeLink(hostile, "link"));
const audio = make("audio", {id: "audio", src: encodePath("a folder#?%/tone.wav"), controls: true});
document.getElementById("made").append(audio);
"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "template.html").write_text(TEMPLATE)
    (tmp_path / "script.js").write_text(SCRIPT)
    out = tmp_path / "out"
    (out / "a folder#?%").mkdir(parents=True)
    soundfile.write(out / "a folder#?%" / "tone.wav", np.sin(np.arange(4410) / 10), 44_100)
    html = render_page(
        tmp_path / "template.html",
        title=HOSTILE,
        data={"hostile": {"text": HOSTILE}},
        scripts=[tmp_path / "script.js"],
        said=HOSTILE,
    )
    (out / "page.html").write_text(html, encoding="utf-8")
    return out / "page.html"


def test_data_cannot_end_their_element():
    text = format_data({"text": HOSTILE})
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"text": HOSTILE}
    with pytest.raises(ValueError, match="Out of range"):
        format_data(float("nan"))


def test_hostile_text_adds_no_element(page):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found = []

        def handle_starttag(self, tag, attrs):
            self.found.append(tag)

    tags = Tags()
    tags.feed(page.read_text())
    assert tags.found.count("script") == 3
    assert "img" not in tags.found


@pytest.mark.browser
def test_hostile_text_is_shown_as_text_and_files_beside_the_page_play(page, open_page):  # noqa: F811
    with open_page(page) as opened:
        assert opened.page.inner_text("#said").startswith("</script><script>alert(1)")
        assert opened.page.inner_text("#made p").startswith("</script><script>alert(1)")
        assert opened.page.locator("#made a, #made img").count() == 0
        for shown in ("#said", "#made p", "h1"):  # nothing turns the direction of the text
            assert opened.page.inner_text(shown).endswith("\\u202efdp.exe")
        ready = opened.page.evaluate(
            "new Promise((done, fail) => { const audio = document.getElementById('audio');"
            " if (audio.readyState >= 3) done(true); audio.addEventListener('canplay', () => done(true));"
            " audio.addEventListener('error', () => fail(audio.error.message)); })"
        )
        assert ready
        opened.check_quiet()
        opened.check_accessible()


@pytest.mark.browser
def test_the_policy_refuses_what_was_not_put_in(page, open_page):  # noqa: F811
    changed = page.read_text().replace("<main", '<script>document.title = "changed"</script><main', 1)
    page.write_text(changed)
    with open_page(page) as opened:
        assert opened.page.title() != "changed"
        assert any("Content Security Policy" in error for error in opened.errors)
