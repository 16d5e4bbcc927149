"""One pass of an encoder over a list of clips.

Decoding and resampling run in threads while the encoder computes, a few batches ahead at most, so memory does not grow
with the number of clips (``benchmark.embedding.ahead``).
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from benchmark import processes
from benchmark.embedding.ahead import DecodedBatch, DecodedClip, EncodedBatch, decode_ahead
from benchmark.embedding.amplitudes import write_amplitudes
from benchmark.embedding.batches import group_by_length
from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import Clip, read_clip
from benchmark.embedding.precision import compute_in
from benchmark.embedding.recognition import find_by_content
from benchmark.embedding.settings import EmbedSettings
from benchmark.embedding.store import Entry, Store
from benchmark.embedding.training_audio import DecodedAudio
from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder, check_output
from benchmark.encoders.loading import check_repeatable
from bgknown.audio.amplitude import measure_amplitudes
from bgknown.errors import BgknownError, InvalidInputError, StorageError
from bgknown.jobs.files import FileState
from bgknown.jobs.memory import keep_freed_memory
from bgknown.shown import escape_line

log = logging.getLogger(__name__)

KEPT_BYTES = 1 << 26
"""Arrays up to this size, such as batches of audio and their spectra, leave their memory to the next ones."""
SPOT_TOLERANCE = 1e-2
"""How far, relative to its largest value, a cached embedding may differ from a new one."""


@dataclass(slots=True, kw_only=True, eq=False)
class EmbeddingPass:
    """An encoder, the clips that it embeds, and the embeddings that are known so far."""

    loaded: LoadedEncoder
    """The encoder."""
    settings: EmbedSettings
    """How embeddings are computed."""
    store: Store
    """Where they are kept."""
    states: Mapping[Clip, FileState]
    """The clips, each with the state of its file."""
    broken: BrokenClips
    """Clips that cannot be used."""
    found: dict[Clip, Entry | None] = field(default_factory=dict)
    """The cached embedding of each clip; None where there is none."""

    def find_cached(self) -> None:
        """Look the clips up in the store, which is emptied if the encoder gives other embeddings than it holds.

        Raises:
            StorageError: it would have to be emptied, but other processes use it.
        """
        self.found = {clip: self.store.find(clip, state) for clip, state in self.states.items()}
        find_by_content(self.store, self.found, self.states)
        for clip, entry in self.found.items():
            if entry is not None and clip.sha256 and entry.sha256 != clip.sha256:
                self.found[clip] = None  # not the bytes that the dataset lists: read again, which checks them
        self._check_cached()
        self.broken.embedded = sum(entry is not None for entry in self.found.values())

    def embed_missing(self, batches: Sequence[list[Clip]], *, fit_on: Sequence[Clip], twice: bool) -> None:
        """Embed this process's share of the clips that are not cached.

        Args:
            batches: all clips.
            fit_on: audio for an encoder that takes statistics from it.
            twice: embed the first batch twice, and compare.

        Raises:
            InvalidInputError: the encoder breaks its contract.
            StorageError: the store cannot be written.
        """
        mine = batches if self.settings.shard is None else self.settings.shard.take(batches)
        share = mine[processes.rank() :: processes.count()]
        missing = [[clip for clip in batch if self.found[clip] is None] for batch in share]
        todo = [batch for batch in missing if batch]
        if not todo:
            return
        if isinstance(self.loaded.encoder, FittedEncoder):
            self._fit(self.loaded.encoder, fit_on)
            if self.broken.problems.keys() & {clip.path for clip in fit_on}:
                return  # the statistics include audio that will be left out
        keep_freed_memory(largest_bytes=KEPT_BYTES, of_threads=True)  # a tenth of the time would go into new pages
        kept = sum(map(len, mine)) - sum(map(len, todo))
        with self._show(f"embed {self.loaded.name}", kept + sum(map(len, todo)), initial=kept) as bar:
            for batch in decode_ahead(todo, self.loaded, self.settings.jobs, self.broken, self._encode):
                twice = not self._embed_batch(batch, twice=twice) and twice
                bar.update(len(batch.clips))

    def collect(self) -> dict[Clip, Entry]:
        """Where the embeddings of all clips are, once every process has embedded its share.

        Raises:
            StorageError: embeddings cannot be read back.
        """
        if processes.count() > 1:
            processes.wait_for_all()
            self.store = Store(self.store.folder, self.store.size)
        entries = {clip: self.found[clip] or self.store.find(clip, state) for clip, state in self.states.items()}
        find_by_content(self.store, entries, self.states)  # another process may have seen another state of a file
        whole = {clip: entry for clip, entry in entries.items() if entry is not None}
        lost = next((clip for clip in entries if clip not in whole), None)
        if lost is not None:
            raise StorageError(
                f"{self.store.folder}: the embedding of {lost.path} cannot be read back: the disk or the file is "
                f"failing; empty the cache (`benchmark cache --clear`) and run again"
            )
        return whole

    def _check_cached(self) -> None:
        """Empty the store if the encoder gives other embeddings: weights may change in ways that no key can see."""
        known = next(((clip, entry) for clip, entry in self.found.items() if entry is not None), None)
        if known is None or isinstance(self.loaded.encoder, FittedEncoder):
            return
        clip, entry = known
        samples, sha256 = read_clip(clip, self.loaded.encoder.rate_hz)
        new = self._encode([DecodedClip(clip=clip, samples=samples, sha256=sha256)]).rows[0]
        kept = self.store.gather([entry])[0]
        if np.abs(new - kept).max() <= SPOT_TOLERANCE * max(float(np.abs(kept).max()), 1e-30):
            return
        name = self.loaded.name
        if processes.count() > 1:
            raise StorageError(
                f"{self.store.folder}: encoder {name} no longer gives the embeddings that are cached for it; "
                f"empty the cache (`benchmark cache --clear`) and run again"
            )
        log.warning("encoder %s no longer gives the embeddings that are cached for it; they are computed again", name)
        self.found.update(dict.fromkeys(self.found))
        self.store = self.store.start_empty()

    def _fit(self, encoder: FittedEncoder, fit_on: Sequence[Clip]) -> None:
        """Let an encoder take its statistics from audio."""
        rate_hz, jobs = encoder.rate_hz, self.settings.jobs
        batches = group_by_length(list(dict.fromkeys(fit_on)), rate_hz, self.settings.batch_size, self.broken)

        def stream() -> Iterator[torch.Tensor]:
            for batch in decode_ahead(batches, self.loaded, jobs, self.broken):
                for decoded in batch.clips:
                    if not decoded.samples.any():
                        self.broken.add_silent(decoded.clip)
                yield _stack(batch.clips).to(self.loaded.device)
                bar.update(len(batch.clips))

        with self._show(f"statistics for {self.loaded.name}", len(fit_on), leave=False) as bar:
            audio = DecodedAudio(batches, rate_hz, stream, jobs=jobs, report=bar.update, broken=self.broken)
            try:
                with explain_failure(f"encoder {self.loaded.name}", "cannot be fitted"):
                    encoder.fit(audio)
            except InvalidInputError:
                if not self.broken.problems:  # otherwise broken clips may have left it without audio
                    raise

    def _embed_batch(self, batch: DecodedBatch, *, twice: bool) -> bool:
        """Embed a batch into the store, except broken clips and audio that is stored under another name.

        Returns:
            whether the batch was embedded twice, as requested.
        """
        new: list[DecodedClip] = []
        places = []
        for place, decoded in enumerate(batch.clips):
            entry = self.store.find_audio(decoded.sha256, decoded.clip.crop)
            if entry is None:
                new.append(decoded)
                places.append(place)
            else:
                self.store.alias([entry], [(decoded.clip, self.states[decoded.clip])])
        if not new:
            return False
        encoded = self._encode(new) if batch.encoded is None else batch.encoded.take(places)
        rows = encoded.rows
        finite = self.broken.keep_finite([decoded.clip for decoded in new], rows)
        if not finite.any():
            return False
        if twice:
            again = self._encode(new).rows
            check_repeatable(self.loaded.name, rows[finite], again[finite], self.settings.precision)
        usable = [(decoded.clip, decoded.sha256) for decoded in itertools.compress(new, finite)]
        self.store.append(rows[finite], [(clip, self.states[clip], sha256) for clip, sha256 in usable])
        heard = itertools.compress(encoded.amplitudes, finite)
        write_amplitudes(
            self.store.folder,
            [(sha256, clip.crop, amplitude) for (clip, sha256), amplitude in zip(usable, heard, strict=True)],
        )
        return twice

    def _encode(self, clips: Sequence[DecodedClip]) -> EncodedBatch:
        """Embed one batch and check the output against the contract; values may be NaN or infinite."""
        encoder, name, samples = self.loaded.encoder, self.loaded.name, _stack(clips)
        amplitudes = measure_amplitudes(samples.numpy())
        audio = samples.to(self.loaded.device)
        try:
            with torch.inference_mode(), compute_in(self.settings.precision, self.loaded.device):
                output = encoder.embed(audio)
        except BgknownError:
            raise
        except (Exception, SystemExit) as error:  # an encoder that exits must not end the run
            if isinstance(error, torch.OutOfMemoryError):
                raise InvalidInputError(
                    f"encoder {name} ran out of memory on a batch {list(audio.shape)}: lower --batch"
                ) from error
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InvalidInputError(
                f"encoder {name} failed on a batch {list(audio.shape)} that starts with {clips[0].clip.path}: "
                f"{type(error).__name__}: {reason}"
            ) from error
        rows = check_output(encoder, output, len(clips), finite=False).numpy()
        return EncodedBatch(rows=rows, amplitudes=amplitudes)

    @staticmethod
    def _show(title: str, total: int, *, initial: int = 0, leave: bool = True) -> tqdm[NoReturn]:
        """A progress bar of the first process, silent when stderr is not a terminal."""
        return tqdm(
            total=total,
            initial=initial,
            desc=escape_line(title),
            unit="clip",
            disable=not sys.stderr.isatty() or processes.rank() > 0,
            leave=leave,
            smoothing=0.05,
        )


def _stack(clips: Sequence[DecodedClip]) -> torch.Tensor:
    """Audio of a batch, [B, N] on the CPU; other threads can go on meanwhile, which they cannot while numpy does it."""
    return torch.stack([torch.from_numpy(decoded.samples) for decoded in clips])
