"""The card of a head: what it is, what it was trained on, how well it predicts, and how to use it."""

from __future__ import annotations

from pathlib import Path

from benchmark.heads.head import HeadFacts
from bgknown.errors import StorageError
from bgknown.shown import markdown
from bgknown.sounds import SoundList

_BEGINNING = "A head for the audio encoder "
"""What cards are recognised by."""


def check_card(path: Path) -> None:
    """Refuse to replace a file that is not a card.

    Raises:
        StorageError: it is something else.
    """
    if path.exists() and _BEGINNING not in path.read_text(encoding="utf-8", errors="replace"):
        raise StorageError(f"{path}: exists and is not the card of a head; choose another --out")


def format_card(facts: HeadFacts, sounds: SoundList, file: str, digest: str) -> str:
    """The text of the card.

    Args:
        facts: what is known about the head.
        sounds: the sounds that it was trained on.
        file: the name of its file.
        digest: SHA-256 of its file.
    """
    encoder = markdown(facts.encoder)
    errors = "\n".join(f"| {name} | {value:.3f} |" for name, value in list_errors(facts) if value is not None)
    return f"""# {markdown(file)}

{_BEGINNING}{encoder}: from the embeddings of a mixture and of a reference
background it predicts the embedding of the sound that was added. It takes the place of the subtraction y_mix - y_bg;
the encoder and its embeddings stay as they are.

| | |
| --- | --- |
| encoder | {encoder}, fingerprint {facts.encoder_key} |
| features | {facts.features}: {describe_features(facts)} |
| kind | {describe_kind(facts)} |
| file | {markdown(file)}, sha256 {digest} |
| made by | bgknown {facts.version} |

## Trained on

{facts.mixtures:,} mixtures of {facts.duration_s:g} s, drawn with seed {facts.seed} from {facts.recordings:,} recordings
without labels, of {facts.sources:,} sources: SNR {facts.snr_db[0]:g} to {facts.snr_db[1]:g} dB, background at
{facts.level_lufs[0]:g} to {facts.level_lufs[1]:g} LUFS, foreground at a random position. References of the same part of
the background (a), half of it (b) and none of it (c) take turns. Foreground and background are never of one source.

| recordings | to train on | held out |
| --- | ---: | ---: |
| foregrounds | {facts.foregrounds:,} | {facts.held_out_foregrounds:,} |
| backgrounds | {facts.backgrounds:,} | {facts.held_out_backgrounds:,} |

Files that were left out because their source was excluded: {facts.excluded:,}. Recordings that were not used as
foregrounds: {facts.backgrounds_only:,}. The head's file lists the sounds, as
{len(sounds.freesound_ids):,} Freesound ids and {len(sounds.file_sha256):,} hashes of files, which `benchmark run`
compares with its test clips.

## How well it predicts

Mean squared error on {facts.held_out_mixtures:,} held-out mixtures, whose foregrounds and backgrounds are of sources
that the others do not have, as a share of the variance of the clean embeddings (1.0: predicting their mean):

| | error |
| --- | ---: |
{errors}

A smaller error here does not prove better figures elsewhere: a head gains most on the kinds of sound that it was
trained with. Compare it with the plain subtraction on sounds that it has not heard.

## Use

```bash
benchmark run --encoder ENCODER --head {file} --data bgknown=DIR --data esc50=DIR --out results
```
"""


def list_errors(facts: HeadFacts) -> list[tuple[str, float | None]]:
    """Held-out errors by what predicts; None for what there is not."""
    alpha = "" if facts.alpha is None else f", {format_subtraction(facts)}"
    return [
        ("this head", facts.error),
        ("ridge regression shrunk to zero", facts.ridge_error),
        (f"best plain subtraction{alpha}", facts.subtraction_error),
        ("y_mix itself", facts.mix_error),
        ("control: ridge regression on y_mix alone", facts.control_error),
    ]


def format_subtraction(facts: HeadFacts) -> str:
    """The best plain subtraction as a formula."""
    return "" if facts.alpha is None else f"y_mix - {facts.alpha:.2f} y_bg"


def describe_features(facts: HeadFacts) -> str:
    """What the head sees."""
    more = ", relu(y_mix - y_bg), min(y_mix, y_bg)" if facts.features == "full" else ""
    return "y_mix" if facts.features == "mix" else f"y_mix, y_bg{more}"


def describe_kind(facts: HeadFacts) -> str:
    """What was trained, in words."""
    if facts.penalty is None:
        linear = f"the best plain subtraction, {format_subtraction(facts)}"
    else:
        to = format_subtraction(facts) if facts.prior == "subtraction" else "zero"
        linear = f"ridge regression with penalty {facts.penalty:g} per mixture, shrunk to {to}"
    if facts.kind == "ridge":
        return linear
    return f"network of two layers, best after {facts.epochs} epochs, added to: {linear}"
