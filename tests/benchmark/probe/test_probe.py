from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark import resuming
from benchmark.probe import ProbeProblem, ProbeSettings, Resuming, draw_validation_rows, standardised, train_probes
from benchmark.probe.standardised import measure_standardisation
from bgknown.errors import InvalidInputError
from bgknown.seeding import derive_key

CLASSES = 4


def clusters(n=240, size=20, seed=0, spread=1.0):
    """Gaussian clusters with an offset and scales that differ by feature."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    centres = draw.standard_normal((CLASSES, size))
    features = centres[labels] + spread * draw.standard_normal((n, size))
    features = features * draw.uniform(0.01, 100.0, size) + 50.0 * draw.standard_normal(size)
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def problem(features, labels, *, seed=0, train_rows=range(120), valid=range(120, 150), test=range(150, 240), **facts):
    rows = {
        name: np.array(part, dtype=np.int64) for name, part in (("train", train_rows), ("valid", valid), ("test", test))
    }
    return ProbeProblem(
        name=f"seed {seed}", features=features, labels=labels, classes=CLASSES, seed=seed, **rows, **facts
    )


def unequal_problems():
    """Probes that differ in data, in the number of clips, in learning rate and in when they stop."""
    problems = []
    for seed in range(3):
        features, labels = clusters(seed=seed, spread=0.5 + seed)
        problems.append(problem(features, labels, seed=seed))
        problems.append(problem(features, labels, seed=seed, fold="2", train_rows=range(70 + 30 * seed)))
        problems.append(problem(features, labels, seed=seed, lr=0.03))
    return problems


def tight_loop(task, settings):
    """The probe as anyone would write it in PyTorch, with the same draws: the reference."""
    mean, scale = measure_standardisation(task.features, task.train)
    x = (task.features - mean) / scale
    start = train_probes([replace(task, lr=None)], ProbeSettings(lr=1e-30, max_epochs=1))[
        0
    ]  # a step of nothing: the initial weights
    layer = torch.nn.Linear(x.shape[1], task.classes)
    layer.weight.data, layer.bias.data = start.weight.clone(), start.bias.clone()
    optimiser = torch.optim.Adam(layer.parameters(), lr=task.lr or settings.lr)
    order = torch.Generator().manual_seed(derive_key(task.seed, "probe order", task.fold))
    best, best_epoch, kept = float("inf"), 0, None
    for epoch in range(1, settings.max_epochs + 1):
        for batch in torch.randperm(len(task.train), generator=order).split(settings.batch_size):
            rows = task.train[batch]
            loss = torch.nn.functional.cross_entropy(layer(x[rows]), task.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(torch.nn.functional.cross_entropy(layer(x[task.valid]), task.labels[task.valid]))
        if loss < best:
            best, best_epoch, kept = loss, epoch, [layer.weight.detach().clone(), layer.bias.detach().clone()]
        elif epoch - best_epoch >= settings.patience:
            break
    predicted = (x[task.test] @ kept[0].T + kept[1]).argmax(dim=1).numpy()
    return predicted, best, best_epoch, epoch, kept[0]


SETTINGS = ProbeSettings(lr=5e-3, batch_size=32, max_epochs=60, patience=6)


def test_a_probe_equals_a_plain_pytorch_loop():
    for task in unequal_problems()[:4]:
        result = train_probes([task], SETTINGS)[0]
        predicted, best, best_epoch, epochs, weight = tight_loop(task, SETTINGS)
        assert (result.best_epoch, result.epochs) == (best_epoch, epochs)
        assert result.valid_loss == pytest.approx(best, rel=1e-4)
        assert torch.allclose(result.weight, weight, atol=1e-4)
        assert np.array_equal(result.predicted, predicted)


def test_together_is_the_same_as_alone():
    problems = unequal_problems()
    alone = [train_probes([task], SETTINGS)[0] for task in problems]
    assert len({result.epochs for result in alone}) > 3  # they stop at different times
    for stack in (1, 4, 9):
        together = train_probes(problems, SETTINGS, stack=stack)
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(one.predicted, other.predicted)
            assert (one.epochs, one.best_epoch) == (other.epochs, other.best_epoch)
            assert torch.allclose(one.weight, other.weight, atol=1e-5)
            if stack == 1:
                assert torch.equal(one.weight, other.weight)


def test_the_order_of_problems_does_not_matter():
    problems = unequal_problems()
    forward, backward = train_probes(problems, SETTINGS), train_probes(problems[::-1], SETTINGS)[::-1]
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(forward, backward, strict=True))


def test_large_data_are_standardised_batch_by_batch_to_the_same_bits(monkeypatch):
    problems = unequal_problems()
    kept = train_probes(problems, SETTINGS)
    monkeypatch.setattr(standardised, "COPY_BYTES", 0)
    for stack in (1, 9):
        results = train_probes(problems, SETTINGS, stack=stack)
        assert all(np.array_equal(a.predicted, b.predicted) for a, b in zip(kept, results, strict=True))
        if stack == 1:
            assert all(torch.equal(a.weight, b.weight) for a, b in zip(kept, results, strict=True))


def same_rows(count=3):
    """Probes with one learning rate each on the same rows of the same features, and one on others."""
    features, labels = clusters()
    first = problem(features, labels)
    rates = [replace(first, lr=rate, name=f"lr {rate}") for rate in (1e-3, 1e-2, 3e-2)[:count]]
    return [*rates, problem(features, labels, seed=1, train_rows=range(90))]


def test_problems_on_the_same_rows_share_them(monkeypatch):
    problems = same_rows()
    alone = [train_probes([one], SETTINGS, stack=1)[0] for one in problems]
    rows = standardised.StandardisedRows(problems, "cpu")
    assert rows.same == [0, 0, 0, 3]
    assert len(rows.kept) == 150 + 120
    for limit in (standardised.COPY_BYTES, 0):
        monkeypatch.setattr(standardised, "COPY_BYTES", limit)
        for one, together in zip(alone, train_probes(problems, SETTINGS, stack=4), strict=True):
            assert np.array_equal(one.predicted, together.predicted)
            assert one.best_epoch == together.best_epoch
            assert torch.allclose(one.weight, together.weight, atol=1e-5)


def test_statistics_of_the_same_rows_are_worked_out_once(monkeypatch):
    seen = []
    real = standardised.measure_standardisation
    monkeypatch.setattr(standardised, "measure_standardisation", lambda *given: seen.append(1) or real(*given))
    train_probes(same_rows(), SETTINGS)
    assert len(seen) == 2


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_large_features_are_read_where_they_are(tmp_path, monkeypatch, kind):
    """No copy of a matrix that is mapped from a file, in either precision."""
    features, labels = clusters()
    mapped = np.memmap(tmp_path / "features", dtype=kind, mode="w+", shape=tuple(features.shape))
    mapped[:] = features.numpy()
    monkeypatch.setattr(standardised, "COPY_BYTES", 0)
    task = problem(torch.from_numpy(mapped), labels)
    rows = standardised.StandardisedRows([task], "cpu")
    assert rows.kept is None
    assert [source.data_ptr() for source in rows.sources.values()] == [mapped.ctypes.data]
    (result,) = train_probes([task], SETTINGS)
    assert result.accuracy > 0.9


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stack", [1, 6])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch, stack):
    problems = unequal_problems()[:6]
    whole = train_probes(problems, SETTINGS, stack=stack)
    monkeypatch.setattr(resuming, "INTERVAL_S", 0.0)
    again = 0
    while True:
        done = []

        def stop(epochs, done=done):
            done.append(epochs)
            if len(done) == 9:
                raise StoppedError

        try:
            stored = Resuming(tmp_path)
            results = train_probes(problems, SETTINGS, stack=stack, progress=stop, resume=stored)
            break
        except StoppedError:
            again += 1
            assert again < 100
    assert again > 2
    assert sum(done) == len(problems) * SETTINGS.max_epochs
    assert list(tmp_path.iterdir())  # until somebody has written the results
    stored.forget()
    assert not list(tmp_path.iterdir())
    for one, other in zip(whole, results, strict=True):
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias, other.bias)
        assert (one.best_epoch, one.epochs, one.valid_loss) == (other.best_epoch, other.epochs, other.valid_loss)


def test_what_was_stored_of_another_training_is_not_taken_up(tmp_path):
    problems = unequal_problems()[:2]
    names = set()
    for settings in (SETTINGS, replace(SETTINGS, lr=1e-4)):
        for some in (
            problems,
            problems[:1],
            [replace(problems[0], seed=5)],
            [replace(problems[0], train=np.arange(99))],
        ):
            known = standardised.Standardisations()
            names.add(standardised.fingerprint_training(some, settings, known))
    assert len(names) == 8


def test_a_damaged_store_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "INTERVAL_S", 0.0)
    task = unequal_problems()[0]
    name = standardised.fingerprint_training([task], SETTINGS, standardised.Standardisations())
    (tmp_path / f"{name}.pt").write_bytes(b"half of it")
    (result,) = train_probes([task], SETTINGS, resume=Resuming(tmp_path))
    assert torch.equal(result.weight, train_probes([task], SETTINGS)[0].weight)


def test_progress_counts_the_epochs_that_are_not_needed():
    problems, told = unequal_problems(), []
    train_probes(problems, SETTINGS, progress=told.append)
    assert sum(told) == len(problems) * SETTINGS.max_epochs


@pytest.mark.slow
@pytest.mark.parametrize(("size", "apart", "about"), [(8, 1.0, 0.41), (64, 0.8, 0.999)])
def test_the_accuracy_is_within_a_point_of_the_best_there_is(size, apart, about):
    """20,000 clips of 100 classes, Gaussian with the same deviation: the best classifier is linear, and known.

    With many values and classes close together, 200 clips of a class do not tell where it lies, and any linear
    classifier learned from them is worse than the best there is; here they do.
    """
    draw = np.random.default_rng(0)
    classes, n = 100, 20_000
    centres = draw.standard_normal((classes, size)).astype(np.float32) * apart
    labels = draw.integers(0, classes, 2 * n)
    x = centres[labels] + draw.standard_normal((2 * n, size), dtype=np.float32)
    best = (x[n:] @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1) == labels[n:]
    held = draw_validation_rows(labels[:n], [str(row) for row in range(n)], share=0.1, seed=0)
    rows = np.arange(2 * n)
    task = ProbeProblem(
        name="gaussian",
        features=torch.from_numpy(x),
        labels=torch.from_numpy(labels),
        train=rows[:n][~held],
        valid=rows[:n][held],
        test=rows[n:],
        classes=classes,
        seed=0,
    )
    (result,) = train_probes([task], ProbeSettings())
    assert best.mean() == pytest.approx(about, abs=0.01)
    assert result.accuracy > best.mean() - 0.01


def test_features_are_not_changed_and_half_precision_serves():
    features, labels = clusters()
    before = features.clone()
    full = train_probes([problem(features, labels)], SETTINGS)[0]
    assert torch.equal(features, before)
    half = train_probes([problem(((features - features.mean(0)) / features.std(0)).half(), labels)], SETTINGS)[0]
    assert half.accuracy == pytest.approx(full.accuracy, abs=0.05)


def test_accuracy_is_that_of_logistic_regression():
    features, labels = clusters(n=900, spread=2.5)
    task = problem(features, labels, train_rows=range(500), valid=range(500, 560), test=range(560, 900))
    result = train_probes([task], ProbeSettings(lr=1e-2))[0]
    scaler = StandardScaler().fit(features[:500])
    reference = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(features[:500]), labels[:500])
    expected = reference.score(scaler.transform(features[560:]), labels[560:])
    assert 0.5 < expected < 0.95
    assert result.accuracy == pytest.approx(expected, abs=0.04)


def test_standardisation_is_of_the_training_rows_alone():
    features, labels = clusters()
    task = problem(features, labels)
    mean, scale = measure_standardisation(features, task.train)
    rows = features[:120].double()
    assert torch.allclose(mean.double(), rows.mean(0), rtol=1e-6)
    assert torch.allclose(scale.double(), rows.std(0, correction=0), rtol=1e-6)
    changed = features.clone()
    changed[120:] = 1e6 * torch.randn_like(changed[120:])
    assert torch.equal(measure_standardisation(changed, task.train)[0], mean)


def test_a_constant_feature_has_scale_1():
    features = torch.rand(50, 4)
    features[:, 1] = 0.1
    features[:, 2] = 1e4 + torch.tensor([0.0, 9.8e-4]).repeat(25)  # one step of float32
    features[:, 3] = 1e-12 * torch.rand(50)  # small, but no constant
    mean, scale = measure_standardisation(features, np.arange(50))
    assert scale[1] == 1.0
    assert scale[2] == 1.0
    assert 1e-13 < scale[3] < 1e-12
    assert mean[1] == pytest.approx(0.1)


def test_the_earliest_of_equal_epochs_is_tested():
    features, labels = torch.zeros(240, 3), clusters()[1]
    result = train_probes([problem(features, labels)], ProbeSettings(lr=1e-30, max_epochs=50, patience=5))[0]
    assert (result.best_epoch, result.epochs) == (1, 6)


@example(counts=[1, 1, 4], share=0.5, seed=0)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=8),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 3),
)
def test_the_held_out_part_is_stratified(counts, share, seed):
    if max(counts) < 2:
        counts = [*counts, 2]
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"clip {i}" for i in range(len(labels))]
    held = draw_validation_rows(labels, names, share=share, seed=seed)
    took = np.bincount(labels[held], minlength=len(counts))
    assert np.all(took <= np.maximum(np.array(counts) - 1, 0))
    limit = np.ceil if min(counts) > 1 else lambda exact: np.floor(exact) + 1  # others give what single clips cannot
    assert np.all(took <= limit(np.array(counts) * share))
    roomy = np.array(counts) * (1 - share) >= 1
    assert np.all(took[roomy] >= np.floor(np.array(counts) * share)[roomy])
    assert held.sum() >= 1


def test_the_held_out_part_goes_with_names_and_seed():
    labels = np.arange(200) % 5
    names = [f"clip {i}" for i in range(200)]
    held = draw_validation_rows(labels, names, share=0.1, seed=1)
    assert held.sum() == 20
    order = np.random.default_rng(0).permutation(200)
    again = draw_validation_rows(labels[order], [names[i] for i in order], share=0.1, seed=1)
    assert {names[i] for i in np.flatnonzero(held)} == {names[order[i]] for i in np.flatnonzero(again)}
    assert not np.array_equal(held, draw_validation_rows(labels, names, share=0.1, seed=2))


def test_nothing_can_be_held_out_of_single_clips():
    with pytest.raises(InvalidInputError, match="no class has two training clips"):
        draw_validation_rows(np.arange(4), list("abcd"), share=0.1, seed=0)


def broken(**changes):
    features, labels = clusters()
    return lambda: train_probes([problem(**{"features": features, "labels": labels, **changes})], SETTINGS)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (broken(features=torch.zeros(10, 3)), r"features have shape \[10, 3\], must be \[240, D\]"),
        (broken(test=[]), "no clips in the test part"),
        (broken(test=[240]), "rows of the test part lie outside 0..239"),
        (broken(train_rows=[0, 1, 2, 4, 5, 6]), r"classes \[3\] have no training clip"),
        (broken(labels=torch.arange(240) % 5), r"labels must lie in 0..3"),
        (broken(features=torch.full((240, 3), torch.nan)), "NaN or infinite"),
        (broken(lr=1e38), "the validation loss is .* lower the learning rate"),
        (lambda: ProbeSettings(lr=0.0), "lr is 0.0"),
        (lambda: ProbeSettings(batch_size=0), "batch_size is 0"),
        (lambda: ProbeSettings(patience=0), "patience is 0"),
        (lambda: ProbeSettings(validation_share=1.0), "validation_share is 1.0"),
    ],
)
def test_what_cannot_be_trained_is_one_line(attempt, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        attempt()
    assert "\n" not in str(error.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("limit", [standardised.COPY_BYTES, 0])
def test_a_gpu_gives_the_same(monkeypatch, limit):
    """Also where features are large, and only the features themselves are copied to the GPU."""
    monkeypatch.setattr(standardised, "COPY_BYTES", limit)
    problems = unequal_problems()
    for one, other in zip(
        train_probes(problems, SETTINGS), train_probes(problems, SETTINGS, device="cuda"), strict=True
    ):
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.03)
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-3)
