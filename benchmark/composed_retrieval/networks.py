"""The networks of the retrieval system, those of several systems stacked.

Shape letters: S systems, B batch, D embedding size, H shared space, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.composed_retrieval.pairs import KINDS, System
from benchmark.protocol import ComposedSettings
from bgknown.seeding import derive_key

TOWERS = ("audio", "text")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Standardised embeddings of some pairs, for each system."""

    audio: Tensor
    """[S, 2 B, D] the first soundscapes, then the second ones: one product for both."""
    text: Tensor
    """[S, B, D']"""
    classes: Tensor
    """[S, 2 B, C] 1 for the events that sound in ``audio``."""
    kept: Tensor | None = None
    """[S, 3 B, H] what dropout leaves of the latents of ``audio`` and of ``text``; None for all."""


class Networks(torch.nn.Module):
    """Adapters and classifiers of several systems.

    An adapter is Linear, GELU, Linear, with what came out of the first added, and LayerNorm. The classifier is linear.
    Weights begin as those of torch.nn.Linear, drawn from a system's seed alone.
    """

    audio_share: Tensor
    text_share: Tensor

    def __init__(
        self, systems: Sequence[System], *, audio: int, text: int, classes: int, settings: ComposedSettings
    ) -> None:
        super().__init__()
        size, count = settings.size, len(systems)
        shapes = {
            "audio_in": (size, audio),
            "audio_out": (size, size),
            "text_in": (size, text),
            "text_out": (size, size),
            "classes": (classes, size),
        }
        # weights stand as [S, inputs, outputs]: so their gradients come out in the same layout, and are not copied
        self.weight, self.bias = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for name, shape in shapes.items():
            drawn = [_initial(system.seed, name, shape) for system in systems]
            self.weight[name] = torch.nn.Parameter(torch.stack([weight.T for weight, _ in drawn]))
            self.bias[name] = torch.nn.Parameter(torch.stack([bias for _, bias in drawn]).unsqueeze(1))
        self.scale = torch.nn.ParameterDict({name: torch.ones(count, 1, size) for name in TOWERS})
        self.shift = torch.nn.ParameterDict({name: torch.zeros(count, 1, size) for name in TOWERS})
        self.log_temperature = torch.nn.Parameter(torch.full((count, 1, 1), math.log(settings.temperature)))
        shares = torch.tensor([KINDS[system.kind] for system in systems])
        self.register_buffer("audio_share", shares[:, :1].unsqueeze(2))
        self.register_buffer("text_share", shares[:, 1:].unsqueeze(2))

    def latent(self, tower: str, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """[S, B, D] standardised embeddings -> [S, B, H]."""
        first = self._linear(f"{tower}_in", x)
        second = self._linear(f"{tower}_out", functional.gelu(first))
        if kept is not None:
            second = second * kept
        normal = functional.layer_norm(first + second, first.shape[-1:])
        return torch.addcmul(self.shift[tower], normal, self.scale[tower])

    def latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Queries [S, B, H], and the latents [S, 2 B, H] of both sides, of which the second half are the targets."""
        kept = [None, None] if batch.kept is None else batch.kept.tensor_split([batch.audio.shape[1]], dim=1)
        audio = self.latent("audio", batch.audio, kept[0])
        first = audio[:, : batch.text.shape[1]]
        text = self.latent("text", batch.text, kept[1])
        return self.audio_share * first + self.text_share * text, audio

    def losses(self, batch: Batch, settings: ComposedSettings) -> Tensor:
        """[S] each system's loss: contrastive in both directions, and classification of both sides."""
        query, audio = self.latents(batch)
        target = audio[:, batch.text.shape[1] :]
        similar = torch.bmm(functional.normalize(query, dim=2), functional.normalize(target, dim=2).mT)
        similar = similar * torch.exp(-self.log_temperature)
        there = torch.log_softmax(similar, dim=2).diagonal(dim1=1, dim2=2)
        back = torch.log_softmax(similar, dim=1).diagonal(dim1=1, dim2=2)
        contrastive = -(there + back).mean(dim=1) / 2
        heard = self._linear("classes", audio)
        wrong = functional.binary_cross_entropy_with_logits(heard, batch.classes, reduction="none")
        return settings.contrastive_weight * contrastive + settings.classification_weight * wrong.mean(dim=(1, 2))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[name], x, self.weight[name])


def _initial(seed: int, name: str, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weight and bias as torch.nn.Linear begins: uniform within 1 / sqrt(inputs)."""
    draw = torch.Generator().manual_seed(derive_key(seed, "retrieval weights", name))
    bound = 1.0 / math.sqrt(shape[1])
    weight = torch.empty(shape).uniform_(-bound, bound, generator=draw)
    return weight, torch.empty(shape[0]).uniform_(-bound, bound, generator=draw)
