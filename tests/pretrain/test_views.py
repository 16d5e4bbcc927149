"""Each view against its definition, one clip after another."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from bgknown.errors import InvalidInputError
from pretrain.views import (
    MemoryBank,
    ViewDraw,
    ViewSettings,
    count_canvas_frames,
    draw_views,
    fade_linearly,
    make_interpolation,
    make_view,
    mixup,
    normalise_batch,
    resize_crop,
)

SETTINGS = ViewSettings()
B, F, T = 48, 64, 96


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clips():
    return torch.randn(B, 1, F, T, generator=generator(1))


@pytest.fixture
def drawn():
    return draw_views(SETTINGS, B, F, T, generator())


def test_mixup_is_that_of_each_clip(clips, drawn):
    memory = torch.randn(100, F, T, generator=generator(2))
    mixed = mixup(clips, drawn, memory)
    for number in range(B):
        share, other = drawn.share[number], memory[int(drawn.partner[number] * 100)]
        expected = torch.log((1 - share) * clips[number, 0].exp() + share * other.exp() + torch.finfo().eps)
        torch.testing.assert_close(mixed[number, 0], expected)
    assert mixup(clips, drawn, memory[:0]) is clips


def test_resize_crop_is_bicubic_interpolation_of_each_crop(clips, drawn):
    cropped = resize_crop(clips, drawn, count_canvas_frames(SETTINGS, T))
    for number in range(B):
        canvas = torch.zeros(1, 1, F, 144)
        canvas[..., 24:120] = clips[number]
        top, left = int(drawn.top[number]), int(drawn.left[number])
        crop = canvas[..., top : top + drawn.height[number], left : left + drawn.width[number]]
        expected = interpolate(crop, size=(F, T), mode="bicubic", align_corners=True)
        torch.testing.assert_close(cropped[number : number + 1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_small_crops_too(count):
    values = torch.randn(1, 1, 9, 9, generator=generator())
    matrix = make_interpolation(torch.tensor([0]), torch.tensor([count]), 9, 7)[0]
    crop = values[:, :, :count, :]
    expected = interpolate(crop, size=(7, 9), mode="bicubic", align_corners=True)[0, 0]
    torch.testing.assert_close(matrix @ values[0, 0], expected, rtol=0, atol=1e-5)


def test_a_crop_of_the_whole_clip_changes_nothing(clips, drawn):
    whole = ViewDraw(
        share=drawn.share,
        partner=drawn.partner,
        top=torch.zeros(B, dtype=torch.long),
        height=torch.full((B,), F),
        left=torch.full((B,), 24),
        width=torch.full((B,), T),
        head=drawn.head,
        tail=drawn.tail,
    )
    torch.testing.assert_close(resize_crop(clips, whole, 144), clips, rtol=0, atol=1e-6)


def test_fade_is_that_of_each_clip(clips, drawn):
    faded = fade_linearly(clips, drawn)
    for number in range(B):
        slope = torch.linspace(float(drawn.head[number]), float(drawn.tail[number]), T)
        torch.testing.assert_close(faded[number, 0], clips[number, 0] + slope)


def test_a_view_is_its_three_steps(clips, drawn):
    memory = torch.randn(7, F, T, generator=generator(3))
    expected = fade_linearly(resize_crop(mixup(clips, drawn, memory), drawn, 144), drawn)
    assert torch.equal(make_view(clips, drawn, memory, SETTINGS), expected)


def test_draws_fill_their_ranges_and_depend_on_the_generator_alone():
    drawn = draw_views(SETTINGS, 4_000, F, T, generator())
    assert torch.equal(drawn.left, draw_views(SETTINGS, 4_000, F, T, generator()).left)
    assert (drawn.share.min(), drawn.share.max()) == (pytest.approx(0, abs=1e-3), pytest.approx(0.2, abs=1e-3))
    assert (int(drawn.height.min()), int(drawn.height.max())) == (math.floor(0.6 * F), F)  # cut to the canvas
    assert (int(drawn.width.min()), int(drawn.width.max())) == (math.floor(0.6 * T), 143)
    assert (drawn.height == F).float().mean() == pytest.approx(5 / 9, abs=0.03)
    assert ((drawn.top >= 0) & (drawn.top + drawn.height <= F)).all()
    assert ((drawn.left >= 0) & (drawn.left + drawn.width <= 144)).all()
    assert (drawn.left + drawn.width == 144).any()
    assert drawn.head.min() < -0.99
    assert drawn.tail.max() > 0.99


def test_a_part_of_a_draw_is_the_draw_of_those_clips(clips, drawn):
    memory = torch.randn(7, F, T, generator=generator(3))
    part = slice(10, 20)
    alone = make_view(clips[part], drawn.part(part), memory, SETTINGS)
    torch.testing.assert_close(alone, make_view(clips, drawn, memory, SETTINGS)[part])


def test_the_memory_keeps_the_last_clips():
    bank = MemoryBank(ViewSettings(memory=5), 2, 3, torch.device("cpu"))
    assert bank.clips.shape == (0, 2, 3)
    for start in (0, 3, 6):
        bank.remember(torch.arange(start, start + 3.0)[:, None, None, None].expand(3, 1, 2, 3))
    assert sorted(bank.clips[:, 0, 0].tolist()) == [4, 5, 6, 7, 8]
    bank.remember(torch.arange(20.0, 27.0)[:, None, None, None].expand(7, 1, 2, 3))
    assert sorted(bank.clips[:, 0, 0].tolist()) == [22, 23, 24, 25, 26]


def test_a_memory_that_was_saved_goes_on_as_before():
    settings = ViewSettings(memory=5)
    first = MemoryBank(settings, 2, 3, torch.device("cpu"))
    first.remember(torch.randn(3, 1, 2, 3))
    state = {
        name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in first.state_dict().items()
    }
    second = MemoryBank(settings, 2, 3, torch.device("cpu"))
    second.load_state_dict(state)
    more = torch.randn(4, 1, 2, 3)
    first.remember(more)
    second.remember(more)
    assert torch.equal(first.clips, second.clips)
    with pytest.raises(InvalidInputError, match=r"the checkpoint holds \(5, 2, 3\), this run needs \(6, 2, 3\)"):
        MemoryBank(ViewSettings(memory=6), 2, 3, torch.device("cpu")).load_state_dict(state)


def test_a_batch_is_normalised_by_its_own_statistics(clips):
    views, deviation = normalise_batch(3.0 * clips + 2.0)
    assert deviation.item() == pytest.approx(3.0 * clips.std(correction=0).item(), rel=1e-5)
    assert views.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert views.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(normalise_batch(torch.zeros(2, 1, F, T))[0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixup_ratio": 1.0}, "mixup_ratio is 1.0"),
        ({"memory": 0}, "memory is 0"),
        ({"canvas_time": 0.9}, "canvas_time is 0.9"),
        ({"crop_low": 0.0}, "crops of 0.0 to 1.5"),
        ({"crop_high": 0.5}, "crops of 0.6 to 0.5"),
        ({"fader_gain": -1.0}, "fader_gain is -1.0"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(InvalidInputError, match=message):
        ViewSettings(**change)
