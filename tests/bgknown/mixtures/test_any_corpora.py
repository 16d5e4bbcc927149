"""BgKnown of a user's own tables, of other durations, by both engines."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import bgknown
from bgknown import seeding
from bgknown.cli import main
from bgknown.corpora.pair import CorpusPaths, open_corpus_paths
from bgknown.errors import BrokenInputError, InvalidInputError
from bgknown.mixtures.build import plan
from bgknown.mixtures.crop_starts import draw_a_starts, draw_b_start, draw_c_start
from bgknown.mixtures.draw import DrawOptions
from bgknown.mixtures.naming import list_clip_names
from bgknown.mixtures.pool import PoolRules
from bgknown.mixtures.recipe import count_clip_frames, read_recipe
from bgknown.mixtures.rules import check_recipe
from bgknown.mixtures.verify import verify
from bgknown.soundscape import find_exact_duration, find_exact_seconds
from tests.bgknown.corpora.made_tables import EVENT_FRAMES, make_tables
from tests.conftest import RATE_HZ, contents


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tables and the dataset that the direct engine made of them; not to be changed."""
    tables = make_tables(tmp_path_factory.mktemp("tables"))
    out = tables.root / "dataset"
    return tables, bgknown.build_dataset(out, **tables.given(name="Yard 1"))


def test_the_dataset_says_what_it_is(made):
    _, data = made
    assert (data.name, data.duration_s, data.clip_frames) == ("BgKnown Yard 1", 1.5, 66_150)
    corpora = data.description["corpora"]
    assert list(corpora) == ["foreground", "background"]
    assert [corpus["name"] for corpus in corpora.values()] == ["yard", "places"]
    assert corpora["foreground"]["clips"] == {"train": 12, "test": 8}
    assert corpora["foreground"]["test_folds"] == [4, 5]
    assert data.description["configuration"]["duration_s"] == 1.5
    assert len(data) == 20
    assert data[0]["mix"].shape == data[0]["c"].shape == (66_150,)


def test_rows_name_the_files_of_both_tables(made):
    tables, data = made
    table = data.table
    assert {"foreground_file", "background_file"} <= set(table.columns)
    assert not {"esc50_file", "fsd50k_file"} & set(table.columns)
    assert table.loc["fold1_bark0", "foreground_file"] == "fold1/bark0.wav"
    assert list_clip_names(table) == table["clip_id"].tolist()
    assert "short.wav" not in set(table["background_file"])
    for split, places in (("train", range(4)), ("test", range(4, 8))):
        used = set(table[table["split"] == split]["background_file"])
        assert used == {f"{place}.wav" for place in places}
    row = table.loc["fold1_bark1"]
    audio, _ = soundfile.read(tables.background.parent / row["background_file"])
    gain = 10 ** (row["background_gain_db"] / 20) * row["scale"]
    for name in ("a", "b", "c"):
        start = row[f"{name}_start"]
        assert np.abs(data.audio("fold1_bark1", name) - audio[start : start + 66_150] * gain).max() < 1e-4
    event = data.audio("fold1_bark1") - data.audio("fold1_bark1", "a")
    assert row["event_frames"] == EVENT_FRAMES
    assert np.abs(event[EVENT_FRAMES - 1 :]).max() < 1e-4 < np.abs(event[EVENT_FRAMES - 300 : EVENT_FRAMES - 200]).max()


def test_it_verifies_and_a_changed_duration_does_not(made, tmp_path):
    data = made[1]
    assert verify(data.root, jobs=1)[1] == []
    copy = tmp_path / "copy"
    shutil.copytree(data.root, copy)
    described = json.loads((copy / "dataset.json").read_text())
    described["configuration"]["duration_s"] = 2.0
    (copy / "dataset.json").write_text(json.dumps(described))
    assert any("has 66,150 samples, must have 88,200" in fault for fault in verify(copy, jobs=1)[1])
    described["configuration"]["duration_s"] = 0.1
    (copy / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(InvalidInputError, match=r"the duration is 0.1 s; it must be in 0.5..60"):
        verify(copy, jobs=1)


@pytest.mark.parametrize("duration_s", [1.5, 0.51, 0.5 + 3 / RATE_HZ])
def test_scaper_writes_the_same_bytes(made, tmp_path, duration_s):
    given = made[0].given(duration_s=duration_s, limit=8)
    first = bgknown.build_dataset(tmp_path / "direct", **given)
    second = bgknown.build_dataset(tmp_path / "scaper", **{**given, "engine": "scaper"})
    one, other = contents(first.root), contents(second.root)
    for files in (one, other):
        del files["dataset.json"]
    assert one == other
    assert first.clip_frames == round(duration_s * RATE_HZ)
    assert verify(second.root, jobs=1)[1] == []
    assert len(set(first.table["event_frames"])) == (2 if duration_s == 1.5 else 1)


def test_a_recipe_of_either_pair_of_columns_makes_the_same_dataset(made, tmp_path):
    tables, data = made
    recipe = read_recipe(data.root / "recipe.csv")
    official = recipe.rename(columns={"foreground_file": "esc50_file", "background_file": "fsd50k_file"})
    official.to_csv(tmp_path / "recipe.csv", index=False)
    again = bgknown.build_dataset(tmp_path / "again", **tables.given(recipe=tmp_path / "recipe.csv"))
    assert (again.id, list(again.table.columns)) == (data.id, list(data.table.columns))
    assert again.description["recipe_sha256"] == data.description["recipe_sha256"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("foreground_file", "../x.wav", "foreground_file '../x.wav' leaves the corpus; it must be a path relative"),
        ("foreground_file", "fold1/bark1.wav", "'fold1/bark1.wav' is not the clip of that name in this yard"),
        ("background_file", "x.wav", "'x.wav' is not listed in this places"),
        ("background_file", "5.wav", "takes its background from places's train set, not from '5.wav'"),
        ("category", "cat", "category is 'cat', in yard it is 'bark'"),
        ("split", "test", "split is 'test', fold 1 belongs to 'train'"),
        ("b_start", 5, "b_start must be 33,075 samples before or after a_start"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(made, column, value, message):
    tables, data = made
    paths = CorpusPaths(foreground_table=tables.foreground, background_table=tables.background)
    corpora = open_corpus_paths(paths, cache=tables.root / "cache")
    recipe = read_recipe(data.root / "recipe.csv").astype({"b_start": object})
    check_recipe(recipe, corpora, PoolRules(clip_frames=66_150))
    recipe.loc[0, "a_start"] = 0
    recipe.loc[0, column] = value
    with pytest.raises(InvalidInputError, match=f"(?s)nothing was built:.*  fold1_bark0: .*{message}"):
        check_recipe(recipe, corpora, PoolRules(clip_frames=66_150))


@pytest.mark.parametrize(("built_s", "asked_s"), [(1.5, 5.0), (1.5, 1.4), (0.503, 1.0)])
def test_a_recipe_of_another_duration_is_refused_in_one_line(made, built_s, asked_s):
    tables, data = made
    paths = CorpusPaths(foreground_table=tables.foreground, background_table=tables.background)
    corpora = open_corpus_paths(paths, cache=tables.root / "cache")
    shift = round(built_s * RATE_HZ) // 2
    recipe = read_recipe(data.root / "recipe.csv").assign(a_start=0, b_start=shift, c_start=2 * shift)
    check_recipe(recipe, corpora, PoolRules(clip_frames=round(built_s * RATE_HZ)))
    asked = round(asked_s * RATE_HZ)
    message = (
        rf"the recipe has mixtures of {built_s:g} s, but {asked_s:g} s were requested: b_start is {shift:,} samples "
        rf"from a_start in all 20 rows \(the first: {recipe['clip_id'][0]}\), {asked // 2:,} are required; "
        rf"add --duration {built_s:g}, or give another recipe$"
    )
    with pytest.raises(InvalidInputError, match=message):
        check_recipe(recipe, corpora, PoolRules(clip_frames=asked))
    recipe.loc[3, "b_start"] = 7
    with pytest.raises(InvalidInputError, match=r"breaks \d+ rules; nothing was built:\n  .*\n"):
        check_recipe(recipe, corpora, PoolRules(clip_frames=asked))


def test_starts_that_fit_no_duration_are_listed(made):
    tables, data = made
    paths = CorpusPaths(foreground_table=tables.foreground, background_table=tables.background)
    corpora = open_corpus_paths(paths, cache=tables.root / "cache")
    recipe = read_recipe(data.root / "recipe.csv").assign(a_start=0, b_start=10, c_start=66_150)
    with pytest.raises(InvalidInputError, match="breaks 20 rules"):
        check_recipe(recipe, corpora, PoolRules(clip_frames=66_150))


def test_no_clip_has_a_background_of_its_own_source(tmp_path):
    """Half of the recordings of each split are of the one source that the clips of that split have."""
    tables = make_tables(tmp_path)
    for path, name in ((tables.foreground, "fold"), (tables.background, "split")):
        table = pd.read_csv(path)
        test = table[name].isin([4, 5, "Eval"])
        own = test.map({True: "tape 4", False: "tape 0"})
        shared = own if name == "fold" else own.where(table["file"].isin(["0.wav", "1.wav", "4.wav", "5.wav"]))
        table.assign(source=shared.fillna(table.get("source", ""))).to_csv(path, index=False)
    paths = CorpusPaths(foreground_table=tables.foreground, background_table=tables.background)
    corpora = open_corpus_paths(paths, cache=tmp_path / "cache")
    options = DrawOptions(duration_s=1.5, draws=2)
    recipe = plan(corpora, options, jobs=1).recipe
    assert set(recipe["background_file"]) <= {"2.wav", "3.wav", "6.wav", "7.wav"}
    recipe.loc[0, "background_file"] = "0.wav"
    with pytest.raises(InvalidInputError, match="the background shares the source tape 0 with the clip"):
        check_recipe(recipe, corpora, PoolRules(clip_frames=66_150))
    alone = replace(corpora, background=replace(corpora.background, table=corpora.background.table[:2]))
    with pytest.raises(BrokenInputError, match="the only background left, recording 0, is the source of a clip; add"):
        plan(alone, replace(options, keep_sources=True), jobs=1)


def test_short_recordings_are_counted(made, caplog):
    tables, _ = made
    paths = CorpusPaths(foreground_table=tables.foreground, background_table=tables.background)
    corpora = open_corpus_paths(paths, cache=tables.root / "cache")
    plan(corpora, DrawOptions(duration_s=1.5), jobs=1)
    assert "places: 8 of 9 recordings have the 3 s that three references need; the others are not used" in caplog.text
    with pytest.raises(BrokenInputError, match="no background is left in places's train set: .* must have 20 s"):
        plan(corpora, DrawOptions(duration_s=10.0), jobs=1)


def test_esc50_of_another_duration(tiny, tmp_path):
    data = bgknown.build_dataset(
        *(tmp_path / "out",),
        **{"esc50": tiny.esc50, "fsd50k": tiny.fsd50k, "duration_s": 2.0, "engine": "direct", "jobs": 1},
        cache=tmp_path / "cache",
    )
    assert (data.name, data.clip_frames, data.table["event_frames"].max()) == ("BgKnown ESC-50", 88_200, 88_200)
    assert "esc50_file" in data.table
    assert {7004, 8004} & {int(file.split("/")[1][:4]) for file in data.table["fsd50k_file"]}  # 6 s are enough
    assert verify(data.root, jobs=1)[1] == []


def test_the_command_line(made, tmp_path):
    tables, data = made
    run = CliRunner()
    given = [*tables.arguments(), "--jobs", "1"]
    planned = run.invoke(main, ["plan", *given, "--out", str(tmp_path / "recipe.csv")])
    assert planned.exit_code == 0, planned.output
    assert "folds 4, 5 of yard are for testing, the others for training" in planned.output
    assert (tmp_path / "recipe.csv").read_bytes() == (data.root / "recipe.csv").read_bytes()
    build = ["build", *given, "--engine", "direct", "--test-folds", "1,2", "--name", "Other"]
    dry = run.invoke(main, [*build, "--dry-run", "--out", str(tmp_path / "out")])
    assert "folds 1, 2 of yard are for testing" in dry.output
    assert "would write about 0.01 GB" in dry.output
    assert not (tmp_path / "out").exists()
    for expected in ("4 rendered, 0 kept", "was already complete"):
        done = run.invoke(main, [*build, "--limit", "4", "--out", str(tmp_path / "out")])
        assert (done.exit_code, expected in done.output) == (0, True), done.output
    assert done.output.splitlines()[1].split()[:3] == ["train", "2", "2"]
    assert done.output.splitlines()[1].split()[-1] == "3"  # seconds: two clips of 1.5 s
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["name"] == "BgKnown Other"
    refused = run.invoke(main, [*build, "--limit", "4", "--duration", "2", "--out", str(tmp_path / "out")])
    assert refused.exit_code == 1
    assert "configuration.duration_s is 1.5 in the folder but 2.0 was requested" in refused.output
    checked = run.invoke(main, ["verify", str(tmp_path / "out"), "--jobs", "1"])
    assert (checked.exit_code, checked.output.startswith("ok: 4 clips, 20 files")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duration", "0.4"], "the duration is 0.4 s; it must be in 0.5..60"),
        (["--duration", "nan"], "the duration is nan s; it must be in 0.5..60"),
        (["--duration", "61"], "the duration is 61 s; it must be in 0.5..60"),
        (["--test-folds", "1,x"], "'x' is not the number of a fold"),
        (["--esc50", "."], "--esc50 and --foreground-table exclude each other"),
        (["--fsd50k", "."], "--fsd50k and --background-table exclude each other"),
        (["--miniature"], "--miniature replaces --esc50 and --fsd50k, or tables in their places"),
        (["--name", "ESC-50"], "the name is 'ESC-50'"),
    ],
)
def test_wrong_options_are_refused(made, tmp_path, arguments, message):
    done = CliRunner().invoke(main, ["plan", *made[0].arguments(), *arguments, "--out", str(tmp_path / "r.csv")])
    assert done.exit_code in {1, 2}
    assert message in done.output
    assert not (tmp_path / "r.csv").exists()


def test_names_need_tables(tiny, tmp_path):
    for option in (["--name", "x"], ["--test-folds", "1"]):
        done = CliRunner().invoke(main, ["plan", *tiny.arguments(), *option, "--out", str(tmp_path / "r.csv")])
        assert "--name and --test-folds are for datasets of tables" in done.output


def test_an_interrupted_build_resumes_with_the_same_bytes(made, tmp_path):
    tables, data = made
    path = tables.root / "yard" / "fold5" / "siren1.wav"
    audio = path.read_bytes()
    out = tmp_path / "out"
    try:
        path.write_bytes(b"")
        with pytest.raises(BrokenInputError, match=r"(?s)fold5/siren1.wav.*19 of 20 rows are kept"):
            bgknown.build_dataset(out, **tables.given(name="Yard 1"))
    finally:
        path.write_bytes(audio)
    bgknown.build_dataset(out, **tables.given(name="Yard 1"))
    assert contents(out) == contents(data.root)


@given(
    duration_s=st.floats(0.5, 3.0),
    longer=st.one_of(st.integers(0, 5), st.integers(0, 10 * RATE_HZ)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_crops_of_any_duration_keep_the_rules(duration_s, longer, seed):
    size = count_clip_frames(duration_s)
    frames = 2 * size + longer
    random = seeding.make_generator(seed, "crops")
    for a in draw_a_starts(frames, random, count=4, clip_frames=size):
        b, c = (draw(frames, a, random, size) for draw in (draw_b_start, draw_c_start))
        assert all(0 <= start <= frames - size for start in (a, b, c))
        assert abs(a - b) == size // 2
        assert abs(a - c) >= size


@given(start=st.integers(0, 600 * RATE_HZ), frames=st.integers(RATE_HZ // 2, 60 * RATE_HZ))
@settings(max_examples=300)
def test_scaper_gets_exactly_the_samples_of_any_duration(start, frames):
    duration_s = find_exact_duration(frames)
    time_s, same = find_exact_seconds(start, frames, duration_s)
    assert (int(duration_s * RATE_HZ), same) == (frames, duration_s)
    assert (int(time_s * RATE_HZ), int((time_s + duration_s) * RATE_HZ)) == (start, start + frames)


@pytest.mark.data
@pytest.mark.slow
def test_urbansound8k_with_a_users_own_backgrounds(shared_data, tmp_path):
    """The 52 clips, with the table written from their metadata, and real recordings in a table of their own."""
    corpus, places = shared_data / "tasks" / "urbansound8k", shared_data / "fsd50k"
    for name, target in (("audio", corpus / "audio"), ("recordings", places)):
        (tmp_path / name).symlink_to(target)
    rows = list(csv.DictReader((corpus / "metadata" / "UrbanSound8K.csv").read_text().splitlines()))
    lines = [f"audio/fold{row['fold']}/{row['slice_file_name']},{row['class']},{row['fold']}" for row in rows]
    (tmp_path / "us8k.csv").write_text("\n".join(["file,label,fold", *lines]) + "\n")
    lines = [
        f"recordings/FSD50K.{part}_audio/{path.name},street,{part},{path.stem}"
        for part in ("dev", "eval")
        for path in sorted((places / f"FSD50K.{part}_audio").iterdir())
        if not path.name.startswith(".")
    ]
    (tmp_path / "places.csv").write_text("\n".join(["file,label,split,source", *lines]) + "\n")
    data = bgknown.build_dataset(
        *(tmp_path / "out",),
        **{"foreground_table": tmp_path / "us8k.csv", "background_table": tmp_path / "places.csv"},
        **{"duration_s": 4.0, "skip_broken": True, "cache": tmp_path / "cache", "engine": "direct"},
    )
    assert data.name == "BgKnown us8k with places"
    counts = {"rows": 51, "train": 30, "test": 21, "skipped": 1}
    assert {name: data.description["counts"][name] for name in counts} == counts
    assert [problem["code"] for problem in data.description["skipped"]] == ["snr_undefined"]  # one clip is silent
    assert set(data.table["category"]) == {row["class"] for row in rows}
    assert verify(data.root, jobs=1)[1] == []


def test_a_description_of_other_corpora_than_the_manifest_is_refused(made, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("manifest.csv", "recipe.csv", "dataset.json"):
        shutil.copy(made[1].root / name, copy / name)
    described = json.loads((copy / "dataset.json").read_text())
    first, second = described["corpora"].values()
    for corpora, message in (
        ({"esc50": first, "fsd50k": second}, "has the column foreground_file, but dataset.json describes the corpora"),
        ({"foreground": first, "fsd50k": second}, "corpora must have the keys esc50 and fsd50k, or foreground and"),
    ):
        (copy / "dataset.json").write_text(json.dumps({**described, "corpora": corpora}))
        with pytest.raises(InvalidInputError, match=f"the dataset is damaged: {message}"):
            bgknown.open_dataset(copy)
