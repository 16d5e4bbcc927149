"""Several draws of each clip, and grids of SNRs."""

import json
from collections import Counter

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.cli import main
from bgknown.corpora.names import name_clip
from bgknown.errors import InvalidInputError
from bgknown.mixtures import build as building
from bgknown.mixtures.assignment import assign
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.draw import DrawOptions
from bgknown.mixtures.hearing import CropVerdict
from bgknown.mixtures.making import build_dataset
from bgknown.mixtures.manifest import MANIFEST_COLUMNS
from bgknown.mixtures.naming import name_row
from bgknown.mixtures.options import BuildOptions
from bgknown.mixtures.recipe import COLUMNS, format_recipe, read_recipe
from bgknown.mixtures.rules import check_recipe
from bgknown.mixtures.selection import take_rows
from bgknown.mixtures.verify import verify
from tests.bgknown.mixtures.test_draw import corpora, draw, hear_all, join, make_pool

BACKGROUND = ["fsd50k_file", "a_start", "b_start", "c_start"]


def of_draw(recipe, number):
    """The rows of one draw as those of a recipe with a single draw."""
    part = recipe[recipe["draw"] == number]
    return part.assign(clip_id=part["esc50_file"].map(name_clip))[COLUMNS].reset_index(drop=True)


@pytest.mark.parametrize("sizes", [{}, {"dev": 10, "evaluation": 5}, {"shared": {1, 2, 3, 5}}])
def test_the_first_draw_is_that_of_a_single_one_and_fewer_are_the_first_of_more(sizes):
    pair = corpora(**sizes)
    single, three, six = draw(pair).recipe, draw(pair, draws=3).recipe, draw(pair, draws=6).recipe
    assert of_draw(six, 0).equals(single)
    for number in range(3):
        assert of_draw(six, number).equals(of_draw(three, number))
    assert len(six) == 6 * len(single)
    check_recipe(six, join(pair))


def test_a_single_draw_has_neither_suffix_nor_column():
    recipe = draw(corpora(), draws=1).recipe
    assert list(recipe.columns) == COLUMNS
    assert not recipe["clip_id"].str.contains("_").any()


def test_rows_are_named_for_clip_draw_and_snr():
    assert name_row("1-2-A-3") == "1-2-A-3"
    assert name_row("1-2-A-3", 4) == "1-2-A-3_r4"
    assert name_row("1-2-A-3", None, -0.0) == "1-2-A-3_snr0"
    assert name_row("1-2-A-3", 4, -12.3456) == "1-2-A-3_r4_snr-12.3456"
    recipe = draw(corpora(clips=5), draws=2).recipe
    assert recipe["clip_id"].tolist() == [f"{k + 1}-{k}-A-0_r{r}" for k in range(5) for r in range(2)]
    assert recipe["draw"].tolist() == [0, 1] * 5


def test_draws_of_a_clip_differ_in_recording_and_snr():
    recipe = draw(corpora(clips=40, dev=60, evaluation=60), draws=3).recipe
    assert recipe.groupby("esc50_file")["fsd50k_file"].nunique().eq(3).all()
    assert recipe.groupby("esc50_file")["snr_db"].nunique().eq(3).all()


def test_draws_of_a_clip_with_the_same_recording_differ_in_their_crops():
    recipe = draw(corpora(clips=10, dev=1, evaluation=1), draws=3).recipe
    assert recipe.groupby("esc50_file")["fsd50k_file"].nunique().eq(1).all()
    assert recipe.groupby("esc50_file")["a_start"].nunique().eq(3).all()


def test_over_all_rows_every_recording_is_used_once_before_any_is_used_again():
    recipe = draw(corpora(clips=40, dev=72, evaluation=20), draws=3).recipe
    counts = Counter(recipe["fsd50k_file"])
    assert [counts[f"FSD50K.dev_audio/r{k}.wav"] for k in range(72)] == [1] * 72
    assert {counts[f"FSD50K.eval_audio/r{k}.wav"] for k in range(72, 92)} == {2, 3}


@given(seed=st.integers(0, 200), shared=st.sets(st.integers(0, 9)), size=st.integers(2, 24), draws=st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_no_clip_gets_a_recording_twice_while_there_are_others(seed, shared, size, draws):
    clips = pd.DataFrame(
        {"clip_id": [f"c{k}" for k in range(10)], "source": [f"r{k}" if k in shared else "-" for k in range(10)]}
    )
    pool = make_pool(size)
    made: list[dict[str, str]] = []
    for _ in range(draws):
        made.append(assign(clips, pool, seed, made))
    for clip, source in clips.to_numpy():
        had = Counter(one[clip] for one in made)
        others = size - (source in set(pool["recording_id"]))
        assert source not in had
        assert max(had.values()) - (min(had.values()) if len(had) == others else 0) <= 1
    if not shared:
        counts = Counter(name for one in made for name in one.values())
        assert max(counts.values()) - (min(counts.values()) if len(counts) == size else 0) <= 1


def test_a_recording_that_fails_in_a_later_draw_changes_no_earlier_one():
    pair = corpora(clips=40, dev=30, evaluation=20)
    heard: Counter[str] = Counter()
    single = draw(pair).recipe

    def listen(checks):
        for verdict in hear_all(checks):
            heard[verdict.recording_id] += 1
            quiet = verdict.recording_id == "r3" and heard["r3"] > 1
            yield CropVerdict(
                recording_id=verdict.recording_id, chosen=dict.fromkeys(verdict.chosen) if quiet else verdict.chosen
            )

    found = draw(pair, listen, draws=3)
    assert found.too_quiet == ["r3"]
    assert of_draw(found.recipe, 0).equals(single)
    later = found.recipe[found.recipe["draw"] > 0]
    assert not later["fsd50k_file"].str.endswith("/r3.wav").any()


def test_every_snr_of_a_grid_has_the_same_background():
    pair = corpora(clips=10)
    recipe = draw(pair, snr_grid_db=(-10.0, 0.0, 2.5), draws=2).recipe
    check_recipe(recipe, join(pair))
    assert len(recipe) == 10 * 2 * 3
    assert recipe.groupby(["esc50_file", "draw"])[BACKGROUND].nunique().eq(1).all(axis=None)
    assert recipe["snr_db"].value_counts().to_dict() == {-10.0: 20, 0.0: 20, 2.5: 20}
    without = draw(pair).recipe.set_index("esc50_file")[BACKGROUND]
    first = recipe[(recipe["draw"] == 0) & (recipe["snr_db"] == 0)].set_index("esc50_file")[BACKGROUND]
    assert first.loc[without.index].equals(without)
    one = draw(pair, snr_grid_db=(5.0,)).recipe
    assert one["clip_id"].str.endswith("_snr5").all()
    assert "draw" not in one
    check_recipe(one, join(pair))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws is 0; it must be in 1..1,000"),
        ({"snr_grid_db": (0.0, 41.0)}, "the SNR grid has 41 dB; each value must be in -40..40"),
        ({"snr_grid_db": (0.123456,)}, "with at most 4 decimals"),
        ({"snr_grid_db": (5.0, 0.0, 5.0)}, "the SNR grid has 5 dB twice"),
    ],
)
def test_options_that_break_a_rule_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        DrawOptions(**options)


@pytest.fixture(scope="module")
def drawn(built, tmp_path_factory):
    """The tiny corpora with two draws; not to be changed."""
    tiny, _ = built
    out = tmp_path_factory.mktemp("drawn") / "out"
    build_dataset(out, esc50=tiny.esc50, fsd50k=tiny.fsd50k, draws=2, engine="direct", jobs=1, cache=out.parent)
    return tiny, out


def test_a_dataset_of_two_draws(drawn, built):
    data = open_dataset(drawn[1])
    assert len(data) == 20
    assert list(data.table.columns) == [*MANIFEST_COLUMNS[:12], "draw", *MANIFEST_COLUMNS[12:]]
    assert data.table["draw"].tolist() == [0, 1] * 10
    assert [example["draw"] for example in data.examples("train")] == [0, 1] * 6
    assert data.audio("1-100-A-0_r1").shape == (220_500,)
    description = json.loads((drawn[1] / "dataset.json").read_text())
    assert description["draw"]["draws"] == 2
    assert description["counts"] == {"rows": 20, "clips": 10, "train": 12, "test": 8, "skipped": 0}
    assert verify(drawn[1], jobs=1)[1] == []
    single = open_dataset(built[1])
    for signal in ("mix", "a", "b", "c"):
        assert (data.audio("2-200-A-0_r0", signal) == single.audio("2-200-A-0", signal)).all()


def test_a_single_draw_is_described_as_before(built):
    description = json.loads((built[1] / "dataset.json").read_text())
    assert set(description["draw"]) == {"seed", "snr_db", "ref_db"}
    assert "clips" not in description["counts"]
    assert "draw" not in open_dataset(built[1]).table
    assert "draw" not in next(iter(open_dataset(built[1])))


def test_verify_finds_another_number_of_clips_and_of_a_draw(drawn, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("manifest.csv", "recipe.csv", "dataset.json"):
        (copy / name).write_text((drawn[1] / name).read_text())
    (copy / "dataset.json").write_text((copy / "dataset.json").read_text().replace('"clips": 10', '"clips": 9'))
    table = pd.read_csv(copy / "manifest.csv")
    table.loc[1, "draw"] = 3
    table.to_csv(copy / "manifest.csv", index=False)
    faults = verify(copy, jobs=1)[1]
    assert "dataset.json: counts.clips is 9, the manifest has 10" in faults
    assert "manifest.csv: row 1-100-A-0_r1: draw is 3, the recipe says 1" in faults


def test_a_recipe_of_two_draws_builds_the_same_files(drawn, tmp_path):
    tiny, out = drawn
    recipe = read_recipe(out / "recipe.csv")
    assert format_recipe(recipe) == (out / "recipe.csv").read_bytes()
    assert read_recipe(out / "manifest.csv").equals(recipe)
    again = tmp_path / "again"
    build_dataset(
        *(again,), esc50=tiny.esc50, fsd50k=tiny.fsd50k, recipe=out / "recipe.csv", engine="direct", cache=tmp_path
    )
    for name in ("recipe.csv", "manifest.csv"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_a_stopped_build_of_two_draws_resumes(drawn, tmp_path, monkeypatch):
    tiny, finished = drawn
    out = tmp_path / "out"
    options = BuildOptions(draw=DrawOptions(draws=2), engine="direct", jobs=1, cache=tmp_path)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_write_tables", stop)
        with pytest.raises(KeyboardInterrupt):
            building.build(tiny.open(), options, out)
    report = building.build(tiny.open(), options, out)
    assert (report.rendered, report.kept) == (0, 20)
    assert (out / "manifest.csv").read_bytes() == (finished / "manifest.csv").read_bytes()


def test_a_broken_clip_is_left_out_in_all_draws(tiny, tmp_path):
    tiny.clip("1-100-A-0").write_bytes(b"RIFF")
    out = tmp_path / "out"
    data = build_dataset(
        *(out,), esc50=tiny.esc50, fsd50k=tiny.fsd50k, draws=2, engine="direct", skip_broken=True, cache=tmp_path
    )
    assert len(data) == 18
    assert [problem["where"] for problem in data.description["skipped"]] == ["1-100-A-0_r0", "1-100-A-0_r1"]
    assert verify(out, jobs=1)[1] == []


def test_a_limit_takes_all_draws_of_a_clip(drawn):
    recipe = read_recipe(drawn[1] / "recipe.csv")
    taken = take_rows(recipe, 3)
    assert len(taken) == 6
    assert taken.groupby("esc50_file")["draw"].apply(sorted).tolist() == [[0, 1]] * 3
    assert take_rows(recipe, 10) is recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pd.concat([t, t.iloc[:1]]), "line 22: clip 1-100-A-0_r0 has two rows"),
        (lambda t: t.assign(draw=0), "line 3: clip 1-100-A-0 has two rows of draw 0"),
        (lambda t: t.assign(draw="x"), "line 2: draw is 'x'; it must be a whole number"),
        (lambda t: t.assign(draw=t["draw"] + 1), "1-100-A-0_r0: draw 1 of clip 1-100-A-0 must be named 1-100-A-0_r1"),
        (lambda t: t.assign(draw=t["draw"] - 1), "1-100-A-0_r0: draw is -1; it must not be negative"),
        (lambda t: t.drop(columns="draw"), "1-100-A-0_r0: 'audio/1-100-A-0.wav' is not the clip of that name"),
    ],
)
def test_recipes_whose_draws_contradict_their_names_are_refused(drawn, tmp_path, change, message):
    tiny, out = drawn
    table = pd.read_csv(out / "recipe.csv").assign(snr_db=1.0)
    change(table).to_csv(tmp_path / "r.csv", index=False)
    index = tiny.open()

    def check():
        check_recipe(read_recipe(tmp_path / "r.csv"), index)

    with pytest.raises(InvalidInputError, match=message):
        check()


def test_the_commands_plan_and_build_draws(tiny, tmp_path):
    run = CliRunner().invoke
    planned = run(main, ["plan", *tiny.arguments(), "--draws", "2", "--out", str(tmp_path / "r.csv")])
    assert planned.exit_code == 0, planned.output
    assert "split    rows  clips  classes  backgrounds" in planned.output
    assert "train      12      6        2" in planned.output
    drawing = ["--draws", "2", "--snr-grid=-5,5", "--limit", "2", "--engine", "direct"]
    made = run(main, ["build", *tiny.arguments(), *drawing, "--out", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    assert len(open_dataset(tmp_path / "out")) == 8
    checked = run(main, ["verify", str(tmp_path / "out")])
    assert "ok: 8 rows, 40 files" in checked.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--draws", "0"], "draws is 0"),
        (["--snr-grid=1,x"], "'x' is not a number; give numbers with commas between them"),
        (["--snr-grid=1,"], "'' is not a number"),
        (["--snr-grid=nan"], "'nan' is not a number"),
        (["--snr-grid=1,2", "--snr", "0", "3"], "give one of them"),
        (["--draws", "2", "--recipe", "r.csv"], "leave them out with --recipe"),
        (["--snr-grid=1", "--recipe", "r.csv"], "leave them out with --recipe"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(tmp_path, arguments, message):
    result = CliRunner().invoke(main, ["build", "--miniature", "--out", str(tmp_path / "o"), *arguments])
    assert result.exit_code == 2 or "error" in result.stderr
    assert message in result.stderr
