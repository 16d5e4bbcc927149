from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

import bgknown
from benchmark.results.compare import compare, format_comparison
from benchmark.results.rows import add_rows, make_row, read_rows
from benchmark.results.run_folder import run_name, write_run
from bgknown.errors import InvalidInputError, NotFoundError

CLIPS = [f"4-{n}-A-{n % 5}" for n in range(60)]


def answers(share, seed, seeds=3, clips=CLIPS, folds=None):
    """[seeds, clips] right and wrong answers, and the fold of each clip."""
    drawn = np.random.default_rng(seed).random((seeds, len(clips))) < share
    return pd.DataFrame(drawn, columns=clips).astype(float), folds or [""] * len(clips)


def write(out: Path, encoder, settings, *, task="bgknown", metric="accuracy", order=1, **changes):
    """Rows and folder of a run, as a benchmark writes them."""
    facts = {"encoder": encoder, "checkpoint_sha256": "", "task": task, "protocol": "paper", "dataset_sha256": "d1"}
    facts |= changes
    tables, rows = [], []
    for setting, (scores, folds) in settings.items():
        table = scores.rename_axis("seed").reset_index().melt("seed", var_name="clip_id", value_name="score")
        table["fold"] = table["clip_id"].map(dict(zip(scores.columns, folds, strict=True)))
        tables.append(table.assign(task=task, setting=setting, metric=metric, label="x", predicted="y")[::order])
        by_seed = table.groupby(["seed", "fold"])["score"].mean().groupby("seed").mean()
        by_clip = table.groupby("clip_id")["score"].mean()
        shown = {"setting": setting, "metric": metric, "seeds": len(by_seed)}
        rows.append(make_row(**facts, **shown, by_seed=by_seed.tolist(), by_clip=by_clip.tolist()))
    name = run_name(**facts)
    write_run(out, name, config={}, predictions=pd.concat(tables))
    add_rows(out, rows)
    return name


def test_two_encoders_on_the_same_clips(tmp_path):
    one, two = answers(0.8, 0), answers(0.5, 1)
    write(tmp_path, "good", {"mix": one, "a": answers(0.9, 2)})
    write(tmp_path, "bad", {"mix": two, "b": answers(0.9, 3)}, order=-1)
    (found,) = compare(tmp_path, "good", "bad")
    assert (found.task, found.metric, found.setting_a, found.setting_b) == ("bgknown", "accuracy", "mix", "mix")
    difference = (one[0] - two[0]).mean()
    assert found.result.mean == pytest.approx(100 * difference.mean())
    assert (found.result.wins, found.result.losses) == ((difference > 1e-9).sum(), (difference < -1e-9).sum())
    assert found.result.n == 60
    half = 196 * scipy_stats.sem(difference)
    assert found.result.ci95_high - found.result.ci95_low == pytest.approx(2 * half, rel=0.1)
    assert found.result.p < 0.001
    shown = {row.encoder: row.mean for row in read_rows(tmp_path) if row.setting == "mix"}
    assert (found.mean_a, found.mean_b) == (pytest.approx(shown["good"]), pytest.approx(shown["bad"]))
    turned = compare(tmp_path, "bad", "good")[0].result
    assert (turned.mean, turned.p) == (pytest.approx(-found.result.mean), pytest.approx(found.result.p))


def test_rows_of_the_evar_of_0_1_0_are_compared_with_each_other_only(tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        write(tmp_path, name, {"mix": answers(0.7, seed)}, protocol="evar")
    table = tmp_path / "leaderboard.csv"
    table.write_text(table.read_text().replace(f",{bgknown.__version__},", ",0.1.0,"))
    write(tmp_path, "new", {"mix": answers(0.7, 2)}, protocol="evar")
    (found,) = compare(tmp_path, "one", "two")
    assert found.protocol == "evar of 0.1.0"
    with pytest.raises(InvalidInputError, match=r"different protocols \('evar of 0.1.0' and 'evar'\)"):
        compare(tmp_path, "one", "new")


def test_two_settings_of_one_encoder(tmp_path):
    one, two = answers(0.7, 0, seeds=1), answers(0.4, 1, seeds=1)
    write(tmp_path, "melpower", {"mix": answers(0.5, 2), "a": one, "shuffled": two})
    (found,) = compare(tmp_path, "melpower:a", "melpower:shuffled")
    only_a, only_b = (((x[0] > y[0]).to_numpy()).sum() for x, y in ((one, two), (two, one)))
    assert found.result.p == pytest.approx(scipy_stats.binomtest(only_a, only_a + only_b).pvalue)
    assert (found.result.wins, found.result.losses) == (only_a, only_b)
    text = format_comparison([found])
    assert text.startswith("bgknown: A = melpower, B = melpower, protocol paper, dataset d1\n")
    assert "a - shuffled  accuracy" in text
    assert f"{found.result.mean:+.2f}" in text


def test_one_setting_serves_both_sides(tmp_path):
    for name in ("one", "hf:two"):
        write(tmp_path, name, {"mix": answers(0.5, 0), "a": answers(0.5, len(name))})
    assert [found.setting_b for found in compare(tmp_path, "one:a", "hf:two")] == ["a"]
    assert [found.setting_a for found in compare(tmp_path, "one", "hf:two:mix")] == ["mix"]
    assert [found.setting_a for found in compare(tmp_path, "one", "hf:two")] == ["mix", "a"]


def test_folds_count_equally_as_on_the_leaderboard(tmp_path):
    folds = ["1"] * 10 + ["2"] * 50
    facts = {"task": "us8k"}
    write(tmp_path, "one", {"clip": answers(0.8, 0, folds=folds)}, **facts)
    write(tmp_path, "two", {"clip": answers(0.6, 1, folds=folds)}, **facts)
    (found,) = compare(tmp_path, "one", "two")
    shown = {row.encoder: row.mean for row in read_rows(tmp_path)}
    assert (found.mean_a, found.mean_b) == (pytest.approx(shown["one"]), pytest.approx(shown["two"]))
    assert found.result.mean == pytest.approx(shown["one"] - shown["two"])


def test_runs_are_named_by_their_folder_too(tmp_path):
    names = [
        write(tmp_path, "byola", {"mix": answers(0.5, n), "a": answers(0.6, n)}, checkpoint_sha256=str(n) * 64)
        for n in (1, 2)
    ]
    other = tmp_path / "elsewhere"
    write(other, "byola", {"mix": answers(0.9, 3)}, protocol="long-1a2b3c")
    assert len(compare(tmp_path, names[0], f"{names[1]}:a")) == 1
    (path,) = (other / "runs").iterdir()
    (found,) = compare(tmp_path, str(path), names[0])
    assert found.protocol == "long-1a2b3c and paper"
    assert found.result.mean > 0
    with pytest.raises(
        InvalidInputError, match=f"byola:a names 2 checkpoints on task bgknown; give one run: {names[0]}"
    ):
        compare(tmp_path, "byola:a", "byola:mix")


def test_every_task_and_dataset_in_common_is_compared(tmp_path):
    for seed, name in enumerate(("one", "two")):
        for changes in ({}, {"dataset_sha256": "d2"}, {"task": "esc50"}, {"protocol": f"own{seed}"}):
            write(tmp_path, name, {"mix": answers(0.5, seed)}, **changes)
    found = [(one.task, one.dataset_sha256, one.protocol) for one in compare(tmp_path, "one", "two")]
    assert found == [("bgknown", "d1", "paper"), ("bgknown", "d2", "paper"), ("esc50", "d1", "paper")]
    assert [one.task for one in compare(tmp_path, "one", "two", task="esc50")] == ["esc50"]


@pytest.fixture
def pair(tmp_path):
    write(tmp_path, "melpower", {"mix": answers(0.5, 0)})
    write(tmp_path, "logmel", {"a": answers(0.5, 1)})
    write(tmp_path, "fewer", {"mix": answers(0.5, 2, clips=CLIPS[:-2])})
    write(tmp_path, "other", {"mix": answers(0.5, 3)}, dataset_sha256="d2")
    write(tmp_path, "short", {"mix": answers(0.5, 4)}, protocol="short")
    write(tmp_path, "speech", {"clip": answers(0.5, 5)}, task="spcv2")
    return tmp_path


@pytest.mark.parametrize(
    ("a", "b", "task", "error", "match"),
    [
        ("melpowr", "logmel", None, NotFoundError, "no encoder or run 'melpowr'; did you mean melpower"),
        ("melpower:mxi", "logmel", None, NotFoundError, "no setting of melpower 'mxi'; did you mean mix"),
        ("melpower", "logmel", "bgknow", NotFoundError, "no task 'bgknow'; did you mean bgknown"),
        ("melpower", "logmel", None, NotFoundError, "no setting and metric to compare; melpower has mix, logmel has a"),
        ("melpower", "fewer", None, InvalidInputError, "60 and 58 clips, 2 of them by one side only, the first 4-58"),
        ("melpower", "other", None, InvalidInputError, "different datasets .'d1' and 'd2'.; measure both on the same"),
        ("melpower", "short", None, InvalidInputError, "different protocols .'paper' and 'short'."),
        ("melpower", "speech", None, NotFoundError, "melpower was measured on bgknown, speech on spcv2"),
        ("melpower", "logmel", "spcv2", InvalidInputError, "were not both measured on this task; leave --task out"),
        ("melpower", "melpower", None, InvalidInputError, "melpower and melpower are the same; name two"),
        ("melpower:mix", "melpower", None, InvalidInputError, "are the same; name two encoders, or two settings"),
    ],
)
def test_what_cannot_be_compared_is_one_line(pair, a, b, task, error, match):
    with pytest.raises(error, match=match) as caught:
        compare(pair, a, b, task=task)
    assert "\n" not in str(caught.value)


def test_missing_predictions_are_one_line(pair):
    for path in (pair / "runs").glob("melpower-*/predictions.csv"):
        path.unlink()
    with pytest.raises(NotFoundError, match="melpower: its folder of predictions is missing below"):
        compare(pair, "melpower", "logmel")


def test_predictions_of_another_run_are_refused(pair):
    lone = pair / "copied" / "runs" / "some-run"
    lone.mkdir(parents=True)
    next((pair / "runs").glob("melpower-*/predictions.csv")).rename(lone / "predictions.csv")
    (pair / "copied" / "leaderboard.csv").write_bytes((pair / "leaderboard.csv").read_bytes())
    with pytest.raises(NotFoundError, match="no row of .*leaderboard.csv belongs to this run"):
        compare(pair, str(lone), "logmel")


def test_settings_whose_predictions_are_gone_are_told(tmp_path, caplog):
    both = {"mix": answers(0.5, 0), "clean": answers(0.8, 1)}
    name = write(tmp_path, "one", both)
    write(tmp_path, "two", both)
    table = pd.read_csv(tmp_path / "runs" / name / "predictions.csv", dtype=str, keep_default_na=False)
    table[table["setting"] != "clean"].to_csv(tmp_path / "runs" / name / "predictions.csv", index=False)
    assert [found.setting_a for found in compare(tmp_path, "one", "two")] == ["mix"]
    assert f"clean, accuracy: not compared, {tmp_path / 'runs' / name} lacks it; run it again" in caplog.text
    with pytest.raises(NotFoundError, match="one:clean and two have no setting and metric to compare"):
        compare(tmp_path, "one:clean", "two")


def test_no_results_say_how_to_make_some(tmp_path):
    with pytest.raises(NotFoundError, match="`benchmark run --out .*` makes one"):
        compare(tmp_path, "a", "b")
