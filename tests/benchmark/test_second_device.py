"""What runs on a GPU, with a second device standing in: equal to the CPU, and no tensor left there."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark import processes
from benchmark.composed_retrieval import KINDS, ComposedSettings, Pairs, System, train_systems
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import embed_clips
from benchmark.embedding.settings import EmbedSettings
from benchmark.encoders.loading import move
from benchmark.encoders.registry import load_encoder
from benchmark.heads.network import HeadNetworkSettings, train_network
from benchmark.heads.ridge import LinearMap
from benchmark.probe import ProbeSettings, linear, logistic_model, standardised, train_probes
from benchmark.probe.linear import LinearProblem, Variant, fit_linear_probes
from pretrain import machine
from tests.benchmark.kinds import KINDS as KINDS_OF_ENCODERS
from tests.benchmark.probe.made import CLASSES, clusters, problem
from tests.conftest import noise, write_wav
from tests.second_device import SecondDevice, check_every_place, pause


def both(work):
    """Work done on the CPU, and on a second device."""
    with SecondDevice() as device:
        far = work(device.name)
    assert device.places
    return work("cpu"), far


def probes(device, **changes):
    features, labels = clusters()
    problems = [problem(features, labels, seed=seed) for seed in range(2)]
    results = train_probes(problems, ProbeSettings(lr=1e-2, max_epochs=3, **changes), device=device, stack=2)
    return [(result.predicted.tolist(), result.best_epoch) for result in results]


EVAR = {"stop_on": "accuracy", "ties": "last", "weight_decay": 1e-8, "loss_mean": "clips and classes"}


@pytest.mark.parametrize("changes", [{}, EVAR, {"batch_size": 50}], ids=["paper", "evar", "batches"])
@pytest.mark.parametrize(("kept", "room"), [(True, 1e9), (False, 1e9), (False, 0)], ids=["kept", "near", "far"])
def test_probes_are_the_same_on_another_device(monkeypatch, changes, kept, room):
    monkeypatch.setattr(standardised, "COPY_BYTES", 1 << 30 if kept else 0)
    monkeypatch.setattr(standardised, "measure_room", lambda device: room)
    cpu, far = both(lambda device: probes(device, **changes))
    assert cpu == far


def test_a_probe_notices_whatever_is_left_on_the_cpu():
    assert len(check_every_place(lambda: probes("meta", **EVAR))) > 5


def linear_probe(device):
    features, labels = clusters(n=60, size=6)
    train = np.arange(40)
    found = fit_linear_probes(
        [
            LinearProblem(
                name="made",
                size=features.shape[1],
                variants=(Variant(key="made", alpha=None, make=lambda: features),),
                labels=labels,
                train=train,
                inner=((train[:24], train[24:]),),
                test=np.arange(40, 60),
                groups=[str(row) for row in train],
                classes=CLASSES,
            )
        ],
        device=device,
    )
    return [(result.predicted.tolist(), result.strength, result.held_out_accuracy) for result in found]


@pytest.fixture
def few_strengths(monkeypatch):
    monkeypatch.setattr(linear, "LOGIT_VARIANCES", (1.0, 10.0))


@pytest.mark.usefixtures("few_strengths")
@pytest.mark.parametrize("dense_bytes", [1 << 20, 0], ids=["in memory", "streamed"])
def test_linear_probes_are_the_same_on_another_device(monkeypatch, dense_bytes):
    monkeypatch.setattr(logistic_model, "DENSE_BYTES", dense_bytes)
    cpu, far = both(linear_probe)
    assert cpu == far


@pytest.mark.usefixtures("few_strengths")
def test_a_linear_probe_notices_whatever_is_left_on_the_cpu():
    assert check_every_place(lambda: linear_probe("meta"))


def retrieval(device, **changes):
    draw = np.random.default_rng(0)
    count = 24
    rows = np.arange(count)
    audio, text = (torch.from_numpy(draw.standard_normal(shape, dtype=np.float32)) for shape in ((48, 8), (5, 6)))
    heard = torch.from_numpy((draw.random((count, 3)) > 0.5).astype(np.float32))
    pairs = Pairs(
        audio=audio,
        text=text,
        s1=rows,
        s2=rows + count,
        texts=rows % 5,
        classes_s1=heard,
        classes_s2=heard,
        names=[f"pair {row}" for row in rows],
    )
    settings = ComposedSettings(**{"epochs": 3, "size": 8, "batch_size": 16, **changes})
    systems = [System(kind=kind, seed=seed) for seed in range(2) for kind in KINDS]
    training = train_systems(pairs, systems, settings, device=device)
    return [
        (latents.queries.tolist(), latents.targets.tolist(), latents.valid_loss, latents.best_epoch)
        for latents in training.latents(pairs)
    ]


@pytest.mark.parametrize(
    ("changes", "room"), [({}, 1e9), ({"lr": 0.1, "patience": 1, "epochs": 6}, 0), ({"dropout": 0.0}, 0)]
)
def test_retrieval_is_the_same_on_another_device(monkeypatch, changes, room):
    monkeypatch.setattr(standardised, "measure_room", lambda device: room)
    cpu, far = both(lambda device: retrieval(device, **changes))
    assert cpu == far


def test_retrieval_notices_whatever_is_left_on_the_cpu():
    def work():
        retrieval("meta", lr=0.1, patience=1, epochs=3)

    assert len(check_every_place(work, harmless=("self.of, chosen",))) > 5


def head_network(device):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((40, 6)), draw.standard_normal((40, 3))
    linear = LinearMap(weight=draw.standard_normal((6, 3)), bias=np.zeros(3))
    blocks = {"read_training": lambda: [(x, y)], "read_held_out": lambda: [(x[:8], y[:8])]}
    torch.manual_seed(0)  # of dropout
    settings = HeadNetworkSettings(hidden=8, max_epochs=2, batch_size=16)
    found = train_network(**blocks, linear=linear, seed=0, device=device, settings=settings)
    return {name: values.tolist() for name, values in found.arrays.items()}, found.error


def test_the_network_of_a_head_is_the_same_on_another_device():
    cpu, far = both(head_network)
    assert cpu == far


def test_the_network_of_a_head_notices_whatever_is_left_on_the_cpu():
    assert check_every_place(lambda: head_network("meta"))


@pytest.fixture
def clips(tmp_path):
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", noise(0.3, number), rate_hz=16_000)
    return [Clip(path=tmp_path / f"{number}.wav") for number in range(3)]


@pytest.mark.parametrize(
    "name", ["logmel", "melpower", "own checkpoint", "published weights", "torch module", "wav2vec2"]
)
def test_encoders_embed_files_the_same_on_another_device(name, clips, tmp_path, monkeypatch):
    """The whole pass: decoding, statistics where an encoder needs them, batches, the cache."""
    monkeypatch.chdir(tmp_path)
    spec = KINDS_OF_ENCODERS[name](tmp_path)

    def embed(device):
        with pause():
            loaded = load_encoder(spec, trust_code=True)
        encoder = replace(loaded, device=move(loaded.encoder, device, spec))
        assert encoder.device == device
        settings = EmbedSettings(cache=tmp_path / device, batch_size=2, jobs=1)
        return np.array(embed_clips(encoder, clips, settings, fit_on=clips, twice=True))

    cpu, far = both(embed)
    np.testing.assert_allclose(cpu, far, rtol=1e-5, atol=1e-6)  # attention is put together in another way

    def embed_again():
        shutil.rmtree(tmp_path / "meta")
        embed("meta")

    moves_audio = name != "logmel"  # the encoder itself, too
    check_every_place(embed_again, harmless=("audio = samples.to(", "yield _stack(") if moves_audio else ())


def test_room_on_a_gpu_is_a_share_of_its_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert standardised.measure_room("cuda:1") == 1000 * standardised.GPU_SHARE
    assert standardised.measure_room("cpu") == 0


@pytest.mark.parametrize(
    ("rank", "name", "device"), [("0", None, "cuda:0"), ("1", "cuda", "cuda:1"), ("1", "cpu", "cpu")]
)
def test_each_process_of_torchrun_takes_its_own_gpu(monkeypatch, rank, name, device):
    """In benchmark and in pretrain, which also makes it torch's current one."""
    current = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    for fact, value in {"is_available": True, "device_count": 2, "set_device": None}.items():
        monkeypatch.setattr(torch.cuda, fact, lambda *given, value=value: current.extend(given) or value)
    assert processes.pick_device(name) == device
    assert machine.take_device(name) == torch.device(device)
    assert current == ([torch.device(device)] if device != "cpu" else [])
