"""Export: from a run's checkpoint to an encoder on its own, with a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import hash_bytes, write_whole
from bgknown.shown import markdown
from bgknown.userpath import user_path
from pretrain.checkpoint import Checkpoint, load_checkpoint, write_encoder

_BEGINNING = "An audio encoder: "
"""What model cards are recognised by."""
_COUNTED = ("clips", "hours", "broken", "sample", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The files of an export."""

    encoder: Path
    """The encoder, ``.safetensors``."""
    card: Path
    """Its model card, Markdown."""
    finished: bool
    """Whether training was finished."""


def export(checkpoint: Path, to: Path, *, name: str | None = None) -> ExportReport:
    """Write the encoder of a checkpoint as safetensors, with front end and statistics, and a model card next to it.

    Args:
        checkpoint: ``checkpoint.pt`` of a run, or the run's folder.
        to: a name that ends in ``.safetensors``; the card has the same name and ends in ``.md``.
        name: name of the encoder in results; None keeps the run's name.

    Raises:
        NotFoundError: there is no checkpoint.
        InvalidInputError: it is damaged, or was not made by a run of this software.
        StorageError: a file cannot be written, or the card would replace a file that is not a model card.
    """
    checkpoint, to = user_path(checkpoint), user_path(to)
    path = checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint
    read = load_checkpoint(path)
    if read.statistics is None or not _is_whole(read.card):
        raise InvalidInputError(f"{path}: not made by pretrain train, so nothing is known about its training")
    card = {**read.card, "name": name or str(read.card.get("name") or to.stem)}
    text = to.with_suffix(".md")
    if text.exists() and _BEGINNING not in text.read_text(encoding="utf-8", errors="replace"):
        raise StorageError(f"{text}: exists and is not a model card; choose another --to")
    write_encoder(to, read.network, read.front_end, read.statistics, card=card)
    write_whole(text, format_model_card(read, card, hash_bytes(to.read_bytes()), to.name).encode())
    return ExportReport(encoder=to, card=text, finished=card["steps_done"] == card["steps"])


def _is_whole(card: Mapping[str, Any]) -> bool:
    """Whether a card holds everything for a model card, in the types that ``pretrain train`` writes."""
    config, corpus = card.get("config"), card.get("corpus")
    if not isinstance(config, dict) or not isinstance(corpus, dict) or not all(map(_is_table, config.values())):
        return False
    counted = [*(corpus.get(name) for name in _COUNTED), card.get("steps"), card.get("steps_done")]
    lists = [corpus.get("folders"), corpus.get("match")]
    return (
        isinstance(config.get("objective"), dict)
        and all(type(value) in {int, float} for value in [*counted, config["objective"].get("lambda")])
        and all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
        and all(isinstance(card.get(name), str) for name in ("version", "commit", "torch"))
        and isinstance(corpus.get("index_sha256"), str)
    )


def _is_table(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(name, str) for name in values)


def format_model_card(encoder: Checkpoint, card: Mapping[str, Any], digest: str, file: str) -> str:
    """The text of the model card: what it is, what it was trained on and how, how to use it.

    Args:
        encoder: the encoder.
        card: the facts that are stored with it.
        digest: SHA-256 of its file.
        file: the file's name.
    """
    assert encoder.statistics is not None
    config, corpus, network, front_end = card["config"], card["corpus"], encoder.network, encoder.front_end
    weight = config["objective"]["lambda"]
    kind = f"BYOL-A with the difference loss, lambda {weight:g}" if weight else "BYOL-A (lambda 0)"
    chosen = f", {corpus['sample']:,} files chosen at random with seed {corpus['seed']}" if corpus["sample"] else ""
    matched = f", of the files that match {markdown(' or '.join(corpus['match']))}" if corpus["match"] else ""
    broken = f" Broken files that were left out: {corpus['broken']:,}." if corpus["broken"] else ""
    about = (
        "Its embeddings can be subtracted: f(mixture) - f(background) keeps what was added to the background."
        if weight
        else "It is the baseline of difference-aware encoders, whose embeddings can be subtracted."
    )
    commit = f", commit {markdown(card['commit'])}" if card["commit"] else ""
    folders = markdown(", ".join(corpus["folders"]))
    steps = f"{card['steps_done']:,} of {card['steps']:,}"
    settings = "\n".join(
        f"| {markdown(f'{table}.{name}')} | {markdown(str(value))} |"
        for table, values in config.items()
        for name, value in values.items()
    )
    return f"""# {markdown(card["name"])}

{_BEGINNING}{network.name} trained by {kind}.
{about}

| | |
| --- | --- |
| input | mono audio at {front_end.rate_hz:,} Hz, full scale -1..1, any length |
| output | {network.embedding_size:,} values a clip |
| log-mel | {front_end.n_mels} bands, {front_end.f_min:g}..{front_end.f_max:g} Hz, every \
{1_000 * front_end.hop / front_end.rate_hz:g} ms |
| statistics | mean {encoder.statistics.mean:.4f}, standard deviation {encoder.statistics.std:.4f} |
| steps | {steps} |
| file | {markdown(file)}, sha256 {digest} |

## Data

{corpus["clips"]:,} clips, {corpus["hours"]:,.2f} hours, from the folders {folders}{matched}\
{chosen}.{broken}
The corpus' index, which names every file and its hash, has the sha256 {markdown(corpus["index_sha256"])}.

## Use

    benchmark run --encoder {file} --task bgknown --data DIR --out results

## Software

bgknown {markdown(card["version"])}{commit}, torch {markdown(card["torch"])}.
Method: D. Takeuchi, M. Yasuda, D. Niizumi, N. Harada, "Towards Learning a Difference-Aware General-Purpose Audio
Representation".

## Configuration

| setting | value |
| --- | --- |
{settings}
"""
