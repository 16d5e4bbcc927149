import pytest

from bgknown.apwd.scenes import read_published_scenes, read_scenes
from bgknown.corpora import esc50
from bgknown.errors import InvalidInputError, NotFoundError

GOOD = """
[splits.dev]
fsd50k = "dev"
esc50_folds = [1, 2]
[splits.eval]
fsd50k = "eval"
esc50_folds = [3]
pairs = 10
[scenes.sea]
background = "waves"
fsd50k = ["Waves_and_surf", "Ocean"]
events = ["gull"]
[events.gull]
esc50 = "crow"
nouns = ["gull", "crying gull"]
"""


def write(tmp_path, text):
    path = tmp_path / "scenes.toml"
    path.write_text(text)
    return path


def test_the_published_scenes():
    scenes = read_published_scenes()
    assert scenes.scene("rain").background == "rain"
    assert scenes.scene("traffic").background == "car_passing"
    assert (scenes.splits["dev"].pairs, scenes.splits["eval"].pairs) == (50_000, 1_000)
    assert set(scenes.splits["dev"].esc50_folds) | set(scenes.splits["eval"].esc50_folds) == set(esc50.FOLDS)
    assert {label for scene in scenes.scenes.values() for label in scene.events} == set(scenes.esc50)
    assert all(len(scenes.nouns_of(label)) > 1 for label in (*scenes.esc50, "rain", "car_passing"))


def test_a_scene_of_ones_own(tmp_path):
    scenes = read_scenes(write(tmp_path, GOOD))
    assert scenes.scene("sea").fsd50k == ("Waves_and_surf", "Ocean")
    assert scenes.splits["dev"].pairs == 1000
    assert scenes.scene_of("waves") == "sea"
    assert scenes.scene_of("wind") == "wind"
    assert scenes.nouns_of("gull") == ("gull", "crying gull")
    assert scenes.nouns_of("door_knock") == ("door knock",)
    with pytest.raises(NotFoundError, match="no scene 'rain'; there are: sea"):
        scenes.scene("rain")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[scenes.sea]", "[scenes.sea", "not TOML"),
        ("pairs = 10", "pears = 10", r"unknown key 'pears' in \[splits.eval\]; did you mean pairs\? there are: fsd50k"),
        ("pairs = 10", "pairs = true", "splits.eval.pairs is True; it must be a whole number"),
        ("[events.gull]", "[event.gull]", "unknown key 'event'"),
        (
            "[events.gull]",
            "[events.crow]",
            r"names 'gull', which \[events\] does not have; there are: crow",
        ),
        ("esc50_folds = [3]", "esc50_folds = [2]", "share sources; they must be disjoint"),
        ("esc50_folds = [3]", 'esc50_folds = ["3"]', "splits.eval.esc50_folds.1 is '3'; it must be a whole number"),
        ("esc50_folds = [3]", "esc50_folds = []", r"splits.eval.esc50_folds is \[\]; it must have at least one entry"),
        ('fsd50k = "eval"', 'fsd50k = "dev"', "share sources"),
        ("[splits.eval]", "[splits.test]", "splits are dev, test; they must be dev and eval"),
        ('background = "waves"', "", "scenes.sea.background is missing"),
        (
            'esc50 = "crow"',
            'esc50 = "crow"\ncounted = ["gull"]',
            r"events.gull.counted must have two .* has 1",
        ),
    ],
)
def test_a_file_that_breaks_the_form(old, new, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        read_scenes(write(tmp_path, GOOD.replace(old, new)))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_scenes(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="not a text in UTF-8"):
        read_scenes(tmp_path / "bytes.toml")
    with pytest.raises(InvalidInputError, match="splits is missing"):
        read_scenes(write(tmp_path, ""))


def test_words_are_those_of_the_file_or_made_from_its_nouns(tmp_path):
    scenes = read_scenes(write(tmp_path, GOOD.replace('"crying gull"', '"a crying gull"')))
    words = scenes.words_of("gull")
    assert (words.names, words.one, words.several) == (("gull", "crying gull"), "gull sound", "gull sounds")
    assert scenes.words_of("clock_tick").names == ("clock tick",)
    own = GOOD + 'names = ["seagull"]\nsounds = ["seagull crying"]\ncounted = ["seagull", "seagulls"]\n'
    words = read_scenes(write(tmp_path, own)).words_of("gull")
    assert (words.names, words.sounds, words.several) == (("seagull",), ("seagull crying",), "seagulls")
    assert repr(read_scenes(write(tmp_path, own))) == repr(read_scenes(write(tmp_path, GOOD)))  # style 1 keeps its hash
