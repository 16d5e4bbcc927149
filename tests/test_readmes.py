"""The READMEs: their commands and examples run, they name every command, and their option tables match the help."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark import tasks
from benchmark.cli import main as benchmark
from benchmark.protocol import PROTOCOLS, ComposedSettings
from bgknown.apwd import scenes
from bgknown.apwd.draw import PairDrawOptions, draw
from bgknown.apwd.pair_draw import PairRules
from bgknown.apwd.sources.prepare import PrepareOptions, prepare
from bgknown.cli import main
from bgknown.corpora import miniature
from pretrain.cli import main as pretrain
from tests.benchmark import corpora
from tests.benchmark.embedding.test_texts import distilbert
from tests.bgknown.corpora.made_tables import make_tables
from tests.option_tables import READMES, ROOT, fill


def make_published(root):
    """A small imitation of the published APwD: lists of sources, and JAMS pairs made from them."""
    published = root / "apwd-dataset"
    events = list(scenes.read_published_scenes().esc50)
    for label, place in (("rain", 0), ("car_passing", 4)):
        folder = published / "org_audio_csv" / "background" / "fsd50k" / label
        folder.mkdir(parents=True)
        for part, start in (("dev", 20_000), ("eval", 30_000)):
            numbers = [start + place + extra for extra in (2, 3) if part == "dev" or place == 0]
            numbers = numbers or [start + 1, start + 4]
            (folder / f"{part}.csv").write_text("\n".join(["fname,label", *(f"{n},{label}" for n in numbers)]))
    folder = published / "org_audio_csv" / "event" / "esc50"
    folder.mkdir(parents=True)
    clips = pd.read_csv(root / "ESC-50" / "meta" / "esc50.csv")
    for target, label in enumerate(events):
        names = clips["filename"][clips["target"] == target]
        rows = [f"{name},{label},TRUE," for name in names]
        (folder / f"{label}.csv").write_text("\n".join(["fname,label,clean,noise desc", *rows]))
    source = root / "first-source"
    folders = {"fsd50k": root / "FSD50K", "esc50": root / "ESC-50", "cache": root / "cache"}
    prepare(PrepareOptions(lists=published / "org_audio_csv", out=source, jobs=1, **folders))
    rules = PairRules(kinds={"event_added": 1.0, "event_louder": 1.0})
    few = {"dev": 3, "eval": 2}
    draw(PairDrawOptions(source=source, out=published / "datasets", scene="rain", pairs=few, rules=rules, jobs=1))


def make_nine(root):
    """Two corpora of the nine tasks, without the others; a custom task, and a table of splits."""
    for name in ("spcv2", "voxforge"):
        corpora.MAKERS[name](root / "corpora" / name)
    commands = tasks.load_task("spcv2").index(root / "corpora" / "spcv2")
    commands.assign(file="corpora/spcv2/" + commands["file"]).to_csv(root / "digits.csv", index=False)
    uploads = tasks.load_task("voxforge").index(root / "corpora" / "voxforge")
    (root / "evar" / "metadata").mkdir(parents=True)
    columns = {"file": "file_name"}
    uploads.rename(columns=columns).drop(columns="group").to_csv(root / "evar" / "metadata" / "voxforge.csv")


def commands(group, name):
    yield name
    for child, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {child}")


COMMANDS = {"bgknown": main, "benchmark": benchmark, "pretrain": pretrain}
ALL = [*commands(main, "bgknown"), *commands(benchmark, "benchmark"), *commands(pretrain, "pretrain")]


@pytest.mark.parametrize("name", [name for name in ALL if " " in name])
def test_every_command_is_named_in_a_readme(name):
    assert any(f"`{name}`" in path.read_text() or f"{name} " in path.read_text() for path in READMES)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_option_tables_match_the_help(path):
    assert fill(path.read_text()) == path.read_text(), "run `python -m tests.option_tables --write`"


@pytest.mark.parametrize("path", [*READMES, *(ROOT / ".github").glob("*.md")], ids=lambda path: path.name)
def test_links_have_targets(path):
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        place = path.parent / target if target else path
        assert place.exists(), target
        assert not heading or heading in list_anchors(place), f"{target}#{heading}"


def list_anchors(path):
    """The headings of a page, as GitHub's links name them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_contributing_shows_the_test_command_of_the_readme():
    """CI takes it from the README, and a contributor from CONTRIBUTING.md."""
    found = [
        [
            line
            for line in (ROOT / name).read_text().splitlines()
            if line.startswith("python3 -m venv") and "pytest" in line
        ]
        for name in ("README.md", ".github/CONTRIBUTING.md")
    ]
    assert len(found[0]) == 1
    assert found[0] == found[1]


SMALL = {"takes": 1, "recordings": (8, 6)}
QUICK = dataclasses.replace(PROTOCOLS["paper"], seeds=2, max_epochs=3, retrieval=ComposedSettings(epochs=3))
EACH_EXAMPLE = f"""
import json, os, pathlib, sys, types
import librosa, pandas, scipy.stats, sklearn, soundfile, torch  # once, not in every example
from bgknown.corpora import miniature

miniature.make.__wrapped__.__kwdefaults__ = {SMALL!r}
for example in json.loads(pathlib.Path("examples.json").read_text()):
    if not os.fork():  # alone, as a program of its own
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(example, "example", "exec"), vars(sys.modules["__main__"]))
        sys.exit()
    if os.wait()[1]:
        sys.exit("this example failed:\\n" + example)
"""


@pytest.mark.slow
def test_commands_and_examples_of_the_readmes_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(miniature.make.__wrapped__, "__kwdefaults__", SMALL)  # what --miniature makes
    monkeypatch.setitem(PROTOCOLS, "paper", QUICK)
    miniature.make(tmp_path)  # ESC-50 and FSD50K in the folders that the commands name
    make_published(tmp_path)
    make_nine(tmp_path)
    make_tables(tmp_path)
    distilbert(tmp_path / "minilm")
    texts = [path.read_text() for path in READMES]
    blocks = [block for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.S)]
    parts = [part.strip() for block in blocks for line in block.strip().split("\n") for part in line.split("&&")]
    ran = [
        words for words in map(shlex.split, dict.fromkeys(parts)) if words[0] in {"bgknown", "benchmark", "pretrain"}
    ]
    ran = [words for words in ran if words[1] != "demo"]  # has its own test
    monkeypatch.chdir(tmp_path)
    for words in ran:
        end = words.index(">") if ">" in words else len(words)
        few = ["--mixtures", "64"] if words[1] == "head" else []
        result = CliRunner().invoke(COMMANDS[words[0]], [*words[1:end], *few])
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
        if end < len(words):
            (tmp_path / words[-1]).write_text(result.stdout)
    assert len(ran) >= 12
    python = [block for text in texts for block in re.findall(r"```python\n(.*?)```", text, re.S)]
    assert len(python) >= 8
    (tmp_path / "examples.json").write_text(json.dumps(python))
    subprocess.run([sys.executable, "-c", EACH_EXAMPLE], cwd=tmp_path, check=True)
