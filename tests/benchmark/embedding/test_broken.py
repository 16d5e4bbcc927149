"""Clips for which an encoder gives NaN or infinite values, like CREMA-D's silent 1076_MTI_SAD_XX."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner

from benchmark import run as running
from benchmark import tasks
from benchmark.cli import main
from benchmark.embedding import ahead, texts
from benchmark.embedding import broken as breaking
from benchmark.embedding import embedding_pass as embedding
from benchmark.embedding.clips import BrokenClipError, Clip, read_clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.embed_files import embed_files
from benchmark.protocol import PROTOCOLS
from benchmark.run import RunOptions, run
from benchmark.tasks.contract import TaskOptions
from benchmark.tasks.locations import Locations
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.corpora import make_cremad, make_us8k, sound
from tests.benchmark.embedding.test_texts import distilbert
from tests.benchmark.made_encoders import Bands, Fitted, loaded, write
from tests.bgknown.apwd.conftest import make_pairs

BRIEF = dataclasses.replace(PROTOCOLS["paper"], max_epochs=3, seeds=1, name="brief")
QUICK = "seeds = 1\n[retrieval]\nepochs = 2\nsize = 16\nbatch_size = 4\nvalidation_share = 0.3\n"


class Strict(Bands):
    """Divides by the level of the clip, as a network that normalises its input does: NaN for silence."""

    name = "strict"

    def embed(self, audio):
        return super().embed(audio) / audio.square().mean(dim=1, keepdim=True)


class Overflowing(Bands):
    """Infinite values for silence."""

    name = "overflowing"

    def embed(self, audio):
        return super().embed(audio) + 1.0 / audio.abs().amax(dim=1, keepdim=True)


class StrictFitted(Fitted):
    """Statistics of the training audio are spoilt by one silent clip."""

    name = "strict-fitted"

    def fit(self, batches):
        self.level = torch.stack([Strict().embed(batch).sum(dim=0) for batch in batches]).sum(dim=0)


def silence(path):
    info = soundfile.info(path)
    soundfile.write(path, np.zeros(info.frames), info.samplerate)


@pytest.fixture
def measured(monkeypatch):
    """Encoders by their names instead of from files; those that were made."""
    made = {}
    kinds = {kind.name: kind for kind in (Bands, Strict, Overflowing, Fitted, StrictFitted)}

    def load(spec, **_):
        return made.setdefault(spec, loaded(kinds[spec]()))

    monkeypatch.setattr(running, "load_encoder", load)
    return made


@pytest.fixture
def cremad(tmp_path):
    root = tmp_path / "cremad"
    root.mkdir()
    make_cremad(root)
    return root


SILENT = ("1001_DFA_SAD_XX.wav", "1002_IEO_ANG_XX.wav", "1003_IEO_NEU_XX.wav")


def options(root, tmp_path, *encoders, **more):
    data = Locations(named={root.name: root}, general=None)
    cache = EmbedSettings(cache=tmp_path / "cache", jobs=1)
    return RunOptions(
        **{"encoders": encoders, "tasks": (root.name,), "data": data, "out": tmp_path / "out", "embedding": cache}
        | {"protocols": (BRIEF,), "skip_broken": True}
        | more
    )


def test_without_the_option_all_such_clips_are_one_line(cremad, tmp_path, measured):
    for name in SILENT[:2]:
        silence(cremad / "AudioWAV" / name)
    with pytest.raises(BrokenClipError) as caught:
        list(run(options(cremad, tmp_path, "strict", skip_broken=False)))
    told = f"2 of 60 clips cannot be used: {cremad}/AudioWAV/{SILENT[0]}: encoder strict gives NaN or infinite values, "
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("leave them out with --skip-broken")
    assert "\n" not in str(caught.value)
    assert set(caught.value.problems) == {cremad / "AudioWAV" / name for name in SILENT[:2]}


@pytest.mark.parametrize("encoder", ["strict", "overflowing"])
def test_such_clips_are_left_out_counted_and_named(encoder, cremad, tmp_path, measured, caplog):
    for name in SILENT:
        silence(cremad / "AudioWAV" / name)
    (outcome,) = run(options(cremad, tmp_path, encoder))
    assert {row.n_skipped for row in outcome.rows} == {3}
    assert len(outcome.data.table) == 57
    note = next(note for note in outcome.data.notes if "left out" in note)
    assert note.startswith("3 of 60 clips are left out, broken: AudioWAV/1001_DFA_SAD_XX.wav (encoder ")
    assert f"3 clips are left out: {cremad}/AudioWAV/{SILENT[0]}: encoder {encoder} gives NaN" in caplog.text
    # each of the others was embedded once, the silent ones once and never again
    assert measured[encoder].encoder.seen <= 60 + 1 + 57
    again = list(run(options(cremad, tmp_path, encoder)))
    assert [row.mean for row in again[0].rows] == [row.mean for row in outcome.rows]


def test_what_was_embedded_is_not_embedded_again(cremad, tmp_path, measured, monkeypatch):
    for name in SILENT:
        silence(cremad / "AudioWAV" / name)
    decoded = []
    for module in (ahead, embedding):
        monkeypatch.setattr(module, "read_clip", lambda *given: decoded.append(given[0].path) or read_clip(*given))
    list(run(options(cremad, tmp_path, "strict")))
    assert len(decoded) == 60 + 1  # and the one that the cache is compared with


def test_clips_that_cannot_be_decoded_are_found_in_the_same_pass(cremad, tmp_path, measured, monkeypatch):
    silence(cremad / "AudioWAV" / SILENT[0])
    path = cremad / "AudioWAV" / SILENT[1]
    audio, rate_hz = soundfile.read(path)
    audio[100] = np.nan
    soundfile.write(path, audio, rate_hz, subtype="FLOAT")
    prepared = []
    real = tasks.prepare
    monkeypatch.setattr(tasks, "prepare", lambda *given: prepared.append(1) or real(*given))
    (outcome,) = run(options(cremad, tmp_path, "strict"))
    assert (outcome.rows[0].n_skipped, len(prepared)) == (2, 2)


def test_another_encoder_gets_the_whole_task(cremad, tmp_path, measured):
    silence(cremad / "AudioWAV" / SILENT[0])
    outcomes = {outcome.encoder: outcome for outcome in run(options(cremad, tmp_path, "strict", "bands"))}
    assert [outcomes[name].rows[0].n_skipped for name in ("strict", "bands")] == [1, 0]
    assert len({outcome.data.sha256 for outcome in outcomes.values()}) == 2


def test_silence_in_the_training_audio_of_a_fitted_encoder(tmp_path, measured):
    root = tmp_path / "us8k"
    root.mkdir()
    make_us8k(root)
    silent = sorted((root / "audio").rglob("*.wav"))[5]
    silence(silent)
    (outcome,) = run(options(root, tmp_path, "strict-fitted"))
    assert outcome.rows[0].n_skipped == 1
    note = " ".join(outcome.data.notes)
    assert f"{silent.name} (it is silent, and with it encoder strict-fitted gives NaN" in note


def test_an_encoder_that_gives_nothing_else_is_at_fault(tmp_path, monkeypatch):
    for number in range(6):
        sound(tmp_path / "audio" / f"{number}.wav", 300)
    clips = [Clip(path=path) for path in sorted((tmp_path / "audio").iterdir())]

    class Nothing(Bands):
        def embed(self, audio):
            return torch.full_like(super().embed(audio), torch.nan)

    settings = EmbedSettings(cache=tmp_path / "cache", batch_size=2)
    with pytest.raises(InvalidInputError, match=r"encoder bands: .* for 6 of 6 clips, the first .*0\.wav") as caught:
        embed_clips(loaded(Nothing()), clips, settings)
    assert not isinstance(caught.value, BrokenClipError)
    monkeypatch.setattr(breaking, "GIVE_UP", 4)
    with pytest.raises(InvalidInputError, match="for 4 of 4 clips"):
        embed_clips(loaded(Nothing()), clips, settings)


@pytest.fixture
def audio(tmp_path):
    for name in ("a", "b", "c", "d"):
        sound(tmp_path / "audio" / f"{name}.wav", 300)
    silence(tmp_path / "audio" / "b.wav")
    (tmp_path / "audio" / "d.wav").write_bytes(b"not audio")
    return tmp_path / "audio"


@pytest.mark.parametrize("duration_s", [None, 0.2])
def test_embedding_files(audio, tmp_path, duration_s):
    given = (loaded(Strict()), [audio, tmp_path / "none.wav"], tmp_path / "out", EmbedSettings(cache=tmp_path / "c"))
    with pytest.raises(NotFoundError, match=r"none\.wav: no such file"):
        embed_files(*given, duration_s=duration_s)
    with pytest.raises(BrokenClipError, match=r"2 of 4 clips cannot be used: .*b\.wav: .*d\.wav: .* --skip-broken$"):
        embed_files(given[0], [audio], *given[2:], duration_s=duration_s)
    assert not (tmp_path / "out").exists()
    report = embed_files(*given, duration_s=duration_s, skip_broken=True)
    assert (report.clips, sorted(path.name for path in report.problems)) == (2, ["b.wav", "d.wav", "none.wav"])
    assert pd.read_csv(tmp_path / "out" / "clips.csv")["file"].tolist() == [f"{audio}/a.wav", f"{audio}/c.wav"]
    rows = np.load(tmp_path / "out" / "embeddings.npy")
    assert np.isfinite(rows).all()
    assert rows.shape == (2, 24)


def test_embedding_files_by_command(audio, tmp_path):
    arguments = ["embed", "--encoder", "logmel", str(audio), "--out", str(tmp_path / "o"), "--cache", str(tmp_path)]
    refused = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
    assert refused.exit_code == 1
    assert refused.output.startswith(f"error: {audio}/d.wav: ")
    assert "leave it out with --skip-broken" in refused.output
    done = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--skip-broken"])
    assert done.exit_code == 0
    assert "3 clips of" in done.output
    assert ", 1 left out" in done.output
    assert f"left out: {audio}/d.wav: " in done.output


def test_nothing_left_is_an_error(audio, tmp_path):
    with pytest.raises(BrokenClipError, match=r"d\.wav: .*--skip-broken"):
        embed_files(
            loaded(), [audio / "d.wav"], tmp_path / "o", EmbedSettings(cache=tmp_path), duration_s=1, skip_broken=True
        )


@pytest.mark.parametrize("signal", ["mix", "c"])
def test_a_row_of_bgknown_is_left_out_in_all_signals(signal, built, tmp_path):
    whole = tasks.prepare("bgknown", built[1], TaskOptions(cache=tmp_path, data={"esc50": built[0].esc50}))
    clip = whole.signals[signal][3]
    data = tasks.prepare(
        "bgknown",
        built[1],
        TaskOptions(cache=tmp_path, data={"esc50": built[0].esc50}, broken={clip.path: "encoder x gives NaN"}),
    )
    left_out = whole.table["clip_id"][3]
    assert left_out not in set(data.table["clip_id"])
    assert {len(clips) for clips in data.signals.values()} == {len(whole.table) - 1} == {len(data.table)}
    for name, clips in data.signals.items():
        assert clips == [*whole.signals[name][:3], *whole.signals[name][4:]]
    assert (data.skipped, data.in_part) == (whole.skipped + 1, True)
    assert data.sha256 != whole.sha256
    note = f"1 of {len(whole.table)} clips is left out in all signals: {left_out} ({signal}: encoder x gives NaN)"
    assert note in data.notes


def test_bgknown_is_measured_without_the_clip_of_which_there_is_no_embedding(built, tmp_path, measured):
    root = tmp_path / "bgknown"
    shutil.copytree(built[1], root)
    victim = sorted((root / "audio" / "c").iterdir())[0]

    class Deaf(Bands):
        """NaN for one clip alone."""

        name = "strict"

        def embed(self, audio):
            heard = torch.from_numpy(read_clip(Clip(path=victim, duration_s=5.0), self.rate_hz)[0])
            rows = super().embed(audio)
            rows[(audio == heard).all(dim=1)] = torch.nan
            return rows

    measured["strict"] = loaded(Deaf())
    (outcome,) = run(options(root, tmp_path, "strict"))
    assert {row.n_skipped for row in outcome.rows} == {1}
    assert any(f"{victim.stem} (c: encoder strict gives NaN" in note for note in outcome.data.notes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("apwd")
    make_pairs(root / "made").build(root / "apwd-rain")
    distilbert(root / "encoder")
    write(root / "quick.toml", QUICK)
    return root


def test_a_pair_of_apwd_is_left_out_with_both_sides(place, tmp_path):
    asked = TaskOptions(cache=tmp_path, text_encoder=str(place / "encoder"))
    whole = tasks.prepare("apwd-rain", place / "apwd-rain", asked)
    clip = whole.signals["s1"][0]
    data = tasks.prepare("apwd-rain", place / "apwd-rain", dataclasses.replace(asked, broken={clip.path: "NaN"}))
    left = [row for row, each in enumerate(whole.signals["s1"]) if each.path == clip.path]
    assert (data.skipped, data.in_part) == (len(left), True)
    assert len(data.signals["s1"]) == len(data.signals["s2"]) == len(data.table) == len(whole.table) - len(left)
    assert "left out in all signals: " in data.notes[-1]


def test_a_text_without_an_embedding_leaves_out_its_pairs(place, tmp_path, measured, monkeypatch):
    root = place / "apwd-rain"
    table = tasks.prepare(root.name, root, TaskOptions(cache=tmp_path, text_encoder=str(place / "encoder"))).table
    text = table["text"].value_counts().index[-1]
    real = texts.TextEncoder.embed

    def spoilt(self, given):
        if text in given:
            raise texts.BrokenTextsError(self.name, [text])
        return real(self, given)

    monkeypatch.setattr(texts.TextEncoder, "embed", spoilt)
    given = {"text_encoder": str(place / "encoder"), "protocols": (running_protocol(place),)}
    with pytest.raises(BrokenClipError, match=r"gives NaN or infinite values for .*--skip-broken$"):
        list(run(options(root, tmp_path, "bands", skip_broken=False, **given)))
    (outcome,) = run(options(root, tmp_path, "bands", **given))
    assert {row.n_skipped for row in outcome.rows} == {int((table["text"] == text).sum())}


def running_protocol(place):
    from benchmark.protocol import open_protocol  # noqa: PLC0415

    return open_protocol(str(place / "quick.toml"))


def test_all_processes_hear_of_the_clips_of_each(tmp_path, monkeypatch):
    """Under torchrun every process must leave out the same clips."""
    first, second = (breaking.BrokenClips("x") for _ in range(2))
    first.add(BrokenClipError("", problems={tmp_path / "a.wav": "not readable"}))
    second.keep_finite([Clip(path=tmp_path / "b.wav"), Clip(path=tmp_path / "c.wav")], np.array([[np.inf], [1.0]]))
    parts = [(each.problems, each._not_finite, each._silent, each.embedded) for each in (first, second)]
    monkeypatch.setattr(breaking.processes, "count", lambda: 2)
    monkeypatch.setattr(breaking.processes, "gather", lambda value: parts)
    for each in (first, second, breaking.BrokenClips("x")):
        with pytest.raises(BrokenClipError, match="2 of 9 clips cannot be used") as caught:
            each.refuse(9)
        assert {path.name for path in caught.value.problems} == {"a.wav", "b.wav"}
