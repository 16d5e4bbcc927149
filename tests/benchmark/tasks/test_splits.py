import pandas as pd
import pytest
import soundfile

from benchmark import tasks
from benchmark.tasks import own
from benchmark.tasks.contract import TaskOptions
from benchmark.tasks.locations import split_tables
from benchmark.tasks.splits import apply_splits, read_splits
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.corpora import make_us8k, make_voxforge, sound
from tests.benchmark.test_run import run

FILES = ["audio/fold1/1-0.ogg", "audio/fold1/2-0.ogg", "audio/fold2/1-0.ogg"]


@pytest.fixture
def corpus(tmp_path):
    return pd.DataFrame({"file": FILES, "label": "own", "fold": ["1", "1", "2"], "group": ["x", "y", "z"]})


def write(path, text):
    path.write_text(text)
    return path


def test_names_are_found_whatever_their_type(corpus, tmp_path):
    """EVAR's tables name .wav files relative to the corpus, with columns beside those that are needed."""
    table = write(
        tmp_path / "us8k.csv", ",file_name,label,fold\n0,audio/fold1/2-0.wav,dog,1\n1,audio/fold2/1-0.wav,cat,2\n"
    )
    found = apply_splits(table, corpus, tmp_path)
    assert found["file"].tolist() == [FILES[1], FILES[2]]
    assert found["label"].tolist() == ["dog", "cat"]
    assert found["fold"].tolist() == ["1", "2"]
    assert found["group"].tolist() == ["y", "z"]


def test_names_may_have_more_or_fewer_folders(corpus, tmp_path):
    more = write(tmp_path / "a.csv", "file,label,split\nwork/16k/us8k/audio/fold1/1-0.wav,dog,train\n")
    assert apply_splits(more, corpus, tmp_path)["file"].tolist() == [FILES[0]]
    fewer = write(tmp_path / "b.csv", "file,label,split\nfold2/1-0.wav,dog,train\n")
    assert apply_splits(fewer, corpus, tmp_path)["file"].tolist() == [FILES[2]]


def test_a_name_that_fits_several_clips_is_refused(corpus, tmp_path):
    table = write(tmp_path / "a.csv", "file,label,split\n1-0.wav,dog,train\n")
    with pytest.raises(InvalidInputError, match=r"1-0.wav may be audio/fold1/1-0.ogg or audio/fold2/1-0.ogg"):
        apply_splits(table, corpus, tmp_path)


def test_a_missing_name_is_refused(corpus, tmp_path):
    table = write(tmp_path / "a.csv", "file,label,split\nother/1-0.wav,dog,train\nx,dog,test\n")
    with pytest.raises(NotFoundError, match=r"a.csv: other/1-0.wav \(and 1 more\) is not in"):
        apply_splits(table, corpus, tmp_path)


def test_a_file_that_the_corpus_s_own_table_leaves_out_may_be_named(corpus, tmp_path):
    (tmp_path / "extra.wav").write_bytes(b"x")
    table = write(tmp_path / "a.csv", "file,label,split\nextra.wav,dog,train\n")
    assert apply_splits(table, corpus, tmp_path)["group"].tolist() == [""]


def test_rows_without_a_split_are_not_used(tmp_path):
    table = write(tmp_path / "a.csv", "file_name,label,split\na.wav,dog,train\nb.wav,dog,\nc.wav,cat,test\n")
    assert read_splits(table)["file"].tolist() == ["a.wav", "c.wav"]


def test_folds_written_as_decimals_are_numbers(tmp_path):
    table = write(tmp_path / "a.csv", "file_name,label,fold\na.wav,dog,1.0\nb.wav,dog,2.0\n")
    assert read_splits(table)["fold"].tolist() == ["1", "2"]


def test_labels_are_the_same_with_and_without_spaces(tmp_path):
    table = write(tmp_path / "a.csv", "file_name,label,fold\na.wav,dog,1\nb.wav, dog ,2\n")
    assert read_splits(table)["label"].tolist() == ["dog", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label,split\na,b,train\n", "column file missing"),
        ("file,split\na,train\n", "column label missing"),
        ("file,label\na,b\n", "column split missing"),
        ("file,label,split\n", "the table has no rows"),
        ("file,label,split\na,b,\n", "no clip has a split"),
    ],
)
def test_the_wrong_table_is_reported_in_one_line(tmp_path, text, message):
    with pytest.raises(InvalidInputError, match=message):
        read_splits(write(tmp_path / "a.csv", text))


def test_a_missing_table_is_reported_in_one_line(tmp_path):
    with pytest.raises(NotFoundError, match=r"no such file; it must have the columns file_name"):
        read_splits(tmp_path / "a.csv")


def test_tables_are_assigned_to_tasks(tmp_path):
    table = write(tmp_path / "a.csv", "")
    assert split_tables([str(table)], ["us8k"]) == {"us8k": table}
    assert split_tables([f"us8k={table}"], ["us8k", "vc1"]) == {"us8k": table}
    for given, names, message in (
        ([str(table)], ["us8k", "vc1"], "there are 2 tasks; write TASK=FILE"),
        ([f"gtzan={table}"], ["us8k"], "task 'gtzan' is not measured"),
        ([f"us8k={table}", str(table)], ["us8k"], "gives us8k twice"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            split_tables(given, names)


def test_a_task_takes_a_published_table_unchanged(tmp_path):
    make_us8k(tmp_path / "us8k")
    listed = tasks.load_task("us8k").index(tmp_path / "us8k")
    labels = listed["label"].str.upper()
    split = ["test" if fold in {"1", "2"} else "train" for fold in listed["fold"]]
    published = pd.DataFrame({"file_name": listed["file"], "label": labels, "split": split})
    published.to_csv(tmp_path / "evar.csv")
    options = TaskOptions(cache=tmp_path, splits=tmp_path / "evar.csv")
    data = tasks.prepare("us8k", tmp_path / "us8k", options)
    assert data.classes() == ["AIR_CONDITIONER", "CAR_HORN", "DOG_BARK"]
    assert len(data.folds) == 1
    assert len(data.folds[0].test) == 12
    assert data.leak_check == "ok"
    assert data.notes == [f"labels and splits are those of {tmp_path / 'evar.csv'}"]
    assert data.sha256 != tasks.prepare("us8k", tmp_path / "us8k", TaskOptions(cache=tmp_path)).sha256


def test_a_leak_in_a_given_table_is_reported(tmp_path):
    """EVAR splits VoxForge by upload; the same user's uploads may then be on both sides."""
    make_voxforge(tmp_path / "voxforge")
    listed = tasks.load_task("voxforge").index(tmp_path / "voxforge")
    split = ["test" if i % 5 == 0 else "train" for i in range(len(listed))]
    names = [file.split("/", 1)[1] for file in listed["file"]]  # without the language
    pd.DataFrame({"file_name": names, "label": listed["label"], "split": split}).to_csv(tmp_path / "evar.csv")
    data = tasks.prepare("voxforge", tmp_path / "voxforge", TaskOptions(cache=tmp_path, splits=tmp_path / "evar.csv"))
    assert data.leak_check.endswith("speakers in training and test")


@pytest.fixture
def mine(tmp_path):
    rows = []
    for number in range(30):
        label, hz = [("low", 300), ("high", 2000)][number % 2]
        sound(tmp_path / "clips" / f"{number}.wav", hz, seconds=0.5 + 0.1 * (number % 3))
        rows.append((f"clips/{number}.wav", label, ["train", "train", "test"][number % 3], f"singer {number}"))
    pd.DataFrame(rows, columns=["file", "label", "split", "group"]).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def test_a_task_of_one_s_own(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    out = run("run", "--encoder", "logmel", "--task", f"{mine}?duration_s=0.5", "--out", tmp_path / "out").output
    assert "logmel on mine, protocol linear: 30 clips, leak check: ok" in out
    board = run("leaderboard", "--out", tmp_path / "out").output
    assert "accuracy (%), protocol linear" in board
    assert "no faults" in run("data", "validate", mine, tmp_path).output


def test_files_of_an_own_task_may_be_elsewhere(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tables").mkdir()
    table = mine.rename(tmp_path / "tables" / "mine.csv")
    given = ["--task", table, "--data", f"mine={tmp_path}", "--protocol", "paper", "--seeds", "1"]
    shown = run("run", "--encoder", "logmel", *given, "--out", tmp_path / "out").output
    assert "logmel on mine, protocol paper, seeds 1: 30 clips, leak check: ok" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("?duration_s=0", "duration_s is 0.0; it must be above 0 and at most 3600"),
        ("?length=4", "unknown option 'length'"),
        ("?lr=-1", "lr is -1.0; it must be above 0"),
    ],
)
def test_wrong_options_of_an_own_task_are_reported_in_one_line(mine, given, message):
    with pytest.raises(InvalidInputError, match=message):
        own.read_own_facts(f"{mine}{given}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("esc50.csv", "name of a built-in task, esc50: .* with --task esc50 --splits FILE"),
        ("mine .csv", "must not begin or end with spaces"),
    ],
)
def test_a_name_that_results_cannot_carry_is_refused_at_once(mine, name, message):
    with pytest.raises(InvalidInputError, match=message):
        tasks.read_facts(str(mine.rename(mine.with_name(name))))


def test_the_same_task_twice_is_refused(mine, tmp_path):
    done = run("run", "--encoder", "logmel", "--task", f"{mine},{mine}", "--out", tmp_path / "out", status=1)
    assert "task mine is given twice" in done.stderr


def test_soundfile_is_what_reads_au(tmp_path):
    """GTZAN was first published as .au."""
    (tmp_path / "blues").mkdir()
    soundfile.write(tmp_path / "blues" / "blues.00029.au", [0.0] * 800, 8000, format="AU", subtype="PCM_16")
    table = tasks.load_task("gtzan").index(tmp_path)
    assert "blues/blues.00029.au" in set(table["file"])


def test_artists_are_read_where_the_index_is_there(tmp_path):
    (tmp_path / "blues").mkdir()
    (tmp_path / "GTZANindex.txt").write_text(
        "blues.00029.wav ::: A. Singer ::: A Song\nblues.00012.wav ::: A. Singer\n"
    )
    table = tasks.load_task("gtzan").index(tmp_path).set_index("file")
    assert table.loc["blues/blues.00029.wav", "group"] == "a. singer"
    assert table.loc["blues/blues.00012.wav", "split"] == "test"
    assert table.loc["blues/blues.00030.wav", "group"] == ""


def test_clips_of_the_same_name_and_another_type_keep_their_own_labels(tmp_path):
    files = ["a/1.wav", "a/1.flac", "a/10.wav", "b/1.wav"]
    corpus = pd.DataFrame({"file": files, "label": "own", "split": "train", "group": list("wxyz")})
    rows = "a/1.flac,dog,train\na/1.wav,cat,test\na/10.wav,cow,test\nb/1.wav,pig,train\n"
    found = apply_splits(write(tmp_path / "a.csv", f"file,label,split\n{rows}"), corpus, tmp_path)
    assert dict(zip(found["file"], found["label"], strict=True)) == {
        **{"a/1.flac": "dog", "a/1.wav": "cat", "a/10.wav": "cow", "b/1.wav": "pig"}
    }
    assert found["group"].tolist() == ["x", "w", "y", "z"]
    table = write(tmp_path / "b.csv", "file,label,split\na/1.ogg,dog,train\n")
    with pytest.raises(InvalidInputError, match=r"a/1.ogg may be a/1.wav or a/1.flac"):
        apply_splits(table, corpus, tmp_path)


@pytest.mark.parametrize("name", ["../x.wav", "a/../../x.wav", "..\\x.wav", "/a/../etc/x.wav"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name, tmp_path):
    path = write(tmp_path / "my.csv", f"file,label,split\na.wav,dog,train\n{name},cat,test\n")
    with pytest.raises(InvalidInputError, match=r"my\.csv, line 3: the file .* leads out of the folder"):
        own.index_own(str(path), tmp_path)


def test_absolute_paths_are_followed_in_a_task_of_ones_own_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "x.wav"
    sound(elsewhere, 300)
    table = write(tmp_path / "my.csv", f"file,label,split\n{elsewhere},dog,train\n")
    assert own.index_own(str(table), tmp_path)["file"].tolist() == [str(elsewhere)]
    corpus = pd.DataFrame({"file": ["a.wav"], "label": "own", "split": "train", "group": ""})
    with pytest.raises(NotFoundError, match=r"x\.wav is not in .*; names must be relative to that folder"):
        apply_splits(table, corpus, tmp_path)
