"""One small encoder of every kind, as real third-party classes and files make them: name -> maker(folder) -> spec."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper

from pretrain.checkpoint import write_encoder
from pretrain.frontend import FrontEnd, Statistics
from pretrain.networks import AudioNTT2020, AudioNTT2022

RATE_HZ, SIZE, FRAME = 16_000, 12, 400


class Framed(torch.nn.Module):
    """Audio [B, N] -> mean over frames of a small layer [B, D]; any N from one frame on."""

    def __init__(self) -> None:
        super().__init__()
        self.rate_hz = RATE_HZ
        self.layer = torch.nn.Conv1d(1, SIZE, FRAME, stride=FRAME)
        with torch.no_grad():
            drawn = torch.randn(SIZE, 1, FRAME, generator=torch.Generator().manual_seed(0)) / FRAME**0.5
            self.layer.weight.copy_(drawn)
            self.layer.bias.fill_(0.1)

    def forward(self, audio):
        return torch.relu(self.layer(audio.unsqueeze(1))).mean(dim=2)


class WithFrames(Framed):
    """The same with its frames [B, T, D]."""

    def forward(self, audio):
        return torch.relu(self.layer(audio.unsqueeze(1))).transpose(1, 2)


def torchscript(folder: Path, module: torch.nn.Module | None = None, name: str = "script.pt") -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module or Framed()).save(str(folder / name))
    return str(folder / name)


def exported(folder: Path, module: torch.nn.Module | None = None, name: str = "program.pt2", **dims) -> str:
    free = {0: torch.export.Dim("clips", min=1, max=64), 1: torch.export.Dim("samples", min=1600, max=960_000)}
    shapes = ({**free, **dims.get("fixed", {})},) if dims.get("dynamic", True) else None
    program = torch.export.export(module or Framed(), (torch.zeros(3, RATE_HZ),), dynamic_shapes=shapes)
    torch.export.save(program, folder / name, extra_files={"rate_hz": str(RATE_HZ)})
    return str(folder / name)


def onnx_model(folder: Path, name: str = "model.onnx", rate_hz: int | None = RATE_HZ, **storage) -> str:
    """Frames of 400 samples through one layer, written node by node."""
    framed = Framed()
    weight = numpy_helper.from_array(framed.layer.weight.detach().numpy(), "weight")
    bias = numpy_helper.from_array(framed.layer.bias.detach().numpy(), "bias")
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("Unsqueeze", ["audio", "axes"], ["one"]),
        helper.make_node("Conv", ["one", "weight", "bias"], ["frames"], strides=[FRAME]),
        helper.make_node("Relu", ["frames"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    given = helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["clips", "samples"])
    made = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["clips", SIZE])
    graph = helper.make_graph(nodes, "framed", [given], [made], [weight, bias, axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if rate_hz:
        helper.set_model_props(model, {"rate_hz": str(rate_hz)})
    onnx.save(model, str(folder / name), **storage)
    return str(folder / name)


def onnx_external(folder: Path) -> str:
    return onnx_model(folder, save_as_external_data=True, location="weights.bin", size_threshold=100)


def own_checkpoint(folder: Path) -> str:
    network = AudioNTT2022(n_mels=16, d=300, hidden=8)
    front_end = FrontEnd(n_mels=16)
    write_encoder(folder / "own.safetensors", network, front_end, Statistics(mean=-7.0, std=4.0))
    return str(folder / "own.safetensors")


def published(folder: Path) -> str:
    torch.save(AudioNTT2020(d=512).state_dict(), folder / "AudioNTT2020-BYOLA-64x96d512.pth")
    return str(folder / "AudioNTT2020-BYOLA-64x96d512.pth")


HEAR = """
import torch

class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16000, 6, 6
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(6))

def load_model(model_file_path=""):
    model = Model()
    if model_file_path:
        model.load_state_dict(torch.load(model_file_path, weights_only=True))
    return model

def get_timestamp_embeddings(audio, model):
    frames = audio[:, : audio.shape[1] // 600 * 600].reshape(len(audio), -1, 6, 100)
    energy = frames.square().mean(dim=3) * model.scale
    times = (torch.arange(energy.shape[1]) + 0.5) * 37.5
    return energy, times.expand(len(audio), -1)

def get_scene_embeddings(audio, model):
    return get_timestamp_embeddings(audio, model)[0].mean(dim=1)
"""

XARES = """
import torch

class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.sampling_rate = 16000
        self.output_dim = 5
        self.hop_size_in_ms = 50
        self.scale = torch.nn.Parameter(torch.ones(5))

    def forward(self, audio):
        if audio.ndim == 1:
            audio = audio.unsqueeze(0)
        frames = audio[:, : audio.shape[1] // 800 * 800].reshape(len(audio), -1, 5, 160)
        return frames.square().mean(dim=3) * self.scale
"""

EVAR = """
import torch

class BaseAudioRepr(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = type(cfg)(cfg.copy())
    def precompute(self, device, data_loader):
        pass

class AR_Plain(BaseAudioRepr):
    def forward(self, batch_audio):
        parts = batch_audio.tensor_split(self.cfg.feature_d, dim=1)
        return torch.stack([part.square().mean(dim=1) for part in parts], dim=1)

class AR_Stats(AR_Plain):
    stats = None
    def precompute(self, device, data_loader):
        assert data_loader.batch_size > 0 and len(data_loader) > 0 and len(data_loader.dataset) > 0
        self.stats = torch.cat([super(AR_Stats, self).forward(audio.to(device)) for audio, _ in data_loader]).mean(0)
    def forward(self, batch_audio):
        return super().forward(batch_audio) / self.stats
"""

PYTHON = """
import torch

class Mine:
    rate_hz = 16000
    embedding_size = 3
    def __init__(self, weights=None, gain=1.0):
        self.name, self.gain = "mine", gain
    def embed(self, audio):
        return self.gain * torch.stack([audio.mean(1), audio.std(1), audio.abs().amax(1)], dim=1)

class Module(torch.nn.Module):
    sample_rate = 16000
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(4))
    def forward(self, audio):
        return torch.stack([part.square().mean(1) for part in audio.tensor_split(4, dim=1)], dim=1) * self.scale

def factory():
    return Mine(gain=2.0)

number = 3
"""

MTEB = """
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from mteb.models.modality_collators import AudioCollator

UNKNOWN = dict.fromkeys(set(ModelMeta.model_fields) & {
    "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens", "license", "open_weights",
    "public_training_code", "public_training_data", "use_instructions", "training_datasets",
})

class Tiny(AbsEncoder):
    def __init__(self, model_name, revision, device=None, **kwargs):
        torch.manual_seed(0)
        self.model = torch.nn.Conv1d(1, 12, 400, stride=400)
        self.words = torch.nn.Embedding(64, 12)
        self.device = device

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
        rows = []
        if "audio" in inputs.dataset.features:
            inputs.collate_fn = AudioCollator(target_sampling_rate=16000, max_samples=160000, min_samples=400)
        for batch in inputs:
            parts = []
            for column in batch.keys() & {"audio", "text"}:
                made = [getattr(self, column)(value) for value in batch[column]]
                parts.append(torch.nn.functional.normalize(torch.stack(made), dim=1))
            rows.append(sum(parts).detach().cpu())
        return torch.cat(rows)

    def audio(self, clip):
        assert clip["sampling_rate"] == 16000
        audio = torch.as_tensor(clip["array"], dtype=torch.float32).to(self.model.weight.device)
        return torch.relu(self.model(audio[None, None])).mean(dim=2)[0]

    def text(self, text):
        places = torch.tensor([ord(letter) % 64 for letter in text], device=self.words.weight.device)
        return self.words(places).mean(dim=0)

meta = ModelMeta(
    loader=Tiny, name="tests/tiny", revision="1", modalities=["audio", "text"], embed_dim=12, framework=["PyTorch"],
    similarity_fn_name="cosine", **UNKNOWN,
)
"""


def mteb_model(folder: Path) -> str:
    (folder / "mteb_model.py").write_text(MTEB)
    return f"mteb:{folder / 'mteb_model.py'}:meta"


def python_file(folder: Path) -> str:
    (folder / "mine.py").write_text(PYTHON)
    return f"{folder / 'mine.py'}:Mine"


def torch_module(folder: Path) -> str:
    return python_file(folder).replace(":Mine", ":Module")


def hear(folder: Path) -> str:
    (folder / "hearing.py").write_text(HEAR)
    torch.save({"scale": torch.full((6,), 2.0)}, folder / "hear.pth")
    return f"hear:{folder / 'hearing.py'}@{folder / 'hear.pth'}"


def xares(folder: Path) -> str:
    (folder / "xares_encoder.py").write_text(XARES)
    return f"xares:{folder / 'xares_encoder.py'}"


def evar(folder: Path, kind: str = "AR_Plain") -> str:
    """Found in the current folder, as EVAR's own modules are."""
    (folder / "ar_made.py").write_text(EVAR)
    (folder / "made.yaml").write_text("feature_d: 7\nsample_rate: 16000\n")
    return f"evar:ar_made.{kind}?config={folder / 'made.yaml'}"


def evar_stats(folder: Path) -> str:
    return evar(folder, "AR_Stats")


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
CONVOLUTIONS = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def saved(folder: Path, name: str, model, extractor) -> str:
    model.eval().save_pretrained(folder / name)
    extractor.save_pretrained(folder / name)
    return f"hf:{folder / name}"


def waveform_model(folder: Path, family: str, **more) -> str:
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}Model")(
        getattr(transformers, f"{family}Config")(**SMALL, **CONVOLUTIONS, feat_extract_norm="layer", **more)
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return saved(folder, family, model, extractor)


def wav2vec2(folder: Path) -> str:
    return waveform_model(folder, "Wav2Vec2")


def hubert(folder: Path) -> str:
    return waveform_model(folder, "Hubert")


def wavlm(folder: Path) -> str:
    return waveform_model(folder, "WavLM")


def data2vec(folder: Path) -> str:
    return waveform_model(folder, "Data2VecAudio")


def ast(folder: Path) -> str:
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        **SMALL, num_mel_bins=32, max_length=128, patch_size=8, time_stride=8, frequency_stride=8
    )
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128)
    return saved(folder, "ast", transformers.ASTModel(config), extractor)


def whisper(folder: Path) -> str:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=20,
        vocab_size=32,
        max_source_positions=1500,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    extractor = transformers.WhisperFeatureExtractor(feature_size=20)
    return saved(folder, "whisper", transformers.WhisperModel(config), extractor)


def clap(folder: Path) -> str:
    torch.manual_seed(0)
    audio = {
        "num_mel_bins": 64,
        "spec_size": 256,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "window_size": 4,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "projection_dim": 10,
        "num_hidden_layers": 2,
    }
    text = {**SMALL, "projection_dim": 10, "vocab_size": 40, "max_position_embeddings": 20}
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=10)
    extractor = transformers.ClapFeatureExtractor(feature_size=64, truncation="rand_trunc", padding="repeatpad")
    return saved(folder, "clap", transformers.ClapModel(config), extractor)


KINDS = {
    "logmel": lambda folder: "logmel",
    "melpower": lambda folder: "melpower",
    "audiontt2022-untrained": lambda folder: "audiontt2022-untrained",
    "own checkpoint": own_checkpoint,
    "published weights": published,
    "torchscript": torchscript,
    "exported": exported,
    "onnx": onnx_model,
    "onnx with external data": onnx_external,
    "python": python_file,
    "torch module": torch_module,
    "hear": hear,
    "xares": xares,
    "evar": evar,
    "evar with statistics": evar_stats,
    "mteb": mteb_model,
    "wav2vec2": wav2vec2,
    "hubert": hubert,
    "wavlm": wavlm,
    "data2vec": data2vec,
    "ast": ast,
    "whisper": whisper,
    "clap": clap,
}
