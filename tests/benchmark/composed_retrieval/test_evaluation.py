"""From embeddings to ranks and scores, where it is known what must come out."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.composed_retrieval import ComposedSettings
from benchmark.composed_retrieval.evaluation import rank_queries, score_setting, tabulate_queries
from benchmark.protocol import Protocol

CODES = ("event_added:dog", "event_removed:dog", "event_louder:bell", "background_quieter:rain")
SIZE = 24


class Words:
    """A text encoder of four texts."""

    name = "words"

    def facts(self):
        return {"name": self.name}

    def embed(self, texts):
        return torch.eye(len(CODES))[[int(text) for text in texts]]


def oracle(clips, held):
    """Every clip with every change, s2 = s1 + v(text); test pairs stand between those to train on.

    Args:
        clips: how many.
        held: every how manyth is tested.
    """
    draw = np.random.default_rng(0)
    directions = draw.standard_normal((len(CODES), SIZE)).astype(np.float32)
    clip, change = np.divmod(np.arange(clips * len(CODES)), len(CODES))
    first = draw.standard_normal((clips, SIZE)).astype(np.float32)[clip]
    table = pd.DataFrame(
        {
            "clip_id": [f"pair{number:05}" for number in range(len(clip))],
            "text": change.astype(str),
            "changes": [CODES[number] for number in change],
            "classes_s1": "dog",
            "classes_s2": ["dog;bell" if number == 2 else "" for number in change],
        }
    )
    tested = clip % held == 1
    fold = SimpleNamespace(name="", train=np.flatnonzero(~tested), test=np.flatnonzero(tested))
    return table, fold, {"s1": first, "s2": first + directions[change]}


def found(epochs, clips, cache, device="cpu"):
    table, fold, embeddings = oracle(clips, held=5)
    protocol = Protocol(seeds=2, retrieval=ComposedSettings(epochs=epochs, size=32, batch_size=64))
    ranks = list(rank_queries(table, fold, embeddings, Words(), protocol, device=device, cache=cache))
    names = table["clip_id"].to_numpy()[fold.test]
    return tabulate_queries(ranks, names), names


def test_the_mean_difference_of_a_change_finds_what_it_makes(tmp_path):
    queries, names = found(1, 40, tmp_path)
    assert score_setting(queries, "zero-shot difference")[0]["R@1"] == [1.0]
    exact = queries[queries["setting"] == "zero-shot difference"]
    assert exact["pair"].tolist() == exact["first"].tolist() == names.tolist()
    assert score_setting(queries, "zero-shot audio")[0]["R@1"][0] < 0.5
    by_seed, by_query = score_setting(queries, "audio")
    assert len(by_seed["median rank"]) == 2
    assert by_query["mean rank"].shape == names.shape


@pytest.mark.slow
def test_the_trained_system_finds_what_a_text_adds(tmp_path):
    queries, _ = found(60, 400, tmp_path)
    scores = {name: score_setting(queries, name)[0]["R@1"] for name in ("audio+text", "audio", "text")}
    assert scores["audio+text"] == [1.0, 1.0]
    assert all(0.1 < score < 1.5 / len(CODES) for score in scores["audio"])
    assert max(scores["text"]) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_what_a_text_adds(tmp_path):
    queries, _ = found(60, 400, tmp_path, device="cuda")
    assert score_setting(queries, "audio+text")[0]["R@1"] == [1.0, 1.0]
    assert max(score_setting(queries, "text")[0]["R@1"]) < 0.1
