"""The table of ESC-50's categories against AudioSet's ontology.

``tables/audioset.csv`` is the part of github.com/audioset/ontology (CC BY-SA 4.0) that these classes and FSD50K's 200
labels need: each class with its parents, and its name in FSD50K's vocabulary.
"""

from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from bgknown.corpora.classes import read_class_labels, split_labels

CATEGORIES = [
    "airplane",
    "breathing",
    "brushing_teeth",
    "can_opening",
    "car_horn",
    "cat",
    "chainsaw",
    "chirping_birds",
    "church_bells",
    "clapping",
    "clock_alarm",
    "clock_tick",
    "coughing",
    "cow",
    "crackling_fire",
    "crickets",
    "crow",
    "crying_baby",
    "dog",
    "door_wood_creaks",
    "door_wood_knock",
    "drinking_sipping",
    "engine",
    "fireworks",
    "footsteps",
    "frog",
    "glass_breaking",
    "hand_saw",
    "helicopter",
    "hen",
    "insects",
    "keyboard_typing",
    "laughing",
    "mouse_click",
    "pig",
    "pouring_water",
    "rain",
    "rooster",
    "sea_waves",
    "sheep",
    "siren",
    "sneezing",
    "snoring",
    "thunderstorm",
    "toilet_flush",
    "train",
    "vacuum_cleaner",
    "washing_machine",
    "water_drops",
    "wind",
]


def split(text):
    return set(filter(None, text.split(";")))


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(str(files("data_manifests") / "esc50_to_fsd50k.csv"), dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def ontology():
    path = Path(__file__).with_name("tables") / "audioset.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False).set_index("id")


@pytest.fixture(scope="module")
def label_of(ontology):
    return ontology["fsd50k"][ontology["fsd50k"] != ""].to_dict()


def find_ancestors(ontology, name):
    parents = split(ontology.loc[name, "parents"])
    return parents.union(*(find_ancestors(ontology, parent) for parent in parents))


def test_every_category_has_one_row(table):
    assert len(CATEGORIES) == 50
    assert table["category"].tolist() == sorted(CATEGORIES)
    assert set(table["relation"]) == {"equal", "wider", "similar", "none"}


def test_labels_are_those_of_fsd50k(table, label_of):
    assert len(label_of) == 200
    for column in ("labels", "descendants", "ancestors"):
        assert set().union(*map(split, table[column])) <= set(label_of.values())


def test_labels_mean_the_class_as_the_relation_says(table, ontology, label_of):
    for row in table.itertuples():
        classes, labels = split(row.audioset), split(row.labels)
        own = {label_of[name] for name in classes if name in label_of}
        above = {label_of[a] for name in classes for a in find_ancestors(ontology, name) if a in label_of}
        if row.relation == "equal":
            assert labels == own, row.category
        elif row.relation == "wider":
            assert not own, row.category
            assert labels <= above, row.category
        else:
            assert not own, row.category
            assert bool(labels) == (row.relation == "similar"), row.category
        assert row.relation in {"equal"} or row.note, row.category


def test_ancestors_are_those_of_the_ontology_and_never_count(table, ontology, label_of):
    names = {label: name for name, label in label_of.items()}
    for row in table.itertuples():
        start = split(row.audioset) | {names[label] for label in split(row.labels)}
        above = {label_of[a] for name in start for a in find_ancestors(ontology, name) if a in label_of}
        counted = split(row.labels) | split(row.descendants)
        assert split(row.ancestors) == above - counted, row.category
        assert read_class_labels()[row.category] == counted


def test_descendants_have_no_other_source(table, ontology, label_of):
    """A class below two others, such as Hiss below Cat and Steam, does not say which of them made the sound."""
    names = {label: name for name, label in label_of.items()}
    for row in table.itertuples():
        certain = {names[label] for label in split(row.labels)}
        start = set(certain)
        while True:
            parents = ontology["parents"].map(split)
            more = {name for name, up in parents.items() if up and up <= certain} - certain
            if not more:
                break
            certain |= more
        expected = {label_of[name] for name in certain - start if name in label_of}
        assert split(row.descendants) == expected, row.category


def test_some_classes_by_hand():
    labels = read_class_labels()
    assert "Bark" in labels["dog"]
    assert "Animal" not in labels["dog"]
    assert not labels["dog"] & labels["cat"]
    assert labels["hen"] == labels["rooster"] == {"Chicken_and_rooster"}
    assert labels["can_opening"] == labels["washing_machine"] == frozenset()
    assert split_labels("Rain, Water,,") == {"Rain", "Water"}


@pytest.mark.data
def test_the_vocabulary_is_that_of_real_folders(shared_data, label_of):
    folder = shared_data / "fsd50k" / "FSD50K.ground_truth"
    vocabulary = pd.read_csv(folder / "vocabulary.csv", header=None, dtype=str)
    assert vocabulary.set_index(2)[1].to_dict() == label_of
    used = {
        label
        for part in ("dev", "eval")
        for text in pd.read_csv(folder / f"{part}.csv")["labels"]
        for label in split_labels(text)
    }
    assert used <= set(label_of.values())
