"""Results of three encoders on the tests' dataset and on a task with hostile names, and their page."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from benchmark.pages.leaderboard_page import write_leaderboard_page
from benchmark.results.runs import list_runs
from bgknown.mixtures.dataset import open_dataset
from tests.benchmark.results.made_runs import draw_answers, write_results

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & '\""
HOSTILE_FILE = "a folder#?%/<b>tone</b> 1.wav"
GAINS = ("a* - mix", "a* - shuffled*")
SHARES = {"good": 0.9, "fair": 0.6, HOSTILE: 0.5}
SETTINGS = {"mix": -0.2, "a": 0.0, "a*": 0.05, "shuffled*": -0.2, "clean": 0.1, "clean -> a": -0.1}
BANDS = ("-10", "0", "10")


def write_board(root: Path, dataset: Path) -> Path:
    """Write the results, and the audio of the hostile task, below a folder; gives the page's path."""
    out, found = root / "results", open_dataset(dataset)
    test = found.table[found.table["split"] == "test"]
    labels = dict(zip(test["clip_id"], test["category"], strict=True))
    labels |= {f"9-{n}-A-{n % 3}": ("bell", "drum", HOSTILE)[n % 3] for n in range(36)}
    clips = list(labels)
    groups = [clip.split("-")[1] for clip in clips]
    for number, (encoder, share) in enumerate(SHARES.items()):
        answers = {
            setting: draw_answers(min(1.0, share + more), 10 * number + place, seeds=1, clips=clips)
            for place, (setting, more) in enumerate(SETTINGS.items())
        }
        write_results(
            out, encoder, answers, gains=GAINS, groups=groups, labels=labels, protocol="linear", dataset_sha256=found.id
        )
        hostile = {HOSTILE_FILE: HOSTILE, "plain 2.wav": "bell", **{f"absent {n}.wav": "drum" for n in range(8)}}
        answers = {"plain": draw_answers(share - 0.2, number, seeds=3, clips=list(hostile))}
        write_results(out, encoder, answers, labels=hostile, task="mine", protocol="paper", dataset_sha256="d2")
        recalls = {"a": draw_answers(share - 0.3, number + 50, seeds=1, clips=list(hostile))}
        write_results(out, encoder, recalls, metric="R@1", labels=hostile, task="found", dataset_sha256="d3")
    for run in list_runs(out):
        if run.row.task == "bgknown":
            rows = [
                [band, 12, 5, s, 50.5 + 9 * n, 40.0, 60.25] for n, band in enumerate(BANDS) for s in ("a", "a* - mix")
            ]
            columns = ["band", "n", "n_groups", "setting", "mean", "low", "high"]
            pd.DataFrame(rows, columns=columns).to_csv(run.folder / "snr.csv", index=False)
    for name in (HOSTILE_FILE, "plain 2.wav"):
        (root / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "audio" / name, np.sin(np.arange(8_000) / 9) / 4, 16_000)
    return root / "pages" / "leaderboard.html"


def write_board_page(root: Path, corpora, dataset: Path) -> Path:
    """Write the results and their page, with all audio next to it."""
    page = write_board(root, dataset)
    given = [str(dataset), f"esc50={corpora.esc50}", f"mine={root / 'audio'}"]
    write_leaderboard_page([root / "results"], page, datasets=given)
    return page


def read_blocks(page: Path) -> dict[str, object]:
    """The blocks of data in a page."""
    found = re.findall(r'<script type="application/json" id="data-([^"]+)">(.*?)</script>', page.read_text(), re.S)
    return {name: json.loads(text) for name, text in found}


def wait_for(page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way evaluates text in the page, which its policy refuses."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def wait_until_it_plays(page) -> str:
    """Wait until a page's audio element can play, and give its address, decoded."""
    wait_for(page, "(one => one.readyState >= 3 || one.error !== null)(document.getElementById('audio'))")
    assert page.evaluate("document.getElementById('audio').error") is None
    return page.evaluate("decodeURIComponent(document.getElementById('audio').src)")
