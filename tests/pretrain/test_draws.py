import numpy as np
import pytest
import torch

from pretrain.config import read_config
from pretrain.draws import CropSampler, StepDraw, draw_statistics_crops
from pretrain.networks import DROPOUT, AudioNTT2022
from tests.pretrain.made import smoke

CPU = torch.device("cpu")


def test_every_epoch_shows_every_clip_once_in_another_order():
    sampler = CropSampler(smoke("training.batch=6"), clips=15)
    shown = np.concatenate([sampler.draw(step).clips for step in range(10)]).reshape(4, 15)
    assert all(sorted(epoch) == list(range(15)) for epoch in shown.tolist())
    assert len({tuple(epoch) for epoch in shown.tolist()}) == 4


def test_steps_can_be_drawn_in_any_order():
    config = smoke()
    forward, backward = CropSampler(config, clips=5), CropSampler(config, clips=5)
    one = [forward.draw(step) for step in range(7)]
    other = [backward.draw(step) for step in reversed(range(7))][::-1]
    for first, second in zip(one, other, strict=True):
        assert np.array_equal(first.clips, second.clips)
        assert np.array_equal(first.places, second.places)


def views_of(config):
    drawn = StepDraw(config, AudioNTT2022(16, 320, hidden=64), 3, CPU)
    crops = CropSampler(config, clips=20).draw(3)
    return drawn, crops, [vars_of(view) for view in drawn.views(slice(0, 8))]


def vars_of(view):
    return torch.stack([getattr(view, name).double() for name in type(view).__slots__])


@pytest.mark.parametrize(
    "change", ["objective.lambda=0", "objective.lambda=0.2", "objective.mix_domain=power", "objective.gamma_low=0.2",
               "objective.reference_shift_s=0.5"],
)  # fmt: skip
def test_all_objectives_see_identical_crops_views_and_dropout(change):
    """So that runs which differ in lambda, or in what is mixed how, can be compared."""
    drawn, crops, views = views_of(smoke())
    others, other_crops, other_views = views_of(smoke(change))
    assert np.array_equal(crops.clips, other_crops.clips)
    assert np.array_equal(crops.places, other_crops.places)
    assert all(torch.equal(one, other) for one, other in zip(views, other_views, strict=True))
    for purpose in ("online", "target"):
        assert torch.equal(drawn.dropout_mask(purpose, slice(0, 8)), others.dropout_mask(purpose, slice(0, 8)))


def test_seeds_steps_and_purposes_draw_differently():
    drawn, crops, views = views_of(smoke())
    _, other_crops, other_views = views_of(smoke("training.seed=1"))
    assert not np.array_equal(crops.places, other_crops.places)
    assert not torch.equal(views[0], other_views[0])
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(drawn.dropout_mask("online", slice(0, 8)), drawn.dropout_mask("target", slice(0, 8)))
    network = AudioNTT2022(16, 320, hidden=64)
    assert not torch.equal(StepDraw(smoke(), network, 4, CPU).gamma(slice(0, 8)), drawn.gamma(slice(0, 8)))


def test_parts_of_a_draw_make_up_the_whole():
    drawn, _, views = views_of(smoke())
    parts = [slice(0, 3), slice(3, 8)]
    for number in range(2):
        together = torch.cat([vars_of(drawn.views(part)[number]) for part in parts], dim=1)
        assert torch.equal(together, views[number])
    for draw in (drawn.gamma, lambda rows: drawn.dropout_mask("online", rows)):
        whole, cut = draw(slice(0, 8)), [draw(part) for part in parts]
        first, second = zip(*(part.chunk(2) for part in cut), strict=True)
        assert torch.equal(whole, torch.cat([*first, *second]))


def test_dropout_keeps_its_share():
    drawn = StepDraw(smoke("training.frames=96"), AudioNTT2022(16, 320, hidden=64), 0, CPU)
    kept = drawn.dropout_mask("online", slice(0, 8))
    assert kept.shape == (16, 24, 64)
    assert kept.double().mean().item() == pytest.approx(1 - DROPOUT, abs=0.01)


def test_statistics_take_all_clips_in_turn():
    drawn = draw_statistics_crops(read_config("paper"), clips=300)
    assert len(drawn.clips) == 10_000
    _, counts = np.unique(drawn.clips, return_counts=True)
    assert set(counts) == {33, 34}
    assert len(np.unique(draw_statistics_crops(read_config("paper"), clips=20_000).clips)) == 10_000


def test_references_are_shifted_both_ways_within_the_range():
    config = read_config("paper", ["objective.reference_shift_s=0.25"])
    later = CropSampler(config, clips=10).draw(0).later
    assert later is not None
    assert np.abs(later).max() <= 4_000
    assert later.min() < -2_000 < 2_000 < later.max()
    for changes in ([], ["objective.reference_shift_s=0.25", "objective.lambda=0"]):
        assert CropSampler(read_config("paper", changes), clips=10).draw(0).later is None
