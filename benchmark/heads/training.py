"""Training a head: recordings, mixtures, embeddings, regression, file and card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.embedding.settings import EmbedSettings
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from benchmark.heads.card import check_card, format_card
from benchmark.heads.drawing import MixtureDraw, MixtureRules
from benchmark.heads.features import FEATURE_FORMS
from benchmark.heads.fitting import FittedHead, HeadPairs, collect_pairs, fit_head
from benchmark.heads.head import HEAD_FORMAT, HeadFacts, read_head, write_head
from benchmark.heads.mixture_embeddings import MixtureEmbeddings
from benchmark.heads.recordings import RecordingChoice, RecordingPool, list_recordings
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import advise_option, make_folder, write_whole
from bgknown.settings import check_at_least, check_one_of
from bgknown.sounds import SoundList
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

LEAST_MIXTURES = 16
"""Fewest mixtures: two of them are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """How a head is trained."""

    encoder: str
    """What ``benchmark.encoders.registry`` loads the encoder by."""
    choice: RecordingChoice
    """The recordings."""
    out: Path
    """The file to write, ``.safetensors``; the card is next to it, ``.md``."""
    embedding: EmbedSettings
    """Cache folder and threads."""
    rules: MixtureRules = field(default_factory=MixtureRules)
    """How mixtures are drawn."""
    mixtures: int = 4_000
    """Number of mixtures that are drawn; one of eight is held out."""
    features: Literal["mix", "linear", "full"] = "full"
    """What the head sees."""
    kind: Literal["ridge", "network"] = "ridge"
    """What is trained."""
    device: str = "cpu"
    """Where the encoder and the network run."""
    trust_code: bool = False
    """Whether the encoder may run arbitrary code."""

    def __post_init__(self) -> None:
        expand_fields(self, "out")
        check_at_least("mixtures", self.mixtures, LEAST_MIXTURES)
        check_one_of("features", self.features, tuple(FEATURE_FORMS))
        check_one_of("kind", self.kind, ("ridge", "network"))
        if self.out.suffix != ".safetensors":
            raise InvalidInputError(f"{self.out}: the name of a head must end in .safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadReport:
    """A head that was trained."""

    facts: HeadFacts
    """What is known about it."""
    sounds: SoundList
    """The sounds that it was trained on."""
    file: Path
    """Its file."""
    card: Path
    """Its card."""


def train_head(options: HeadOptions) -> HeadReport:
    """Train a head and write its file and its card.

    Mixtures that the cache holds are not embedded again, so an interrupted training resumes.

    Raises:
        BgknownError: recordings, encoder or options break a rule, or a file cannot be written.
    """
    card = options.out.with_suffix(".md")
    _check_target(options.out)
    check_card(card)
    loaded = load_encoder(options.encoder, trust_code=options.trust_code, device=options.device)
    pool = list_recordings(options.choice, cache=options.embedding.cache)
    draw = MixtureDraw(pool.recordings, options.rules)
    embeddings = MixtureEmbeddings(
        loaded, draw, options.mixtures, options.embedding, skip_broken=options.choice.skip_broken
    )
    embeddings.compute_missing()
    pairs = _find_pairs(embeddings, options)
    fitted = fit_head(pairs, options.kind, seed=options.rules.seed, device=loaded.device)
    facts = _state_facts(options, loaded, pool, draw, fitted)
    sounds = pool.list_sounds(shortest_background=2 * options.rules.clip_frames)
    with advise_option("--out"):
        make_folder(options.out.parent)
        digest = write_head(options.out, facts, _collect_arrays(fitted), sounds)
        write_whole(card, format_card(facts, sounds, options.out.name, digest).encode())
    return HeadReport(facts=facts, sounds=sounds, file=options.out, card=card)


def _check_target(out: Path) -> None:
    """Refuse to replace a file that is not a head."""
    if not out.exists():
        return
    try:
        read_head(out)
    except InvalidInputError as error:
        raise StorageError(f"{out}: exists and is not a head; choose another --out") from error


def _find_pairs(embeddings: MixtureEmbeddings, options: HeadOptions) -> HeadPairs:
    """The mixtures to fit to; both parts need some."""
    training = np.concatenate([part for _, part in embeddings.read_blocks()])
    if len(training) < LEAST_MIXTURES or training.all():
        raise InvalidInputError(
            f"{len(training)} of {options.mixtures} mixtures have a foreground that may be used, "
            f"{int((~training).sum())} of them held out; draw more with --mixtures, or shorten the lists of "
            f"--no-foreground"
        )
    return collect_pairs(embeddings, options.features, training)


def _collect_arrays(fitted: FittedHead) -> dict[str, NDArray[np.float32]]:
    """The arrays of the file: outputs in the embeddings' own scale."""
    scales, network = fitted.pairs.scales, fitted.network
    main = fitted.chosen.fitted if network is None else fitted.chosen.training
    arrays = {
        "mean": scales.mean,
        "scale": scales.scale,
        "weight": main.weight * scales.target_scale,
        "bias": main.bias * scales.target_scale + scales.target_mean,
        "control.weight": fitted.control.fitted.weight * scales.target_scale,
        "control.bias": fitted.control.fitted.bias * scales.target_scale + scales.target_mean,
    }
    if network is not None:
        arrays |= network.arrays
        arrays["output.weight"] = arrays["output.weight"] * scales.target_scale
        arrays["output.bias"] = arrays["output.bias"] * scales.target_scale
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def _state_facts(
    options: HeadOptions, loaded: LoadedEncoder, pool: RecordingPool, draw: MixtureDraw, fitted: FittedHead
) -> HeadFacts:
    chosen, network, rules = fitted.chosen, fitted.network, options.rules
    return HeadFacts(
        format=HEAD_FORMAT,
        version=VERSION,
        encoder=loaded.name,
        encoder_key=loaded.key,
        embedding_size=loaded.encoder.embedding_size,
        features=options.features,
        kind=options.kind,
        penalty=chosen.penalty,
        prior=chosen.prior,
        alpha=fitted.alpha,
        control_penalty=fitted.control.penalty,
        error=chosen.error if network is None else network.error,
        ridge_error=chosen.error_of_zero,
        subtraction_error=fitted.subtraction_error,
        mix_error=fitted.mix_error,
        control_error=fitted.control.error,
        epochs=0 if network is None else network.epochs,
        mixtures=fitted.pairs.training_rows + fitted.pairs.held_out_rows,
        held_out_mixtures=fitted.pairs.held_out_rows,
        seed=rules.seed,
        snr_db=rules.snr_db,
        level_lufs=rules.level_lufs,
        duration_s=rules.duration_s,
        recordings=len(pool.recordings),
        sources=len({recording.source for recording in pool.recordings}),
        excluded=pool.excluded,
        backgrounds_only=sum(not each.is_foreground for each in pool.recordings),
        **draw.count_parts(),
    )
