from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown import seeding
from bgknown.corpora import CorpusIndex, esc50, fsd50k
from bgknown.corpora.pair import Corpora
from bgknown.errors import BrokenInputError, InvalidInputError
from bgknown.jobs.problems import Problem
from bgknown.mixtures.assignment import assign
from bgknown.mixtures.crop_starts import draw_a_starts, draw_b_start, draw_c_start
from bgknown.mixtures.draw import (
    DrawOptions,
    draw_recipe,
    draw_snr_db,
)
from bgknown.mixtures.hearing import CropVerdict
from bgknown.mixtures.recipe import CLIP_FRAMES as W
from bgknown.mixtures.recipe import find_overlap_shift
from bgknown.mixtures.rules import check_recipe

RATE_HZ = 44_100


def corpora(clips=40, dev=60, evaluation=60, frames=20 * RATE_HZ, shared=()):
    """Indexes without files. ``shared``: clips whose Freesound id is that of the recording with the same number."""
    rows = []
    for k in range(clips):
        fold = k % 5 + 1
        source = f"r{k}" if k in shared else f"s{k}"
        row = {"clip_id": f"{fold}-{k}-A-0", "fold": fold, "split": esc50.SPLIT_OF_FOLD[fold]}
        rows.append({**row, "target": 0, "category": "x", "source": source, "group": source})
    clip_table = pd.DataFrame(rows).sort_values("clip_id", ignore_index=True)
    clip_table = clip_table.assign(file="audio/" + clip_table["clip_id"] + ".wav", **facts(5 * RATE_HZ))
    parts = [("dev", k) for k in range(dev)] + [("eval", k) for k in range(dev, dev + evaluation)]
    recordings = pd.DataFrame(
        [{"recording_id": f"r{k}", "part": part, "labels": "Rain", "label": "Rain"} for part, k in parts]
    )
    recordings["split"] = recordings["part"].map({"dev": "train", "eval": "test"})
    recordings["source"] = recordings["group"] = recordings["recording_id"]
    recordings["file"] = [f"FSD50K.{part}_audio/r{k}.wav" for part, k in parts]
    recordings = recordings.assign(**facts(frames))
    return (
        CorpusIndex(
            facts=esc50.FACTS,
            root=Path(),
            table=clip_table,
            parts={},
            key="clip_id",
            identity={},
            reader="esc50",
        ),
        CorpusIndex(
            facts=fsd50k.FACTS,
            root=Path(),
            table=recordings,
            parts={},
            key="recording_id",
            identity={},
            reader="fsd50k",
            part_of_split=fsd50k.PART_OF_SPLIT,
        ),
    )


def join(pair):
    return Corpora(foreground=pair[0], background=pair[1])


def make_pool(size):
    names = [f"r{k}" for k in range(size)]
    return pd.DataFrame({"recording_id": names, "source": names})


def facts(frames):
    return {
        "size": 1,
        "mtime_ns": 1,
        "frames": frames,
        "rate_hz": RATE_HZ,
        "channels": 1,
        "container": "WAV",
        "problem": "",
    }


def hear_all(checks):
    for check in checks:
        yield CropVerdict(
            recording_id=check.recording["recording_id"], chosen={clip: s[0] for clip, s in check.starts.items()}
        )


def draw(pair, listen=hear_all, **options):
    return draw_recipe(join(pair), DrawOptions(**options), listen)


def rows(recipe):
    return recipe.set_index("clip_id").to_dict("index")


@given(frames=st.one_of(st.integers(2 * W, 2 * W + 5), st.integers(2 * W, 30 * RATE_HZ)), seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_all_crops_are_inside_the_recording(frames, seed):
    random = seeding.make_generator(seed, "x")
    for a in draw_a_starts(frames, random, count=8):
        b, c = draw_b_start(frames, a, random), draw_c_start(frames, a, random)
        for start in (a, b, c):
            assert isinstance(start, int)
            assert 0 <= start <= frames - W
        assert abs(b - a) == find_overlap_shift(W)
        assert abs(c - a) >= W


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_reaches_every_start_for_which_b_and_c_exist(extra):
    frames = 2 * W + extra
    drawn = Counter(draw_a_starts(frames, seeding.make_generator(0, "x"), count=4000))
    assert sorted(drawn) == [*range(extra + 1), *range(W, W + extra + 1)]
    assert min(drawn.values()) > 4000 / len(drawn) * 0.85


def test_from_15_seconds_on_a_may_start_anywhere():
    frames = 3 * W + 10
    drawn = draw_a_starts(frames, seeding.make_generator(0, "x"), count=20_000)
    assert min(drawn) < 100
    assert max(drawn) > frames - W - 100
    tenths = Counter(10 * start // (frames - W + 1) for start in drawn)
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) < 1.1 * 2000


def test_c_reaches_both_sides_and_their_ends():
    frames, a = 2 * W + 3, 1  # before: none, after: a+W .. frames-W
    drawn = {draw_c_start(frames, a, seeding.make_generator(0, str(k))) for k in range(200)}
    assert drawn == {W + 1, W + 2, W + 3}
    frames, a = 3 * W + 2, W + 1
    drawn = {draw_c_start(frames, a, seeding.make_generator(0, str(k))) for k in range(300)}
    assert drawn == {0, 1, 2 * W + 1, 2 * W + 2}


def test_b_takes_both_sides_alike():
    sides = Counter(draw_b_start(4 * W, W, seeding.make_generator(0, str(k))) > W for k in range(400))
    assert 160 < sides[True] < 240


@given(low=st.floats(-20, 20), width=st.floats(0, 10), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_snr_stays_in_its_range(low, width, seed):
    options = DrawOptions(snr_db=(low, low + width))
    assert low <= draw_snr_db(options, seeding.make_generator(seed, "x")) <= low + width


def test_a_recipe_keeps_every_rule():
    pair = corpora(shared={1, 2, 3, 5})
    recipe = draw(pair).recipe
    check_recipe(recipe, join(pair))
    assert len(recipe) == 40
    assert list(recipe["clip_id"]) == sorted(recipe["clip_id"])
    assert not recipe["fsd50k_file"].duplicated().any()


def test_each_recording_is_used_once_before_any_is_used_again():
    counts = Counter(draw(corpora(clips=40, dev=10, evaluation=5)).recipe["fsd50k_file"])
    dev = [counts[f"FSD50K.dev_audio/r{k}.wav"] for k in range(10)]
    evaluation = [counts[f"FSD50K.eval_audio/r{k}.wav"] for k in range(10, 15)]
    assert sorted(set(dev)) == [2, 3]
    assert sum(dev) == 24
    assert sorted(set(evaluation)) == [3, 4]


@given(seed=st.integers(0, 200), shared=st.sets(st.integers(0, 9)))
@settings(max_examples=60, deadline=None)
def test_as_many_recordings_as_clips_suffice_although_some_pairs_are_forbidden(seed, shared):
    clips = pd.DataFrame(
        {"clip_id": [f"c{k}" for k in range(10)], "source": [f"r{k}" if k in shared else "-" for k in range(10)]}
    )
    chosen = assign(clips, make_pool(10), seed)
    assert sorted(chosen.values()) == sorted(f"r{k}" for k in range(10))
    assert all(chosen[f"c{k}"] != f"r{k}" for k in shared)


@pytest.mark.parametrize("seed", range(40))
def test_each_recording_is_used_once_even_if_every_clip_comes_from_one_of_them(seed):
    clips = pd.DataFrame({"clip_id": [f"c{k}" for k in range(10)], "source": [f"r{k}" for k in range(10)]})
    chosen = assign(clips, make_pool(10), seed)
    assert len(set(chosen.values())) == 10
    assert all(chosen[f"c{k}"] != f"r{k}" for k in range(10))


def test_a_clip_whose_only_recording_is_its_own_source_is_refused():
    clips = pd.DataFrame({"clip_id": ["c"], "source": ["r"]})
    with pytest.raises(InvalidInputError, match="no background is left for clip c"):
        assign(clips, pd.DataFrame({"recording_id": ["r"], "source": ["r"]}), 0)


def test_a_row_depends_on_seed_and_clip_alone():
    whole, other = corpora(clips=10, dev=4000, evaluation=4000), corpora(clips=5, dev=4000, evaluation=4000)
    first, second = rows(draw(whole).recipe), rows(draw(other).recipe)
    assert len(second) == 5
    assert all(first[clip_id] == row for clip_id, row in second.items())
    assert rows(draw(whole, seed=1).recipe) != first


def test_the_order_of_the_tables_does_not_matter():
    clips, recordings = corpora()
    shuffled = replace(recordings, table=recordings.table.sample(frac=1, random_state=1))
    assert draw((clips, recordings)).recipe.equals(draw((clips, shuffled)).recipe)


def test_a_recording_that_goes_away_changes_only_the_rows_that_had_it():
    clips, recordings = corpora(clips=10, dev=3000, evaluation=3000)
    before = rows(draw((clips, recordings)).recipe)
    gone = before["1-0-A-0"]["fsd50k_file"]
    fewer = replace(recordings, table=recordings.table[recordings.table["file"] != gone])
    after = rows(draw((clips, fewer)).recipe)
    assert [clip_id for clip_id in before if before[clip_id] != after[clip_id]] == ["1-0-A-0"]


def test_short_recordings_are_left_out():
    clips, recordings = corpora(dev=30)
    recordings.table.loc[recordings.table.index < 15, "frames"] = 2 * W - 1
    used = set(draw((clips, recordings)).recipe["fsd50k_file"])
    assert not used & set(recordings.table["file"][:15])
    assert used >= set(recordings.table["file"][15:30])


def test_recordings_at_other_rates_count_by_their_length_at_44_khz():
    clips, recordings = corpora(dev=1)
    recordings.table.loc[0, ["frames", "rate_hz"]] = [160_000, 16_000]  # exactly 10 s
    recipe = draw((clips, recordings)).recipe
    assert set(recipe[recipe["split"] == "train"]["a_start"]) == {0, W}


def test_quiet_crops_are_drawn_again_and_quiet_recordings_left_out():
    loud_from = 10 * RATE_HZ

    def listen(checks):
        for check in checks:
            silent = check.recording["recording_id"] in {"r0", "r1"}
            chosen = {
                clip: next((start for start in starts if start >= loud_from and not silent), None)
                for clip, starts in check.starts.items()
            }
            yield CropVerdict(recording_id=check.recording["recording_id"], chosen=chosen)

    drawn = draw(corpora(dev=12), listen)
    assert drawn.recipe["a_start"].min() >= loud_from
    assert drawn.too_quiet == ["r0", "r1"]
    check_recipe(drawn.recipe, join(corpora(dev=12)))


def test_broken_recordings_are_left_out_and_named():
    def listen(checks):
        for check in checks:
            problem = None
            if check.recording["recording_id"] == "r3":
                problem = Problem(where="r3", code="not_finite", what="NaN")
            chosen = {} if problem else {clip: starts[0] for clip, starts in check.starts.items()}
            yield CropVerdict(recording_id=check.recording["recording_id"], chosen=chosen, problem=problem)

    drawn = draw(corpora(dev=12), listen)
    assert [problem.where for problem in drawn.problems] == ["r3"]
    assert "FSD50K.dev_audio/r3.wav" not in set(drawn.recipe["fsd50k_file"])


def test_no_usable_recording_is_an_error():
    with pytest.raises(BrokenInputError, match="no background is left in FSD50K's dev set: recordings must have 10 s"):
        draw(corpora(frames=2 * W - 1))


def test_shortage_lists_every_broken_and_quiet_recording():
    def listen(checks):
        for check in checks:
            name = check.recording["recording_id"]
            problem = Problem(where=name, code="not_finite", what="NaN") if name == "r0" else None
            yield CropVerdict(recording_id=name, chosen=dict.fromkeys(check.starts), problem=problem)

    clips, recordings = corpora(dev=4)
    recordings.table.loc[3, ["frames", "problem"]] = [0, "the file is empty (0 bytes)"]
    told = r"(?s)2 have no crop of -60 LUFS \(--min-level\), 2 are broken:.*r3.wav: unreadable.*r0: not_finite: NaN"
    with pytest.raises(BrokenInputError, match=told):
        draw((clips, recordings), listen)


def test_a_last_recording_that_is_a_clips_own_source_is_refused():
    with pytest.raises(BrokenInputError, match="recording r0, is the Freesound source of a clip"):
        draw(corpora(dev=1, shared={0}), keep_sources=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr_db": (3.0, 0.0)}, "3 to 0 dB; it must rise"),
        ({"snr_db": (0.0, float("nan"))}, "must rise"),
        ({"ref_db": 3.0}, "ref_db is 3 LUFS"),
        ({"min_level_lufs": -70.0}, "must be above -70"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        DrawOptions(**options)
