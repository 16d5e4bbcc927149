"""Drawn mixtures: what is in them, and that each depends on its number alone."""

import numpy as np
import pytest

from benchmark.heads.drawing import MixtureDraw, MixtureRules, find_training_rows, is_held_out
from benchmark.heads.mixing import mix_signals
from benchmark.heads.recordings import RecordingChoice, list_recordings
from bgknown.audio.files import RATE_HZ
from bgknown.audio.loudness import measure_lufs
from bgknown.audio.sources import SourceStore
from bgknown.errors import InvalidInputError
from tests.benchmark.heads.conftest import RULES, make_recordings
from tests.conftest import write_wav


@pytest.fixture(scope="module")
def pool(recordings, tmp_path_factory):
    return list_recordings(RecordingChoice(audio=(recordings,)), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def draw(pool):
    return MixtureDraw(pool.recordings, RULES)


def test_every_mixture_keeps_the_rules(draw):
    plans = [draw.plan_mixture(number) for number in range(240)]
    width = RULES.clip_frames
    for plan in plans:
        assert plan.foreground.source != plan.background.source
        assert plan.background.frames >= 2 * width
        assert 0 <= plan.onset <= width - plan.foreground_frames
        assert plan.foreground_start + plan.foreground_frames <= plan.foreground.frames
        assert RULES.snr_db[0] <= plan.snr_db <= RULES.snr_db[1]
        apart = abs(plan.reference_start - plan.a_start)
        assert {"a": apart == 0, "b": apart == width // 2, "c": apart >= width}[plan.reference]
    assert [sum(plan.reference == name for plan in plans) for name in "abc"] == [80, 80, 80]
    assert len({plan.level_lufs for plan in plans}) == len({plan.snr_db for plan in plans}) == 240
    assert len({plan.onset for plan in plans}) > 50


def test_held_out_mixtures_share_no_foreground_and_no_background_with_the_others(draw):
    sides = {True: set(), False: set()}
    for number in range(400):
        plan = draw.plan_mixture(number)
        sides[is_held_out(number)] |= {plan.foreground.source, plan.background.source}
    assert sides[True] == set(draw.held_out)
    assert not sides[True] & sides[False]
    assert sum(is_held_out(number) for number in range(400)) == 50
    assert find_training_rows(6, 3).tolist() == [True, False, True]


def test_a_draw_depends_on_seed_number_and_attempt_alone(pool, draw):
    again = MixtureDraw(pool.recordings, RULES)
    other = MixtureDraw(pool.recordings, MixtureRules(seed=1, duration_s=RULES.duration_s))
    assert [again.plan_mixture(number) for number in (15, 3)] == [draw.plan_mixture(number) for number in (15, 3)]
    assert draw.plan_mixture(3, 1) != draw.plan_mixture(3) != other.plan_mixture(3)
    assert again.sha256 == draw.sha256 != other.sha256


def test_signals_have_the_snr_the_level_and_the_reference_of_their_plan(draw):
    for number in range(3):
        plan = draw.plan_mixture(number)
        mix, reference, clean = mix_signals(draw, number, RATE_HZ, SourceStore()).astype(np.float64)
        background = mix - clean
        assert measure_lufs(background, RATE_HZ) == pytest.approx(plan.level_lufs, abs=0.3)
        event = clean[plan.onset : plan.onset + plan.foreground_frames]
        # the foreground is measured before its fades
        assert measure_lufs(event, RATE_HZ) == pytest.approx(plan.level_lufs + plan.snr_db, abs=1.0)
        assert not clean[: plan.onset].any()
        apart = np.abs(background - reference).max()
        assert apart <= 2.0**-14 if plan.reference == "a" else apart > 0.01
    assert mix_signals(draw, 0, 16_000, SourceStore()).shape == (3, 8_000)


def test_silent_recordings_are_drawn_again_and_all_silent_ones_refused(tmp_path):
    root = make_recordings(tmp_path / "some", backgrounds=4, tones=4)
    write_wav(root / "short" / "1-700-A-3.wav", np.zeros(RATE_HZ // 3))
    pool = list_recordings(RecordingChoice(audio=(root,)), cache=tmp_path)
    draw = MixtureDraw(pool.recordings, RULES)
    numbers = [n for n in range(100) if draw.plan_mixture(n).foreground.name.endswith("1-700-A-3.wav")]
    assert mix_signals(draw, numbers[0], 16_000, SourceStore())[2].any()
    for number in range(4):
        write_wav(tmp_path / "none" / f"{number + 1}.wav", np.full(2 * RATE_HZ, 1e-4 * number))
    silent = list_recordings(RecordingChoice(audio=(tmp_path / "none",)), cache=tmp_path)
    with pytest.raises(InvalidInputError, match="add louder recordings"):
        mix_signals(MixtureDraw(silent.recordings, RULES), 0, 16_000, SourceStore())


def test_too_few_backgrounds_and_bad_ranges_are_refused(tmp_path):
    root = make_recordings(tmp_path / "few", backgrounds=3, tones=3)
    pool = list_recordings(RecordingChoice(audio=(root,)), cache=tmp_path)
    with pytest.raises(InvalidInputError, match="^3 of 6 recordings .* at least 4 are required"):
        MixtureDraw(pool.recordings, RULES)
    with pytest.raises(InvalidInputError, match="the range snr is 3 to 0 dB"):
        MixtureRules(snr_db=(3.0, 0.0))
    with pytest.raises(InvalidInputError, match="the range level is -80 to -20 dB"):
        MixtureRules(level_lufs=(-80.0, -20.0))
