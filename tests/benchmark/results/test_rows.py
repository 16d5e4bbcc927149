import csv
import fnmatch
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bgknown
from benchmark.predictions import PREDICTION_COLUMNS, read_predictions
from benchmark.results import run_folder as runs
from benchmark.results.rows import COLUMNS, ResultRow, add_rows, format_rows, make_row, read_paper_rows, read_rows
from benchmark.results.run_folder import run_name, write_run
from benchmark.scores import Score
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.provenance import find_commit_of, read_clock

ROOT = Path(__file__).resolve().parents[3]


def row(**changes) -> ResultRow:
    facts = {"encoder": "logmel", "task": "bgknown", "setting": "mix", "metric": "accuracy", "mean": 50.0}
    return ResultRow(**{**facts, "protocol": "paper", **changes})


def predictions(**changes) -> pd.DataFrame:
    facts = {"task": "bgknown", "setting": "mix", "metric": "accuracy", "fold": "", "seed": 0, "score": [1.0, 0.0]}
    table = pd.DataFrame({"clip_id": ["1-1-A-0", "1-2-A-1"], "label": ["bell", "drum"], "predicted": "bell"})
    return table.assign(**{**facts, **changes})


def test_columns_are_those_of_the_contract():
    assert ", ".join(COLUMNS) == (
        "encoder, checkpoint_sha256, task, setting, metric, mean, low, high, std, seeds, alpha, strength, lr, "
        "converged, n_test, n_groups, n_skipped, leak_check, protocol, dataset_sha256, version, commit, date, seconds, "
        "source"
    )


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.none() | st.integers(0, 10**9)
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=8)


@given(mean=st.floats(-1e300, 1e300), std=NUMBERS, seeds=COUNTS, encoder=TEXTS.map(lambda text: f'a,"{text}'))
def test_rows_are_read_as_they_were_written(tmp_path_factory, mean, std, seeds, encoder):
    given_row = row(mean=mean, std=std, seeds=seeds, encoder=encoder)
    path = tmp_path_factory.mktemp("rows") / "leaderboard.csv"
    path.write_text(format_rows([given_row]), encoding="utf-8")
    assert read_rows(path) == [given_row]


def test_numbers_are_written_in_their_shortest_form():
    text = format_rows([row(mean=np.float64(0.1), std=None, seeds=np.int64(3), lr=1e-3)])
    values = dict(zip(*csv.reader(text.splitlines()), strict=True))
    assert (values["mean"], values["std"], values["seeds"], values["lr"]) == ("0.1", "", "3", "0.001")


def test_measured_row_is_percent_with_an_interval_over_clips():
    by_clip = np.repeat([1.0, 0.0], [60, 40])
    facts = {"encoder": "x", "checkpoint_sha256": "ab", "task": "t", "protocol": "paper", "dataset_sha256": "cd"}
    score = Score(setting="a", metric="accuracy", by_seed=[0.59, 0.60, 0.61], by_clip=by_clip, seeds=3, lr=None)
    made = make_row(score, **facts)
    assert (made.mean, made.std, made.n_test, made.seeds) == (pytest.approx(60.0), pytest.approx(1.0), 100, 3)
    assert (made.low, made.high) == pytest.approx((50.1, 69.1), abs=0.3)
    assert (made.n_groups, made.converged, made.alpha, made.strength) == (100, None, None, None)
    assert (made.version, made.source) == (bgknown.__version__, "measured")
    assert abs(pd.Timestamp(made.date) - pd.Timestamp.now("UTC")) < pd.Timedelta("1min")
    single = make_row(replace(score, by_seed=[0.5], by_clip=np.array([0.5]), seeds=0), **facts)
    assert (single.std, single.low, single.high) == (None,) * 3


OLD = Path(__file__).parents[2] / "compatibility" / "0.1.0" / "results" / "leaderboard.csv"


def test_a_table_of_0_1_0_is_read_and_rewritten_with_the_columns_of_today(tmp_path):
    (before,) = csv.DictReader(OLD.read_text().splitlines())
    (read,) = read_rows(OLD)
    assert "n_groups" not in before
    assert [str(end) for end in (read.low, read.high)] == [before["boot_low"], before["boot_high"]]
    assert (read.n_groups, read.converged) == (None, None)
    (tmp_path / "leaderboard.csv").write_bytes(OLD.read_bytes())
    path = add_rows(tmp_path, [row(encoder="new", low=40.0, high=60.0, n_groups=7)])
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert read in read_rows(path)
    assert {one.n_groups for one in read_rows(path)} == {None, 7}


def test_a_run_replaces_its_earlier_rows_and_others_are_kept(tmp_path):
    add_rows(tmp_path / "out", [row(), row(setting="a"), row(encoder="zebra"), row(task="esc50")])
    path = add_rows(tmp_path / "out", [row(mean=60.0), row(checkpoint_sha256="ab"), row(dataset_sha256="cd")])
    found = read_rows(path)
    assert [(one.task, one.encoder, one.setting, one.mean) for one in found if not one.dataset_sha256] == [
        ("bgknown", "logmel", "mix", 60.0),
        ("bgknown", "logmel", "mix", 50.0),
        ("bgknown", "zebra", "mix", 50.0),
        ("esc50", "logmel", "mix", 50.0),
    ]
    before = path.read_bytes()
    add_rows(tmp_path / "out", found[::-1][:1])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change", ["encoder", "checkpoint_sha256", "task", "setting", "metric", "protocol", "dataset_sha256", "source"]
)
def test_every_part_of_the_identity_counts(tmp_path, change):
    other = replace(row(), **{change: "paper" if change == "source" else "other"})
    assert len(read_rows(add_rows(tmp_path, [row(), other]))) == 2


def test_rows_that_0_1_0_measured_as_evar_are_not_mixed_with_those_of_today(tmp_path):
    """The protocol of that name is another one now; a new run of the same name replaces them, as its folder does."""
    earlier = [replace(row(), encoder=name, protocol="evar", version="0.1.0") for name in ("one", "two")]
    path = tmp_path / "leaderboard.csv"
    path.write_text(format_rows(earlier))
    assert [one.protocol for one in read_rows(path)] == ["evar of 0.1.0"] * 2
    add_rows(tmp_path, [replace(row(), encoder="one", protocol="evar", version="0.2.0")])
    assert {(one.encoder, one.protocol) for one in read_rows(path)} == {("one", "evar"), ("two", "evar of 0.1.0")}


ADD = """
import sys
from pathlib import Path
from benchmark.results.rows import ResultRow, add_rows
out, name, count, settings = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for n in range(count):
    add_rows(out, [
        ResultRow(encoder=name, task=f"t{n % 5}", setting=str(s), metric="m", mean=float(n), protocol="paper")
        for s in range(settings)
    ])
"""


def adder(*arguments):
    return subprocess.Popen([sys.executable, "-c", ADD, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE)


def test_no_row_is_lost_between_processes(tmp_path):
    adders = [adder(tmp_path, f"encoder{n}", 5, 2) for n in range(4)]
    for process in adders:
        assert process.communicate(timeout=60)[1] == b""
    found = {one.identity for one in read_rows(tmp_path)}
    assert len(found) == 4 * 5 * 2


def test_a_kill_leaves_a_whole_table(tmp_path):
    kept = add_rows(tmp_path, [row()])
    for attempt in range(3):
        process = adder(tmp_path, "killed", 10_000, 300)
        size, deadline = kept.stat().st_size, time.monotonic() + 30
        while kept.stat().st_size == size and attempt == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(1.0 + 0.037 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        found = read_rows(tmp_path)
        assert row() in found
        # every write adds or replaces the 300 rows of a task at once
        counts = pd.Series([(one.task, one.mean) for one in found if one.encoder == "killed"]).value_counts()
        assert len(counts)
        assert set(counts) == {300}
    add_rows(tmp_path, [row(mean=1.0)])
    assert row(mean=1.0) in read_rows(tmp_path)


def test_lock_that_is_never_released_is_reported_as_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LOCK_TIMEOUT_S", 0.1)
    with (
        filelock.FileLock(tmp_path / "leaderboard.csv.lock"),
        pytest.raises(StorageError, match=r"has held leaderboard.csv.lock for 0.1 s; wait for it"),
    ):
        add_rows(tmp_path, [row()])
    assert not (tmp_path / "leaderboard.csv").exists()


def test_a_planted_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leaderboard.csv.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="leaderboard.csv.lock: is a symbolic link"):
        add_rows(tmp_path / "out", [row()])
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="a file of this name is in the way"):
        add_rows(tmp_path / "out", [row()])


def broken(change):
    lines = format_rows([row(), row(setting="a", std=1.5)]).splitlines(keepends=True)
    return change(lines)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "line 1: column encoder is missing"),
        (broken(lambda lines: lines[0].replace("metric", "metrik")), "line 1: column metric is missing"),
        (broken(lambda lines: "extra," + lines[0]), "line 1: the columns are not those of this version"),
        (broken(lambda lines: "".join(lines)[:-40]), "line 3: .* values instead of 25, column [a-z0-9_]+ is wrong"),
        (broken(lambda lines: "".join(lines)[:-6]), "line 3: .*source is 'mea', must be measured or paper"),
        (broken(lambda lines: "".join(lines).replace("1.5", "1.5x")), "line 3: std is '1.5x'; it must be a number"),
        (broken(lambda lines: "".join(lines).replace("1.5", "nan")), "line 3: .*std is nan, must be a finite number"),
        (broken(lambda lines: "".join(lines).replace("50.0", "")), "line 2: .*mean is missing"),
        (broken(lambda lines: lines[0] + lines[1] * 2), "line 3: the same figure as line 2"),
        (broken(lambda lines: lines[0] + '"' + lines[1]), "not a CSV table"),
        (b"\xff\xfe\x00", "not a CSV table"),
    ],
)
def test_a_damaged_table_is_named_and_left_alone(tmp_path, data, match):
    path = tmp_path / "leaderboard.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match=match) as caught:
        add_rows(tmp_path, [row()])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_no_table_says_how_to_make_one(tmp_path):
    with pytest.raises(NotFoundError, match="no such file; `benchmark run --out .*` makes one"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mean": math.nan}, "mean is nan, must be a finite number"),
        ({"encoder": ""}, "encoder is empty"),
        ({"encoder": "two\nlines"}, "encoder is 'two.nlines', must be one line"),
        ({"task": " bgknown"}, "task is ' bgknown', must be one line without spaces around it"),
        ({"seeds": -1}, "seeds is -1, must not be negative"),
        ({"converged": -0.1}, "converged is -0.1, must not be negative"),
        ({"converged": 1.1}, "converged is 1.1, must be in 0..1"),
        ({"low": 60.0, "high": 40.0}, "low is 60.0 and high 40.0; low must not be above high"),
        ({"source": "guess"}, "source is 'guess', must be measured or paper"),
    ],
)
def test_rows_are_checked(changes, match):
    with pytest.raises(InvalidInputError, match=match):
        row(**changes)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)


def test_commit_says_whether_files_were_changed(tmp_path):
    assert find_commit_of(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert find_commit_of(tmp_path) == ""
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    short = git(tmp_path, "rev-parse", "--short", "HEAD").stdout.strip()
    assert find_commit_of(tmp_path) == short
    (tmp_path / "new").write_text("not part of it")
    assert find_commit_of(tmp_path) == short
    (tmp_path / "file").write_text("two")
    assert find_commit_of(tmp_path) == f"{short}+"


def test_commit_is_empty_without_a_working_git(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    assert find_commit_of(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_commit_of(tmp_path) == ""


def test_now_is_utc_to_the_second():
    assert abs(pd.Timestamp(read_clock()) - pd.Timestamp.now("UTC")) < pd.Timedelta("5s")
    assert len(read_clock()) == len("2025-01-31T12:00:00Z")


FACTS = {"encoder": "hf:facebook/wav2vec2", "checkpoint_sha256": "0123456789", "task": "bgknown"}
FACTS |= {"protocol": "paper", "dataset_sha256": "ab"}


def test_run_name_is_a_folder_name_of_its_own():
    name = run_name(**FACTS)
    assert name.startswith("hf-facebook-wav2vec2-01234567-bgknown-paper-")
    assert name == run_name(**FACTS)
    others = {run_name(**{**FACTS, key: f"{value}x"}) for key, value in FACTS.items()}
    assert len(others | {name}) == 1 + len(FACTS)


@given(encoder=st.text(min_size=1))
def test_run_name_is_safe_whatever_the_encoder(encoder):
    name = run_name(**{**FACTS, "encoder": encoder})
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert not name.startswith("-")
    assert len(name) < 160


def test_running_again_replaces_the_folder(tmp_path):
    name = run_name(**FACTS)
    write_run(tmp_path, name, config={"seeds": 3, "data": "café"}, predictions=predictions(), log="warning: x\n")
    folder = write_run(tmp_path, name, config={"seeds": 1}, predictions=predictions(seed=""))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "predictions.csv"]
    assert folder == tmp_path / "runs" / name
    found = read_predictions(folder)
    assert list(found.columns) == PREDICTION_COLUMNS
    assert found[["encoder", "group", "background"]].to_numpy().tolist() == [["", "", ""]] * 2
    assert found["score"].tolist() == [1.0, 0.0]
    assert found["seed"].tolist() == ["", ""]
    assert found.equals(read_predictions(folder / "predictions.csv"))


def test_a_run_needs_a_name_and_columns(tmp_path):
    with pytest.raises(InvalidInputError, match="run name is '../x'; it must be made of letters"):
        write_run(tmp_path, "../x", config={}, predictions=predictions())
    with pytest.raises(InvalidInputError, match="run x: the predictions lack column label"):
        write_run(tmp_path, "x", config={}, predictions=predictions().drop(columns="label"))
    assert not any(tmp_path.iterdir())


def test_damaged_predictions_are_reported_as_one_line(tmp_path):
    with pytest.raises(NotFoundError, match="no such file; run this benchmark again"):
        read_predictions(tmp_path)
    predictions(score=["1.0", "yes"]).to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(InvalidInputError, match="predictions.csv, line 3: score is 'yes'; it must be a number"):
        read_predictions(tmp_path)


@pytest.mark.parametrize("name", ["=1+1", "@x", "+x", "-x", "'=x", "it's", "'x"])
def test_no_text_is_a_formula_and_all_come_back(tmp_path, name):
    add_rows(tmp_path, [row(encoder=name)])
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["encoder"][0] not in "=+-@"
    assert read_rows(tmp_path)[0].encoder == name
    write_run(tmp_path, "run", config={}, predictions=predictions(label=name, clip_id=["-1.wav", name]))
    with (tmp_path / "runs" / "run" / "predictions.csv").open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert all(each[column][0] not in "=+-@" for each in stored for column in ("label", "clip_id"))
    table = read_predictions(tmp_path / "runs" / "run")
    assert table["label"].tolist() == [name, name]
    assert table["clip_id"].tolist() == ["-1.wav", name]


@pytest.mark.parametrize(
    "content", ["[" * 10_000, "[]", '{"settings": []}', '{"text_encoder": "x"}', '{"a": NaN}', "1" * 5_000, "\0", "{"]
)
def test_a_damaged_configuration_is_none(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert runs.read_configuration(tmp_path) is None


def paper(task, metric="accuracy"):
    return {one.encoder: one.mean for one in read_paper_rows() if (one.task, one.metric) == (task, metric)}


NINE = ["esc50", "us8k", "spcv2", "vc1", "voxforge", "cremad", "gtzan", "nsynth", "surge"]


def test_averages_of_table_3_follow_from_its_cells():
    averages = paper("nine-tasks")
    assert list(averages.values()) == [71.95, 71.93, 71.79, 71.49, 71.18]
    for encoder, average in averages.items():
        assert np.mean([paper(task)[encoder] for task in NINE]) == pytest.approx(average, abs=0.005)


def test_table_3_has_the_published_intervals():
    found = {(one.task, one.encoder): (one.high - one.low) / 2 for one in read_paper_rows() if one.low is not None}
    assert len(found) == 9 * 5
    assert found["cremad", "BYOL-A lambda 0.1"] == 0.0
    assert found["gtzan", "BYOL-A lambda 0"] == pytest.approx(3.93)
    assert found["esc50", "BYOL-A lambda 0.8"] == pytest.approx(2.00)
    assert found["surge", "BYOL-A lambda 0.1"] == pytest.approx(0.02)
    # one checksum of all 45 half-widths, added up by hand from the table
    assert sum(found.values()) == pytest.approx(HALF_WIDTHS)


HALF_WIDTHS = sum(
    (
        1.76 + 0.73 + 0.18 + 0.97 + 0.38 + 2.30 + 3.93 + 0.22 + 0.17,
        1.37 + 0.33 + 0.16 + 0.12 + 1.10 + 0.00 + 0.86 + 0.37 + 0.02,
        0.85 + 0.48 + 0.31 + 0.14 + 0.09 + 1.64 + 3.09 + 0.39 + 0.29,
        1.56 + 0.50 + 0.24 + 0.03 + 0.79 + 0.33 + 1.48 + 0.26 + 0.91,
        2.00 + 0.12 + 0.23 + 0.15 + 0.45 + 1.45 + 1.98 + 0.29 + 0.92,
    )
)


def test_table_2_says_what_the_text_says_about_it():
    rain, traffic = paper("apwd-rain", "R@1"), paper("apwd-traffic", "R@1")
    assert (max(rain.values()), rain["BYOL-A lambda 0"]) == (53.99, 50.23)
    assert (max(traffic.values()), traffic["BYOL-A lambda 0"]) == (39.73, 36.86)
    conventional = "VGGish (Takeuchi et al. 2022)"
    assert (rain[conventional], traffic[conventional]) == (44.5, 39.1)
    for scene in ("apwd-rain", "apwd-traffic"):
        recalls = [paper(scene, f"R@{k}") for k in (1, 5, 10)]
        assert [len(recall) for recall in recalls] == [6, 6, 6]
        assert all(recalls[0][name] < recalls[1][name] < recalls[2][name] for name in recalls[0])


def test_of_table_1_only_the_figure_of_the_text_is_known():
    assert [(one.setting, one.mean, one.encoder) for one in read_paper_rows() if one.task == "bgknown"] == [
        ("mix", 47.0, "BYOL-A any lambda (about)")
    ]
    assert {one.source for one in read_paper_rows()} == {"paper"}


def test_published_facts_are_declared_as_part_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(fnmatch.fnmatch("data_manifests", pattern) for pattern in declared["packages"]["find"]["include"])
    for path in (ROOT / "data_manifests").iterdir():
        if path.is_file() and path.suffix != ".py":
            assert any(path.match(pattern) for pattern in declared["package-data"]["data_manifests"]), path


@pytest.mark.slow
def test_a_wheel_holds_the_published_facts(tmp_path):
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("this setuptools is older than pyproject.toml asks for")
    source = tmp_path / "source"
    listed = [*ROOT.glob("*.toml"), *ROOT.glob("*.md"), ROOT / "LICENSE"]
    for package in ("bgknown", "benchmark", "pretrain", "data_manifests"):
        listed += [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in listed:
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        assert hash_bytes(archive.read("data_manifests/paper_results.csv")) == hash_bytes(
            (ROOT / "data_manifests" / "paper_results.csv").read_bytes()
        )
        archive.extractall(target)
    # read from the wheel's own files, from a folder that is not the checkout
    code = "import benchmark, benchmark.results.rows as r; print(len(r.read_paper_rows()), benchmark.__file__)"
    code += "; from pretrain.config import NAMES, read_config; [read_config(name) for name in NAMES]"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(target), *sys.path[1:]]!r}; {code}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(len(read_paper_rows())), str(target / "benchmark" / "__init__.py")]
