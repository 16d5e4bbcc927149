import json
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jams
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.apwd.changes import KINDS, list_classes, list_published
from bgknown.apwd.comparison import find_changes
from bgknown.apwd.draw import PairDrawOptions, draw
from bgknown.apwd.draw_scene import _check_events_there
from bgknown.apwd.pair_draw import PairRules, Sources, draw_pair, gather_sources
from bgknown.apwd.pairs import find_pairs, read_pair
from bgknown.apwd.scenes import Scene, read_published_scenes
from bgknown.apwd.sources.manifest import COLUMNS, TABLE
from bgknown.apwd.sources.tree import SourceFile, SourceTree, open_tree
from bgknown.apwd.text import describe_changes
from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from tests.bgknown.apwd.reading import read_text
from tests.conftest import noise, write_table, write_wav
from tests.stopping import fill_disk_after

CLASSES = ("dog", "birds", "thunder", "footsteps")
EVEN = PairRules(kinds=dict.fromkeys(KINDS, 1.0), changes=(1.0, 1.0, 1.0))


def files(role: str, label: str, count: int, length_s: float) -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(file=f"dev/{role}/{label}/{label}{number}.wav", frames=int(length_s * RATE_HZ) + 37 * number)
        for number in range(count)
    )


SOURCES = Sources(
    split="dev",
    background="rain",
    backgrounds=files("background", "rain", 5, 21.3),
    layers=files("foreground", "rain", 5, 21.3),
    events={label: files("foreground", label, 6, 2.5 + place) for place, label in enumerate(CLASSES)},
)


def drawn_pairs(rules: PairRules, count: int = 400):
    return [draw_pair(SOURCES, rules, "made", number) for number in range(count)]


@pytest.mark.parametrize("rules", [PairRules(), EVEN, replace(EVEN, seed=7, kept=(0.0, 0.0, 1.0))])
def test_what_is_planned_is_what_the_soundscapes_show(rules):
    for plan, first, second in drawn_pairs(rules):
        assert plan.changes
        found = find_changes(first, second)
        assert list_published(found) == plan.changes
        assert {change.label for change in found} - set(plan.kept) == {change.label for change in plan.changes}
        assert set(plan.kept) <= set(list_classes(first)) & set(list_classes(second))
        for scape in (first, second):
            assert len({event.label for event in scape.events}) == len(scape.events)


def test_every_layer_keeps_to_the_rules():
    rules = replace(EVEN, ref_db=(-40.0, -30.0), snr_db=(5.0, 6.0), change_db=(9.0, 10.0))
    for plan, first, second in drawn_pairs(rules):
        assert first.ref_db == second.ref_db
        assert -40.0 <= first.ref_db <= -30.0
        quieter = {change.label for change in plan.changes if change.kind.endswith(("louder", "quieter"))}
        for scape in (first, second):
            recordings = [layer.file for layer in scape.backgrounds]
            assert recordings == [layer.file for layer in first.backgrounds]
            assert len(set(recordings)) == 2
            for layer in (*scape.backgrounds, *scape.events):
                start, stop = (int(t * RATE_HZ) for t in (layer.source_time_s, layer.source_time_s + layer.duration_s))
                frames = {source.file: source.frames for group in GROUPS for source in group}
                assert 0 <= start < stop <= frames[layer.file.removeprefix("source/")]
                assert layer.event_time_s + layer.duration_s <= 10.0 + 1e-9
            for layer in scape.backgrounds:
                assert 0.0 <= layer.source_time_s <= 10.0
                assert int((layer.source_time_s + 10.0) * RATE_HZ) - int(layer.source_time_s * RATE_HZ) == 441_000
            for layer in scape.events:
                low = -5.0 if layer.label in quieter else 5.0
                assert low <= layer.snr_db <= 6.0
                if layer.label == "rain":
                    assert (layer.event_time_s, layer.duration_s) == (0.0, 10.0)
                    name = layer.file.rsplit("/", 1)[1]
                    assert name not in {recording.rsplit("/", 1)[1] for recording in recordings}
                else:
                    assert layer.duration_s <= 5.0
                    assert layer.event_time_s <= 8.0


GROUPS = [SOURCES.backgrounds, SOURCES.layers, *SOURCES.events.values()]


def test_s1_and_s2_are_never_aligned():
    for _, first, second in drawn_pairs(PairRules(), 100):
        starts = zip(first.backgrounds, second.backgrounds, strict=True)
        assert all(before.source_time_s != after.source_time_s for before, after in starts)


def test_frequencies_follow_the_weights():
    rules = replace(PairRules(), kept=(3.0, 1.0))
    total = sum(rules.kinds.values())
    plans = [plan for plan, *_ in drawn_pairs(rules, 3_000)]
    counts = Counter(len(plan.changes) for plan in plans)
    assert counts[1] / 3_000 == pytest.approx(21 / 39, abs=0.03)
    assert Counter(len(plan.kept) for plan in plans)[0] / 3_000 == pytest.approx(3 / 4, abs=0.03)
    single = Counter(plan.changes[0].kind for plan in plans if len(plan.changes) == 1)
    for kind, weight in rules.kinds.items():
        assert single[kind] / counts[1] == pytest.approx(weight / total, abs=0.04), kind
    labels = Counter(change.label for plan in plans for change in plan.changes if change.kind == "event_removed")
    for label in CLASSES:  # about 800 changes
        assert labels[label] / sum(labels.values()) == pytest.approx(1 / 4, abs=0.05), label


def test_a_pair_depends_on_its_name_alone():
    again = draw_pair(SOURCES, PairRules(), "made", 7)
    assert again == drawn_pairs(PairRules(), 8)[7]
    assert again != draw_pair(SOURCES, PairRules(), "other", 7)
    assert again != draw_pair(SOURCES, PairRules(seed=1), "made", 7)


def test_texts_of_drawn_pairs_are_read_back():
    for number, (plan, first, second) in enumerate(drawn_pairs(EVEN, 300)):
        text = describe_changes(find_changes(first, second), f"made_{number}", read_published_scenes())
        said = read_text(text, read_published_scenes(), [*CLASSES, "rain"])
        assert {(deed, label) for deed, label, _, _ in said} == {
            (change.kind.partition("_")[2], change.label) for change in plan.changes
        }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_s": 0.5}, "duration_s is 0.5"),
        ({"backgrounds": 0}, "backgrounds is 0"),
        ({"snr_db": (9.0, 7.0)}, r"snr_db is 9..7; it must rise within -40..40"),
        ({"change_db": (1.0, 9.0)}, r"change_db is 1..9; it must rise within 3..60"),
        ({"onset_s": (0.0, 11.0)}, "onset_s is 0..11"),
        ({"ref_db": (-70.0, -30.0)}, "ref_db is -70..-30"),
        ({"changes": ()}, "changes has the weights"),
        ({"kept": (0.0, 0.0)}, "kept has the weights"),
        ({"kinds": {"event_moved": 1.0}}, "'event_moved' is not a kind of change; there are event_added"),
        ({"kinds": {"event_added": -1.0}}, "no weight may be below 0"),
        ({"duration_s": math.nan}, "duration_s is nan"),
        ({"duration_s": math.inf}, "duration_s is inf; a soundscape has 1 s to 3600 s"),
        ({"changes": (1.0, math.nan)}, "changes has the weights"),
        ({"kept": (1.0, math.inf)}, "kept has the weights"),
        ({"kinds": {"event_added": math.nan}}, "kinds: no weight may be below 0 or infinite"),
    ],
)
def test_rules_out_of_range_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        PairRules(**change)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A source tree whose splits share nothing; soundscapes of one second are drawn from it."""
    root = tmp_path_factory.mktemp("source")
    for split, first in (("dev", 10), ("eval", 20)):
        for role in ("background", "foreground"):
            for number in range(3):
                write_wav(root / split / role / "rain" / f"{first + number}.wav", noise(2.2, first + number))
        for place, label in enumerate(("dog", "birds", "thunder")):
            for take in "AB":
                name = f"{first // 10}-{1000 * (place + 1) + first}-{take}-{place}.wav"
                write_wav(root / split / "foreground" / label / name, noise(0.4, first + place))
    return root


RULES = PairRules(duration_s=1.0, event_s=(0.2, 0.5), onset_s=(0.0, 0.8))


def options(tree, out, **changes) -> PairDrawOptions:
    given = {"scene": "rain", "events": ("dog", "birds", "thunder"), "pairs": {"dev": 20, "eval": 5}, "rules": RULES}
    return PairDrawOptions(source=tree, out=out, **{"jobs": 1, **given, **changes})


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_draw_on_disk(tree, tmp_path):
    report = draw(options(tree, tmp_path))
    assert report.folder == tmp_path / "apwd_rain_seed0"
    assert report.counts == {"dev": 20, "eval": 5}
    files = find_pairs(tmp_path)
    assert len(files) == 25
    assert files[0].s1 == "apwd_rain_seed0/dev/jams/apwd_rain_seed0_dev_00000_s1.jams"
    kinds = Counter()
    for found in files:
        data = {side: (tmp_path / file).read_bytes() for side, file in found.sides().items()}
        pair = read_pair(found, data, read_published_scenes())
        assert (pair.scene, pair.split) == ("rain", found.pair.split("_")[3])
        kinds += Counter(change.kind for change in find_changes(pair.soundscapes["s1"], pair.soundscapes["s2"]))
    assert kinds == +Counter(report.kinds)
    assert not (report.folder / ".work").exists()


def test_jams_accepts_what_is_drawn(tree, tmp_path):
    draw(options(tree, tmp_path, pairs={"dev": 1, "eval": 0}))
    loaded = jams.load(str(next(tmp_path.rglob("*_s1.jams"))))
    assert loaded.annotations.search(namespace="scaper")[0].sandbox.scaper["scaper_version"] == "1.6.5"


def test_a_split_that_is_not_named_is_not_drawn(tree, tmp_path):
    assert options(tree, tmp_path, pairs={}).counts() == {"dev": 50_000, "eval": 1_000}
    report = draw(options(tree, tmp_path, pairs={"eval": 2}))
    assert report.counts == {"eval": 2}
    assert {path.name for path in report.folder.iterdir()} == {"draw.json", "eval"}
    assert json.loads((report.folder / "draw.json").read_text())["configuration"]["pairs"] == {"eval": 2}


def test_any_number_of_processes_and_more_pairs_give_the_same_first_ones(tree, tmp_path):
    draw(options(tree, tmp_path / "one"))
    draw(options(tree, tmp_path / "two", jobs=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    draw(options(tree, tmp_path / "few", pairs={"dev": 3, "eval": 2}))
    few = {name: data for name, data in contents(tmp_path / "few").items() if name.endswith(".jams")}
    assert len(few) == 10
    assert few.items() <= contents(tmp_path / "one").items()


def test_stopped_draw_resumes(tree, tmp_path, monkeypatch):
    draw(options(tree, tmp_path / "whole"))
    fill_disk_after(monkeypatch, 17)
    with pytest.raises(StorageError, match="the disk is full"):
        draw(options(tree, tmp_path / "out"))
    monkeypatch.undo()
    folder = tmp_path / "out" / "apwd_rain_seed0"
    assert not (folder / "draw.json").exists()
    next(folder.rglob("*_s1.jams")).write_bytes(b"")  # what a power cut may leave
    draw(options(tree, tmp_path / "out"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_draw_is_left_alone_and_another_one_refused(tree, tmp_path):
    first = draw(options(tree, tmp_path))
    assert draw(options(tree, tmp_path)) == replace(first, was_finished=True)
    with pytest.raises(StorageError, match=r"configuration.pairs.dev is 20 in the folder but 21 was requested"):
        draw(options(tree, tmp_path, pairs={"dev": 21, "eval": 5}))
    draw(options(tree, tmp_path, rules=replace(RULES, seed=1)))  # a folder of its own
    draw(options(tree, tmp_path, name="mine", pairs={"dev": 1, "eval": 1}))
    assert {path.name for path in tmp_path.iterdir()} == {"apwd_rain_seed0", "apwd_rain_seed1", "mine"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scene": "desert"}, NotFoundError, "no scene 'desert'; there are: rain, traffic"),
        (
            {"events": ()},
            NotFoundError,
            "no clips of footsteps; to draw the classes that are there, add --event birds --event dog --event thunder$",
        ),
        ({"scene": "traffic"}, NotFoundError, "no dev/background/car_passing with files in it; there are rain"),
        ({"events": ("dog", "cat")}, NotFoundError, "no dev/foreground/cat with files in it; there are birds, dog"),
        ({"events": ("dog",)}, InvalidInputError, r"1 event classes \(dog\) for up to 2 changes"),
        ({"events": ("dog", "dog")}, InvalidInputError, "the event class 'dog' is named twice"),
        ({"events": ("dog", "rain")}, InvalidInputError, "the event class 'rain' is the background's label"),
        ({"pairs": {"dev": 0, "eval": 0}}, InvalidInputError, "no pairs to draw"),
        ({"pairs": {"dev": 0}}, InvalidInputError, "every number of pairs is 0; give a number above 0"),
        ({"rules": PairRules()}, InvalidInputError, "has 0 recordings of at least 10 s, 2 are required"),
    ],
)
def test_draws_that_cannot_be_made(changes, error, message, tree, tmp_path):
    with pytest.raises(error, match=message):
        draw(options(tree, tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": {"test": 1}}, "pairs: test=1; the split must be dev or eval"),
        ({"pairs": {"dev": -1}}, "the number at least 0"),
        ({"name": "../x"}, "the name '../x' cannot be the name of a folder"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_options_out_of_range_are_refused(changes, message, tree, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        PairDrawOptions(**{"source": tree, "out": tmp_path, "scene": "rain", **changes})


def test_short_recordings_are_left_out(tree, tmp_path):
    found = gather_sources(
        open_tree(tree), "dev", "rain", ("dog", "birds"), replace(RULES, duration_s=2.0, backgrounds=1)
    )
    assert len(found.backgrounds) == 3
    with pytest.raises(InvalidInputError, match="has 0 recordings of at least 2.5 s"):
        gather_sources(open_tree(tree), "dev", "rain", ("dog", "birds"), replace(RULES, duration_s=2.5))


def made_tree(**groups: tuple[SourceFile, ...]) -> SourceTree:
    """A tree like ``SOURCES``, but with other files of some labels."""
    events = {("dev", "foreground", label): clips for label, clips in SOURCES.events.items()}
    rain = {("dev", role, "rain"): group for role, group in (("background", GROUPS[0]), ("foreground", GROUPS[1]))}
    changed = {("dev", *name.split("_")): group for name, group in groups.items()}
    return SourceTree(root=Path("tree"), files={**events, **rain, **changed})


def all_of(length: int, files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
    return tuple(replace(source, frames=length) for source in files)


def test_recordings_of_just_the_length_are_used_from_their_start():
    tree = made_tree(background_rain=all_of(441_000, GROUPS[0]), foreground_rain=all_of(441_000, GROUPS[1]))
    _, first, second = draw_pair(gather_sources(tree, "dev", "rain", CLASSES, EVEN), EVEN, "made", 0)
    assert {layer.source_time_s for scape in (first, second) for layer in scape.backgrounds} == {0.0}


def test_a_layer_that_could_only_repeat_a_background_is_refused():
    two = made_tree(background_rain=GROUPS[0][:2], foreground_rain=GROUPS[1][:2])
    with pytest.raises(InvalidInputError, match="foreground/rain has 2 recordings .* must differ from the 2 backgr"):
        gather_sources(two, "dev", "rain", CLASSES, EVEN)
    assert gather_sources(two, "dev", "rain", CLASSES, replace(EVEN, kinds={"event_added": 1.0})).layers == ()
    assert len(gather_sources(made_tree(foreground_rain=GROUPS[1][:3]), "dev", "rain", CLASSES, EVEN).layers) == 3


def test_layers_that_are_all_too_short_are_refused():
    short = made_tree(foreground_rain=all_of(4_000, GROUPS[1]))
    with pytest.raises(InvalidInputError, match="foreground/rain has 0 recordings of at least 10 s"):
        gather_sources(short, "dev", "rain", CLASSES, EVEN)


def test_a_clip_must_hold_a_fade():
    assert gather_sources(made_tree(foreground_dog=all_of(441, SOURCES.events["dog"])), "dev", "rain", CLASSES, EVEN)
    with pytest.raises(InvalidInputError, match=r"dog0.wav: 440 samples, shorter than an event's fade"):
        gather_sources(made_tree(foreground_dog=all_of(440, SOURCES.events["dog"])), "dev", "rain", CLASSES, EVEN)


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=100, max_value=2_000), st.integers(min_value=0, max_value=50))
def test_backgrounds_have_the_samples_of_the_soundscape_whatever_its_length(hundredths, number):
    rules = PairRules(duration_s=hundredths / 100, event_s=(0.2, 0.5), onset_s=(0.0, 0.5))
    for scape in draw_pair(SOURCES, rules, "made", number)[1:]:
        assert int(scape.duration_s * RATE_HZ) == 441 * hundredths
        for layer in scape.backgrounds:
            start, stop = (int(t * RATE_HZ) for t in (layer.source_time_s, layer.source_time_s + layer.duration_s))
            assert stop - start == 441 * hundredths


def test_onsets_and_levels_fill_their_ranges():
    onsets = [e.event_time_s for _, s1, s2 in drawn_pairs(PairRules(), 500) for e in (*s1.events, *s2.events)]
    assert np.quantile(onsets, 0.1) < 1.5
    assert np.quantile(onsets, 0.9) > 5.0


def test_draw_json_that_is_damaged(tree, tmp_path):
    folder = draw(options(tree, tmp_path)).folder
    (folder / "draw.json").write_text("{")
    with pytest.raises(InvalidInputError, match=r"draw.json: not JSON"):
        draw(options(tree, tmp_path))
    (folder / "draw.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(InvalidInputError, match="damaged, or not of format 1"):
        draw(options(tree, tmp_path))


@pytest.fixture
def leaking(tree, tmp_path):
    """A tree in which a clip of eval was cut from a recording of dev, and dev and eval share the audio of another."""
    root = tmp_path / "leaking"
    shutil.copytree(tree, root)
    for take in "AB":
        (root / f"eval/foreground/dog/2-1020-{take}-0.wav").rename(root / f"eval/foreground/dog/2-10-{take}-0.wav")
    for split, first in (("dev", 30), ("eval", 40)):
        for role in ("background", "foreground"):
            for number in range(3):
                write_wav(root / split / role / "rain" / f"{first + number}.wav", noise(2.2, first + number))
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.wav"))
    rows = [dict.fromkeys(COLUMNS, "x") | {"file": file, "frames": 97_020, "sha256": file} for file in files]
    for row in rows:
        if row["file"].endswith(("dev/background/rain/31.wav", "eval/background/rain/41.wav")):
            row["sha256"] = "same"
    write_table(root / TABLE, rows)
    return root


def list_drawn(report):
    texts = [path.read_text() for path in report.folder.rglob("*.jams")]
    return {file for text in texts for file in re.findall(r"source/(\w+/\w+/\w+/[^\"]+.wav)", text)}


def test_sources_of_clips_and_shared_audio_are_not_drawn(leaking, tmp_path):
    report = draw(options(leaking, tmp_path / "drawn"))
    drawn = list_drawn(report)
    assert report.left_out == {"sources_of_clips": 1, "identical_audio": 1}
    assert not any(file.endswith("/rain/10.wav") for file in drawn)
    assert "dev/background/rain/31.wav" not in drawn
    assert "eval/background/rain/41.wav" in drawn
    assert json.loads((report.folder / "draw.json").read_text())["left_out"] == report.left_out
    again = draw(options(leaking, tmp_path / "drawn"))
    assert (again.was_finished, again.left_out) == (True, report.left_out)
    kept = draw(options(leaking, tmp_path / "kept", keep_sources=True))
    assert kept.left_out == {"sources_of_clips": 0, "identical_audio": 1}
    assert any(file.endswith("/rain/10.wav") for file in list_drawn(kept))


def test_too_few_recordings_without_sources_are_explained(leaking, tmp_path):
    for number in (30, 31, 32):
        for role in ("background", "foreground"):
            (leaking / "dev" / role / "rain" / f"{number}.wav").unlink()
    with pytest.raises(InvalidInputError, match="because clips were cut from them: 1 .--keep-sources allows them.$"):
        draw(options(leaking, tmp_path / "drawn"))


def test_labels_with_spaces_are_quoted_for_the_shell(tmp_path):
    scene = Scene(name="rain", background="rain", fsd50k=("Rain",), events=())
    with pytest.raises(NotFoundError, match=r"add --event bell --event 'dog bark' --changes 1,1$"):
        _check_events_there(scene, {"dog bark", "bell"}, {"rain"}, tmp_path, 3)
