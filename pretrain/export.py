"""Export: from a run's checkpoint to an encoder on its own, with a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import hash_bytes, write_whole
from bgknown.shown import escape_line, markdown
from bgknown.sounds import SoundList
from bgknown.userpath import user_path
from pretrain.checkpoint import Checkpoint, load_checkpoint, write_encoder

_BEGINNING = "An audio encoder: "
"""What model cards are recognised by."""
_LIST_BEGINNING = "# Training data of "
"""What lists of training data are recognised by."""
LIST_SUFFIX = ".trained-on.txt"
_COUNTED = ("clips", "hours", "broken", "sample", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The files of an export."""

    encoder: Path
    """The encoder, ``.safetensors``."""
    card: Path
    """Its model card, Markdown."""
    trained_on: Path | None
    """The list of what it was trained on; None where the checkpoint, made by an earlier version, does not know it."""
    finished: bool
    """Whether training was finished."""


def export(checkpoint: Path, to: Path, *, name: str | None = None) -> ExportReport:
    """Write the encoder of a checkpoint as safetensors, with front end and statistics, and a model card next to it.

    A third file lists the Freesound ids and file hashes of the training corpus, which the encoder's file holds too.

    Args:
        checkpoint: ``checkpoint.pt`` of a run, or the run's folder.
        to: a name that ends in ``.safetensors``; the card has the same name and ends in ``.md``, the list in
            ``.trained-on.txt``.
        name: name of the encoder in results; None keeps the run's name.

    Raises:
        NotFoundError: there is no checkpoint.
        InvalidInputError: it is damaged, or was not made by a run of this software.
        StorageError: a file cannot be written, or card or list would replace a file that is neither.
    """
    checkpoint, to = user_path(checkpoint), user_path(to)
    path = checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint
    read = load_checkpoint(path)
    if read.statistics is None or not _is_whole(read.card):
        raise InvalidInputError(f"{path}: not made by pretrain train, so nothing is known about its training")
    card = {**read.card, "name": name or str(read.card.get("name") or to.stem)}
    text, listed = to.with_suffix(".md"), to.with_suffix(LIST_SUFFIX)
    _check_replaceable(text, _BEGINNING, "a model card")
    _check_replaceable(listed, _LIST_BEGINNING, "a list of training data")
    write_encoder(to, read.network, read.front_end, read.statistics, card=card, trained_on=read.trained_on)
    if read.trained_on is not None:
        write_whole(listed, _format_list(read.trained_on, card["name"]))
    write_whole(text, format_model_card(read, card, hash_bytes(to.read_bytes()), to.name).encode())
    return ExportReport(
        encoder=to,
        card=text,
        trained_on=None if read.trained_on is None else listed,
        finished=card["steps_done"] == card["steps"],
    )


def _check_replaceable(path: Path, beginning: str, what: str) -> None:
    if path.exists() and beginning not in path.read_text(encoding="utf-8", errors="replace"):
        raise StorageError(f"{path}: exists and is not {what}; choose another --to")


def _format_list(sounds: SoundList, name: str) -> bytes:
    """The list of what an encoder was trained on, for ``benchmark run --trained-on``."""
    beginning = f"{_LIST_BEGINNING}{escape_line(name)}: Freesound ids, then the first 16 digits of the files' SHA-256"
    return "".join(f"{line}\n" for line in (beginning, *sounds.to_lines())).encode()


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
        and _is_start(card.get("init"))
    )


def _is_start(init: object) -> bool:
    return init is None or (
        isinstance(init, dict) and all(isinstance(init.get(key), str) for key in ("file", "sha256"))
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
    commit = f", commit {markdown(card['commit'])}" if card["commit"] else ""
    settings = "\n".join(
        f"| {markdown(f'{table}.{name}')} | {markdown(str(value))} |"
        for table, values in card["config"].items()
        for name, value in values.items()
    )
    return f"""# {markdown(card["name"])}

{_BEGINNING}{_describe_training(encoder, card)}

| | |
| --- | --- |
{_list_facts(encoder, card)}
| file | {markdown(file)}, sha256 {digest} |

## Data

{_describe_corpus(card["corpus"])}
{_describe_sounds(encoder.trained_on, card["name"], file)}

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


def _describe_training(encoder: Checkpoint, card: Mapping[str, Any]) -> str:
    """What was trained, by what, and what its embeddings are for."""
    weight = card["config"]["objective"]["lambda"]
    kind = f"BYOL-A with the difference loss, lambda {weight:g}" if weight else "BYOL-A (lambda 0)"
    about = (
        "Its embeddings can be subtracted: f(mixture) - f(background) keeps what was added to the background."
        if weight
        else "It is the baseline of difference-aware encoders, whose embeddings can be subtracted."
    )
    return f"{encoder.network.name} trained by {kind}.\n{about}"


def _list_facts(encoder: Checkpoint, card: Mapping[str, Any]) -> str:
    """The rows of the table of input, output and training."""
    assert encoder.statistics is not None
    front_end, init = encoder.front_end, card.get("init")
    started = f"\n| started from | {markdown(init['file'])}, sha256 {markdown(init['sha256'])} |" if init else ""
    return f"""\
| input | mono audio at {front_end.rate_hz:,} Hz, full scale -1..1, any length |
| output | {encoder.network.embedding_size:,} values a clip |
| log-mel | {front_end.n_mels} bands, {front_end.f_min:g}..{front_end.f_max:g} Hz, every \
{1_000 * front_end.hop / front_end.rate_hz:g} ms |
| statistics | mean {encoder.statistics.mean:.4f}, standard deviation {encoder.statistics.std:.4f} |
| steps | {card["steps_done"]:,} of {card["steps"]:,} |{started}"""


def _describe_corpus(corpus: Mapping[str, Any]) -> str:
    """What the corpus was, as one paragraph."""
    chosen = f", {corpus['sample']:,} files chosen at random with seed {corpus['seed']}" if corpus["sample"] else ""
    matched = f", of the files that match {markdown(' or '.join(corpus['match']))}" if corpus["match"] else ""
    broken = f" Broken files that were left out: {corpus['broken']:,}." if corpus["broken"] else ""
    return f"""\
{corpus["clips"]:,} clips, {corpus["hours"]:,.2f} hours, from the folders {markdown(", ".join(corpus["folders"]))}\
{matched}{chosen}.{broken}
The corpus' index, which names every file and its hash, has the sha256 {markdown(corpus["index_sha256"])}."""


def _describe_sounds(sounds: SoundList | None, name: str, file: str) -> str:
    """What is known of the single clips of the corpus, as one paragraph."""
    if sounds is None:
        return "The checkpoint was written by an earlier version, which did not list the corpus' clips."
    listed = markdown(Path(file).with_suffix(LIST_SUFFIX).name)
    unlisted = f" {sounds.unidentified:,} files have neither." if sounds.unidentified else ""
    return (
        f"Its {len(sounds.freesound_ids):,} Freesound ids (found in file names) and {len(sounds.file_sha256):,} "
        f"different file hashes are listed\nin {listed}, sha256 {hash_bytes(_format_list(sounds, name))}.{unlisted}\n"
        "`benchmark run` compares them with the test clips of a task."
    )
