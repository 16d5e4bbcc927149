import pandas as pd
import pytest
from click.testing import CliRunner

from bgknown.cli import main
from bgknown.corpora.miniature import make
from tests.bgknown.apwd.conftest import make_pairs


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["apwd", *(str(argument) for argument in arguments)])
    assert result.exit_code == status, result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    make(root, takes=1, recordings=(8, 6))
    return ["--fsd50k", root / "FSD50K", "--esc50", root / "ESC-50", "--cache", root / "cache"]


def test_from_corpora_to_a_set(corpora, tmp_path):
    labels = ["--background", "noise=Rain,Ocean,Wind", "--event", "bell", "--event", "wail=siren"]
    prepared = run("prepare", *corpora, *labels, "--out", tmp_path / "source", "--jobs", 1)
    assert "dev    foreground  wail                      4" in prepared.output
    assert "sources prepared, 0 kept" in prepared.output
    again = run("prepare", *corpora, *labels, "--out", tmp_path / "source", "--jobs", 1)
    assert "was already complete; nothing was done" in again.output
    bare = ["draw", "--source", tmp_path / "source", "--scene", "noise", "--out", tmp_path / "bare", "--pairs", 1]
    suggested = run(*bare, status=1).stderr.splitlines()
    assert [line.partition("; ")[2] for line in suggested] == [
        "to draw the classes that are there, add --event bell --event wail"
    ]
    run(*bare, "--event", "bell", "--event", "wail", "--jobs", 1, "--kind", "event_added=1")
    scenes = tmp_path / "scenes.toml"
    scenes.write_text(
        '[splits.dev]\nfsd50k = "dev"\nesc50_folds = [1, 2, 3, 4]\n[splits.eval]\nfsd50k = "eval"\nesc50_folds = [5]\n'
        '[scenes.weather]\nbackground = "noise"\nfsd50k = ["Rain"]\nevents = ["bell", "wail"]\n'
        '[events.bell]\nesc50 = "bell"\n[events.wail]\nesc50 = "siren"\n'
    )
    draw = [
        "draw",
        "--source",
        tmp_path / "source",
        "--scenes",
        scenes,
        "--scene",
        "weather",
        "--out",
        tmp_path / "jams",
    ]
    kinds = ["--kind", "event_added=3", "--kind", "event_removed=1", "--changes", "1", "--snr", 0, 1]
    drawn = run(*draw, *kinds, "--pairs", "dev=4", "--pairs", "2", "--name", "storm", "--jobs", 1)
    assert drawn.output.startswith("dev                         4 pairs\neval                        2 pairs\n")
    assert f"JAMS   {tmp_path / 'jams' / 'storm'}" in drawn.output
    drawn = run(*draw, *kinds, "--pairs", "dev=1", "--name", "dev", "--out", tmp_path / "other", "--jobs", 1)
    assert drawn.output.startswith("dev                         1 pairs\neval                        0 pairs\n")
    both = ["--scenes", scenes, "--jobs", 1]
    built = run("build", "--jams", tmp_path / "jams", "--source", tmp_path / "source", "--out", tmp_path / "set", *both)
    assert "6 made, 0 kept" in built.output
    table = pd.read_csv(tmp_path / "set" / "manifest.csv")
    assert set(table["scene"]) == {"weather"}
    assert table["changes"].str.match("event_(added|removed):(bell|wail)$").all()
    verified = run("verify", tmp_path / "set", "--jams", tmp_path / "jams", "--source", tmp_path / "source", *both)
    assert "ok: 6 pairs, 12 files" in verified.output


def test_build_and_verify_report_what_they_did(made, tmp_path):
    build = ["build", "--jams", made.jams, "--source", made.source, "--out", tmp_path / "set", "--jobs", 1]
    first = run(*build)
    assert "rain         dev         7           6        1  " in first.output
    assert f"audio  {tmp_path / 'set' / 'audio'}" in first.output
    assert "was already complete; nothing was done" in run(*build).output
    against = ["--jams", made.jams, "--source", made.source, "--against-scaper", 3]
    checked = run("verify", tmp_path / "set", *against, "--jobs", 1)
    assert "ok: 14 pairs, 28 files, 3 rendered by Scaper too: 3 equal, 0 off by one step at most" in checked.output
    next((tmp_path / "set").rglob("*.wav")).unlink()
    broken = run("verify", tmp_path / "set", "--jobs", 1, status=1)
    assert "No such file or directory" in broken.stdout
    assert "1 fault" in broken.stderr


def test_manifest_only_writes_no_audio(made, tmp_path):
    result = run("build", "--jams", made.jams, "--manifest-only", "--out", tmp_path / "set", "--jobs", 1, "--limit", 3)
    assert "audio" not in result.output
    assert len(pd.read_csv(tmp_path / "set" / "manifest.csv")) == 3


DRAW = ["draw", "--source", "x", "--scene", "rain", "--out", "y"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["build", "--jams", "x", "--out", "y"], 2, "give --source to render audio, or --manifest-only to write none"),
        (["build", "--jams", "x", "--source", "s", "--manifest-only", "--out", "y"], 2, "give --source to render"),
        (["build", "--jams", "x", "--manifest-only", "--out", "y"], 1, "error: x: no such folder"),
        (["build", "--jams", "x", "--source", "s", "--out", "y"], 1, "error: s: not a source tree"),
        (["verify", "x"], 1, "error: x/dataset.json: missing"),
        (DRAW, 1, "error: x: not a source tree"),
        ([*DRAW, "--pairs", "dev"], 2, "--pairs is dev; it must"),
        ([*DRAW, "--pairs", "=5"], 2, "--pairs is =5; it must"),
        ([*DRAW, "--pairs", "dev=5", "--pairs", "dev=6"], 2, "--pairs is given twice for dev; give it once"),
        ([*DRAW, "--pairs", "5", "--pairs", "6"], 2, "--pairs is given twice for every split"),
        (
            [*DRAW, "--kept", "a"],
            2,
            "--kept is a; it must",
        ),
        (
            [*DRAW, "--kind", "sing=1"],
            1,
            "'sing' is not a kind of change",
        ),
        (["prepare", "--fsd50k", "x", "--esc50", "y", "--out", "z"], 1, "no such folder"),
        (
            ["prepare", "--fsd50k", "x", "--esc50", "y", "--out", "z", "--event", "a", "--event", "a=b"],
            2,
            "given twice",
        ),
        (
            ["prepare", "--fsd50k", "x", "--esc50", "y", "--out", "z", "--repeat-samples"],
            1,
            "only with style audiodiffcaps",
        ),
    ],
)
def test_impossible_requests_are_reported_in_one_line(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, status=status)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_reported_in_one_line(made, tmp_path, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("bgknown.apwd.build.build", interrupted)
    result = run("build", "--jams", made.jams, "--manifest-only", "--out", tmp_path / "set", status=130)
    assert "interrupted; finished work is kept, and the same command resumes where it left off" in result.stderr
