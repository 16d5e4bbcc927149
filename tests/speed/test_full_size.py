"""The arithmetic and the tables of the full-size script; what it measures is run by hand."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import full_size  # noqa: E402
from full_size_corpora import make_esc50, make_fsd50k, make_nsynth, make_vc1  # noqa: E402
from full_size_fit import COLUMNS, Cost, fit_line, format_row, replace_rows  # noqa: E402
from full_size_lists import LIST_COLUMNS, STEPS_OF_LISTS, run_step  # noqa: E402
from full_size_stages import STAGES, Stage, Workshop  # noqa: E402


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


@pytest.mark.parametrize("sizes", [[1, 2], [1, 2, 2], [4, 2, 1]])
def test_sizes_that_do_not_rise_are_refused(sizes):
    with pytest.raises(ValueError, match="at least three are needed"):
        fit_line(sizes, [1.0] * len(sizes))


def row_of(stage, **about):
    costs = {size: Cost(seconds=2.0 + size, written=1e6 * size, peak_mb=300.0) for size in (1, 2, 4)}
    return format_row(stage, "row", costs, {"all": 7_198, "twice": 14_398}, {"measured on": "a CPU, 1234567", **about})


def test_a_row_says_what_was_measured_and_what_it_gives_for_the_whole():
    row = dict(zip(COLUMNS, row_of("build", gpu="2 min (card, commit)"), strict=True))
    assert row["per unit, and fixed"] == "1 s, 2 s"
    assert row["on one core"] == "2.0 h; 4.0 h"
    assert row["on one GPU"] == "2 min (card, commit)"
    assert row["disk"] == "7.2 GB; 14.4 GB"
    on_gpu = dict(zip(COLUMNS, row_of("build", device="cuda"), strict=True))
    assert (on_gpu["on one core"], on_gpu["on one GPU"]) == ("", "2.0 h; 4.0 h")


def test_rows_replace_those_of_the_same_stage_and_keep_the_others():
    text = "above\n<!-- full size: stages -->\n<!-- end of full size -->\nbelow\n"
    order = ["`build`", "`train`"]
    once = replace_rows(text, "stages", COLUMNS, [row_of("train"), row_of("build")], order)
    assert once.index("`build`") < once.index("`train`")
    changed = row_of("build")
    changed[-1] = "another CPU, 7654321"
    again = replace_rows(once, "stages", COLUMNS, [changed], order)
    assert again.count("`build`") == again.count("`train`") == 1
    assert "another CPU" in again
    assert again.startswith("above\n")
    assert again.endswith("below\n")
    assert replace_rows(again, "stages", COLUMNS, [changed], order) == again
    with pytest.raises(ValueError, match="there is no block"):
        replace_rows(text, "lists", COLUMNS, [], order)


def test_the_readme_has_a_row_of_every_stage_and_list():
    text = full_size.README.read_text()
    for name in [f"| `{stage.name}` |" for stage in STAGES] + [f"| {step.title} |" for step in STEPS_OF_LISTS]:
        assert name in text, f"run `python tests/speed/full_size.py --write`; the README lacks {name}"
    assert " | ".join(COLUMNS) in text
    assert " | ".join(LIST_COLUMNS) in text


def test_the_cpu_time_of_children_is_measured(tmp_path):
    work = "sum(i * i for i in range(3_000_000))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"

    def command(shop, size, out):
        del shop, size
        return ["-c", f"{parent}; open({str(out)!r}, 'w').write('x' * 1000)"]

    stage = Stage(name="x", unit="unit", sizes=(1, 2, 3), whole={"all": 1}, command=command)
    shop = Workshop(tmp_path, "cpu")
    cost = shop.measure(stage, 1)
    assert cost.seconds > 0.05 + shop.run(["-c", ""])[0]
    assert cost.written == 1_000
    assert cost.peak_mb > 5
    with pytest.raises(SystemExit, match="no such thing"):
        shop.run(["-c", "raise SystemExit('no such thing')"])


def test_corpora_of_links_are_read_as_the_published_ones(tmp_path):
    make_esc50(tmp_path / "esc50", per_class_and_fold=1)
    make_fsd50k(tmp_path / "fsd50k", {"dev": 22, "eval": 11})
    make_vc1(tmp_path / "vc1", {"1": 2_600, "2": 1_251, "3": 1_251})
    make_nsynth(tmp_path / "nsynth", {"train": 44, "valid": 22, "test": 22})
    counts = {"bgknown": 250 + 33, "draw": 250, "draw-six": 1_500, "vc1": 5_102, "nsynth": 88, "listing": 88 + 9}
    assert {step.name for step in STEPS_OF_LISTS} == set(counts)
    for name, count in counts.items():
        assert run_step(name, tmp_path)["files"] == count, name
