"""The retrieval system against its definition, on embeddings that are made."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmark import resuming
from benchmark.composed_retrieval import KINDS, ComposedSettings, Pairs, System, train_systems
from benchmark.composed_retrieval.pairs import hold_out_pairs
from benchmark.composed_retrieval.training import Training
from benchmark.probe import Resuming
from benchmark.ranking import compute_ranks
from benchmark.results.stats import estimate_share
from bgknown.errors import InvalidInputError
from bgknown.jobs.sealed import read_sealed
from bgknown.seeding import derive_key

SETTINGS = ComposedSettings(epochs=12, size=32, batch_size=64)
MODIFIERS, CLASSES = 6, 4


def made(clips, *, seed=0, size=16, shuffled=""):
    """Every clip with every modifier: s2 = s1 + v(text), so that neither the audio nor the text alone tells s2.

    Args:
        clips: how many first soundscapes.
        seed: of them.
        size: D.
        shuffled: deal out the texts anew; any other word deals otherwise.
    """
    fixed, draw = np.random.default_rng(99), np.random.default_rng(seed)
    directions = fixed.standard_normal((MODIFIERS, size)).astype(np.float32)
    words = fixed.standard_normal((MODIFIERS, 12)).astype(np.float32)
    first = draw.standard_normal((clips, size)).astype(np.float32)
    clip, modifier = np.divmod(np.arange(clips * MODIFIERS), MODIFIERS)
    audio = np.concatenate([first, first[clip] + directions[modifier]])
    heard = (first[clip][:, :CLASSES] > 0).astype(np.float32)
    texts = np.random.default_rng(derive_key(seed, shuffled)).permutation(modifier) if shuffled else modifier
    return Pairs(
        audio=torch.from_numpy(audio),
        text=torch.from_numpy(words),
        s1=clip,
        s2=clips + np.arange(len(clip)),
        texts=texts,
        classes_s1=torch.from_numpy(heard),
        classes_s2=torch.from_numpy(heard),
        names=[f"{seed} {number}" for number in range(len(clip))],
    )


def hits(latents):
    places = torch.arange(len(latents.queries))
    return (compute_ranks(latents.queries, latents.targets, places, places)[0] == 1).double().numpy()


def recall(latents):
    return float(hits(latents).mean())


def systems(seeds=2):
    return [System(kind=kind, seed=seed) for seed in range(seeds) for kind in KINDS]


def test_together_is_the_same_as_alone():
    pairs, test = made(40), made(10, seed=1)
    together = list(train_systems(pairs, systems(), SETTINGS).latents(test))
    assert [latents.system for latents in together] == systems()
    for system, found in zip(systems(), together, strict=True):
        (alone,) = train_systems(pairs, [system], SETTINGS).latents(test)
        assert alone.best_epoch == found.best_epoch
        assert alone.valid_loss == pytest.approx(found.valid_loss, rel=1e-4)
        assert torch.allclose(alone.queries, found.queries, atol=1e-3)
        assert torch.allclose(alone.targets, found.targets, atol=1e-3)


def test_the_loss_is_what_the_definition_says():
    """One system in float64, layer by layer with torch's own modules."""
    pairs = made(8)
    training = train_systems(pairs, [System(kind="audio+text", seed=0)], replace(SETTINGS, epochs=1, batch_size=16))
    networks = training.networks
    rows = torch.arange(10)
    batch = training.rows.batch(rows.unsqueeze(0))
    with torch.no_grad():
        found = float(networks.losses(batch, training.settings)[0])
        assert found == pytest.approx(defined(networks, batch, pairs.classes_s1[rows].double()), rel=1e-5)


def defined(networks, batch, heard):
    """The loss of a single system."""

    def linear(name, x):
        weight, bias = networks.weight[name][0].T.double(), networks.bias[name][0, 0].double()
        return functional.linear(x, weight, bias)

    def adapter(tower, x):
        first = linear(f"{tower}_in", x.double())
        second = linear(f"{tower}_out", functional.gelu(first))
        scale, shift = networks.scale[tower][0, 0].double(), networks.shift[tower][0, 0].double()
        return functional.layer_norm(first + second, [SETTINGS.size], scale, shift)

    s1, s2, text = (
        adapter("audio", batch.audio[0, :10]),
        adapter("audio", batch.audio[0, 10:]),
        adapter("text", batch.text[0]),
    )
    similar = functional.cosine_similarity((s1 + text).unsqueeze(1), s2.unsqueeze(0), dim=2)
    logits = similar / networks.log_temperature[0].double().exp()
    right = torch.arange(len(logits))
    contrastive = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
    wrong = [functional.binary_cross_entropy_with_logits(linear("classes", latent), heard) for latent in (s1, s2)]
    return float(contrastive + (wrong[0] + wrong[1]) / 2)


@pytest.mark.slow
def test_what_is_added_by_the_text_is_found_and_neither_part_alone_finds_it():
    pairs, test = made(400), made(50, seed=1)
    settings = replace(SETTINGS, epochs=40)
    found = {
        latents.system.kind: recall(latents) for latents in train_systems(pairs, systems(1), settings).latents(test)
    }
    assert found["audio+text"] == 1.0
    assert found["audio"] < 1.5 / MODIFIERS
    assert found["text"] < 0.1


@pytest.mark.slow
def test_texts_that_say_nothing_help_nothing():
    """Trained and tested on shuffled texts, a system is as good as audio alone; shuffled at test only, no better."""
    settings, test = replace(SETTINGS, epochs=25), made(50, seed=1, shuffled="test")
    nothing = train_systems(made(300, shuffled="train"), systems(3), settings)
    found = {kind: [] for kind in KINDS}
    for latents in nothing.latents(test):
        found[latents.system.kind].append(hits(latents))
    interval = estimate_share(np.mean(found["audio"], axis=0))
    low, high = interval.low, interval.high
    assert low <= np.mean(found["audio+text"]) <= high
    assert 20 / len(test) < low < high < 1.5 / MODIFIERS  # audio alone finds the clip, but not which of its targets
    something = train_systems(made(300), [System(kind="audio+text", seed=0)], settings)
    (right,), (misled,) = something.latents(made(50, seed=1)), something.latents(test)
    assert recall(right) > 0.95
    assert recall(misled) <= high


def test_the_epoch_of_smallest_validation_loss_is_tested():
    pairs, test = made(30), made(10, seed=1)
    losses = []
    for epochs in (1, 2, 3, 4):
        (latents,) = train_systems(pairs, systems()[:1], replace(SETTINGS, epochs=epochs, lr=0.05)).latents(test)
        losses.append((latents.valid_loss, latents.best_epoch))
    assert losses[-1][0] == min(loss for loss, _ in losses)
    assert losses[-1][1] == 1 + [loss for loss, _ in losses].index(losses[-1][0])


def test_patience_tests_the_best_epoch_before_it_ran_out():
    """Each system stops by itself, whatever the others do, and so tests what a whole training may test."""
    pairs, test, patience = made(30), made(10, seed=1), 4
    settings = replace(SETTINGS, lr=0.05, epochs=30)
    whole = Training(pairs, systems(), settings, "cpu")
    best = []
    whole.run(lambda epochs: best.append(whole.best_epoch.tolist()), None)
    done = []
    stopped = train_systems(pairs, systems(), replace(settings, patience=patience), progress=done.append)
    ends = [next(epoch for epoch, row in enumerate(best, 1) if epoch - row[place] == patience) for place in range(6)]
    assert len(set(ends)) > 1
    assert stopped.epoch == max(ends) < 30
    assert sum(done) == 30
    same = 0
    for end, found, wanted in zip(ends, stopped.latents(test), whole.latents(test), strict=True):
        assert found.best_epoch == end - patience
        if found.best_epoch == wanted.best_epoch:
            same += 1
            assert found.valid_loss == pytest.approx(wanted.valid_loss, rel=1e-4)
            assert torch.allclose(found.queries, wanted.queries, atol=1e-3)
    assert same


def describe(latents):
    return latents.best_epoch, latents.valid_loss, latents.queries.tolist()


def test_a_training_with_patience_resumes_with_the_systems_that_are_left(tmp_path, monkeypatch):
    pairs, test = made(30), made(10, seed=1)
    settings = replace(SETTINGS, lr=0.05, epochs=30, patience=2)
    whole = [describe(latents) for latents in train_systems(pairs, systems(), settings).latents(test)]
    monkeypatch.setattr(resuming, "INTERVAL_S", 0.0)
    left, training = [], None
    while training is None:
        count = []

        def stop(epochs, count=count):
            count.append(epochs)
            if len(count) == 3:
                raise StoppedError

        try:
            training = train_systems(pairs, systems(), settings, progress=stop, resume=Resuming(tmp_path))
        except StoppedError:
            stored = torch.load(io.BytesIO(read_sealed(next(tmp_path.glob("*.pt")))), weights_only=True)
            left.append(len(stored["left"]))
            assert len(left) < 30
    assert any(0 < number < len(systems()) for number in left)
    assert [describe(latents) for latents in training.latents(test)] == whole


def test_settings_without_patience_are_hashed_as_before():
    assert "patience" not in repr(ComposedSettings())
    assert "patience=3" in repr(ComposedSettings(patience=3))


def test_embeddings_in_half_precision_and_from_a_file_serve(tmp_path):
    pairs = made(40)
    mapped = np.memmap(tmp_path / "audio", dtype=np.float16, mode="w+", shape=tuple(pairs.audio.shape))
    mapped[:] = pairs.audio.numpy()
    half = train_systems(replace(pairs, audio=torch.from_numpy(mapped)), systems()[:1], SETTINGS)
    whole = train_systems(pairs, systems()[:1], SETTINGS)
    assert float(half.best_loss) == pytest.approx(float(whole.best_loss), rel=0.02)


class StoppedError(Exception):
    pass


def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    pairs, test = made(30), made(10, seed=1)
    whole = list(train_systems(pairs, systems(), SETTINGS).latents(test))
    monkeypatch.setattr(resuming, "INTERVAL_S", 0.0)
    again = 0
    while True:
        done = []

        def stop(epochs, done=done):
            done.append(epochs)
            if len(done) == 6:
                raise StoppedError

        try:
            stored = Resuming(tmp_path)
            training = train_systems(pairs, systems(), SETTINGS, progress=stop, resume=stored)
            break
        except StoppedError:
            again += 1
            assert again < 20
    assert again > 1
    assert sum(done) == SETTINGS.epochs
    assert list(tmp_path.iterdir())  # kept until the results are written
    stored.forget()
    assert not list(tmp_path.iterdir())
    for one, other in zip(whole, training.latents(test), strict=True):
        assert torch.equal(one.queries, other.queries)
        assert (one.best_epoch, one.valid_loss) == (other.best_epoch, other.valid_loss)


def test_what_is_held_out_goes_by_the_draw():
    train_rows, valid = hold_out_pairs(np.array([5, 1, 4, 2, 3], dtype=np.uint64), 0.4)
    assert (train_rows.tolist(), valid.tolist()) == ([0, 2, 4], [1, 3])
    assert [len(part) for part in hold_out_pairs(np.array([1, 2], dtype=np.uint64), 0.1)] == [1, 1]
    with pytest.raises(InvalidInputError, match="1 training pairs; at least two are needed"):
        hold_out_pairs(np.array([1], dtype=np.uint64), 0.1)


def test_a_loss_that_is_not_finite_is_one_line():
    with pytest.raises(InvalidInputError, match=r"retrieval audio\+text, seed 0: the validation loss is not finite"):
        train_systems(made(30), systems()[:1], replace(SETTINGS, lr=1e30))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": []}, "there are no pairs"),
        ({"s2": np.arange(3)}, "s2 has 3 rows for 48 pairs"),
        ({"texts": np.full(48, 7)}, r"text has shape \[6, 12\], and rows 7..7 are wanted"),
    ],
)
def test_pairs_that_do_not_fit_together_are_one_line(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        train_systems(replace(made(8), **changes), systems()[:1], SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"patience": -1}, "patience is -1; it must be at least 1, or 0 for none"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"validation_share": 1.0}, "validation_share is 1.0"),
        ({"contrastive_weight": -1.0}, "contrastive_weight is -1.0; it must not be negative"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        ComposedSettings(**changes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same():
    pairs, test = made(40), made(10, seed=1)
    for one, other in zip(
        train_systems(pairs, systems(), SETTINGS).latents(test),
        train_systems(pairs, systems(), SETTINGS, device="cuda").latents(test),
        strict=True,
    ):
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-2)
