"""The command, its files, and what it says where data are missing or a name is wrong."""

import itertools
import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg

import benchmark
from benchmark.cli import main
from benchmark.plots.confusion import MOST_CLASSES, OTHER
from benchmark.plots.make import KINDS_OF_FIGURES, load_kind
from benchmark.plots.material import PlotOptions, read_material
from benchmark.results.runs import list_runs
from bgknown.figures.style import open_style
from tests.benchmark.plots.made import HOSTILE, say_training, write_made, write_speed
from tests.benchmark.results.made_runs import draw_answers, write_results


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything there is of two encoders, drawn as SVG."""
    out = tmp_path_factory.mktemp("made") / "results"
    write_made(out, HOSTILE[:2])
    for number, run in enumerate(list_runs(out)):
        say_training(run.folder, objective__lambda=number / 2, training__seed=number)
        write_speed(out, run.row.encoder, int(run.row.checkpoint_sha256[0]), 3.0 + number)
    return out, benchmark.plot("all", out, formats=["svg"])


def call(*arguments, code=0):
    result = CliRunner().invoke(main, ["plot", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def texts_of(path):
    return {"".join(element.itertext()) for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}


def test_all_kinds_are_made_with_their_tables(made):
    out, plots = made
    assert plots.missing == {}
    assert {stem.split("-")[0] for stem in plots.files} == set(KINDS_OF_FIGURES)
    for stem, paths in plots.files.items():
        assert [path.name for path in paths] == [f"{stem}.svg", f"{stem}.csv"]
        assert all(path.parent == out / "plots" and path.is_file() for path in paths)
        assert re.fullmatch("[A-Za-z0-9_.-]+", stem)
        table = pd.read_csv(paths[1])
        assert set(table["task"]) == {"bgknown"}
        assert len(table) > 0


def test_text_is_text_and_hostile_names_are_literal(made):
    _, plots = made
    for stem, paths in plots.files.items():
        svg = paths[0].read_text()
        assert "<script" not in svg, stem
        texts = "\n".join(texts_of(paths[0]))
        assert "linear" in texts, stem
        for name in () if stem.startswith(("confusion", "lambda")) else HOSTILE[:2]:
            assert name in texts, stem


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("ladder", {"accuracy (%)", "clean", "shuffled"}),
        ("gains", {"difference in accuracy", "a* - mix"}),
        ("snr", {"SNR (dB)"}),
        ("alpha", {"alpha (weight of y_bg)", "chosen"}),
        ("lambda", {"lambda (weight of the difference loss)", "0.5"}),
        ("speed", {"clips of 5 s embedded per second"}),
        ("changes", {"R@1 (%)", "added (n = 9)", "audio+text"}),
        ("confusion", {"predicted class", "class of the clip", "bell"}),
        ("ranks", {"rank (1 is the best)"}),
    ],
)
def test_axes_are_labelled_with_units(made, kind, texts):
    stem = next(stem for stem in made[1].files if stem.startswith(kind))
    assert texts <= texts_of(made[1].files[stem][0])


def test_the_same_bytes_again(made, tmp_path):
    out, plots = made
    again = benchmark.plot("gains", str(out), to=tmp_path, formats=["svg"])
    for stem, paths in again.files.items():
        for one, other in zip(paths, plots.files[stem], strict=True):
            assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("count", [1, 3])
def test_no_text_leaves_its_figure_or_covers_another(tmp_path, count):
    write_made(tmp_path, HOSTILE[:count])
    for number, name in enumerate(HOSTILE[:count]):
        write_speed(tmp_path, name, number, 10.0**number)
    material = read_material(PlotOptions(outs=(tmp_path,)))
    for kind in ("ladder", "gains", "snr", "speed", "changes", "confusion", *["differences", "ranks"] * (count > 1)):
        drawing = load_kind(kind).list_drawings(material)[0]
        with open_style(set(drawing.table["task"])):
            figure = drawing.draw(drawing.table)
            figure.draw_without_rendering()
            check_places(figure, kind)


def check_places(figure, kind):
    renderer = FigureCanvasAgg(figure).get_renderer()
    drawn, slack = figure.get_tightbbox(renderer), 1 / 72
    assert min(drawn.x0, drawn.y0) >= -slack, kind
    assert drawn.x1 <= figure.get_figwidth() + slack, kind
    assert drawn.y1 <= figure.get_figheight() + slack, kind
    shown = [axis for axis in figure.axes if axis.get_visible()]
    outside = [artist.get_window_extent(renderer) for artist in (*figure.legends, *figure.texts)]
    inside = [axis.get_tightbbox(renderer) for axis in shown]
    titles = [axis.title.get_window_extent(renderer) for axis in shown if axis.get_title()]
    for one, other in [*itertools.product(outside, inside), *itertools.combinations([*outside, *titles], 2)]:
        assert not one.overlaps(other), kind


MISSING = {
    "differences": r"no two encoders were measured on the same clips by the same protocol; `benchmark run",
    "ranks": r"no two encoders have predictions of the same clips; `benchmark run",
    "snr": r"no run has snr\.csv; `benchmark run --task bgknown` writes it",
    "alpha": r"no run has alphas\.csv; `benchmark run --task bgknown --protocol linear` writes it",
    "lambda": r"no task was measured with checkpoints of two or more lambdas.*`pretrain train --lambda`",
    "speed": r"no speed of these encoders is in speed\.csv; `benchmark check --encoder alone --out .*` measures one",
    "changes": r"no run has breakdown\.csv with this metric; `benchmark run --task apwd-rain`",
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """One encoder without the tables next to the predictions."""
    out = tmp_path_factory.mktemp("bare") / "results"
    write_made(out, ["alone"], tables=False)
    return out


def test_all_lists_what_cannot_be_made_and_why(bare, tmp_path):
    lines = call("all", "--out", bare, "--to", tmp_path / "to", "--format", "svg").splitlines()
    made = [line for line in lines if not line.startswith("not made: ")]
    assert [line.rsplit("/", 1)[1].split("-")[0] for line in made] == ["ladder", "gains", "confusion"]
    assert all(line.endswith("  svg, csv") for line in made)
    missing = {line.split(": ")[1]: line for line in lines if line.startswith("not made: ")}
    assert list(missing) == [kind for kind in KINDS_OF_FIGURES if kind in MISSING]
    for kind, line in missing.items():
        assert re.search(MISSING[kind], line), kind


@pytest.mark.parametrize("kind", MISSING)
def test_a_figure_whose_data_are_missing_is_one_line(bare, tmp_path, kind):
    output = call(kind, "--out", bare, "--to", tmp_path / "to", code=1)
    assert re.fullmatch(f"error: .*{MISSING[kind]}.*\n", output)
    assert not (tmp_path / "to").exists()


def test_tasks_without_backgrounds_have_no_ladder_and_no_gains(tmp_path):
    write_results(tmp_path, "x", {"audio": draw_answers(0.5, 0)}, task="esc50")
    assert "no task has the settings a, b or c; `benchmark run --task bgknown`" in call(
        "ladder", "--out", tmp_path, code=1
    )
    assert "no task has paired gains" in call("gains", "--out", tmp_path, code=1)
    write_results(tmp_path / "r", "x", {"audio+text": draw_answers(0.5, 0)}, task="apwd-rain", metric="R@1")
    assert "no run has predictions of classes" in call("confusion", "--out", tmp_path / "r", code=1)


def test_tasks_protocols_and_datasets_are_never_mixed(tmp_path):
    for change in ({}, {"task": "esc50"}, {"protocol": "paper, limit 5"}, {"dataset_sha256": "d2"}):
        for number in range(2):
            write_results(tmp_path, f"e{number}", {"a": draw_answers(0.5, number)}, **change)
    found = benchmark.plot("ranks", tmp_path, formats=["svg"]).files
    assert len(found) == 4
    for paths in found.values():
        table = pd.read_csv(paths[-1])
        assert len(table[["task", "protocol", "dataset_sha256"]].drop_duplicates()) == 1
    assert len(benchmark.plot("ranks", tmp_path, formats=["svg"], task="esc50").files) == 1


def test_figures_of_the_same_name_are_kept_apart(tmp_path):
    for name in ("a/b", "a b"):
        write_results(tmp_path, name, {"a": draw_answers(0.5, 1)})
    found = benchmark.plot("confusion", tmp_path, formats=["svg"]).files
    assert list(found) == ["confusion-a-b-a-bgknown-paper-d1", "confusion-a-b-a-bgknown-paper-d1-2"]


def test_of_many_classes_those_with_the_most_errors_are_shown(tmp_path):
    clips = [f"4-{n}-A-{n % 5}" for n in range(60)]
    write_results(tmp_path, "x", {"a": draw_answers(0.5, 1, clips=clips)})
    (run,) = list_runs(tmp_path)
    table = pd.read_csv(run.folder / "predictions.csv").assign(label=[f"c{n % 90:02d}" for n in range(180)])
    table["predicted"] = table["label"].where(table["label"] > "c20", "c00")
    table.to_csv(run.folder / "predictions.csv", index=False)
    ((_, paths),) = benchmark.plot("confusion", tmp_path, formats=["svg"]).files.items()
    found = pd.read_csv(paths[-1])
    assert found["label"].nunique() == MOST_CLASSES
    assert {f"c{n:02d}" for n in range(1, 21)} <= set(found["label"])
    assert OTHER in set(found["predicted"]) or found["predicted"].nunique() == MOST_CLASSES


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["laddr"], "no kind of figure 'laddr'; did you mean ladder"),
        (["gains", "--task", "bgknow"], "no task 'bgknow'; did you mean bgknown"),
        (["gains", "--metric", "acuracy"], "no metric 'acuracy'; did you mean accuracy"),
        (["ranks", "--setting", "a**"], "no setting 'a\\*\\*'; did you mean a\\*"),
        (["gains", "--encoder", "alon"], "no encoder 'alon'; did you mean alone"),
        (["gains", "--names", "alon=x"], "no encoder 'alon'; did you mean alone"),
        (["gains", "--format", "pgn"], "--format 'pgn': no such format; did you mean png"),
    ],
)
def test_wrong_names_are_one_line(bare, arguments, match):
    assert re.fullmatch(f"error: {match}.*\n", call(*arguments, "--out", bare, code=1))


def test_damaged_tables_and_folders_without_results_are_one_line(bare, tmp_path):
    assert "leaderboard.csv: no such file" in call("all", "--out", tmp_path, code=1)
    write_made(tmp_path, ["x"])
    (run,) = list_runs(tmp_path)
    (run.folder / "snr.csv").write_text("band,n\n1,2\n")
    assert "snr.csv: columns n_groups, setting" in call("snr", "--out", tmp_path, code=1)
    (run.folder / "alphas.csv").write_text("setting,fold,alpha,n,accuracy,ridge_accuracy,chosen\na,,x,1,1,1,1\n")
    assert "alphas.csv, line 2: alpha is 'x'; it must be a number" in call("alpha", "--out", tmp_path, code=1)
    (tmp_path / "file").write_text("")
    output = call("gains", "--out", bare, "--to", tmp_path / "file" / "x", code=1)
    assert "give another --to" in output


def test_help_names_every_kind():
    text = CliRunner().invoke(main, ["plot", "--help"]).output
    assert all(re.search(rf"\b{kind}\b", text) for kind in (*KINDS_OF_FIGURES, "all"))
