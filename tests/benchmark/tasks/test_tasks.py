"""One contract for all nine tasks, on miniature corpora in each owner's layout."""

import dataclasses
import json
import math
import re

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark import evaluate as evaluating
from benchmark import record, tasks
from benchmark.cli import main
from benchmark.embedding.embed import EmbedSettings
from benchmark.encoders.registry import load_encoder
from benchmark.evaluation import gradient
from benchmark.predictions import read_predictions
from benchmark.probe import standardised
from benchmark.protocol import PROTOCOLS
from benchmark.results.rows import read_rows
from benchmark.tasks import bgknown, inventory
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from tests.benchmark.corpora import copy_of, make_all

NINE = tasks.SUITES["nine"]
RATES = (1e-3, 1e-2)
EXPECTED = {  # clips, classes, parts, leak check
    "esc50": (30, 3, {str(fold): 6 for fold in range(1, 6)}, "ok"),
    "us8k": (60, 3, {str(fold): 6 for fold in range(1, 11)}, "ok"),
    "spcv2": (30, 3, {"train": 18, "valid": 3, "test": 9}, "ok"),
    "vc1": (36, 3, {"train": 18, "valid": 9, "test": 9}, "ok"),
    "voxforge": (90, 3, {"train": 52, "valid": 8, "test": 30}, "ok"),
    "cremad": (60, 3, {"train": 30, "valid": 12, "test": 18}, "ok"),
    "gtzan": (45, 3, {"train": 15, "valid": 15, "test": 15}, "not checked: artists are not known"),
    "nsynth": (56, 4, {"train": 32, "valid": 9, "test": 15}, "9 instruments in validation and test"),
    "surge": (120, 3, {"train": 93, "valid": 3, "test": 24}, "ok"),
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("nine")
    make_all(root)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(cache):
    return TaskOptions(cache=cache, skip_broken=True)


@pytest.fixture(scope="module", autouse=True)
def clean_checkout():
    """Results of a checkout with changed files are never kept; these tests are run in such, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "find_commit", lambda: "1234567")
        yield


def test_results_of_changed_files_are_measured_again(corpora, cache, brief, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "find_commit", lambda: "1234567+")
    common = ["run", "--encoder", "logmel", "--task", "cremad", "--data", f"cremad={corpora / 'cremad'}", *brief]
    for _ in range(2):
        assert "kept" not in run(*common, "--cache", cache, "--out", tmp_path).output


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A protocol that chooses between two rates, and is quicker than ``search``."""
    path = tmp_path_factory.mktemp("protocol") / "few.toml"
    path.write_text(f"rates = {list(RATES)}\nmax_epochs = 40\n")
    return path


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """Options for runs whose figures do not matter."""
    path = tmp_path_factory.mktemp("protocol") / "brief.toml"
    path.write_text("max_epochs = 2\nseeds = 2\n")
    return ["--protocol", path]


@pytest.fixture(scope="module")
def suite(corpora, cache, few, tmp_path_factory):
    """The whole suite, and the same with labels dealt out anew."""
    out = tmp_path_factory.mktemp("results")
    common = ["--suite", "nine", "--data", corpora, "--skip-broken", "--cache", cache, "--device", "cpu", "--out", out]
    common += ["--protocol", few]
    first = run("run", "--encoder", "logmel", *common)
    run("run", "--encoder", "logmel", "--shuffle-labels", *common)
    return out, first, common


def rows_of(out, *, shuffled=False):
    """The rows of the suite by task."""
    return {row.task: row for row in read_rows(out) if ("shuffled labels" in row.protocol) == shuffled}


def folder_of(out, name):
    """The run of a task of the suite."""
    (folder,) = (path for path in (out / "runs").glob(f"logmel-{name}-few-*") if "shuffled" not in path.name)
    return folder


@pytest.mark.parametrize("name", NINE)
def test_the_facts_are_complete(name):
    module = tasks.load_task(name)
    facts = module.FACTS
    assert facts.name == name == module.__name__.rpartition(".")[2]
    assert module.SETTINGS
    assert all([facts.title, facts.licence, facts.citation, facts.url, facts.groups])
    assert facts.protocols == ("evar",)
    assert facts.classes > 1
    assert facts.duration_s is not None
    assert 0 < facts.lr <= 1e-3
    assert facts.title[0] in module.__doc__
    assert "Layout" in module.__doc__


def test_the_published_sizes():
    sizes = {name: sum(tasks.load_task(name).FACTS.counts.values()) for name in NINE}
    assert sizes == {
        "esc50": 2_000,
        "us8k": 8_732,
        "spcv2": 105_829,
        "vc1": 153_516,
        "voxforge": 176_428,
        "cremad": 7_438,
        "gtzan": 930,
        "nsynth": 305_979,
        "surge": 183_392,
    }


@pytest.mark.parametrize("name", NINE)
def test_the_table_is_what_the_layout_says(name, corpora, options):
    table = tasks.load_task(name).index(corpora / name)
    clips, classes, parts, _ = EXPECTED[name]
    assert set(table.columns) in ({"file", "label", "split", "group"}, {"file", "label", "fold", "group"})
    assert all(isinstance(value, str) for value in table.to_numpy().ravel())
    assert not table["file"].duplicated().any()
    data = tasks.prepare(name, corpora / name, options)
    assert len(data.table) == clips
    assert len(data.classes()) == classes
    column = "fold" if "fold" in table else "split"
    assert data.table[column].value_counts().to_dict() == parts
    assert all((corpora / name / file).is_file() for file in data.table["file"])


@pytest.mark.parametrize("name", NINE)
def test_folds_are_the_official_ones_and_leak_nothing(name, corpora, options):
    data = tasks.prepare(name, corpora / name, options)
    assert data.leak_check == EXPECTED[name][3]
    groups = data.table["group"].to_numpy()
    tested = 0
    for fold in data.folds:
        parts = [fold.train, fold.test] + [fold.valid] * (fold.valid is not None)
        assert sum(map(len, parts)) == len(data.table) == len(set().union(*map(set, parts)))
        if name != "gtzan":
            assert not set(groups[fold.train]) & set(groups[fold.test])
        tested += len(fold.test)
    assert len(data.folds) in {1, 5, 10}
    assert tested == len(data.table) if len(data.folds) > 1 else tested < len(data.table)


@pytest.mark.parametrize("name", NINE)
def test_every_task_is_measured_far_above_chance(name, suite):
    row, (_, classes, _, leaks) = rows_of(suite[0])[name], EXPECTED[name]
    assert row.mean > 100 * 2 / classes
    assert (row.setting, row.metric, row.seeds, row.leak_check) == ("clip", "accuracy", 3, leaks)
    assert row.n_skipped == (885 if name == "gtzan" else 0)
    assert row.lr in RATES


@pytest.mark.parametrize("name", NINE)
def test_shuffled_labels_are_at_chance(name, suite):
    """Nothing but what the audio says of the labels may help: not the split, the order or the statistics."""
    row = rows_of(suite[0], shuffled=True)[name]
    share = 0.5 if name == "nsynth" else 1 / EXPECTED[name][1]  # of its 4 classes, 3 are tested
    spread = math.sqrt(share * (1 - share) / row.n_test)
    assert row.mean / 100 < share + 3.5 * spread


def test_shuffled_labels_are_at_chance_over_all_tasks_together(suite):
    """The same, sharper: with 210 test clips of all tasks, and on both sides of chance."""
    rows = [row for task, row in rows_of(suite[0], shuffled=True).items() if task in NINE]
    right = sum(row.mean / 100 * row.n_test for row in rows)
    clips = sum(row.n_test for row in rows)
    assert (len(rows), clips) == (9, 210)
    assert right / clips == pytest.approx(1 / 3, abs=3.5 * math.sqrt(2 / 9 / clips))


def test_the_average_is_over_all_nine(suite):
    rows = rows_of(suite[0])
    average = rows["nine-tasks"]
    assert average.mean == pytest.approx(sum(rows[name].mean for name in NINE) / 9)
    assert (average.setting, average.seeds, average.n_test, average.low) == ("average", 3, None, None)
    told = f"logmel: average over 9 tasks {average.mean:.2f} %; on a subset of the corpus: {', '.join(NINE)}\n"
    assert told in suite[1].output


def test_the_leaderboard_shows_the_suite_next_to_the_paper(suite, corpora, cache, tmp_path):
    common = ["--task", "esc50", "--data", corpora, "--cache", cache, "--device", "cpu", "--out", tmp_path]
    run("run", "--encoder", "logmel", *common)
    board = run("leaderboard", "--out", tmp_path).output
    assert "accuracy (%), protocol evar" in board
    assert "BYOL-A lambda 0.5 (paper)" in board
    assert "82.37 [80.81, 83.93]" in board


def test_measurements_are_kept_and_repeated_on_request(suite):
    out, _, common = suite
    before = read_rows(out)
    kept = run("run", "--encoder", "logmel", *common)
    assert kept.output.count("already measured; --again") == 9
    means = {task: row.mean for task, row in rows_of(out).items()}
    assert {row.identity for row in read_rows(out)} == {row.identity for row in before}
    assert {row.task: row.mean for row in before if "shuffled" not in row.protocol} == pytest.approx(means)
    assert {row.date for row in before if row.task == "surge"} <= {row.date for row in read_rows(out)}
    common = ["--task", "spcv2", *common[2:]]
    again = run("run", "--encoder", "logmel", "--again", *common)
    assert "kept" not in again.output
    assert {task: row.mean for task, row in rows_of(out).items()} == pytest.approx(means)
    assert len(read_rows(out)) == len(before)


def test_missing_corpora_are_skipped_and_not_counted(corpora, cache, brief, tmp_path, caplog):
    given = ["--data", f"cremad={corpora / 'cremad'}", "--data", f"spcv2={corpora / 'spcv2'}", *brief]
    done = run("run", "--encoder", "logmel", "--suite", "nine", *given, "--cache", cache, "--out", tmp_path)
    assert "no data for esc50, us8k, vc1, voxforge, gtzan, nsynth, surge; they are skipped" in caplog.text
    assert "mean over spcv2, cremad" in done.output
    assert "this is not the average of the suite" in done.output
    assert {row.task for row in read_rows(tmp_path)} == {"spcv2", "cremad"}


def test_a_suite_without_corpora_is_reported_in_one_line(tmp_path):
    done = run("run", "--encoder", "logmel", "--suite", "nine", "--data", tmp_path, "--out", "x", status=1)
    assert "none of its corpora was found" in done.stderr
    done = run("run", "--encoder", "logmel", "--suite", "nien", "--data", tmp_path, "--out", "x", status=1)
    assert "no suite 'nien'; did you mean nine?" in done.stderr


@pytest.mark.parametrize("name", NINE)
def test_the_wrong_folder_is_reported_in_one_line(name, tmp_path):
    with pytest.raises(BgknownError, match=str(tmp_path)):
        tasks.prepare(name, tmp_path / "nowhere", TaskOptions(cache=tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BgknownError, match=str(tmp_path)):
        tasks.prepare(name, tmp_path / "empty", TaskOptions(cache=tmp_path))


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, "cut") for name in NINE]
    # the others are read from their folders, where a clip that is not there is not listed
    + [(name, "missing") for name in ("esc50", "us8k", "vc1", "gtzan", "nsynth")],
)
def test_a_broken_clip_is_an_error_unless_it_is_skipped(name, damage, corpora, tmp_path):
    root = copy_of(corpora, name, tmp_path)
    table = tasks.load_task(name).index(root)
    there = [file for file in table["file"] if (root / file).is_file() and "jazz.00054" not in file]
    victim = root / there[len(there) // 2]
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:60])
    with pytest.raises(InvalidInputError, match=r"--skip-broken .*benchmark data validate") as error:
        tasks.prepare(name, root, TaskOptions(cache=tmp_path))
    assert "\n" not in str(error.value)
    clips, *_ = EXPECTED[name]
    data = tasks.prepare(name, root, TaskOptions(cache=tmp_path, skip_broken=True))
    assert len(data.table) == clips - 1
    assert data.skipped == (886 if name == "gtzan" else 1)
    assert any("left out" in note for note in data.notes)
    found = inventory.validate(name, root, cache=tmp_path)
    assert any(victim.name in fault or "more clips" in fault for fault in found.faults)


def test_a_listed_clip_that_is_missing_is_reported(corpora, tmp_path):
    root = copy_of(corpora, "spcv2", tmp_path)
    (root / "yes" / "00000008_nohash_0.wav").unlink()
    with pytest.raises(InvalidInputError, match="yes/00000008_nohash_0.wav"):
        tasks.prepare("spcv2", root, TaskOptions(cache=tmp_path))


@pytest.mark.parametrize("name", NINE)
def test_a_limit_takes_a_part_with_all_parts(name, corpora, options):
    whole = tasks.prepare(name, corpora / name, options)
    parts = set(EXPECTED[name][2])
    some = tasks.prepare(name, corpora / name, dataclasses.replace(options, limit=3 * len(parts)))
    fewer = tasks.prepare(name, corpora / name, dataclasses.replace(options, limit=2 * len(parts)))
    assert set(fewer.table["file"]) < set(some.table["file"]) < set(whole.table["file"])
    assert len(fewer.table) == 2 * len(parts)
    column = "fold" if "fold" in whole.table else "split"
    assert set(fewer.table[column]) == parts
    assert len({whole.sha256, some.sha256, fewer.sha256}) == 3


def test_statistics_are_of_each_fold_s_training_clips(corpora, cache, options, monkeypatch):
    """Fails when features are standardised by more than a fold's own training clips, less those held out."""
    data = tasks.prepare("esc50", corpora / "esc50", options)
    seen = []
    real = standardised.measure_standardisation
    monkeypatch.setattr(
        standardised,
        "measure_standardisation",
        lambda features, rows: seen.append(set(rows.tolist())) or real(features, rows),
    )
    brief = dataclasses.replace(PROTOCOLS["paper"], max_epochs=2)
    evaluating.evaluate(load_encoder("logmel"), data, brief, EmbedSettings(cache=cache))
    assert len(seen) == 15
    tests = [set(fold.test.tolist()) for fold in data.folds]
    views = {int(view): row for row, view in enumerate(data.trained_on(pd.RangeIndex(30).to_numpy()))}
    for rows in seen:
        clips = {views[view] for view in rows}
        assert len(clips) == len(rows) == 22  # 24 less 10 % held out
        assert sum(not clips & test for test in tests) == 1
    assert [len([rows for rows in seen if not {views[v] for v in rows} & test]) for test in tests] == [3] * 5


def test_predictions_name_the_fold_and_cover_every_clip(suite):
    out = suite[0]
    table = read_predictions(folder_of(out, "us8k"))
    assert len(table) == 60 * 3
    assert set(table["fold"]) == {str(fold) for fold in range(1, 11)}
    row = rows_of(out)["us8k"]
    by_seed = table.groupby(["seed", "fold"])["score"].mean().groupby("seed").mean()
    assert 100 * by_seed.mean() == pytest.approx(row.mean)


def test_status_lists_the_corpora_that_exist(corpora, cache, tmp_path):
    stocks = inventory.status(corpora, cache=cache)
    assert [stock.facts.name for stock in stocks] == list(NINE)
    assert {stock.state for stock in stocks} == {"in part"}
    assert sum(stock.clips for stock in stocks) == sum(clips for clips, *_ in EXPECTED.values())
    (tmp_path / "surge" / "tone").mkdir(parents=True)
    states = {stock.facts.name: stock.state for stock in inventory.status(tmp_path, cache=cache)}
    assert states["surge"] == "unreadable"
    assert states["vc1"] == "missing"
    done = run("data", "status", corpora, "--cache", cache)
    assert "0 of 9 complete" in done.output
    assert "gtzan: 885 clips are missing or broken" in done.output
    with pytest.raises(NotFoundError, match="no such folder"):
        inventory.status(tmp_path / "nowhere", cache=cache)


def test_a_whole_corpus_has_no_faults(corpora, cache, monkeypatch):
    module = tasks.load_task("surge")
    monkeypatch.setattr(module, "FACTS", dataclasses.replace(module.FACTS, counts={"clips": 120}, classes=3))
    assert "no faults" in run("data", "validate", "surge", corpora / "surge", "--cache", cache, "--decode").output
    assert next(s for s in inventory.status(corpora, cache=cache) if s.facts.name == "surge").complete


def test_validate_finds_what_only_decoding_shows(corpora, tmp_path):
    root = copy_of(corpora, "voxforge", tmp_path)
    # the task takes the WAV of a folder that has both
    victim = next(path for path in root.rglob("*.flac") if not (path.parents[1] / "wav").is_dir())
    data = bytearray(victim.read_bytes())
    data[-200:] = bytes(200)
    victim.write_bytes(data)
    assert not any(victim.name in fault for fault in inventory.validate("voxforge", root, cache=tmp_path).faults)
    found = inventory.validate("voxforge", root, cache=tmp_path, decode=True)
    assert any(victim.name in fault for fault in found.faults)


def test_a_clip_that_breaks_while_it_is_decoded_is_left_out_and_counted(corpora, brief, tmp_path):
    root = copy_of(corpora, "voxforge", tmp_path)
    # the task takes the WAV of a folder that has both
    victim = next(path for path in root.rglob("*.flac") if not (path.parents[1] / "wav").is_dir())
    data = bytearray(victim.read_bytes())
    data[-200:] = bytes(200)
    victim.write_bytes(data)
    common = ["run", "--encoder", "logmel", "--task", "voxforge", "--data", f"voxforge={root}", "--out", tmp_path / "r"]
    common += ["--cache", tmp_path / "cache", *brief]
    assert victim.name in run(*common, status=1).stderr
    run(*common, "--skip-broken")
    row = read_rows(tmp_path / "r")[0]
    assert row.n_skipped == 1


@pytest.mark.parametrize(("name", "folder"), [("spcv2", "wow"), ("surge", "tone 99"), ("voxforge", "it")])
def test_an_empty_class_is_reported_in_one_line(name, folder, corpora, tmp_path):
    root = copy_of(corpora, name, tmp_path)
    (root / folder).mkdir()
    with pytest.raises(InvalidInputError, match=rf"{folder}: (contains no audio|no upload with audio)"):
        tasks.load_task(name).index(root)


def test_a_class_that_loses_all_its_clips_is_reported(corpora, tmp_path):
    """Nothing is dropped silently: with fewer classes the task is another, and easier."""
    root = copy_of(corpora, "us8k", tmp_path)
    for path in root.rglob("*-2-?-0.wav"):
        path.unlink()
    data = tasks.prepare("us8k", root, TaskOptions(cache=tmp_path, skip_broken=True))
    assert data.skipped == 20
    assert "class dog_bark is left out with them: the task has 2 classes" in data.notes
    assert data.in_part


def test_uploads_without_audio_are_reported(corpora, tmp_path, caplog):
    root = copy_of(corpora, "voxforge", tmp_path)
    (root / "de" / "zoe-20100719-abc" / "etc").mkdir(parents=True)
    tasks.load_task("voxforge").index(root)
    assert "1 uploads hold no audio in wav/ or flac/, such as de/zoe-20100719-abc" in caplog.text


def test_uploads_that_are_not_in_a_language_are_reported_in_one_line(corpora, tmp_path):
    root = copy_of(corpora, "voxforge", tmp_path)
    with pytest.raises(InvalidInputError, match=r"annde-20100710-abc: an upload; every folder of .* must be a lang"):
        tasks.load_task("voxforge").index(root / "de")


@pytest.mark.parametrize("name", ["x", "20", "109", "060"])
def test_a_file_that_is_not_a_note_of_surge_is_reported_in_one_line(name, corpora, tmp_path):
    root = copy_of(corpora, "surge", tmp_path)
    (root / "tone 00" / "60.ogg").rename(root / "tone 00" / f"{name}.ogg")
    with pytest.raises(InvalidInputError, match=rf"tone 00/{name}.ogg: is not named after a MIDI note from 21 to 108"):
        tasks.load_task("surge").index(root)


@pytest.mark.parametrize(
    ("name", "file", "line", "message"),
    [
        ("vc1", "iden_split.txt", "\n\n4 id10000/a/1.wav", "line 39: '4 id10000/a/1.wav' is not of the form"),
        ("vc1", "iden_split.txt", "1 id10000/1.wav", "is not of the form"),
        ("spcv2", "testing_list.txt", "yes/00000008_nohash_0.wav", "yes/00000008_nohash_0.wav is listed twice"),
        ("spcv2", "testing_list.txt", "yes/00000006_nohash_0.wav", "is listed on validation_list.txt, too"),
        (
            "spcv2",
            "testing_list.txt",
            "_background_noise_/running_tap.wav",
            "is a clip of a word whose folder is missing",
        ),
        ("spcv2", "testing_list.txt", "yes", "'yes' is not of the form 'bed/"),
        ("spcv2", "testing_list.txt", "yes/../../x.wav", "is not of the form 'bed/"),
        ("spcv2", "testing_list.txt", "yes/..", "is not of the form 'bed/"),
        ("vc1", "iden_split.txt", "1 ../../x.wav", "is not of the form"),
        ("vc1", "iden_split.txt", "1 id1/../x.wav", "is not of the form"),
        ("vc1", "iden_split.txt", "1 /etc/x.wav", "is not of the form"),
        ("vc1", "iden_split.txt", "1 id1/a\0/x.wav", "holds a NUL byte"),
    ],
)
def test_a_wrong_line_of_a_list_is_reported_in_one_line(name, file, line, message, corpora, tmp_path):
    root = copy_of(corpora, name, tmp_path)
    with (root / file).open("a") as listed:
        listed.write(f"{line}\n")
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        tasks.load_task(name).index(root)


def test_missing_classes_are_reported(corpora, options):
    data = tasks.prepare("esc50", corpora / "esc50", options)
    assert data.notes == ["the corpus is incomplete: 30 of 2,000 clips, 3 of 50 classes"]


def test_search_takes_the_rate_of_smallest_validation_loss(suite):
    """And says of every probe which; the row has their median."""
    out = suite[0]
    config = json.loads((folder_of(out, "us8k") / "config.json").read_text())
    rates = sorted(each["lr"] for each in config["chosen"])
    assert len(rates) == 30
    assert set(rates) <= set(RATES)
    assert "lr" not in config
    row = rows_of(out)["us8k"]
    assert row.lr == rates[14]


def test_search_compares_the_losses(corpora, cache, options, monkeypatch, caplog):
    losses, real = [], gradient.train_probes

    def watched(problems, *given, **more):
        results = real(problems, *given, **more)
        losses.extend(
            (problem.name, problem.lr, result.valid_loss) for problem, result in zip(problems, results, strict=True)
        )
        return results

    monkeypatch.setattr(gradient, "train_probes", watched)
    data = tasks.prepare("cremad", corpora / "cremad", options)
    brief = dataclasses.replace(PROTOCOLS["search"], max_epochs=20)
    found = evaluating.evaluate(load_encoder("logmel"), data, brief, EmbedSettings(cache=cache))
    assert len(losses) == 3 * 7
    for seed, chosen in enumerate(found.chosen):
        best = min((loss, lr) for name, lr, loss in losses if name.endswith(f"seed {seed}"))
        assert (chosen["seed"], chosen["lr"]) == (seed, best[1])
    assert "cremad: 3 of 3 probes chose the largest of the learning rates, 0.01" in caplog.text


def test_bgknown_takes_no_table_of_splits(tmp_path):
    with pytest.raises(InvalidInputError, match="bgknown has a fixed split"):
        bgknown.prepare(tmp_path, TaskOptions(cache=tmp_path, splits=tmp_path / "x.csv"))
    with pytest.raises(InvalidInputError, match="bgknown verify"):
        inventory.validate("bgknown", tmp_path, cache=tmp_path)


def test_the_tasks_are_listed_with_licence_and_citation():
    listed = run("tasks").output
    for name in NINE:
        assert f"\n{name}\n" in listed
    assert "8,732 clips in 10 folds" in listed
    assert "138,361 train, 6,904 valid, 8,251 test" in listed


@pytest.mark.parametrize("note", ["../../x", "/etc/x", "a/b", "", "\0", "\ud800"])
def test_a_note_of_nsynth_that_leads_elsewhere_is_reported_in_one_line(note, corpora, tmp_path):
    root = copy_of(corpora, "nsynth", tmp_path)
    about = {"instrument_family_str": "bass", "instrument_str": "x"}
    (root / "nsynth-test" / "examples.json").write_text(json.dumps({note: about}))
    with pytest.raises(InvalidInputError, match=r"examples\.json: the note .*; get the file again"):
        tasks.load_task("nsynth").index(root)


@pytest.mark.parametrize("facts", [[], "x", None, {"instrument_family_str": ["bass"], "instrument_str": "x"}])
def test_a_note_of_nsynth_of_another_type_is_reported_in_one_line(facts, corpora, tmp_path):
    root = copy_of(corpora, "nsynth", tmp_path)
    (root / "nsynth-test" / "examples.json").write_text(json.dumps({"a": facts}))
    with pytest.raises(InvalidInputError, match="note 'a' lacks instrument_family_str or instrument_str"):
        tasks.load_task("nsynth").index(root)


@pytest.mark.parametrize("name", ["../x.wav", "..", "a/b.wav", "/etc/x.wav"])
def test_a_slice_of_us8k_that_leads_elsewhere_is_reported_in_one_line(name, corpora, tmp_path):
    root = copy_of(corpora, "us8k", tmp_path)
    table = root / "metadata" / "UrbanSound8K.csv"
    lines = table.read_text().splitlines()
    lines[2] = f"{name},{lines[2].split(',', 1)[1]}"
    table.write_text("\n".join(lines))
    with pytest.raises(InvalidInputError, match="line 3: slice_file_name .* must be a plain file name"):
        tasks.load_task("us8k").index(root)


def test_a_name_on_disk_that_is_not_text_is_reported_in_one_line(corpora, tmp_path):
    root = copy_of(corpora, "surge", tmp_path)
    try:
        (root / "tone \udce9").mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    with pytest.raises(InvalidInputError, match=r"tone \\udce9': the name is not UTF-8; rename the file"):
        tasks.load_task("surge").index(root)
