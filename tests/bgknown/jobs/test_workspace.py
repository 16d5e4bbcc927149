import json
from dataclasses import asdict

import pytest

from bgknown.errors import StorageError
from bgknown.jobs.sealed import add_check
from bgknown.jobs.units import FinishedUnit, read_units
from bgknown.mixtures.build import open_workspace

GOOD = FinishedUnit(name="a", digest="d", record={"x": 1}, files=())


@pytest.fixture
def state(tmp_path):
    state = open_workspace(tmp_path / "out")
    state.folder.mkdir(parents=True)
    return state


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "1" * 5_000,
        "[]",
        '"name"',
        '{"name": "b", "digest": "d", "record": {"x": 1}}',
        json.dumps(add_check({"name": ["a"]})),
        json.dumps(add_check({"name": "b", "digest": 1, "record": {"x": 1}, "files": []})),
        json.dumps(add_check({"name": "b", "digest": "d", "record": "x", "files": []})),
        json.dumps(add_check({"name": "b", "digest": "d", "record": [1], "files": []})),
        json.dumps(add_check({"name": "b", "digest": "d", "record": {"x": 1}})),
        json.dumps(add_check({"name": "b", "digest": "d", "record": {"x": 1}, "files": [{"file": "b"}]})),
        '{"name": "b", "dig',
        "\0\0\0",
    ],
)
def test_damaged_lines_of_a_journal_are_left_out(state, line):
    state.journal.write_text(f"{json.dumps(add_check(asdict(GOOD)))}\n{line}\n")
    assert list(read_units(state.journal)) == [GOOD]


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 5_000, "[]", "\0", "{", '{"name": "y"}'])
def test_a_damaged_state_is_taken_for_none(state, content, caplog):
    (state.folder / "build.json").write_text(content)
    assert not state.is_finished({"name": "x"})
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_a_planted_link_is_not_followed(state, tmp_path, name):
    (tmp_path / "victim").write_text("precious")
    (state.folder / name).symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="is a symbolic link"), state.claim({"name": "x"}):
        pass
    assert (tmp_path / "victim").read_text() == "precious"
