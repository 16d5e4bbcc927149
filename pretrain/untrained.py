"""The kind ``audiontt2022-untrained``: AudioNTT2022 before any training, with the paper's front end.

What a random network preserves of the sound is the baseline for a trained one.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgknown.errors import InvalidInputError
from bgknown.sounds import SoundList
from pretrain.encoder import ByolaEncoder, make_encoder
from pretrain.frontend import FrontEnd
from pretrain.networks import AudioNTT2022

NAME = "audiontt2022-untrained"
"""The kind's name, and with seed 0 the encoder's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options after the name."""

    seed: int = 0
    """Seed of the weights; a seed other than 0 is part of the encoder's name."""
    mean: float | None = None
    """Mean of the log-mel to normalise by, with std; overrides the task's."""
    std: float | None = None
    """Standard deviation of the log-mel to normalise by, with mean."""


def load(target: str, options: Options) -> ByolaEncoder:
    """Make the network; its statistics are taken from the training audio of the task unless they are given.

    Args:
        target: must be empty.
        options: the seed, and statistics.

    Raises:
        InvalidInputError: there is a target, or the statistics make no sense.
    """
    if target:
        raise InvalidInputError(f"{NAME}: takes no target, {target!r} given; write {NAME} alone, or {NAME}?seed=1")
    front_end = FrontEnd()
    return make_encoder(
        AudioNTT2022(n_mels=front_end.n_mels, seed=options.seed),
        front_end,
        None,
        name=f"{NAME}-seed{options.seed}" if options.seed else NAME,
        mean=options.mean,
        std=options.std,
        trained_on=SoundList(),
    )
