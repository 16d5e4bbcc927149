"""The arithmetic and the tables of the full-size script; what it measures is run by hand."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from full_size_corpora import make_esc50, make_fsd50k, make_nsynth, make_vc1  # noqa: E402
from full_size_fit import Cost, fit_line  # noqa: E402
from full_size_lists import STEPS_OF_LISTS, run_step  # noqa: E402
from full_size_stages import STAGES, STEPS, Stage, Workshop  # noqa: E402
from full_size_tables import (  # noqa: E402
    COLUMNS,
    DOCUMENTS,
    ON_GPU,
    REPRODUCTION,
    Measurement,
    Measurements,
    fill_blocks,
    format_stage,
    list_tables,
    read_store,
    write_store,
)


def test_a_linear_cost_is_projected_exactly():
    line = fit_line([10, 20, 40], [3.0, 5.0, 9.0])
    assert line.project(1_000) == pytest.approx(201.0)
    assert (line.fixed, line.per_unit) == pytest.approx((1.0, 0.2))
    assert line.residual == pytest.approx(0.0, abs=1e-9)
    assert line.growth == pytest.approx(1.0)
    assert not line.grows


def test_a_cost_per_unit_that_grows_is_noticed_and_leaves_a_residual():
    sizes = [100, 200, 400]
    line = fit_line(sizes, [size**2 / 1e4 for size in sizes])
    assert line.grows
    assert line.growth == pytest.approx(2.0)
    assert line.residual > 0.02


def test_a_stage_that_writes_nothing_costs_nothing():
    line = fit_line([1, 2, 3], [0.0, 0.0, 0.0])
    assert (line.project(1_000), line.residual, line.growth) == pytest.approx((0.0, 0.0, 1.0))


@pytest.mark.parametrize("sizes", [[1, 2], [1, 2, 2], [4, 2, 1]])
def test_sizes_that_do_not_rise_are_refused(sizes):
    with pytest.raises(ValueError, match="at least three are needed"):
        fit_line(sizes, [1.0] * len(sizes))


def measurement(measured_on="a CPU, 1234567"):
    costs = {size: Cost(seconds=2.0 + size, written=1e6 * size, peak_mb=300.0) for size in (1, 2, 4)}
    return Measurement(costs=costs, measured_on=measured_on)


def stage_of(**changes):
    whole = {"all": 7_198, "twice": 14_398}
    return Stage(name="build", unit="row", sizes=(1, 2, 4), whole=whole, command=lambda *_: [], **changes)


def test_a_row_says_what_was_measured_and_what_it_gives_for_the_whole():
    row = dict(
        zip(COLUMNS, format_stage(stage_of(gpu=(0.5, "card, commit")), measurement(), on_gpu=False), strict=True)
    )
    assert row["per unit, and fixed"] == "1 s, 2 s"
    assert row["on one core"] == "2.0 h; 4.0 h"
    assert row["on one GPU"] == "60 min; 2.0 h (card, commit)"
    assert row["disk"] == "7.2 GB; 14.4 GB"
    assert row["peak memory"] == "300, 300, 300 MB"
    row = dict(zip(COLUMNS, format_stage(stage_of(), measurement(), on_gpu=True), strict=True))
    assert (row["stage"], row["on one core"], row["on one GPU"]) == ("`build`" + ON_GPU, "", "2.0 h; 4.0 h")


def test_memory_without_mapped_files_is_named_where_it_was_measured():
    costs = {size: Cost(seconds=size, written=0, peak_mb=300.0 + size, own_mb=20.0 + size) for size in (1, 2, 4)}
    row = format_stage(stage_of(), Measurement(costs=costs, measured_on="a CPU"), on_gpu=False)
    assert row[COLUMNS.index("peak memory")] == "301, 302, 304 MB (21, 22, 24 without files)"


def test_new_measurements_replace_those_of_the_same_stage_and_keep_the_others(tmp_path):
    path = tmp_path / "store.json"
    write_store(Measurements(stages={"build": measurement(), "pack": measurement()}, lists={}), path)
    facts = {"files": 5, "first": 1.0, "again": 0.5, "added_mb": 9.0, "measured_on": "x"}
    write_store(Measurements(stages={"build": measurement("another")}, lists={"vc1": facts}), path)
    found = read_store(path)
    assert found == Measurements(stages={"build": measurement("another"), "pack": measurement()}, lists={"vc1": facts})


def test_a_step_sums_its_stages_and_names_those_that_were_not_measured():
    stages = {name: measurement() for name in ("train", "train-byol-a")}
    steps = list_tables(Measurements(stages=stages, lists={}))["steps"]
    training = next(line for line in steps.splitlines() if "pre-training" in line)
    hours = (5 * STEPS + 4) / 3_600
    assert f"| {hours:.0f} h; `pack` not measured |" in training
    assert "| 3.5 h, and `pack` on CPUs |" in training  # four of 45 and one of 33 minutes


def test_the_documents_have_the_tables_of_the_stored_measurements():
    tables = list_tables(read_store())
    for path in DOCUMENTS:
        text = path.read_text()
        assert "<!-- full size: " in text
        assert fill_blocks(text, tables) == text, "run `python tests/speed/full_size.py --write`"


def test_every_stage_of_a_step_exists():
    assert {name for step in REPRODUCTION for name in step.work} <= {stage.name for stage in STAGES}


def test_the_cpu_time_of_children_is_measured(tmp_path):
    work = "sum(i * i for i in range(3_000_000))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"

    def command(shop, size, out):
        del shop, size
        return ["-c", f"{parent}; open({str(out)!r}, 'w').write('x' * 1000)"]

    stage = Stage(name="x", unit="unit", sizes=(1, 2, 3), whole={"all": 1}, command=command)
    shop = Workshop(tmp_path, "cpu")
    cost = shop.measure(stage, 1)
    assert cost.seconds > 0.05 + shop.run(["-c", ""]).cpu_s
    assert cost.written == 1_000
    assert cost.peak_mb > 5
    with pytest.raises(SystemExit, match="no such thing"):
        shop.run(["-c", "raise SystemExit('no such thing')"])


def test_mapped_files_are_no_memory_of_its_own(tmp_path):
    (tmp_path / "file").write_bytes(bytes(60_000_000))
    opened = f"import mmap, time; f = open({str(tmp_path / 'file')!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0)"
    usage = Workshop(tmp_path, "cpu").run(["-c", f"{opened}; sum(m[::4096]); b = b'1' * 30_000_000; time.sleep(0.2)"])
    assert usage.peak_mb > 85
    assert 28 < usage.own_mb < 60


def test_corpora_of_links_are_read_as_the_published_ones(tmp_path):
    make_esc50(tmp_path / "esc50", per_class_and_fold=1)
    make_fsd50k(tmp_path / "fsd50k", {"dev": 900, "eval": 200})
    make_vc1(tmp_path / "vc1", {"1": 1_300, "2": 20, "3": 20})
    make_nsynth(tmp_path / "nsynth", {"train": 44, "valid": 22, "test": 22})
    counts = {"bgknown": 250 + 1_100, "draw": 250, "draw-six": 1_500, "vc1": 1_340, "nsynth": 88, "listing": 88 + 9}
    assert {step.name for step in STEPS_OF_LISTS} == set(counts)
    for name, count in counts.items():
        assert run_step(name, tmp_path)["files"] == count, name
