"""Pictures of audio: against signals whose picture is known, and packed and unpacked."""

import base64
import zlib

import numpy as np
import pytest

from bgknown.audio.mel import make_mel_filters
from bgknown.pages.pictures import (
    CHUNK_ROWS,
    MOST_COLUMNS,
    OUTLINE_STEPS,
    PICTURE_BANDS,
    Picture,
    find_top_db,
    make_empty_picture,
    measure_picture,
    pack_rows,
)
from tests.conftest import RATE_HZ, noise


def tone(frequency_hz, duration_s=1.0, peak=0.5):
    times = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (peak * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def unpack(text, widths):
    """The levels and outlines of rows, read as the page's script reads them."""
    data, rows, place = zlib.decompress(base64.b64decode(text)), [], 0
    for row in widths:
        levels, outlines = [], []
        for width in row:
            packed = np.frombuffer(data, np.uint8, width * PICTURE_BANDS // 2, place)
            levels.append(np.stack([packed >> 4, packed & 15], axis=-1).reshape(width, PICTURE_BANDS))
            place += packed.size
        for width in row:
            outlines.append(np.frombuffer(data, np.uint8, 2 * width, place))
            place += 2 * width
        rows.append((levels, outlines))
    assert place == len(data)
    return rows


@pytest.mark.parametrize("frequency_hz", [200.0, 1_000.0, 5_000.0, 12_000.0])
def test_a_tone_is_brightest_in_its_own_band(frequency_hz):
    picture = measure_picture(tone(frequency_hz))
    filters = make_mel_filters(rate_hz=RATE_HZ, n_fft=RATE_HZ, n_mels=PICTURE_BANDS, f_min=50.0, f_max=16_000.0)
    assert picture.levels.shape == (12, PICTURE_BANDS)
    assert set(picture.levels[1:-1].argmax(axis=1)) == {int(filters[:, round(frequency_hz)].argmax())}


def test_levels_are_decibels_and_outlines_are_amplitudes():
    loud, quiet = (measure_picture(tone(1_000.0, peak=peak)) for peak in (0.5, 0.05))
    assert (int(loud.levels.max()) - int(quiet.levels.max())) / 2 == 20.0
    np.testing.assert_allclose(loud.outline, 0.5, rtol=0.01)
    np.testing.assert_allclose(quiet.outline, 0.05, rtol=0.01)


def test_a_half_that_two_signals_share_has_the_same_columns():
    recording = noise(7.5, 1).astype(np.float32)
    a, b = (measure_picture(recording[start : start + 5 * RATE_HZ]) for start in (0, 5 * RATE_HZ // 2))
    np.testing.assert_array_equal(a.levels[31:59], b.levels[1:29])
    alone, both = (sum(map(len, pack_rows([row], 20.0))) for row in ([a], [a, b]))
    assert both < 1.75 * alone


@pytest.mark.parametrize("size", [0, 1, 100, 735, 3_000, 20 * RATE_HZ + 1])
def test_audio_of_any_length_has_a_picture(size):
    picture = measure_picture(np.full(size, 0.25, np.float32))
    assert 1 <= len(picture.levels) <= MOST_COLUMNS
    assert picture.outline.shape == (2 * len(picture.levels),)
    assert picture.outline.max(initial=0.0) == (0.25 if size else 0.0)


def test_packed_pictures_can_be_unpacked():
    rows = [
        [measure_picture(noise(0.5 + 0.25 * place, place).astype(np.float32)), make_empty_picture()]
        for place in range(CHUNK_ROWS + 2)
    ]
    top_db = find_top_db([row[0] for row in rows])
    chunks = pack_rows(rows, top_db)
    assert len(chunks) == 2
    widths = [[len(picture.levels) for picture in row] for row in rows]
    unpacked = [*unpack(chunks[0], widths[:CHUNK_ROWS]), *unpack(chunks[1], widths[CHUNK_ROWS:])]
    for row, (levels, outlines) in zip(rows, unpacked, strict=True):
        expected_db = row[0].levels / 2.0 - 80.0
        shown_db = top_db - 64.0 + 4.0 * levels[0]
        inside = (levels[0] > 0) & (levels[0] < 15)
        assert np.all(np.abs(shown_db + 2.0 - expected_db)[inside] <= 2.01)
        assert outlines[0].max() == OUTLINE_STEPS
        assert not levels[1].any()
        assert not outlines[1].any()


def test_one_scale_holds_for_all_pictures():
    levels = np.full((1, PICTURE_BANDS), 150, np.uint8)
    quieter = Picture(levels=levels - 16, outline=np.zeros(2, np.float32))
    (text,) = pack_rows([[Picture(levels=levels, outline=np.ones(2, np.float32))], [quieter]], 0.0)
    (first, _), (second, _) = unpack(text, [[1], [1]])
    assert first[0][0, 0] - second[0][0, 0] == 2  # 8 dB, two steps of 4 dB
