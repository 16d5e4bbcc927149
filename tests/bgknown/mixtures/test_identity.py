"""What makes datasets the same, and when a stopped build renders a row again."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmark.tasks.bgknown import prepare
from benchmark.tasks.contract import TaskOptions
from bgknown.apwd.manifest import COLUMNS, derive_pair_set_id
from bgknown.errors import BrokenInputError
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.mixing import round_scale
from bgknown.mixtures.verify import verify
from tests.conftest import contents, noise, write_wav


@pytest.fixture(scope="module")
def engines(built, tmp_path_factory):
    """The same recipe by Scaper and by the direct renderer."""
    corpora, by_scaper = built
    direct = tmp_path_factory.mktemp("direct") / "out"
    corpora.build(direct, engine="direct")
    return by_scaper, direct


def test_both_engines_give_one_dataset(engines):
    ids = {open_dataset(root).id for root in engines}
    assert ids == {json.loads((root / "dataset.json").read_text())["dataset_id"] for root in engines}
    assert len(ids) == 1
    assert {prepare(root, TaskOptions(cache=root)).sha256 for root in engines} == ids
    by_scaper, direct = (contents(root) for root in engines)
    assert {name for name in by_scaper if by_scaper[name] != direct[name]} == {"dataset.json"}
    for root in engines:
        assert verify(root, jobs=1)[1] == []


@pytest.mark.parametrize("column", ["clip_id", "split", "category", "mix_sha256", "a_sha256", "b_sha256", "c_sha256"])
def test_what_is_measured_makes_the_id(engines, column):
    data = open_dataset(engines[0])
    other = data.table.copy()
    other.loc[other.index[3], column] = "other"
    assert type(data)(root=data.root, table=other, description={}).id != data.id


@pytest.mark.parametrize("column", ["scale", "event_gain_db", "background_gain_db", "achieved_snr_db", "jams_sha256"])
def test_no_measured_number_is_part_of_the_id(engines, column):
    data = open_dataset(engines[0])
    for other in (data.table.assign(**{column: 0.123}), data.table[::-1]):
        assert type(data)(root=data.root, table=other, description={}).id == data.id


def test_an_id_that_is_not_that_of_the_rows_is_a_fault(engines, tmp_path):
    shutil.copytree(engines[0], tmp_path / "copy")
    path = tmp_path / "copy" / "dataset.json"
    path.write_text(path.read_text().replace('"dataset_id": "', '"dataset_id": "0'))
    assert any("dataset.json: dataset_id is '0" in fault for fault in verify(tmp_path / "copy", jobs=1)[1])


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (1.0, 1.0),
        (0.33979671998958444, 0.33979672),
        (0.33979671998958450, 0.33979672),
        (1.0 - 1e-12, 0.999999999),
        (1.23456789012e-5, 1.23456789e-5),
    ],
)
def test_scale_is_stored_with_nine_digits_and_stays_below_one(scale, told):
    assert round_scale(scale) == told


def test_a_source_replaced_under_the_same_size_and_time_is_rendered_again(tiny, tmp_path):
    broken = tiny.clip("5-501-A-1")
    broken.rename(tiny.root / "away.wav")
    with pytest.raises(BrokenInputError):
        tiny.build(tmp_path / "out")
    (tiny.root / "away.wav").rename(broken)
    path = tiny.clip("3-301-A-1")
    before = path.stat()
    write_wav(path, noise(5.0, 99))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    report = tiny.build(tmp_path / "out")
    assert (report.rendered, report.kept) == (2, 8)
    tiny.build(tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def pairs_table(**changes):
    rows = [dict.fromkeys(COLUMNS, f"{place}") for place in range(3)]
    return pd.DataFrame(rows).assign(**changes)


def test_pairs_are_the_same_by_texts_classes_splits_and_audio():
    known = derive_pair_set_id(pairs_table())
    assert derive_pair_set_id(pairs_table()[::-1], sources="not rendered from any") == known
    for column in COLUMNS:
        same = column in {"s1", "s2", "jams_s1", "jams_s2", "jams_s1_sha256", "jams_s2_sha256", "other_changes"}
        assert (derive_pair_set_id(pairs_table(**{column: ["0", "1", "x"]})) == known) is same, column


def test_pairs_without_audio_are_the_same_by_jams_and_sources():
    bare = {"s1": "", "s2": "", "s1_sha256": "", "s2_sha256": ""}
    known = derive_pair_set_id(pairs_table(**bare), sources="a")
    assert derive_pair_set_id(pairs_table(**bare), sources="b") != known
    assert derive_pair_set_id(pairs_table(**bare, jams_s2_sha256=["0", "1", "x"]), sources="a") != known
    assert np.unique([known, derive_pair_set_id(pairs_table())]).size == 2
