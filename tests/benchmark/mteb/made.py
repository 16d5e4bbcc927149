"""Classification tasks of mteb from audio in memory or in files, and mteb's own procedure by hand."""

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from mteb import TaskMetadata
from mteb.abstasks.classification import AbsTaskClassification
from sklearn.linear_model import LogisticRegression

from benchmark.mteb import LocalAudio

AUDIO = {"array": List(Value("float32")), "sampling_rate": Value("int32")}


def metadata(name, **changes):
    given = {
        "name": name,
        "description": "Made for the tests.",
        "dataset": {"path": "tests/local", "revision": "1"},
        "type": "AudioClassification",
        "category": "a2c",
        "modalities": ["audio"],
        "eval_langs": ["zxx-Zxxx"],
        "main_score": "accuracy",
    }
    return TaskMetadata(**{**given, **changes})


class Hums(AbsTaskClassification):
    """Hums of three pitches in noise, at two rates and of different lengths, in memory."""

    metadata = metadata("Hums")
    input_column_name = "audio"
    samples_per_label = 4
    n_experiments = 3

    def load_data(self, num_proc=None, **more):
        random = np.random.default_rng(0)
        self.clips = {split: [make_hum(random, label) for label in [0, 1, 2] * 8] for split in ("train", "test")}
        self.dataset = {
            split: Dataset.from_list(
                [{"audio": clip, "label": label} for clip, label in zip(clips, [0, 1, 2] * 8, strict=True)],
                features=Features({"audio": AUDIO, "label": ClassLabel(names=["low", "middle", "high"])}),
            )
            for split, clips in self.clips.items()
        }
        self.data_loaded = True


def make_hum(random, label):
    rate_hz = int(random.choice([16_000, 22_050]))
    times_s = np.arange(int(random.integers(4_000, 6_000))) / rate_hz
    tone = 0.04 * np.sin(2 * np.pi * 400 * (1 + 0.3 * label + 0.1 * random.standard_normal()) * times_s)
    return {"array": tone + 0.2 * random.standard_normal(len(times_s)), "sampling_rate": rate_hz}


def make_files(root, files, labels, label_column):
    """A dataset of audio files, decoded by libsndfile."""
    features = Features({"audio": LocalAudio(), label_column: Value("int64")})
    return Dataset.from_dict({"audio": [str(root / file) for file in files], label_column: labels}, features=features)


def score_by_hand(train, train_labels, test, test_labels, *, experiments, per_label, seed=42):
    """Mean accuracy of logistic regressions on a few clips of each label, which mteb draws by shuffling each time."""
    order, found = list(range(len(train))), []
    for _ in range(experiments):
        np.random.RandomState(seed).shuffle(order)
        chosen = [row for label in sorted(set(train_labels)) for row in first(order, train_labels, label, per_label)]
        probe = LogisticRegression(max_iter=100).fit(train[chosen], np.array(train_labels)[chosen])
        found.append(float((probe.predict(test) == np.array(test_labels)).mean()))
    return float(np.mean(found)), found


def first(order, labels, label, count):
    return [row for row in order if labels[row] == label][:count]


def embed_alone(encoder, clips):
    """Clips [N] at the encoder's rate, one at a time."""
    return torch.cat([encoder.embed(torch.as_tensor(clip, dtype=torch.float32)[None]) for clip in clips]).numpy()


class WithTexts:
    """An encoder of audio and texts without a network."""

    name, rate_hz, embedding_size = "with-texts", 16_000, 6

    def embed(self, audio):
        return torch.stack([part.square().mean(dim=1) for part in audio.tensor_split(6, dim=1)], dim=1)

    def embed_texts(self, texts):
        seeds = [torch.Generator().manual_seed(sum(map(ord, text))) for text in texts]
        return torch.stack([torch.randn(6, generator=seed) for seed in seeds])
