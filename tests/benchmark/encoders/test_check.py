"""Checks that an encoder fails: each fault is found by the check that is meant for it."""

import dataclasses
import itertools
import re

import pytest
import torch

from benchmark.encoders import check as checks
from benchmark.encoders.check import check_encoder, format_findings, has_passed
from benchmark.encoders.loading import read_training_settings
from benchmark.results.speeds import add_speed, read_speeds
from benchmark.speed import record_speed
from bgknown.errors import InvalidInputError
from tests.benchmark.made_encoders import Bands, Fitted, loaded

NOISE = torch.Generator().manual_seed(0)


class NotANumber(Bands):
    def embed(self, audio):
        return super().embed(audio) / audio.square().sum(dim=1, keepdim=True)


class Wide(Bands):
    def embed(self, audio):
        return super().embed(audio)[:, 1:]


class Double(Bands):
    def embed(self, audio):
        return super().embed(audio).double()


class Random(Bands):
    def embed(self, audio):
        power = super().embed(audio)
        return power * (1 + 0.1 * torch.rand(power.shape, generator=NOISE))


class OfTheBatch(Bands):
    def embed(self, audio):
        power = super().embed(audio)
        return power / power.mean(dim=0)


class Writing(Bands):
    def embed(self, audio):
        audio.mul_(0.5)
        return super().embed(audio)


class Deaf(Bands):
    def embed(self, audio):
        return torch.ones(len(audio), self.embedding_size)


class LongOnly(Bands):
    def embed(self, audio):
        if audio.shape[1] < self.rate_hz:
            raise RuntimeError("needs one second\nand a stack of lines")
        return super().embed(audio)


class Slow(Bands):
    rate_hz = 100


class Growing(Bands):
    """Another size from batch to batch."""

    sizes = itertools.cycle([24, 23])

    def embed(self, audio):
        return super().embed(audio)[:, : next(self.sizes)]


class Backwards(Bands):
    def frames(self, audio):
        frames = audio[:, :800].reshape(len(audio), 4, 200)
        return frames, torch.tensor([30.0, 20.0, 10.0, 0.0]).expand(len(audio), -1)


class Ready(Fitted):
    """Embeds without the statistics that it says it needs."""

    def embed(self, audio):
        return Bands.embed(self, audio)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(checks, "SPEED_S", 0.0)
    monkeypatch.setattr(checks, "LONG_S", 6.0)


@pytest.mark.parametrize(
    ("encoder", "failing", "detail"),
    [
        (NotANumber, "finite: silence", "NaN or infinite values for 8 of 8 clips"),
        (Wide, "shape and type", r"returned shape \[8, 23\]; it must be \[8, 24\]"),
        (Double, "shape and type", "float64"),
        (Random, "deterministic", "differs by 0"),
        (OfTheBatch, "batch invariant", "a clip alone differs by"),
        (Writing, "input unchanged", "writes to its input"),
        (Deaf, "distinguishes clips", "differ by 0"),
        (LongOnly, "short input, 0.1 s", "^RuntimeError: needs one second$"),
        (Slow, "encoder bands", "100 Hz"),
        (Growing, "deterministic", r"returned shape \[8, 23\]"),
        (Backwards, "frames", r"\[8, 4, 200\]"),
        (Ready, "needs fit", "embeds without statistics"),
    ],
)
def test_a_fault_is_found_by_its_check(encoder, failing, detail):
    findings = check_encoder(loaded(encoder()))
    assert not has_passed(findings)
    (found,) = [finding for finding in findings if finding.name == failing]
    assert found.passed is False
    assert re.search(detail, found.detail)
    assert "\n" not in found.detail


def test_a_fault_of_one_kind_fails_no_other_check():
    for encoder, failing in ((Writing, "input unchanged"), (LongOnly, "short input, 0.1 s"), (Backwards, "frames")):
        failed = [finding.name for finding in check_encoder(loaded(encoder())) if finding.passed is False]
        assert failed == [failing]


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, ValueError])
def test_an_encoder_that_refuses_before_it_is_fitted_passes(error):
    class Refusing(Fitted):
        def embed(self, audio):
            if self.level is None:
                raise error("call fit first")
            return super().embed(audio)

    findings = check_encoder(loaded(Refusing()))
    assert [finding for finding in findings if finding.passed is False and "silence" not in finding.name] == []
    assert findings[1].name == "needs fit"
    assert findings[1].passed


def test_the_table_has_one_line_for_each_finding():
    findings = check_encoder(loaded(Wide()))
    lines = format_findings(findings).splitlines()
    assert all(any(line.startswith(finding.name) for line in lines) for finding in findings)
    assert sum("FAIL" in line for line in lines) == sum(finding.passed is False for finding in findings)


def test_a_speed_is_stored_once_for_each_device_and_read_again(tmp_path):
    encoder = loaded(Bands())
    path = record_speed(encoder, tmp_path)
    (row,) = read_speeds(tmp_path)
    assert (row.encoder, row.checkpoint_sha256, row.clip_s) == (encoder.name, encoder.weights_sha256, 5.0)
    assert row.clips_per_s > 0
    add_speed(tmp_path, dataclasses.replace(row, clips_per_s=2.5, encoder="=1"))
    add_speed(tmp_path, dataclasses.replace(row, clips_per_s=1.5, device="other"))
    add_speed(tmp_path, dataclasses.replace(row, clips_per_s=0.5))
    found = {(one.encoder, one.device): one.clips_per_s for one in read_speeds(tmp_path)}
    assert found == {("=1", row.device): 2.5, (row.encoder, "other"): 1.5, (row.encoder, row.device): 0.5}
    path.write_text(path.read_text().replace(",0.5,", ",fast,"))
    with pytest.raises(InvalidInputError, match="speed.csv: clips_per_s is 'fast'.*delete it"):
        read_speeds(tmp_path)
    path.write_text(path.read_text().replace(",fast,", ",0,"))
    with pytest.raises(InvalidInputError, match="clips_per_s is 0.0; it must be above 0"):
        read_speeds(tmp_path)
    assert read_speeds(tmp_path / "absent") == []


@pytest.mark.parametrize("given", [{"lambda": 0.5, "seed": 1, "name": "x"}, {}, None])
def test_how_an_encoder_was_trained_is_read(given):
    encoder = Bands()
    encoder.training_settings = given
    assert read_training_settings(encoder, "mine") == (given or {})


@pytest.mark.parametrize("given", [{"lambda": [1]}, {1: 2}, "lambda", {"x": float("nan")}])
def test_training_settings_of_another_kind_are_refused(given):
    encoder = Bands()
    encoder.training_settings = given
    with pytest.raises(InvalidInputError, match="training_settings are .*; they must be a dictionary of text"):
        read_training_settings(encoder, "mine")
