"""The contract of resumable jobs, over every job there is."""

import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from bgknown.apwd import draw as pair_draws
from bgknown.apwd.pair_draw import PairRules
from bgknown.apwd.sources.prepare import prepare
from bgknown.errors import BrokenInputError, StorageError
from bgknown.jobs import units
from bgknown.jobs.resumable import Job
from bgknown.jobs.units import FinishedUnit, JobFolder, StoredBytes, make_digest, read_units, write_units
from bgknown.mixtures import worker
from bgknown.mixtures.build import open_workspace
from pretrain import pack_journal
from pretrain.pack import PackOptions, pack
from tests.bgknown.apwd.conftest import make_pairs
from tests.bgknown.apwd.made_sources import make_small, options
from tests.conftest import contents, make_tiny, noise, write_wav
from tests.stopping import fill_disk_after


@dataclass(frozen=True, kw_only=True)
class Case:
    """A job on small inputs that a test may damage."""

    name: str
    """Its key in ``MAKERS``."""
    run: Callable[..., object]
    """Run it; keyword arguments are other options."""
    folder: Path
    """The folder that it makes."""
    change: dict
    """Options with which the folder is refused."""
    break_input: Callable[[], object] | None
    """Damage an input; None where inputs are checked before the units."""


def make_build(root: Path) -> Case:
    corpora = make_tiny(root / "corpora")
    return Case(
        name="build",
        run=lambda **changes: corpora.build(root / "out", engine="direct", limit=4, **changes),
        folder=root / "out",
        change={"seed": 1},
        break_input=lambda: [
            path.write_bytes(b"") for path in (corpora.esc50 / "audio").iterdir() if "-A-1" in str(path)
        ],
    )


def make_apwd_build(root: Path) -> Case:
    pairs = make_pairs(root / "made")
    return Case(
        name="apwd build",
        run=lambda **changes: pairs.build(root / "out", limit=4, **changes),
        folder=root / "out",
        change={"bits": 32},
        break_input=lambda: pairs.jams_of("dev_added").write_bytes(b"{"),
    )


def make_prepare(root: Path) -> Case:
    corpora = make_small(root / "corpora")
    return Case(
        name="apwd prepare",
        run=lambda **changes: prepare(options(corpora, root / "out", **changes)),
        folder=root / "out",
        change={"style": "audiodiffcaps"},
        break_input=lambda: corpora.recording("dev", 7000).write_bytes(b""),
    )


def make_draw(root: Path) -> Case:
    for role, label, length_s in (
        ("background", "rain", 1.2),
        ("foreground", "rain", 1.2),
        ("foreground", "dog", 0.4),
        ("foreground", "birds", 0.4),
    ):
        for number in range(3):
            write_wav(root / "source" / "dev" / role / label / f"{label}{number}.wav", noise(length_s, number))
    given = {
        "scene": "rain",
        "events": ("dog", "birds"),
        "rules": PairRules(duration_s=1.0, event_s=(0.2, 0.5), onset_s=(0.0, 0.5)),
    }

    def run(**changes):
        options = {**given, "pairs": {"dev": 6, "eval": 0}, "name": "drawn", "jobs": 1, **changes}
        return pair_draws.draw(pair_draws.PairDrawOptions(source=root / "source", out=root, **options))

    return Case(
        name="apwd draw", run=run, folder=root / "drawn", change={"pairs": {"dev": 5, "eval": 0}}, break_input=None
    )


def make_pack(root: Path) -> Case:
    for number in range(6):
        path = root / "audio" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(0.2, number), 16_000)

    def run(**changes):
        return pack(PackOptions(**{"audio": (root / "audio",), "out": root / "out", "jobs": 1, **changes}))

    return Case(
        name="pack",
        run=run,
        folder=root / "out",
        change={"rate_hz": 8_000},
        break_input=lambda: (root / "audio" / "3.wav").write_bytes(b"RIFF"),
    )


MAKERS = {
    "build": make_build,
    "apwd build": make_apwd_build,
    "apwd prepare": make_prepare,
    "apwd draw": make_draw,
    "pack": make_pack,
}


@pytest.fixture(params=MAKERS)
def case(request, tmp_path) -> Case:
    return MAKERS[request.param](tmp_path)


def interrupt(case: Case, monkeypatch) -> None:
    """Run a job until some of its units are finished."""
    with monkeypatch.context() as patch:
        patch.setattr(pack_journal, "FLUSH", 2)
        patch.setattr(worker, "_SETTLERS", 1)  # several threads may store seven files without finishing any row
        fill_disk_after(patch, 7)
        patch.setattr(pack_journal.PackWriter, "add", _stop_at(4, pack_journal.PackWriter.add))
        with pytest.raises(StorageError, match="the disk is full"):
            case.run()


def _stop_at(calls, whole):
    numbers = iter(range(calls))

    def add(writer, clip):
        if next(numbers, None) is None:
            raise StorageError("the disk is full")
        whole(writer, clip)

    return add


def make_whole(case: Case) -> dict[str, bytes]:
    """The bytes of an uninterrupted run of a job like this one, of inputs that are the same in another folder."""
    return _run_elsewhere(case.name)


@functools.cache
def _run_elsewhere(name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        case = MAKERS[name](Path(folder))
        case.run()
        return contents(case.folder)


def test_interrupted_job_resumes_to_the_same_bytes(case, monkeypatch):
    whole = make_whole(case)
    interrupt(case, monkeypatch)
    finished = list(read_units(case.folder / ".work" / "journal.jsonl"))
    assert finished
    before = {unit.files[0].file: unit.files[0].state for unit in finished}
    states = []
    monkeypatch.setattr(units, "write_aside", _spy(units.write_aside, states))
    case.run()
    assert contents(case.folder) == whole
    assert not (case.folder / ".work").exists()
    assert not {case.folder / file for file in before} & set(states), "finished units were made again"


def _spy(whole, paths):
    def write_aside(path, *parts, **options):
        paths.append(path)
        return whole(path, *parts, **options)

    return write_aside


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_file_of_a_finished_unit_is_made_again(case, monkeypatch, damage):
    whole = make_whole(case)
    interrupt(case, monkeypatch)
    unit = next(read_units(case.folder / ".work" / "journal.jsonl"))
    path = case.folder / unit.files[0].file
    data = path.read_bytes()
    middle = unit.files[0].start + 70
    if damage == "flip":
        stat = path.stat()
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif damage == "cut":
        path.write_bytes(data[:middle])
    else:
        path.unlink()
    case.run()
    assert contents(case.folder) == whole


def test_touched_file_of_a_finished_unit_is_kept(case, monkeypatch):
    """A copy of the folder has other inodes and times; then the content decides."""
    interrupt(case, monkeypatch)
    shutil.copytree(case.folder, case.folder.with_name("copy"))
    shutil.rmtree(case.folder)
    case.folder.with_name("copy").rename(case.folder)
    files = {
        case.folder / file.file for unit in read_units(case.folder / ".work" / "journal.jsonl") for file in unit.files
    }
    paths = []
    monkeypatch.setattr(units, "write_aside", _spy(units.write_aside, paths))
    case.run()
    assert files
    assert not files & set(paths)


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_changed_options_are_refused(case, monkeypatch, finished):
    if finished:
        case.run()
    else:
        interrupt(case, monkeypatch)
    before = contents(case.folder)
    with pytest.raises(StorageError, match="holds another configuration: .* in the folder but .* was requested"):
        case.run(**case.change)
    assert contents(case.folder) == before


@pytest.mark.parametrize("left_over", [False, True], ids=["clean", "killed in the last moment"])
def test_finished_folder_on_a_read_only_disk_is_accepted(case, monkeypatch, left_over):
    case.run()
    if left_over:
        (case.folder / ".work").mkdir()
        (case.folder / ".work" / "lock").touch()
    before = contents(case.folder)
    make_read_only(monkeypatch, case.folder)
    report = case.run()
    assert getattr(report, "was_finished", True)
    assert contents(case.folder) == before


def make_read_only(monkeypatch, folder: Path) -> None:
    """Let the system refuse every change below a folder, as a read-only disk does; permissions do not bind root."""

    def refuse(path) -> None:
        if not isinstance(path, int) and Path(os.fspath(path)).is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("mkdir", "rmdir", "unlink", "rename", "replace", "truncate", "utime"):
        whole = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path, *rest, whole=whole, **more: refuse(path) or whole(path, *rest, **more)
        )
    whole_open = os.open

    def open_file(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse(path)
        return whole_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_file)


def test_finished_folder_that_lacks_a_file_is_reported(case):
    case.run()
    path = next(path for path in sorted(case.folder.rglob("*")) if path.suffix in {".wav", ".jams", ".i16"})
    path.unlink()
    with pytest.raises(
        StorageError, match=f"lacks 1 of its files, .*{path.name}.*delete the folder and run the command"
    ):
        case.run()


def test_broken_inputs_are_listed_and_can_be_skipped(case):
    if case.break_input is None:
        pytest.skip("the inputs of a draw are checked before it begins")
    case.break_input()
    with pytest.raises(
        BrokenInputError, match=r"inputs? (is|are) broken:\n(  .*\n)+\d+ of \d+ \w+s are kept in .*--skip-brok"
    ):
        case.run()
    assert not {"manifest.csv", "sources.csv", "index.csv"} & set(contents(case.folder))
    case.run(skip_broken=True)
    resumed = contents(case.folder)
    shutil.rmtree(case.folder)
    case.run(skip_broken=True)
    assert contents(case.folder) == resumed


def test_lines_of_the_journal_that_are_not_units_are_left_out(tmp_path):
    (tmp_path / "journal").touch()
    good = FinishedUnit(name="a", digest="d", record={"x": 1}, files=(StoredBytes(file="a", sha256="0", state=[1]),))
    write_units(tmp_path / "journal", [good])
    for entry in (
        {"name": "b"},
        {"name": ["b"], "digest": "d", "record": {}, "files": []},
        {"files": [1]},
        {"files": 1},
    ):
        units.append_entries(tmp_path / "journal", entry)
    assert list(read_units(tmp_path / "journal")) == [good]


def test_a_unit_is_kept_by_digest_and_bytes(tmp_path):
    folder = JobFolder(out=tmp_path, scratch=tmp_path / "scratch", journal=tmp_path / "journal")
    folder.scratch.mkdir()
    folder.journal.touch()
    folder.settle("a", "digest", {"x": 1}, [folder.set_aside("deep/a", b"one", b"two")])
    (unit,) = read_units(folder.journal)
    assert (tmp_path / "deep" / "a").read_bytes() == b"onetwo"
    assert folder.find_kept(unit, "digest") == {"x": 1}
    assert folder.find_kept(unit, "other") is None
    assert folder.find_kept(None, "digest") is None
    (tmp_path / "deep" / "a").write_bytes(b"onetwothree")
    assert folder.find_kept(unit, "digest") is None


def test_part_of_a_file_is_intact_whatever_is_after_it(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    part = StoredBytes(file="a", sha256=units.hash_bytes(b"345"), state=[], start=3, size=3)
    assert part.is_intact(tmp_path)
    (tmp_path / "a").write_bytes(b"___345")
    assert part.is_intact(tmp_path)
    (tmp_path / "a").write_bytes(b"___34")
    assert not part.is_intact(tmp_path)


def test_the_last_line_on_a_unit_counts(tmp_path):
    workspace = open_workspace(tmp_path / "out")
    job = Job(workspace=workspace, description={}, noun="row", jobs=1)
    workspace.folder.mkdir(parents=True)
    workspace.journal.touch()
    lines = [FinishedUnit(name="a", digest=make_digest(number), record={}, files=()) for number in range(2)]
    write_units(workspace.journal, lines)
    assert job.find_known() == {"a": lines[1]}
