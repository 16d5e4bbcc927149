"""The commands of .github/REPRODUCE.md, from corpora to tables, on miniature corpora."""

import itertools
import re
import shlex
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from bgknown.apwd.draw import PairDrawOptions, draw
from bgknown.apwd.pair_draw import PairRules
from bgknown.corpora.miniature import make
from tests.benchmark import corpora
from tests.benchmark.embedding.test_texts import distilbert
from tests.test_readmes import COMMANDS, ROOT, make_published

DOCUMENT = ROOT / ".github" / "REPRODUCE.md"
LAMBDAS = ("0", "0.1", "0.2", "0.5", "0.8")
QUICK = "seeds = 1\nmax_epochs = 2\n[retrieval]\nepochs = 2\n"
SUBSTITUTES = {
    "paper": {"pretrain": "smoke", "benchmark": "quick.toml"},
    "evar": {"benchmark": "quick.toml"},
    "distilbert-base-uncased": {"benchmark": "minilm"},
    "200000": {"pretrain": "8"},
    "20": {"bgknown": "2"},
}
"""Words of the document that need a network or hours, and what takes their place in the commands of a package."""
FURTHER = {"bgknown build": ["--limit", "48"], "benchmark plot": ["--format", "svg"]}
"""Options that some commands get here too."""
RUN = ("0", "0.5")
"""The models that are trained and measured here; another one is the same command with another number."""


def list_commands(text):
    """The words of each command in the bash blocks, whose lines may go on after a backslash."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").strip().splitlines():
            yield shlex.split(line)


def substitute(words):
    """A command in the small; none for a model that is left out."""
    left_out = [f"runs/lambda-{weight}" for weight in LAMBDAS if weight not in RUN]
    if words[:2] == ["pretrain", "train"] and words[-1] in left_out:
        return []
    kept = [SUBSTITUTES.get(word, {}).get(words[0], word) for word in words]
    for folder in left_out:
        if f"{folder}/checkpoint.pt" in kept:
            place = kept.index(f"{folder}/checkpoint.pt")
            del kept[place - 1 : place + 1]
    return [*kept, *FURTHER.get(" ".join(kept[:2]), [])]


def make_inputs(root):
    """The folders of step 1 in the small: all of them exist, but the corpora of two of the nine tasks are enough."""
    make(root, takes=1, recordings=(8, 6))
    make_published(root)
    draw(
        PairDrawOptions(
            source=root / "first-source",
            out=root / "apwd-dataset" / "datasets",
            scene="traffic",
            pairs={"dev": 3, "eval": 2},
            rules=PairRules(kinds={"event_added": 1.0, "event_louder": 1.0}),
            jobs=1,
        )
    )
    for name in ("spcv2", "cremad"):
        corpora.MAKERS[name](root / "corpora" / name)
    shutil.copytree(root / "FSD50K" / "FSD50K.dev_audio", root / "audioset")
    distilbert(root / "minilm")
    (root / "quick.toml").write_text(QUICK)


def test_the_document_names_the_paper_s_lambdas_in_every_table():
    commands = list(list_commands(DOCUMENT.read_text()))
    assert [words[words.index("--lambda") + 1] for words in commands if "--lambda" in words] == list(LAMBDAS)
    measured = [words for words in commands if words[:2] == ["benchmark", "run"]]
    assert len(measured) == 3
    for words in measured:
        given = [after for word, after in itertools.pairwise(words) if word == "--encoder"]
        assert given == [f"runs/lambda-{weight}/checkpoint.pt" for weight in LAMBDAS]


@pytest.mark.slow
def test_the_commands_run_from_corpora_to_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    for words in filter(None, map(substitute, list_commands(DOCUMENT.read_text()))):
        end = words.index(">") if ">" in words else len(words)
        result = CliRunner().invoke(COMMANDS[words[0]], words[1:end])
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
        if end < len(words):
            (tmp_path / words[-1]).write_text(result.stdout)
    board = pd.read_csv(tmp_path / "results" / "leaderboard.csv")
    names = {f"lambda-{weight}" for weight in RUN}
    wanted = {
        "bgknown": {"mix", "a", "b", "c"},
        "apwd-rain": {"audio+text"},
        "apwd-traffic": {"audio+text"},
        **{task: {"clip"} for task in ("esc50", "spcv2", "cremad")},
    }
    for task, settings in wanted.items():
        rows = board[board["task"] == task]
        assert set(rows["encoder"]) == names, task
        for name in names:
            assert settings <= set(rows["setting"][rows["encoder"] == name]), (task, name)
    assert "BYOL-A lambda 0" in (tmp_path / "results" / "leaderboard.md").read_text()
    assert r"\begin{tabular}" in (tmp_path / "tables.tex").read_text()
    assert list((tmp_path / "results" / "plots").glob("*lambda*.csv"))
