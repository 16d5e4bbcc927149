"""The file of a head and its card: the same bytes twice, damage is refused, nothing else is replaced."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from benchmark.cli import main
from benchmark.encoders.registry import load_encoder
from benchmark.heads.features import form_features
from benchmark.heads.head import METADATA_KEY, read_head
from benchmark.heads.recordings import RecordingChoice
from benchmark.heads.training import train_head
from bgknown.errors import InvalidInputError, NotFoundError, StorageError

SIZE = 128


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory):
    root = tmp_path_factory.mktemp("head")
    command = ["head", "--encoder", "logmel", "--audio", str(recordings), "--mixtures", "32", "--duration", "0.5"]
    command += ["--features", "linear", "--device", "cpu", "--jobs", "1", "--cache", str(root / "cache")]
    done = CliRunner().invoke(main, [*command, "--out", str(root / "head.safetensors")])
    assert done.exit_code == 0, done.output
    return root / "head.safetensors", done.output


def test_the_command_reports_the_held_out_errors_and_writes_a_card(trained):
    path, output = trained
    facts = read_head(path).facts
    card = path.with_suffix(".md").read_text()
    for text in (output, card):
        assert f"best plain subtraction, y_mix - {facts.alpha:.2f} y_bg" in text
        for error in (facts.error, facts.subtraction_error, facts.ridge_error, facts.control_error, facts.mix_error):
            assert f"{error:.3f}" in text
    assert facts.error <= min(facts.subtraction_error, facts.ridge_error)
    assert load_encoder("logmel").key in card
    assert "20 Freesound ids and 20 hashes" in card
    assert (facts.mixtures, facts.held_out_mixtures, facts.recordings, facts.sources) == (32, 4, 20, 20)


def test_the_same_head_has_the_same_bytes(trained, options, tmp_path):
    path, _ = trained
    for changes in ({}, {"out": tmp_path / "second.safetensors"}):
        report = train_head(options(**changes))
        assert report.file.read_bytes() == path.read_bytes()
    other = train_head(options(mixtures=40))
    assert other.file.read_bytes() != path.read_bytes()


def test_sounds_that_are_no_foregrounds_are_backgrounds_only(options, recordings, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{number}\n" for number in (*range(600, 609), 9000)))
    choice = RecordingChoice(audio=(recordings,), no_foreground=(tmp_path / "list.txt",))
    whole, part = train_head(options(mixtures=64)), train_head(options(mixtures=64, choice=choice))
    assert part.facts.backgrounds_only == 10
    assert 16 <= part.facts.mixtures < whole.facts.mixtures == 64
    assert 0 < part.facts.held_out_mixtures < whole.facts.held_out_mixtures
    assert not part.sounds.has_ids(range(600, 609)).any()
    assert part.sounds.has_ids([9000, 609]).all()  # a background, and the tone that is left
    assert "not used as\nforegrounds: 10." in part.card.read_text()
    (tmp_path / "list.txt").write_text("".join(f"{number}\n" for number in (*range(600, 610), *range(9000, 9010))))
    with pytest.raises(InvalidInputError, match="0 of 64 mixtures have a foreground that may be used"):
        train_head(options(mixtures=64, choice=choice))


def test_a_head_computes_what_its_arrays_say(trained):
    head = read_head(trained[0])
    draw = np.random.default_rng(0)
    mix, background = draw.standard_normal((2, 1_500, SIZE)).astype(np.float32)
    arrays = {name: values.astype(np.float64) for name, values in head.arrays.items()}
    x = (form_features("linear", mix, background) - arrays["mean"]) / arrays["scale"]
    assert np.allclose(head.subtract(mix, background), x @ arrays["weight"] + arrays["bias"], rtol=1e-3, atol=1e-3)
    control = x[:, :SIZE] @ arrays["control.weight"] + arrays["control.bias"]
    assert np.allclose(head.subtract(mix, None), control, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["mix", "full"])
@pytest.mark.parametrize("kind", ["ridge", "network"])
def test_all_forms_and_kinds_can_be_written_and_read(form, kind, options):
    report = train_head(options(features=form, kind=kind))
    head = read_head(report.file)
    draw = np.random.default_rng(0)
    mix, background = draw.standard_normal((2, 5, SIZE)).astype(np.float32)
    found = head.subtract(mix, background)
    assert found.shape == (5, SIZE)
    assert found.dtype == np.float32
    assert np.array_equal(head.subtract(mix, -background), found) == (form == "mix")
    assert (head.facts.alpha is None) == (form == "mix")
    assert head.facts.error <= head.facts.ridge_error * (1 + 1e-6)


def test_damaged_files_and_other_files_are_refused(trained, tmp_path):
    path, _ = trained
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    bad = tmp_path / "bad.safetensors"
    with pytest.raises(NotFoundError, match="make a head with `benchmark head`"):
        read_head(bad)
    bad.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInputError, match=r"bad\.safetensors: not a whole safetensors file"):
        read_head(bad)
    save_file(arrays, bad)
    with pytest.raises(InvalidInputError, match="but not a head"):
        read_head(bad)
    facts = json.loads(metadata[METADATA_KEY])
    for change, message in (
        ({"format": 2}, "format 2; this version reads 1"),
        ({"features": "some"}, "features is 'some'; it must be one of mix, linear, full"),
        ({"embedding_size": 64}, r"the array mean is of shape \[256\]; it must hold finite numbers of shape \[128\]"),
        ({"trained_on": None}, "not a list of numbers in base 64"),
    ):
        save_file(arrays, bad, metadata={METADATA_KEY: json.dumps({**facts, **change})})
        with pytest.raises(InvalidInputError, match=message):
            read_head(bad)
    save_file({**arrays, "bias": arrays["bias"] * np.nan}, bad, metadata=metadata)
    with pytest.raises(InvalidInputError, match="the array bias"):
        read_head(bad)


def test_options_that_cannot_work_are_refused_before_any_work(options, tmp_path, recordings):
    with pytest.raises(InvalidInputError, match="mixtures is 8; it must be at least 16"):
        options(mixtures=8)
    with pytest.raises(InvalidInputError, match=r"must end in \.safetensors"):
        options(out=tmp_path / "head.pt")
    (tmp_path / "head.md").write_text("my notes")
    with pytest.raises(StorageError, match=r"head\.md: exists and is not the card of a head"):
        train_head(options())
    (tmp_path / "other.safetensors").write_bytes(b"weights")
    with pytest.raises(StorageError, match="exists and is not a head; choose another --out"):
        train_head(options(out=tmp_path / "other.safetensors"))
    assert not (tmp_path / "cache").exists()
    (tmp_path / "list.txt").write_text("".join(f"{9000 + number}\n" for number in range(8)))
    choice = RecordingChoice(audio=(recordings,), exclude=(tmp_path / "list.txt",))
    with pytest.raises(InvalidInputError, match="2 of 12 recordings"):
        train_head(options(out=tmp_path / "x.safetensors", choice=choice))
