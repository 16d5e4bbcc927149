import re
from dataclasses import replace

import pytest

from bgknown.apwd.draw_sources import choose_sources
from bgknown.apwd.pair_draw import PairRules
from bgknown.apwd.scenes import Scene
from bgknown.apwd.sources.manifest import COLUMNS, TABLE
from bgknown.apwd.sources.tree import ROLES, SourceFile, SourceTree
from bgknown.errors import InvalidInputError, NotFoundError
from tests.conftest import write_table

RAIN = Scene(name="rain", background="rain", fsd50k=("Rain",), events=("dog", "birds"))


def make_tree(root, rain, dogs=(500, 600), same=()):
    """A tree of headers only.

    Args:
        root: its folder, which gets the table of hashes.
        rain: the ids of the recordings of dev and of eval.
        dogs: the Freesound ids of the dogs of dev and of eval.
        same: ids of recordings with the same audio.
    """
    files = {}
    for split, ids, dog in zip(("dev", "eval"), rain, dogs, strict=True):
        names = {(role, "rain"): ids for role in ROLES}
        names |= {("foreground", "dog"): [f"1-{dog}-A-0"], ("foreground", "birds"): [f"1-{dog + 1}-A-14"]}
        for (role, label), stems in names.items():
            sources = (SourceFile(file=f"{split}/{role}/{label}/{stem}.wav", frames=882_000) for stem in stems)
            files[split, role, label] = tuple(sources)
    listed = [source.file for sources in files.values() for source in sources]
    hashes = {file: "same" if file.endswith(tuple(f"/{number}.wav" for number in same)) else file for file in listed}
    rows = [dict.fromkeys(COLUMNS, "x") | {"file": file, "frames": 882_000, "sha256": hashes[file]} for file in listed]
    write_table(root / TABLE, rows)
    return SourceTree(root=root, files=files)


def choose(tree, *, splits=("dev", "eval"), keep_sources=False, scene=RAIN):
    return choose_sources(tree, scene, splits, PairRules(), keep_sources=keep_sources)


OF_CLIPS = r"recordings left out because clips were cut from them: {} \(--keep-sources allows them\)"
SAME = r"recordings of dev left out because eval has the same audio: {} \(prepare others, or delete those of eval\)"


def test_recordings_are_counted_in_the_splits_that_are_drawn(tmp_path):
    tree = make_tree(tmp_path, (range(500, 506), range(600, 605)), same=(505, 604))
    assert choose(tree).left_out == {"sources_of_clips": 4, "identical_audio": 1}
    assert choose(tree, splits=["dev"]).left_out == {"sources_of_clips": 2, "identical_audio": 1}
    assert choose(tree, splits=["eval"]).left_out == {"sources_of_clips": 2, "identical_audio": 0}
    assert choose(tree, keep_sources=True).left_out == {"sources_of_clips": 0, "identical_audio": 1}


@pytest.mark.parametrize(
    ("rain", "same", "hints"),
    [
        (([10, 11, 500], range(20, 24)), (), [OF_CLIPS.format(1)]),
        (([10, 11, 12], range(20, 24)), (11, 20), [SAME.format(1)]),
        (([10, 11, 500, 12], range(20, 24)), (12, 20), [OF_CLIPS.format(1)]),
        (([10, 500, 12], range(20, 24)), (12, 20), [OF_CLIPS.format(1), SAME.format(1)]),
        (([10, 11, 500], range(20, 24)), (500, 20), [OF_CLIPS.format(1), SAME.format(1)]),
        (([10, 500], range(20, 24)), (), []),
        ((range(10, 14), [20, 21, 600]), (10, 20), [OF_CLIPS.format(1)]),
    ],
)
def test_advice_names_what_would_make_the_draw_possible(rain, same, hints, tmp_path):
    with pytest.raises(InvalidInputError) as caught:
        choose(make_tree(tmp_path, rain, same=same))
    assert re.fullmatch(
        "; ".join([r"[^;]* (are required|a layer must differ)[^;]*(; [^;:]*)?", *hints]), str(caught.value)
    )


def test_no_advice_where_nothing_that_was_left_out_is_of_the_label_that_is_missing(tmp_path):
    tree = make_tree(tmp_path, ([500, *range(10, 14)], range(20, 24)), same=(10, 20))
    with pytest.raises(NotFoundError, match=r"no dev/foreground/cat with files in it; there are birds, dog, rain$"):
        choose(tree, scene=replace(RAIN, events=("dog", "cat")))
