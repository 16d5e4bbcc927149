import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

import bgknown
from benchmark.results.compare import compare, format_comparison
from benchmark.results.rows import read_rows
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.results.made_runs import CLIPS, draw_answers, write_results


def test_two_encoders_on_the_same_clips(tmp_path):
    one, two = draw_answers(0.8, 0), draw_answers(0.5, 1)
    write_results(tmp_path, "good", {"mix": one, "a": draw_answers(0.9, 2)})
    write_results(tmp_path, "bad", {"mix": two, "b": draw_answers(0.9, 3)}, order=-1)
    (found,) = compare(tmp_path, "good", "bad")
    assert (found.task, found.metric, found.setting_a, found.setting_b) == ("bgknown", "accuracy", "mix", "mix")
    difference = (one - two).mean()
    assert found.result.mean == pytest.approx(100 * difference.mean())
    assert (found.result.wins, found.result.losses) == ((difference > 1e-9).sum(), (difference < -1e-9).sum())
    assert found.result.n == 60
    half = 200 * scipy_stats.sem(difference)
    assert found.result.high - found.result.low == pytest.approx(2 * half, rel=0.05)
    assert (found.result.n_groups, found.corrected_p, found.is_control) == (60, found.result.p, False)
    assert found.result.p < 0.001
    shown = {row.encoder: row.mean for row in read_rows(tmp_path) if row.setting == "mix"}
    assert (found.mean_a, found.mean_b) == (pytest.approx(shown["good"]), pytest.approx(shown["bad"]))
    turned = compare(tmp_path, "bad", "good")[0].result
    assert (turned.mean, turned.p) == (pytest.approx(-found.result.mean), pytest.approx(found.result.p))


def test_rows_of_the_evar_of_0_1_0_are_compared_with_each_other_only(tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        write_results(tmp_path, name, {"mix": draw_answers(0.7, seed)}, protocol="evar")
    table = tmp_path / "leaderboard.csv"
    table.write_text(table.read_text().replace(f",{bgknown.__version__},", ",0.1.0,"))
    write_results(tmp_path, "new", {"mix": draw_answers(0.7, 2)}, protocol="evar")
    (found,) = compare(tmp_path, "one", "two")
    assert found.protocol == "evar of 0.1.0"
    with pytest.raises(InvalidInputError, match=r"different protocols \('evar of 0.1.0' and 'evar'\)"):
        compare(tmp_path, "one", "new")


def test_two_settings_of_one_encoder(tmp_path):
    one, two = draw_answers(0.7, 0, seeds=1), draw_answers(0.4, 1, seeds=1)
    write_results(tmp_path, "melpower", {"mix": draw_answers(0.5, 2), "a": one, "shuffled": two})
    (found,) = compare(tmp_path, "melpower:a", "melpower:shuffled")
    only_a, only_b = (((x > y).to_numpy()).sum() for x, y in ((one, two), (two, one)))
    assert found.result.p == pytest.approx(scipy_stats.binomtest(only_a, only_a + only_b).pvalue)
    assert (found.result.wins, found.result.losses) == (only_a, only_b)
    text = format_comparison([found])
    assert text.startswith("bgknown: A = melpower, B = melpower, protocol paper, dataset d1\n")
    assert "a vs shuffled  accuracy" in text
    assert f"{found.result.mean:+.1f}  [" in text


def test_one_setting_is_taken_for_both_sides(tmp_path):
    for name in ("one", "hf:two"):
        write_results(tmp_path, name, {"mix": draw_answers(0.5, 0), "a": draw_answers(0.5, len(name))})
    assert [found.setting_b for found in compare(tmp_path, "one:a", "hf:two")] == ["a"]
    assert [found.setting_a for found in compare(tmp_path, "one", "hf:two:mix")] == ["mix"]
    assert [found.setting_a for found in compare(tmp_path, "one", "hf:two")] == ["a", "mix"]


def test_folds_count_equally_as_on_the_leaderboard(tmp_path):
    folds = ["1"] * 10 + ["2"] * 50
    facts = {"task": "us8k"}
    write_results(tmp_path, "one", {"clip": draw_answers(0.8, 0)}, folds=folds, **facts)
    write_results(tmp_path, "two", {"clip": draw_answers(0.6, 1)}, folds=folds, **facts)
    (found,) = compare(tmp_path, "one", "two")
    shown = {row.encoder: row.mean for row in read_rows(tmp_path)}
    assert (found.mean_a, found.mean_b) == (pytest.approx(shown["one"]), pytest.approx(shown["two"]))
    assert found.result.mean == pytest.approx(shown["one"] - shown["two"])


def test_runs_are_named_by_their_folder_too(tmp_path):
    names = [
        write_results(
            tmp_path, "byola", {"mix": draw_answers(0.5, n), "a": draw_answers(0.6, n)}, checkpoint_sha256=str(n) * 64
        )
        for n in (1, 2)
    ]
    other = tmp_path / "elsewhere"
    write_results(other, "byola", {"mix": draw_answers(0.9, 3)}, protocol="long-1a2b3c")
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
            write_results(tmp_path, name, {"mix": draw_answers(0.5, seed)}, **changes)
    found = [(one.task, one.dataset_sha256, one.protocol) for one in compare(tmp_path, "one", "two")]
    assert found == [("bgknown", "d1", "paper"), ("bgknown", "d2", "paper"), ("esc50", "d1", "paper")]
    assert [one.task for one in compare(tmp_path, "one", "two", task="esc50")] == ["esc50"]


@pytest.fixture
def pair(tmp_path):
    write_results(tmp_path, "melpower", {"mix": draw_answers(0.5, 0)})
    write_results(tmp_path, "logmel", {"a": draw_answers(0.5, 1)})
    write_results(tmp_path, "fewer", {"mix": draw_answers(0.5, 2, clips=CLIPS[:-2])})
    write_results(tmp_path, "other", {"mix": draw_answers(0.5, 3)}, dataset_sha256="d2")
    write_results(tmp_path, "short", {"mix": draw_answers(0.5, 4)}, protocol="short")
    write_results(tmp_path, "speech", {"clip": draw_answers(0.5, 5)}, task="spcv2")
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
def test_invalid_comparisons_are_reported_as_one_line(pair, a, b, task, error, match):
    with pytest.raises(error, match=match) as caught:
        compare(pair, a, b, task=task)
    assert "\n" not in str(caught.value)


def test_missing_folder_of_predictions_is_reported(pair):
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


def test_missing_predictions_of_a_setting_are_reported(tmp_path, caplog):
    both = {"mix": draw_answers(0.5, 0), "clean": draw_answers(0.8, 1)}
    name = write_results(tmp_path, "one", both)
    write_results(tmp_path, "two", both)
    table = pd.read_csv(tmp_path / "runs" / name / "predictions.csv", dtype=str, keep_default_na=False)
    table[table["setting"] != "clean"].to_csv(tmp_path / "runs" / name / "predictions.csv", index=False)
    assert [found.setting_a for found in compare(tmp_path, "one", "two")] == ["mix"]
    assert f"clean, accuracy: not compared, missing from {tmp_path / 'runs' / name}; run it again" in caplog.text
    with pytest.raises(NotFoundError, match="one:clean and two have no setting and metric to compare"):
        compare(tmp_path, "one:clean", "two")


def test_missing_results_are_reported_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(NotFoundError, match="`benchmark run --out .*` makes one"):
        compare(tmp_path, "a", "b")


EVERY = ("shuffled", "mix", "bg", "b", "a", "a*", "shuffled*", "clean")


@pytest.fixture
def two_runs(tmp_path):
    for seed, name in enumerate(("one", "two")):
        settings = {setting: draw_answers(0.5 + 0.1 * seed, 10 * seed + n) for n, setting in enumerate(EVERY)}
        write_results(tmp_path, name, settings, gains=["a - mix", "a* - mix", "a* - shuffled*"])
    return tmp_path


def test_key_figures_come_first_and_controls_last_without_p_values(two_runs):
    found = compare(two_runs, "one", "two")
    assert [one.setting_a for one in found] == [
        *("a*", "a", "a* - mix", "a - mix", "a* - shuffled*", "mix", "clean"),
        *("b", "shuffled", "bg", "shuffled*"),
    ]
    controls = {one.setting_a for one in found if one.is_control}
    assert controls == {"clean", "shuffled", "bg", "shuffled*"}
    assert {one.setting_a for one in found if one.corrected_p is None} == controls
    text = format_comparison(found)
    assert "bg (control)" in text
    assert "corrected for all 7 tests" in text


def test_p_values_are_corrected_for_all_that_are_shown(two_runs):
    claims = [one for one in compare(two_runs, "one", "two") if not one.is_control]
    assert min(one.corrected_p for one in claims) == pytest.approx(min(1, 7 * min(one.result.p for one in claims)))
    (alone,) = compare(two_runs, "one:a", "two:a")
    assert alone.corrected_p == alone.result.p


def test_only_the_chosen_metric_is_compared(tmp_path):
    for seed, name in enumerate(("one", "two")):
        write_results(tmp_path / "first", name, {"a": draw_answers(0.5, seed)})
    assert [one.metric for one in compare(tmp_path / "first", "one", "two", metric="accuracy")] == ["accuracy"]
    with pytest.raises(NotFoundError, match="no metric 'acuracy'; did you mean accuracy"):
        compare(tmp_path / "first", "one", "two", metric="acuracy")


def test_a_gain_is_compared_clip_by_clip(two_runs):
    (found,) = compare(two_runs, "one:a* - mix", "two")
    rows = {(row.encoder, row.setting): row.mean for row in read_rows(two_runs)}
    assert found.mean_a == pytest.approx(rows["one", "a*"] - rows["one", "mix"])
    assert found.result.mean == pytest.approx(found.mean_a - found.mean_b)


def test_chance_is_not_compared(tmp_path):
    for seed, name in enumerate(("one", "two")):
        settings = {setting: draw_answers(0.5, seed) for setting in ("audio+text", "audio", "chance")}
        write_results(tmp_path, name, settings, metric="R@1", task="apwd-rain")
    found = compare(tmp_path, "one", "two")
    assert [(one.setting_a, one.is_control) for one in found] == [("audio+text", False), ("audio", True)]


def test_groups_of_the_predictions_are_flipped_whole(tmp_path):
    groups = [f"s{n // 6}" for n in range(60)]
    better = pd.DataFrame(np.ones((1, 60)), columns=CLIPS)
    write_results(tmp_path, "good", {"mix": better}, groups=groups)
    write_results(tmp_path, "bad", {"mix": 1 - better}, groups=groups)
    (found,) = compare(tmp_path, "good", "bad")
    assert (found.result.n, found.result.n_groups) == (60, 10)
    assert found.result.p == pytest.approx(2 / 2**10)
