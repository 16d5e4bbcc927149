"""Each figure's table equals what is computed from the results in another way."""

import json

import pandas as pd
import pytest

from benchmark.plots.make import KINDS_OF_FIGURES, load_kind
from benchmark.plots.material import PlotOptions, read_material
from benchmark.predictions import read_predictions
from benchmark.results.classes import format_confusion
from benchmark.results.clip_scores import ClipScores
from benchmark.results.compare import compare
from benchmark.results.rows import read_rows
from benchmark.results.runs import list_runs
from bgknown.jobs.files import hash_file
from bgknown.jobs.sealed import add_check
from pretrain.checkpoint import write_encoder
from pretrain.frontend import FrontEnd, Statistics
from pretrain.networks import AudioNTT2022
from tests.benchmark.plots.made import GAINS, SHARES, say_training, write_made, write_speed
from tests.benchmark.results.made_runs import draw_answers, write_results

NAMES = ("low", "middle", "high")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots") / "results"
    write_made(folder, NAMES)
    for number, name in enumerate(NAMES[:2]):
        write_speed(folder, name, number, 10.0 * (number + 1))
    for number, run in enumerate(list_runs(folder)):
        say_training(run.folder, objective__lambda=number / 2, training__seed=number, training__steps=number)
    return folder


def tables(out, kind, **options):
    material = read_material(PlotOptions(outs=(out,), **options))
    return {drawing.stem: drawing.table for drawing in load_kind(kind).list_drawings(material)}, material


def table(out, kind, **options):
    ((_, found),) = tables(out, kind, **options)[0].items()
    return found


def by_setting(out, setting, metric="accuracy"):
    return {row.encoder: row for row in read_rows(out) if (row.setting, row.metric) == (setting, metric)}


def check_rows(out, found, settings):
    assert len(found) == len(NAMES) * len(settings)
    for setting in settings:
        rows = by_setting(out, setting)
        for line in found[found["setting"] == setting].itertuples():
            row = rows[line.encoder]
            assert (line.mean, line.low, line.high) == (row.mean, row.low, row.high)
            assert (line.n_test, line.n_groups) == (row.n_test, row.n_groups)


def test_every_kind_says_what_it_shows():
    assert all(load_kind(kind).ABOUT for kind in KINDS_OF_FIGURES)


def test_ladder(out):
    found = table(out, "ladder")
    check_rows(out, found, SHARES)
    assert list(dict.fromkeys(found["encoder"])) == ["high", "middle", "low"]  # by a*
    assert list(dict.fromkeys(found["setting"])) == ["clean", "a", "a*", "c", "mix", "shuffled", "shuffled*"]


def test_gains(out):
    found = table(out, "gains")
    check_rows(out, found, GAINS)
    assert found["clear"].tolist() == [
        int(low > 0 or high < 0) for low, high in zip(found["low"], found["high"], strict=True)
    ]


def test_differences(out):
    found = table(out, "differences")
    assert set(found["setting"]) == {"a*", "a", "a* - mix", "a - mix"}
    assert len(found) == 4 * 3
    assert (found["holm_p"] >= found["p"]).all()
    assert (found["clear"] == (found["holm_p"] <= 0.05)).all()
    shown = compare(out, "high", "middle")
    for line in found[(found["a"] == "high") & (found["b"] == "middle")].itertuples():
        (one,) = (one for one in shown if one.setting_a == line.setting)
        assert (line.mean, line.low, line.high) == pytest.approx((one.result.mean, one.result.low, one.result.high))
        assert (line.p, line.n_test, line.n_groups) == (one.result.p, one.result.n, one.result.n_groups)


def test_bgknown_of_other_corpora_has_the_same_key_figures(tmp_path):
    answers = {setting: draw_answers(0.5, number, seeds=1) for number, setting in enumerate(("mix", "a", "a*"))}
    for name in ("x", "y"):
        write_results(tmp_path, name, answers, gains=["a - mix"], task="bgknown-own-2s")
    assert set(table(tmp_path, "ranks")["setting"]) == {"a*"}
    assert list(dict.fromkeys(table(tmp_path, "differences")["setting"])) == ["a*", "a", "a - mix", "mix"]


def test_of_many_encoders_each_is_compared_with_the_best(tmp_path):
    write_made(tmp_path, ["a", "b", "c", "d", "e"], tables=False)
    found = table(tmp_path, "differences")
    means = {name: row.mean for name, row in by_setting(tmp_path, "a*").items()}
    order = sorted(means, key=means.get, reverse=True)
    assert set(found["b"]) == {order[0]}
    assert list(dict.fromkeys(found["a"])) == order[1:]


def test_ranks(out):
    found = table(out, "ranks")
    ranks = ClipScores([out]).rank(list(by_setting(out, "a*").values()))
    for line in found.itertuples():
        rank = ranks[by_setting(out, "a*")[line.encoder].identity]
        assert (line.rank, line.rank_low, line.rank_high, line.tie) == (rank.place, rank.low, rank.high, rank.tie)
    assert found["rank"].tolist() == [1, 2, 3]


def test_snr(out):
    found = tables(out, "snr")[0]
    assert [stem.split("-")[1] for stem in found] == ["accuracy", "gain"]
    for part, settings in zip(found.values(), ({"clean", "a", "a*", "mix", "shuffled*"}, set(GAINS)), strict=True):
        assert set(part["setting"]) == settings
        for encoder, run in ((run.row.encoder, run) for run in list_runs(out)):
            stored = pd.read_csv(run.folder / "snr.csv").map(
                lambda one: one.lstrip("'") if isinstance(one, str) else one
            )
            stored = stored[stored["setting"].isin(settings)]
            mine = part[part["encoder"] == encoder]
            assert (
                mine[["band", "mean", "low", "high"]].to_numpy().tolist()
                == stored[["band", "mean", "low", "high"]].to_numpy().tolist()
            )
        assert sorted(set(part["middle_db"])) == [-1.0, 1.0]


def test_alpha(out):
    found = table(out, "alpha")
    assert len(found) == len(NAMES) * 2 * 3
    one = found[(found["encoder"] == "low") & (found["setting"] == "a*") & (found["alpha"] == 0.5)].iloc[0]
    assert one["accuracy"] == pytest.approx((10 * 55 + 30 * 56) / 40)  # folds weigh by their clips
    assert (one["n"], one["chosen"]) == (40, 0)
    assert set(found.loc[found["chosen"] == 1, "alpha"]) == {1.0}


def test_lambda(out):
    found = table(out, "lambda")
    assert sorted(set(found["lambda"])) == [0.0, 0.5, 1.0]
    assert set(found["training"]) == {"all checkpoints"}  # a longer configuration alone is no other training
    check_rows(out, found, [name for name in (*SHARES, *GAINS) if name in set(found["setting"])])


def test_checkpoints_that_differ_in_more_than_lambda_are_lines_of_their_own(tmp_path):
    write_made(tmp_path, ["a", "b", "c", "d"], tables=False)
    runs = {run.row.encoder: run.folder for run in list_runs(tmp_path)}
    for name, lambda_, domain in (("a", 0.0, "normalised"), ("b", 0.5, "normalised"), ("c", 0.5, "power")):
        say_training(runs[name], objective__lambda=lambda_, training__seed=0, objective__mix_domain=domain)
    ((_, found),), material = tables(tmp_path, "lambda")[0].items(), tables(tmp_path, "lambda")[1]
    assert set(found["training"]) == {"objective.mix_domain normalised", "objective.mix_domain power"}
    assert set(found["encoder"]) == {"a", "b", "c"}
    assert material.notes == ["lambda: left out, because their lambda is not known: d"]


@pytest.mark.parametrize("value", ["0.5", [0.5], None, float("inf")])
def test_what_is_not_a_lambda_is_not_known(tmp_path, value):
    write_made(tmp_path, ["a", "b", "c"], tables=False)
    for number, run in enumerate(list_runs(tmp_path)):
        given = {"objective__lambda": value if number == 2 else number / 2, "views__x": [number]}
        say_training(run.folder, **given)
    assert set(table(tmp_path, "lambda")["encoder"]) == {"a", "b"}


def test_lambdas_of_earlier_runs_come_from_their_checkpoints_if_these_are_unchanged(tmp_path):
    out = tmp_path / "results"
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        card = {"config": {"objective": {"lambda": number / 2}, "training": {"seed": 1}}}
        network, statistics = AudioNTT2022(n_mels=16, d=300, hidden=8, seed=number), Statistics(mean=0.0, std=1.0)
        write_encoder(path, network, FrontEnd(n_mels=16), statistics, card=card)
        name = write_results(out, f"e{number}", {"a": draw_answers(0.5, number)}, checkpoint_sha256=hash_file(path))
        (out / "runs" / name / "config.json").write_text(json.dumps(add_check({"spec": str(path)})))
    found = table(out, "lambda")
    assert dict(zip(found["encoder"], found["lambda"], strict=True)) == {"e0": 0.0, "e1": 0.5, "e2": 1.0}
    (tmp_path / "2.safetensors").write_bytes((tmp_path / "1.safetensors").read_bytes())
    found, material = tables(out, "lambda")
    assert set(*(part["encoder"] for part in found.values())) == {"e0", "e1"}
    assert material.notes == ["lambda: left out, because their lambda is not known: e2"]


def test_speed(out):
    found, material = tables(out, "speed")
    (found,) = found.values()
    assert dict(zip(found["encoder"], found["clips_per_s"], strict=True)) == {"low": 10.0, "middle": 20.0}
    assert {line.encoder: line.mean for line in found.itertuples()} == {
        name: by_setting(out, "a*")[name].mean for name in ("low", "middle")
    }
    assert material.notes == [f"speed: left out: high; `benchmark check --encoder high --out {out}`"]


def test_changes(out):
    found = tables(out, "changes")[0]
    assert [table["metric"].iloc[0] for table in found.values()] == ["R@1", "R@10"]
    assert all(len(part) == len(NAMES) * 2 * 3 and part["high"].isna().all() for part in found.values())


def test_confusion(out):
    found = tables(out, "confusion")[0]
    assert len(found) == 3
    for part in found.values():
        name = part["encoder"].iloc[0]
        (run,) = (run for run in list_runs(out) if run.row.encoder == name)
        answers = read_predictions(run.folder)
        answers = answers[answers["setting"] == "a*"]
        for line in part.itertuples():
            asked = answers["label"] == line.label
            assert line.count == (asked & (answers["predicted"] == line.predicted)).sum()
            assert line.share == pytest.approx(100 * line.count / asked.sum(), abs=1e-3)
    assert "count" in format_confusion(list(by_setting(out, "a*").values()), [out])


def test_choices_of_metric_setting_encoders_and_names(out):
    assert set(table(out, "ranks", setting="clean")["setting"]) == {"clean"}
    assert set(table(out, "gains", encoders=("low", "high"))["encoder"]) == {"low", "high"}
    assert set(table(out, "gains", names={"low": "Low"})["encoder"]) == {"Low", "middle", "high"}
    assert len(tables(out, "confusion", encoders=("low",))[0]) == 1
