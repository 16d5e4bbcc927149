import numpy as np
import pandas as pd
import pytest

from tests.statistics.leaks import make_corpora, measure


@pytest.fixture(scope="module")
def corpora():
    """60 clips, of which 20 were cut from recordings, half of these of the other split's part."""
    random = np.random.default_rng(0)
    ids = [str(number) for number in random.permutation(np.arange(1000, 2000))]
    rows = [
        {"filename": f"{k % 5 + 1}-{ids[k]}-A-0.wav", "fold": str(k % 5 + 1), "target": "0", "category": "x"}
        for k in range(60)
    ]
    clips = pd.DataFrame(rows).assign(src_file=ids[:60])
    parts = {name: "dev" if place % 2 else "eval" for place, name in enumerate([*ids[:20], *ids[60:400]])}
    return make_corpora(clips, parts)


def test_no_source_of_a_clip_is_a_background_and_draws_stay_uniform(corpora):
    leaks, p_values, draw = measure(corpora, 20)
    assert all(found == {"any": 0, "other split": 0, "own": 0} for found in leaks["default"])
    kept = leaks["--keep-sources"]
    assert sum(found["any"] for found in kept) > 20
    assert sum(found["other split"] for found in kept) > 5
    assert sum(found["own"] for found in kept) == 0
    assert set(p_values) == {"snr", "a", "c", "side of b"}
    assert min(p_values.values()) > 0.001, p_values
    assert 0 < sum(counts.sources_of_clips for counts in draw.pools.values()) < 20
    assert all(counts.left == counts.long_enough - counts.sources_of_clips for counts in draw.pools.values())
