import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from benchmark.probe import linear, logistic_model
from benchmark.probe.design import DenseDesign, Standardiser, StreamedDesign, find_basis, measure_covariance
from benchmark.probe.logistic import LogisticSolver
from tests.benchmark.probe.clusters import make_clusters

STRENGTHS = (1e-4, 1e-2, 1.0, 100.0)


def standardise(features, rows):
    return Standardiser(features, rows).apply(features, rows, dtype=torch.float64, device="cpu")


def solve(features, labels, rows, strengths=STRENGTHS, classes=4):
    design = DenseDesign([standardise(features, rows)], [None])
    found = LogisticSolver(design, labels[torch.from_numpy(rows)][None], classes).solve(strengths)
    return found, design


def oracle_objective(x, labels, strength):
    """scikit-learn's optimum: the mean loss plus the penalty that goes with it."""
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(x, labels)
    logits = torch.from_numpy(model.decision_function(x))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    return float(loss) + float((model.coef_**2).sum()) / (2 * strength * len(x)), model


@pytest.mark.parametrize(("rows", "size"), [(120, 20), (40, 60), (60, 60)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("spread", [0.5, 3.0], ids=["separable", "overlapping"])
def test_the_optimum_is_that_of_scikit_learn(rows, size, spread):
    features, labels = make_clusters(n=rows, size=size, spread=spread)
    chosen = np.arange(rows)
    found, design = solve(features, labels, chosen)
    x = standardise(features, chosen).numpy()
    assert bool(found.converged.all())
    for place, strength in enumerate(STRENGTHS):
        expected, model = oracle_objective(x, labels.numpy(), strength)
        assert float(found.objective[0, place]) == pytest.approx(expected, rel=1e-6)
        weight = design.rotations[0].expand(found.coordinates[0, place, 1:])
        predicted = (torch.from_numpy(x) @ weight + found.coordinates[0, place, 0]).argmax(dim=1)
        assert np.mean(predicted.numpy() == model.predict(x)) > 0.97


def test_the_bound_holds():
    """The gap that a fit reports is not below its true distance from the optimum."""
    features, labels = make_clusters(n=80, size=30, spread=2.0)
    rows = np.arange(80)
    found, _ = solve(features, labels, rows)
    for place, strength in enumerate(STRENGTHS):
        best, _ = oracle_objective(standardise(features, rows).numpy(), labels.numpy(), strength)
        distance = (float(found.objective[0, place]) - best) / best
        assert distance <= float(found.gap[0, place]) + 1e-9


def test_problems_solved_together_are_those_solved_alone():
    features, labels = make_clusters(n=200, size=40, spread=2.0)
    parts = [np.arange(0, 60), np.arange(50, 130), np.arange(100, 200)]
    design = DenseDesign([standardise(features, rows) for rows in parts], [None] * 3)
    padded = torch.nn.utils.rnn.pad_sequence([labels[torch.from_numpy(rows)] for rows in parts], True)
    together = LogisticSolver(design, padded, 4).solve(STRENGTHS)
    for unit, rows in enumerate(parts):
        alone, _ = solve(features, labels, rows)
        torch.testing.assert_close(together.objective[unit], alone.objective[0], rtol=1e-6, atol=0.0)


def test_rows_in_blocks_have_the_same_optimum(monkeypatch):
    monkeypatch.setattr("benchmark.probe.design.BLOCK_ROWS", 33)
    features, labels = make_clusters(n=150, size=20, spread=2.0)
    rows = np.arange(150)
    dense, _ = solve(features, labels, rows)
    standardiser = Standardiser(features, rows)
    basis = find_basis(measure_covariance(features, rows, standardiser))
    streamed = StreamedDesign(features, rows, standardiser, basis, "cpu")
    found = LogisticSolver(streamed, labels[None], 4).solve(STRENGTHS)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.objective.double(), dense.objective, rtol=1e-4, atol=0.0)


def test_a_class_without_rows_is_never_predicted():
    features, labels = make_clusters(n=90, size=10)
    found, design = solve(features, labels, np.arange(90), classes=6)
    assert bool(found.converged.all())
    x = standardise(features, np.arange(90))
    logits = (
        torch.einsum("nd,sdk->snk", x, design.rotations[0].expand(found.coordinates[0, :, 1:]))
        + found.coordinates[0, :, :1]
    )
    assert int(logits.argmax(dim=2).max()) < 4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_that_are_all_alike_give_the_shares_of_the_classes(value):
    features, labels = torch.full((40, 5), value), torch.arange(40) % 4
    found, _ = solve(features, labels, np.arange(40))
    torch.testing.assert_close(found.objective[0], torch.full((4,), np.log(4.0), dtype=torch.float64))


def test_large_problems_are_solved_block_by_block_to_the_same_predictions(monkeypatch):
    features, labels = make_clusters(n=240, size=16, spread=2.0)
    problem = make_problem(features, labels)
    expected = linear.fit_linear_probes([problem])[0]
    monkeypatch.setattr(logistic_model, "DENSE_BYTES", 1)
    monkeypatch.setattr(logistic_model, "CHANCES_BYTES", 1)
    found = linear.fit_linear_probes([problem])[0]
    assert found.strength == expected.strength
    assert np.mean(found.predicted == expected.predicted) > 0.98


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_optimum_of_the_cpu():
    features, labels = make_clusters(n=240, size=30, spread=2.0)
    problem = make_problem(features, labels)
    cpu, gpu = (linear.fit_linear_probes([problem], device=device)[0] for device in ("cpu", "cuda"))
    assert cpu.strength == gpu.strength
    np.testing.assert_array_equal(cpu.predicted, gpu.predicted)


def make_problem(features, labels, *, variants=None):
    train, test = np.arange(0, 150), np.arange(150, len(labels))
    inner = tuple((train[train % 3 != fold], train[train % 3 == fold]) for fold in range(3))
    return linear.LinearProblem(
        name="clusters",
        variants=variants or (linear.Variant(key="x", alpha=None, make=lambda: features),),
        labels=labels,
        train=train,
        inner=inner,
        test=test,
        groups=[""] * len(train),
        classes=4,
        size=features.shape[1],
    )
