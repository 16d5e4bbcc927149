"""Embeddings of a head's mixtures: computed once, cached in blocks, resumable.

::

    {cache}/heads/{key}/            one folder for everything that the embeddings depend on
        about.json                  what the key stands for, for people
        block-{number}.npy          [m, 3, D] float32, sealed: y_mix, y_bg and y_clean of mixtures number * 128 onwards
        foregrounds.npy             [n] int64, sealed: the recordings, by place, that are the mixtures' foregrounds;
                                    made only where some recordings must not be foregrounds

Mixtures are embedded in batches of eight in their order, whatever is cached and however many there are, so that more
mixtures extend fewer to the bit. A block appears when it is whole; a damaged one is made again.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark.embedding.clips import RESAMPLER
from benchmark.embedding.precision import compute_in
from benchmark.embedding.settings import EmbedSettings
from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder, check_output
from benchmark.encoders.fingerprint import hash_code_beside
from benchmark.heads.drawing import MixtureDraw, find_training_rows
from benchmark.heads.mixing import find_plan, mix_signals
from bgknown.audio.sources import SourceStore
from bgknown.jobs.caches import HEAD_EMBEDDINGS
from bgknown.jobs.files import advise_option, hash_bytes, make_folder, write_whole
from bgknown.jobs.parallel import count_cores
from bgknown.jobs.sealed import read_sealed, write_sealed
from bgknown.shown import escape_line

MIXTURES_PER_BLOCK = 128
MIXTURES_PER_BATCH = 8
MIXTURES_PER_SEARCH = 4096
"""Mixtures whose foregrounds are found before they are written: enough that a recording has several of them."""
FIT_MIXTURES = 128
"""Mixtures, the first ones that are trained on, that encoders with statistics take these from."""
Found = TypeVar("Found")
MADE_SINCE = "0.2.0"
"""The version since which mixtures have been drawn and embedded as they are now; part of the key."""


class MixtureEmbeddings:
    """Embeddings of the first mixtures of a draw, block by block."""

    def __init__(
        self,
        loaded: LoadedEncoder,
        draw: MixtureDraw,
        count: int,
        settings: EmbedSettings,
        *,
        skip_broken: bool = False,
    ) -> None:
        """Describe the work; nothing is computed yet.

        Args:
            loaded: the encoder.
            draw: draws the mixtures.
            count: number of mixtures.
            settings: cache folder and number of threads; batches and precision are fixed here.
            skip_broken: whether to draw another mixture where a recording cannot be decoded.
        """
        self.loaded, self.draw, self.count = loaded, draw, count
        self._skip, self._jobs = skip_broken, settings.jobs or count_cores()
        self._is_foreground = np.array([each.is_foreground for each in draw.recordings], dtype=np.bool_)
        self._all_used = bool(self._is_foreground.all())
        facts = {
            "encoder": loaded.key,
            "mixtures": draw.sha256,
            "resampler": RESAMPLER,
            "software": MADE_SINCE,
            "skip_broken": skip_broken,
        }
        if isinstance(loaded.encoder, FittedEncoder):
            facts["code"] = hash_code_beside(type(getattr(loaded.encoder, "made", loaded.encoder)))
        self.folder = (
            settings.cache / HEAD_EMBEDDINGS.folder / hash_bytes(json.dumps(facts, sort_keys=True).encode())[:32]
        )
        self._about = {
            **facts,
            "name": f"{loaded.name}, mixtures for heads",
            "weights_sha256": loaded.weights_sha256,
            "precision": "float32",
            "rules": asdict(draw.rules),
            "recordings": len(draw.recordings),
        }

    def compute_missing(self) -> None:
        """Embed the mixtures that the cache does not hold.

        Raises:
            InvalidInputError: a recording cannot be decoded, or the encoder breaks its contract.
            StorageError: the cache cannot be written; finished blocks are kept.
        """
        wanted = {first: self._count_rows(first) for first in range(0, self.count, MIXTURES_PER_BLOCK)}
        there = {first: min(self._count_held(first), count) for first, count in wanted.items()}
        missing = [first for first in wanted if there[first] < wanted[first]]
        if not missing:
            return
        with advise_option("--cache"):
            make_folder(self.folder)
            write_whole(self.folder / HEAD_EMBEDDINGS.mark, (json.dumps(self._about, indent=1) + "\n").encode())
        if isinstance(self.loaded.encoder, FittedEncoder):
            with explain_failure(f"encoder {self.loaded.name}", "cannot be fitted to mixtures"):
                self.loaded.encoder.fit(_FitMixtures(self))
        with tqdm(
            total=sum(wanted.values()),
            initial=sum(there.values()),
            desc=escape_line(f"mixtures for {self.loaded.name}"),
            unit="mixture",
            disable=not sys.stderr.isatty(),
            smoothing=0.05,
        ) as bar:
            for first in missing:
                self._compute_block(first, wanted[first], bar)

    def read_blocks(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Blocks [m, 3, D] of the mixtures that are used, in their order, and [m] which of them are trained on.

        Mixtures whose foreground is a recording that must not be one are left out.
        """
        kept = None if self._all_used else self._is_foreground[self._read_foregrounds()]
        for first in range(0, self.count, MIXTURES_PER_BLOCK):
            rows = self._read(first)
            if rows is None:  # damaged since it was written
                self.compute_missing()
                rows = self._read(first)
                assert rows is not None
            used = min(MIXTURES_PER_BLOCK, self.count - first)
            rows, training = rows[:used], find_training_rows(first, used)
            if kept is not None:
                here = kept[first : first + used]
                rows, training = rows[here], training[here]
            yield rows, training

    def mix_batch(self, numbers: list[int]) -> NDArray[np.float32]:
        """Signals [n, 3, N] of some mixtures; those of one recording are mixed together, which decodes it once."""
        rate_hz = self.loaded.encoder.rate_hz

        def mix(number: int, store: SourceStore) -> NDArray[np.float32]:
            return mix_signals(self.draw, number, rate_hz, store, skip_broken=self._skip)

        mixed = self._by_background(mix, numbers)
        return np.stack([mixed[number] for number in numbers])

    def _by_background(
        self, work: Callable[[int, SourceStore], Found], numbers: Sequence[int], bar: tqdm[NoReturn] | None = None
    ) -> dict[int, Found]:
        """What is made of mixtures, in threads: those of one recording together, which decodes it once.

        Threads end soon after an interruption, too: a recording may have thousands of mixtures.
        """
        by_background: dict[Path, list[int]] = {}
        for number in numbers:
            by_background.setdefault(self.draw.plan_mixture(number).background.path, []).append(number)
        groups = list(by_background.values())
        ended = threading.Event()

        def make(group: Sequence[int]) -> list[Found]:
            store = SourceStore(keep=2)
            return [work(number, store) for number in itertools.takewhile(lambda _: not ended.is_set(), group)]

        pool = ThreadPoolExecutor(self._jobs)
        try:
            made: dict[int, Found] = {}
            for group, found in zip(groups, pool.map(make, groups), strict=True):
                made |= dict(zip(group, found, strict=True))
                if bar is not None:
                    bar.update(len(group))
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return made

    def _count_rows(self, first: int) -> int:
        """Rows of a block that are needed: whole batches."""
        used = min(MIXTURES_PER_BLOCK, self.count - first)
        return -(-used // MIXTURES_PER_BATCH) * MIXTURES_PER_BATCH

    def _count_held(self, first: int) -> int:
        rows = self._read(first)
        return 0 if rows is None else len(rows)

    def _compute_block(self, first: int, count: int, bar: tqdm[NoReturn]) -> None:
        known = self._read(first)
        rows = [] if known is None else [known]
        begin = first + (0 if known is None else len(known))
        signals = self.mix_batch(list(range(begin, first + count)))
        for place in range(0, len(signals), MIXTURES_PER_BATCH):
            batch = signals[place : place + MIXTURES_PER_BATCH]
            rows.append(self._embed(batch))
            bar.update(len(batch))
        data = io.BytesIO()
        np.save(data, np.concatenate(rows))
        with advise_option("--cache"):
            write_sealed(self._locate(first), data.getbuffer())

    def _embed(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """[m, 3, N] -> [m, 3, D]"""
        encoder = self.loaded.encoder
        audio = torch.from_numpy(signals.reshape(-1, signals.shape[-1])).to(self.loaded.device)
        exact = compute_in("float32", self.loaded.device)
        with explain_failure(f"encoder {self.loaded.name}", "failed on mixtures"), torch.inference_mode(), exact:
            output = encoder.embed(audio)
        embeddings: NDArray[np.float32] = check_output(encoder, output, len(audio)).numpy()
        return embeddings.reshape(len(signals), 3, -1)

    def _read_foregrounds(self) -> NDArray[np.int64]:
        """[n] which recordings are the foregrounds of the mixtures.

        Only the audio shows which attempt of a mixture is loud enough. What was found is kept, so that an interrupted
        search resumes.
        """
        path = self.folder / "foregrounds.npy"
        data = read_sealed(path)
        known: NDArray[np.int64] = np.zeros(0, np.int64) if data is None else np.load(io.BytesIO(data))
        place = {each.path: row for row, each in enumerate(self.draw.recordings)}

        def find(number: int, store: SourceStore) -> int:
            return place[find_plan(self.draw, number, store, skip_broken=self._skip).foreground.path]

        with tqdm(
            total=self.count,
            initial=len(known),
            desc="foregrounds",
            unit="mixture",
            disable=len(known) >= self.count or not sys.stderr.isatty(),
        ) as bar:
            while len(known) < self.count:
                numbers = range(len(known), min(len(known) + MIXTURES_PER_SEARCH, self.count))
                found = self._by_background(find, numbers, bar)
                known = np.append(known, [found[number] for number in numbers]).astype(np.int64)
                written = io.BytesIO()
                np.save(written, known)
                with advise_option("--cache"):
                    write_sealed(path, written.getbuffer())
        return known[: self.count]

    def _locate(self, first: int) -> Path:
        return self.folder / f"block-{first // MIXTURES_PER_BLOCK:06d}.npy"

    def _read(self, first: int) -> NDArray[np.float32] | None:
        """Rows of a block; None if it is missing or damaged."""
        data = read_sealed(self._locate(first))
        if data is None:
            return None
        rows: NDArray[np.float32] = np.load(io.BytesIO(data))
        return rows


class _FitMixtures:
    """Mixtures [B, N] for the statistics of an encoder, mixed again in each iteration."""

    def __init__(self, embeddings: MixtureEmbeddings) -> None:
        self._embeddings = embeddings
        numbers = np.arange(2 * FIT_MIXTURES)[find_training_rows(0, 2 * FIT_MIXTURES)][:FIT_MIXTURES].tolist()
        self._batches = [numbers[i : i + MIXTURES_PER_BATCH] for i in range(0, FIT_MIXTURES, MIXTURES_PER_BATCH)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[torch.Tensor]:
        for numbers in self._batches:
            mixtures = np.ascontiguousarray(self._embeddings.mix_batch(numbers)[:, 0])
            yield torch.from_numpy(mixtures).to(self._embeddings.loaded.device)
