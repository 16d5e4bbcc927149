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

from benchmark.composed.pairs import KINDS, ComposedSettings, System
from bgknown.seeding import key

TOWERS = ("audio", "text")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Standardised embeddings of some pairs, for each system."""

    s1: Tensor
    """[S, B, D]"""
    s2: Tensor
    """[S, B, D]"""
    text: Tensor
    """[S, B, D']"""
    classes_s1: Tensor
    """[S, B, C]"""
    classes_s2: Tensor
    """[S, B, C]"""
    kept: Sequence[Tensor | None]
    """What dropout leaves of the latents of s1, s2 and text, [S, B, H] each; None for all."""


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
        self.weight, self.bias = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for name, shape in shapes.items():
            drawn = [_initial(system.seed, name, shape) for system in systems]
            self.weight[name] = torch.nn.Parameter(torch.stack([weight for weight, _ in drawn]))
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
        found: Tensor = normal * self.scale[tower] + self.shift[tower]
        return found

    def query(self, audio: Tensor, text: Tensor) -> Tensor:
        """Latents [S, B, H] of s1 and of the texts -> queries."""
        return self.audio_share * audio + self.text_share * text

    def losses(self, batch: Batch, settings: ComposedSettings) -> Tensor:
        """[S] each system's loss: contrastive in both directions, and classification of both sides."""
        first = self.latent("audio", batch.s1, batch.kept[0])
        second = self.latent("audio", batch.s2, batch.kept[1])
        query = self.query(first, self.latent("text", batch.text, batch.kept[2]))
        similar = torch.bmm(functional.normalize(query, dim=2), functional.normalize(second, dim=2).mT)
        similar = similar * torch.exp(-self.log_temperature)
        there = torch.log_softmax(similar, dim=2).diagonal(dim1=1, dim2=2)
        back = torch.log_softmax(similar, dim=1).diagonal(dim1=1, dim2=2)
        contrastive = -(there + back).mean(dim=1) / 2
        wrong = [
            functional.binary_cross_entropy_with_logits(self._linear("classes", latent), heard, reduction="none")
            for latent, heard in ((first, batch.classes_s1), (second, batch.classes_s2))
        ]
        classification = (wrong[0] + wrong[1]).mean(dim=(1, 2)) / 2
        return settings.contrastive_weight * contrastive + settings.classification_weight * classification

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[name], x, self.weight[name].mT)


def _initial(seed: int, name: str, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weight and bias as torch.nn.Linear begins: uniform within 1 / sqrt(inputs)."""
    draw = torch.Generator().manual_seed(key(seed, "retrieval weights", name))
    bound = 1.0 / math.sqrt(shape[1])
    weight = torch.empty(shape).uniform_(-bound, bound, generator=draw)
    return weight, torch.empty(shape[0]).uniform_(-bound, bound, generator=draw)
