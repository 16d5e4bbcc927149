"""The screening of objectives: what travels, what is trained, and what the table says."""

import numpy as np
import pandas as pd
import torch

from pretrain.corpus import open_corpus
from tests.experiments.screen_corpus import shrink_corpus, unpack_corpus
from tests.experiments.screen_runs import VARIANTS, list_runs, read_runs, write_run
from tests.experiments.screen_table import format_differences, format_means, tabulate_scores
from tests.pretrain.made import make_corpus


def test_a_corpus_travels_without_loss(tmp_path):
    whole = open_corpus(make_corpus(tmp_path / "corpus"))
    shrink_corpus(tmp_path / "corpus", tmp_path / "coded", longest_s=1.0)
    cut = open_corpus(unpack_corpus(tmp_path / "coded", tmp_path / "plain"))
    assert cut.lengths.tolist() == [9_000, 16_000, 3_000, 16_000, 16_000]
    for old, new, length in zip(whole.starts, cut.starts, cut.lengths, strict=True):
        assert np.array_equal(whole.audio[old : old + length], cut.audio[new : new + length])
    assert cut.sounds.sha256 == whole.sounds.sha256


def test_runs_are_listed_seed_by_seed_with_configurations_that_differ():
    runs = list_runs(list(VARIANTS), ["narrow", "full"], 2)
    assert len({run.name for run in runs}) == len(runs) == 4 * len(VARIANTS)
    assert [run.seed for run in runs[: len(VARIANTS)]] == [0] * len(VARIANTS)
    configs = [run.configure(steps=9, batch=16, precision="float32").as_toml() for run in runs]
    assert len(set(configs)) == len(runs)


def test_encoders_are_written_and_read(tmp_path):
    weights = {"fc.0.weight": torch.linspace(-1, 1, 12).reshape(3, 4), "fc.0.bias": torch.tensor([1e-7, 3.0, 1e6])}
    encoders = {name: {key: values.clone() for key, values in weights.items()} for name in ("one", "two")}
    write_run(tmp_path / "a.safetensors", encoders, {"one": {"seed": 1}, "two": {"seed": 2}})
    found = list(read_runs(tmp_path / "a.safetensors"))
    assert [(name, facts) for name, _, facts in found] == [("one", {"seed": 1}), ("two", {"seed": 2})]
    for _, read, _ in found:
        torch.testing.assert_close(read["fc.0.weight"], weights["fc.0.weight"], rtol=1e-3, atol=1e-3)
        assert torch.equal(read["fc.0.bias"], weights["fc.0.bias"])


def make_predictions(gains):
    """Predictions of two seeds of each variant: of 40 clips in 20 sources, a share is right in each setting."""
    rows = []
    for variant, gain in gains.items():
        for seed in range(2):
            for setting, right in (("mix", 20), ("a", 24 + gain + seed), ("a*", 24), ("shuffled", 16), ("clean", 36)):
                for clip in range(40):
                    place = {"clip_id": f"c{clip}", "group": f"g{clip // 2}", "background": f"b{clip % 10}"}
                    score = float(clip < right)
                    encoder = f"narrow_{variant}_seed{seed}"
                    rows.append({"encoder": encoder, "task": "bgknown", "setting": setting, **place, "score": score})
    return pd.DataFrame(rows)


def test_the_table_pairs_clips_and_seeds():
    scores = tabulate_scores(make_predictions({"lambda0": 0, "contrast-reverse": 4}))
    lines = format_means(scores).splitlines()
    assert lines[0] == "| objective | a | a* | a - mix | a - shuffled | clean |"
    # a is right for 24 and 25 of 40 clips: 61.25 %, and t(0.975, 1) = 12.706 times 1.768 / sqrt 2
    assert lines[2].startswith("| lambda0 | 61.2 ± 15.9 | 60.0 ± 0.0 | 11.2 ± 15.9 | 21.2 ± 15.9 | 90.0 ± 0.0 |")
    difference = format_differences(scores, "lambda0").splitlines()[2]
    assert difference.startswith("| contrast-reverse | +10.0 [10.0, 10.0] [")
    assert "| +0.0 [0.0, 0.0] [0.0, 0.0] |" in difference
