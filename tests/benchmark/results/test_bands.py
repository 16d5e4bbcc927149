"""The table by band of SNR, as a run wrote it."""

import math

import pytest

from benchmark.results.bands import BAND_COLUMNS, read_bands
from bgknown.errors import InvalidInputError


def read(tmp_path, *rows):
    path = tmp_path / "snr.csv"
    path.write_text("\n".join([",".join(BAND_COLUMNS), *rows]) + "\n")
    return read_bands(path)


def test_bands_settings_and_numbers(tmp_path):
    table = read(tmp_path, "'-1.50 to 0.50,12,5,a,50.5,40,60.25", "-10,3,1,a* - mix,-2,,", "loud,3,1,'=a,7,6,8")
    assert list(table.columns) == [
        *("band", "low_db", "high_db", "middle_db", "setting", "mean", "low", "high", "n", "n_groups")
    ]
    assert table.iloc[0].tolist() == ["-1.50 to 0.50", -1.5, 0.5, -0.5, "a", 50.5, 40.0, 60.25, 12, 5]
    assert table.iloc[1].tolist()[:6] == ["-10", -10.0, -10.0, -10.0, "a* - mix", -2.0]
    assert table.loc[1, ["low", "high"]].isna().all()
    assert table.iloc[2][["band", "setting"]].tolist() == ["loud", "=a"]
    assert all(math.isnan(table.loc[2, name]) for name in ("low_db", "high_db", "middle_db"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,many,5,a,1,1,2", r"line 3: n is 'many'; it must be a whole number"),
        ("0,12,5,a,,1,2", r"line 3: mean is ''; it must be a number"),
        ("0,12,5,a,1,nan,2", r"line 3: low is 'nan'; it must be a number"),
        ("0,12,5,a,1,1", r"line 3: 6 fields"),
    ],
)
def test_damage_is_named_by_line(tmp_path, row, message):
    with pytest.raises(InvalidInputError, match=rf"snr.csv, {message}"):
        read(tmp_path, "0,12,5,a,1,1,2", row)
