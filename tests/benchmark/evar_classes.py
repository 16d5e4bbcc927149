"""EVAR's package in small: its base class, and classes that ask of the loader and the configuration what its own do."""

AR_BASE = """
import torch

class EasyDict(dict):
    # as the package of this name, which knows nothing of the configuration that it is a copy of
    def __init__(self, values):
        super().__init__()
        for name, value in dict(values).items():
            setattr(self, name, value)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        super().__setitem__(name, value)

    __setitem__ = __setattr__

class BaseAudioRepr(torch.nn.Module):
    def __init__(self, cfg, filename_mode=False):
        super().__init__()
        self.cfg = EasyDict(cfg.copy())
        self.filename_mode = filename_mode

    def precompute(self, device, data_loader):
        pass

    def encode_frames(self, batch_audio):
        raise NotImplementedError

    def forward(self, batch_audio):
        raise NotImplementedError

def calculate_norm_stats(device, data_loader, converter, max_samples=5000):
    # reads of the loader what EVAR's function of this name reads, and prints as it does
    seen, values = 0, []
    for batch_audio in data_loader:
        batch_audio = batch_audio if isinstance(batch_audio, torch.Tensor) else batch_audio[0]
        values.append(converter(batch_audio.to(device)).flatten())
        seen += len(batch_audio)
        if seen >= max_samples:
            break
    print(f"{seen} of {len(data_loader.dataset)} {data_loader.dataset.split} clips in {len(data_loader)} batches")
    print(f"at most {len(data_loader) * data_loader.batch_size} clips")
    return torch.cat(values).mean()
"""

AR_MADE = """
import torch
from evar.ar_base import BaseAudioRepr, calculate_norm_stats

class AR_Mean(BaseAudioRepr):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.layer = torch.nn.Linear(cfg.n_fft, cfg.get("size", 4))
        if cfg.weight_file:
            self.load_state_dict(torch.load(cfg.weight_file, weights_only=True))

    def forward(self, batch_audio):
        return self.layer(batch_audio[:, : self.cfg.n_fft])

class AR_Normed(AR_Mean):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, batch_audio):
        return self.norm(super().forward(batch_audio))

class AR_Frames(BaseAudioRepr):
    def precompute(self, device, data_loader):
        self.mean = torch.stack([audio.to(device).mean() for audio, labels in data_loader if len(labels) == len(audio)])

    def encode_frames(self, batch_audio):
        batch_audio = batch_audio - self.mean.mean()
        return batch_audio.reshape(len(batch_audio), -1, self.cfg.feature_d).mT

    def forward(self, batch_audio):
        return self.encode_frames(batch_audio).mean(dim=2)

class AR_Level(BaseAudioRepr):
    # like AR_MelSpec: its output is the audio's level over that of the training audio
    most = 5000

    def precompute(self, device, data_loader):
        self.loader = data_loader
        self.level = calculate_norm_stats(device, data_loader, torch.abs, self.most)

    def forward(self, batch_audio):
        return (batch_audio.abs().mean(dim=1) / self.level).unsqueeze(1).expand(-1, 4)

class AR_First(AR_Level):
    most = 1

class AR_Fixed(BaseAudioRepr):
    # like AR_AST: made for clips of one length
    made = []

    def __init__(self, cfg):
        super().__init__(cfg)
        assert (cfg.task_name, cfg.return_filename, cfg.mean, cfg.std) == ("", False, None, None)
        self.made.append(cfg.unit_samples)
        self.drawn = torch.nn.Parameter(torch.rand(4))
        self.place = torch.nn.Parameter(torch.arange(float(cfg.unit_samples)))

    def forward(self, batch_audio):
        return (batch_audio * self.place).mean(dim=1, keepdim=True) * self.drawn

class AR_FixedLevel(AR_Fixed):
    precompute = AR_Level.precompute
    most = 5000

    def forward(self, batch_audio):
        return super().forward(batch_audio) / self.level

class AR_FixedLater(BaseAudioRepr):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.place = torch.arange(float(self.cfg.unit_samples))

    def forward(self, batch_audio):
        return (batch_audio * self.place).mean(dim=1, keepdim=True).expand(-1, 4)

class AR_Length(BaseAudioRepr):
    def forward(self, batch_audio):
        return torch.full((len(batch_audio), 4), float(getattr(self.cfg, self.cfg.field)))

class AR_Task(BaseAudioRepr):
    def forward(self, batch_audio):
        return torch.full((len(batch_audio), 4), float(len(self.cfg.task_name)))

class AR_Files(BaseAudioRepr):
    def __init__(self, cfg):
        super().__init__(cfg, filename_mode=True)

class AR_Wide(AR_Level):
    # like AR_BYOLAX: returns more values than its configuration says
    def forward(self, batch_audio):
        return super().forward(batch_audio).repeat(1, 3)

class AR_Flat(AR_Frames):
    def encode_frames(self, batch_audio):
        return batch_audio

class AR_Asks(AR_Mean):
    def __init__(self, cfg):
        cfg.runtime = 3
        assert cfg["runtime"] == 3 and cfg.nested.depth == 2 and not hasattr(cfg, "absent")
        assert getattr(cfg, "absent", 5) == 5 and cfg.copy().nested.depth == 2
        super().__init__(cfg)

def make(cfg):
    return AR_Mean(cfg)
"""
