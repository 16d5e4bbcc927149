"""Objectives beyond the paper: against the equations in float64, off by default, and stored with a run."""

import math

import pytest
import torch

from bgknown.errors import InvalidInputError
from pretrain.checkpoint import load_checkpoint
from pretrain.config import Config, read_config
from pretrain.encoder import Options, load
from pretrain.export import export
from pretrain.learner import Learner, list_terms
from pretrain.objective import LearnedSubtraction, compute_contrast, swap_views
from tests.pretrain.made import make_corpus, smoke
from tests.pretrain.runs import assert_equal, rows, run, stored
from tests.pretrain.test_learner import B, encode, head, inputs, loss, moved, successors, wide

EVERY = (
    *("objective.subtraction=learned", "objective.stop_gradient=true"),
    *("objective.reverse=0.25", "objective.contrast=0.5", "objective.contrast_temperature=0.3"),
)


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_contrast(right, wrong, target, temperature):
    """-log of the right background's share in the softmax of both cosines, clip by clip."""
    target = swap_views(target)
    total = 0.0
    for near, far, z in zip(right.double(), wrong.double(), target.double(), strict=True):
        first, second = ((vector @ z / (vector.norm() * z.norm())).item() / temperature for vector in (near, far))
        total -= math.log(math.exp(first) / (math.exp(first) + math.exp(second)))
    return total / len(right)


def test_the_contrast_is_a_softmax_over_right_and_wrong_background():
    right, wrong, target = (values(2 * B, 7, seed=seed) for seed in range(3))
    expected = reference_contrast(right, wrong, target, 0.3)
    assert compute_contrast(right, wrong, target, 0.3).item() == pytest.approx(expected, abs=1e-6)
    assert compute_contrast(right, right, target, 0.3).item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert compute_contrast(swap_views(target), -swap_views(target), target, 0.1).item() < 1e-6


def test_a_learned_subtraction_starts_as_a_plain_one():
    mixed, known = values(4, 6), values(4, 6, seed=1)
    subtraction = LearnedSubtraction(6, 0.5)
    torch.testing.assert_close(subtraction(mixed, known), mixed - 0.5 * known)
    with torch.no_grad():
        subtraction.mixture.copy_(values(6, 6, seed=2))
        subtraction.background.copy_(values(6, 6, seed=3))
    expected = [subtraction.mixture @ w - subtraction.background @ v for w, v in zip(mixed, known, strict=True)]
    torch.testing.assert_close(subtraction(mixed, known), torch.stack(expected))


def test_all_terms_are_their_equations():
    """Total, difference, reverse and contrast, from plain modules in float64."""
    learner = moved(Learner(smoke("objective.lambda=0.3", *EVERY)))
    given = inputs(learner)
    f, g, q, w1, w2 = (
        wide(part)
        for part in (
            *(learner.encoder, learner.projector, learner.difference_predictor),
            *(learner.subtraction.mixture.detach(), learner.subtraction.background.detach()),
        )
    )
    v, share = given.views.double(), given.gamma.double()[:, None, None, None]
    y = encode(f, v, given.mask)
    target = head(wide(learner.target_projector), encode(wide(learner.target_encoder), v, given.target_mask))
    w = encode(f, torch.log(share * successors(v).exp() + (1 - share) * v.exp()), given.mixture_mask)

    def predict(known):
        return head(q, head(g, w @ w1.T - known @ w2.T))

    byol = loss(head(wide(learner.predictor), head(g, y)), target)
    right = predict(successors(y))
    difference, reverse = loss(right, target), loss(predict(y), successors(target))
    contrast = reference_contrast(right, predict(successors(successors(y))), target, 0.3)
    found = learner(given)
    assert found.difference.item() == pytest.approx(difference.item(), abs=1e-5)
    assert found.terms["reverse"].item() == pytest.approx(reverse.item(), abs=1e-5)
    assert found.terms["contrast"].item() == pytest.approx(contrast, abs=1e-5)
    weighed = 0.75 * difference + 0.25 * reverse + 0.5 * contrast
    assert found.total.item() == pytest.approx((0.7 * byol + 0.3 * weighed).item(), abs=1e-5)


@pytest.mark.parametrize("stopped", [False, True])
def test_gradients_stop_at_the_background(stopped):
    learner = moved(Learner(smoke("objective.lambda=1", f"objective.stop_gradient={str(stopped).lower()}")))
    given = inputs(learner)
    embeddings = []
    learner.encoder.register_forward_hook(lambda *found: found[2].requires_grad and embeddings.append(found[2]))
    losses = learner(given)
    plain, mixed = embeddings
    gradients = torch.autograd.grad(losses.total, [plain, mixed], allow_unused=True, materialize_grads=True)
    assert bool(gradients[0].any()) is not stopped
    assert gradients[1].any()


def test_new_settings_change_nothing_where_they_are_off():
    """Same parameters, losses and gradients as with the paper's settings written out."""
    plain, written = (
        Learner(smoke(*changes)).train()
        for changes in ((), ("objective.subtraction=gamma", "objective.reverse=0", "objective.contrast=0"))
    )
    assert list(plain.state_dict()) == list(written.state_dict())
    assert not [name for name in plain.state_dict() if name.startswith("subtraction")]
    first, second = (learner(inputs(learner)) for learner in (plain, written))
    assert torch.equal(first.stack(), second.stack())
    assert first.stack().shape == (5,)
    assert list_terms(smoke().objective) == []


def test_what_is_off_is_not_stored():
    """config.toml and cards are those of earlier versions, and `pretrain config` lists what there is."""
    names = "lambda gamma_low gamma_high mix_domain reference_shift_s target_decay head_hidden projection"
    assert list(Config().tables()["objective"]) == names.split()
    assert set(Config().tables(complete=True)["objective"]) - set(names.split()) == {
        *("subtraction", "stop_gradient", "reverse", "contrast", "contrast_temperature"),
    }
    assert "contrast" not in read_config("paper").as_toml()
    assert "contrast = 0.0" in read_config("paper").as_toml(complete=True)
    tables = read_config("paper", EVERY).tables()
    assert tables["objective"]["subtraction"] == "learned"
    assert Config().with_tables(tables, "made") == read_config("paper", EVERY)


def test_a_run_with_all_terms_resumes_and_says_what_it_is(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    run(corpus, tmp_path / "whole", *EVERY)
    run(corpus, tmp_path / "parts", *EVERY, "training.steps=3", "training.log_every=2")
    run(corpus, tmp_path / "parts", *EVERY)
    weights = [stored(tmp_path / name)["training"]["learner"] for name in ("whole", "parts")]
    assert all(torch.equal(weights[1][name], tensor) for name, tensor in weights[0].items())
    assert not torch.equal(weights[0]["subtraction.mixture"], torch.eye(320))
    last = rows(tmp_path / "whole")[-1]
    assert 0.0 < float(last["loss_contrast"]) < 3.0
    assert 0.0 < float(last["loss_reverse"]) < 4.0
    checkpoint = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")
    assert checkpoint.card["config"]["objective"]["contrast"] == 0.5
    assert not [name for name in checkpoint.network.state_dict() if "subtraction" in name]
    written = export(tmp_path / "whole", tmp_path / "encoder.safetensors")
    assert "| objective.subtraction | learned |" in written.card.read_text()


def test_a_run_without_them_has_the_log_of_before(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    run(corpus, tmp_path / "run")
    header = "step,epoch,loss,loss_byol,loss_difference,target_spread,embedding_spread,clips_per_s"
    assert (tmp_path / "run" / "log.csv").read_text().splitlines()[0] == header
    run(corpus, tmp_path / "same", "objective.contrast_temperature=0.2", "objective.stop_gradient=false")
    assert_equal(tmp_path / "run", tmp_path / "same")
    settings = load(str(tmp_path / "run" / "checkpoint.pt"), Options()).training_settings
    assert (settings["objective.contrast"], settings["objective.subtraction"]) == (0.0, "gamma")
    assert (tmp_path / "run" / "config.toml").read_bytes() == (tmp_path / "same" / "config.toml").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("objective.subtraction=big", "objective.subtraction is 'big'; it must be one of gamma, learned"),
        ("objective.reverse=2", "objective.reverse is 2.0; it must be from 0 to 1"),
        ("objective.contrast=-1", "objective.contrast is -1.0; it must be at least 0"),
        ("objective.contrast_temperature=0", "objective.contrast_temperature is 0.0; it must be above 0"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        read_config("paper", [change])
    with pytest.raises(InvalidInputError, match="objective.contrast is 1.0 with 2 clips in a batch or its part"):
        read_config("smoke", ["objective.contrast=1", "training.batch=2"])
