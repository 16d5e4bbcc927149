"""The second phase of a screening: encoders of the first phase on BgKnown and on tasks at hand, protocol ``linear``.

Encoders of a network share their front end, so the audio of a task is decoded once and kept as log-mels; what differs
are the statistics and the weights. The probes are those of ``benchmark run`` (``benchmark.evaluation.linear``).
"""

from __future__ import annotations

import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark.embedding.clips import Clip, read_clip
from benchmark.embedding.precision import compute_in
from benchmark.evaluation.linear import probe_linear
from benchmark.tasks import bgknown, esc50
from benchmark.tasks.contract import Fold, TaskData, TaskOptions
from benchmark.tasks.labelled import prepare
from benchmark.tasks.other_backgrounds import pair_other_backgrounds
from benchmark.tasks.own import index_own, read_own_facts
from bgknown.jobs.files import hash_bytes, write_whole
from pretrain.checkpoint import Checkpoint, load_checkpoint, write_encoder
from pretrain.config import Config, read_config
from pretrain.corpus import Corpus
from pretrain.frontend import FrontEnd, LogMelSpectrogram, Statistics
from pretrain.learner import make_network
from tests.experiments.screen_runs import NETWORKS, read_runs

MEASURED = ("mix", "a", "a*", "shuffled", "clean")
"""Settings of BgKnown in the table."""
_BATCH = {"cpu": 8, "cuda": 128}
"""Clips at a time: with few of them, and channels innermost, a CPU takes a third of the time."""
_LISTEN = 64
"""Clips that a process computes log-mels of in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePlan:
    """What is measured, and where results go."""

    encoders: list[Path]
    """Encoders in the project's format."""
    bgknown: Path
    """A dataset of ``bgknown build``."""
    esc50: Path
    """ESC-50 or ESC-10, for the clean clips and as a task."""
    own: list[str]
    """Tables of own tasks."""
    training_draws: int
    """Draws of each training clip that probes on BgKnown are trained on; all test draws are tested."""
    out: Path
    """Folder of predictions and log-mels."""
    jobs: int
    """Processes."""
    device: str
    """cpu or cuda."""


def unpack_encoders(bundles: list[Path], corpus: Corpus, to: Path) -> list[Path]:
    """Write the encoders of the first phase in the project's format.

    Args:
        bundles: files of ``bundle_runs``.
        corpus: what they were trained on; its list of sounds goes into the files.
        to: folder of the encoders.
    """
    to.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, weights, facts in (one for bundle in sorted(bundles) for one in read_runs(bundle)):
        if facts["index_sha256"] != corpus.fingerprint:
            raise ValueError(f"{name}: was trained on another corpus than {corpus.folder}")
        config = Config().with_tables(facts["config"], name)
        network = make_network(config.network, config.front_end.n_mels, 0)
        network.load_state_dict(weights)
        card = {"name": name, **{key: facts[key] for key in ("config", "steps_done", "torch")}}
        paths.append(to / f"{name}.safetensors")
        statistics = Statistics(**facts["statistics"])
        write_encoder(paths[-1], network, config.front_end, statistics, card=card, trained_on=corpus.sounds)
    return paths


def list_tasks(plan: MeasurePlan) -> list[TaskData]:
    """BgKnown with the settings of the table, ESC's official folds, and own tasks."""
    options = TaskOptions(cache=plan.out / "cache", data={"esc50": plan.esc50})
    tasks = [_keep_draws(bgknown.prepare(plan.bgknown, options), plan.training_draws)]
    tasks.append(prepare(esc50.FACTS, esc50.index(plan.esc50), plan.esc50, options))
    for name in plan.own:
        root = Path(name.partition("?")[0]).parent
        tasks.append(prepare(read_own_facts(name), index_own(name, root), root, options))
    return tasks


def _keep_draws(data: TaskData, training_draws: int) -> TaskData:
    """BgKnown with the settings of the table and the first draws of each training clip."""
    draws = data.table.get("draw", 0)
    keep = ((data.table["split"] == "test") | (draws < training_draws)).to_numpy()
    table = data.table[keep].reset_index(drop=True)
    split = table["split"].to_numpy()
    settings = bgknown.list_bgknown_settings(pair_other_backgrounds(table), clean=True)
    return replace(
        data,
        table=table,
        signals={name: list(itertools.compress(clips, keep)) for name, clips in data.signals.items()},
        settings=[setting for setting in settings if setting.name in MEASURED],
        folds=[Fold(name="", train=np.flatnonzero(split == "train"), test=np.flatnonzero(split == "test"))],
        gains=(),
        measures=None,
        bands=None,
    )


def measure_encoders(plan: MeasurePlan) -> None:
    """Predictions of all encoders on all tasks, one table each: OUT/predictions/TASK/ENCODER.csv."""
    tasks = list_tasks(plan)
    waiting = [
        (path, task)
        for task in tasks
        for path in sorted(plan.encoders, key=lambda path: path.stem.rpartition("_seed")[2])
        if not _find_predictions(plan, task.facts.name, path.stem).is_file()
    ]
    names = {task.facts.name: number for number, task in enumerate(tasks)}
    work = [(plan, path, names[task.facts.name]) for path, task in waiting]
    with ProcessPoolExecutor(plan.jobs, mp_context=get_context("spawn")) as pool:
        for network in sorted({path.stem.partition("_")[0] for path, _ in waiting}):
            for task in tasks:
                store_log_mels(task, read_config("small", NETWORKS[network]).front_end, plan.out, pool)
        list(tqdm(pool.map(_measure, work), total=len(work), desc="measure", mininterval=10.0, file=sys.stderr))


def _find_predictions(plan: MeasurePlan, task: str, encoder: str) -> Path:
    return plan.out / "predictions" / task / f"{encoder}.csv"


def _measure(work: tuple[MeasurePlan, Path, int]) -> None:
    plan, path, number = work
    torch.set_num_threads(1)
    task, begun = list_tasks(plan)[number], time.process_time()
    encoder = load_checkpoint(path)
    embeddings = {name: embed_signal(encoder, task, name, plan) for name in _list_signals(task)}
    embedded = time.process_time()
    # every fold has the same embeddings: the statistics are the encoder's own
    evaluation = probe_linear(task, [(fold, embeddings) for fold in task.folds], plan.device)
    table = evaluation.predictions[evaluation.predictions["metric"] == task.facts.metric]
    target = _find_predictions(plan, task.facts.name, path.stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, table.to_csv(index=False).encode())
    spent = (embedded - begun, time.process_time() - embedded)
    tqdm.write(f"{task.facts.name} {path.stem}: {spent[0]:.0f} s to embed, {spent[1]:.0f} s to probe", sys.stderr)


def _list_signals(task: TaskData) -> list[str]:
    return sorted({name for setting in task.settings for name in (setting.signal, setting.minus) if name})


def store_log_mels(task: TaskData, front_end: FrontEnd, out: Path, pool: ProcessPoolExecutor) -> None:
    """Compute the log-mels of a task's signals, once for all encoders of a front end."""
    for signal in _list_signals(task):
        path = _find_log_mels(task, signal, front_end, out)
        clips = _list_clips(task, signal)
        if path.is_file() and {*np.load(path)["names"].tolist()} >= {_name(clip) for clip in clips}:
            continue
        parts = [clips[start : start + _LISTEN] for start in range(0, len(clips), _LISTEN)]
        done = pool.map(_compute_log_mels, parts, itertools.repeat(front_end))
        title = f"{task.facts.name} {signal}"
        bar = tqdm(done, total=len(parts), desc=title, mininterval=10.0, file=sys.stderr)
        found = [log_mels for part in bar for log_mels in part]
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.array([one.shape[-1] for one in found])
        flat = np.concatenate([one.reshape(front_end.n_mels, -1) for one in found], axis=1).astype(np.float16)
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, flat=flat, frames=frames, names=[_name(clip) for clip in clips])
        path.with_suffix(".part").replace(path)


def _compute_log_mels(clips: list[Clip], front_end: FrontEnd) -> list[NDArray[np.float32]]:
    """[n_mels, T] of each clip."""
    torch.set_num_threads(1)
    log_mel = LogMelSpectrogram(front_end)
    with torch.no_grad():
        return [log_mel(torch.from_numpy(read_clip(clip, front_end.rate_hz)[0])[None])[0].numpy() for clip in clips]


def _list_clips(task: TaskData, signal: str) -> list[Clip]:
    """Each clip of a signal once."""
    return list(dict.fromkeys(task.signals[signal]))


def _name(clip: Clip) -> str:
    return f"{clip.path.name} {clip.place} {clip.duration_s}"


def _find_log_mels(task: TaskData, signal: str, front_end: FrontEnd, out: Path) -> Path:
    key = hash_bytes(repr((front_end, task.sha256)).encode())[:8]
    return out / "log_mels" / f"{task.facts.name}-{signal}-{key}.npz"


def embed_signal(encoder: Checkpoint, task: TaskData, signal: str, plan: MeasurePlan) -> NDArray[np.float32]:
    """[n, D] embeddings of a signal's clips, row by row of the task; they are kept in OUT/embeddings."""
    clips = _list_clips(task, signal)
    key = hash_bytes("\n".join(map(_name, clips)).encode())[:8]
    path = plan.out / "embeddings" / str(encoder.card["name"]) / f"{task.facts.name}-{signal}-{key}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, _embed(encoder, task, signal, plan))
        path.with_suffix(".part").replace(path)
    embeddings: NDArray[np.float32] = np.load(path)
    place = {clip: number for number, clip in enumerate(clips)}
    return embeddings[[place[clip] for clip in task.signals[signal]]]


@torch.no_grad()
def _embed(encoder: Checkpoint, task: TaskData, signal: str, plan: MeasurePlan) -> NDArray[np.float32]:
    """[n, D] embeddings of the different clips of a signal, from the stored log-mels."""
    assert encoder.statistics is not None
    network = encoder.network.to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = _BATCH[torch.device(plan.device).type]
    with np.load(_find_log_mels(task, signal, encoder.front_end, plan.out)) as stored:
        names, frames = stored["names"].tolist(), stored["frames"].tolist()
        known = dict(zip(names, torch.split(torch.from_numpy(stored["flat"]), frames, dim=1), strict=True))
    parts = [known[_name(clip)] for clip in _list_clips(task, signal)]
    frames = [part.shape[1] for part in parts]
    rows: list[torch.Tensor | None] = [None] * len(parts)
    for length in sorted(set(frames)):
        alike = [number for number, count in enumerate(frames) if count == length]
        for batch in (alike[first : first + size] for first in range(0, len(alike), size)):
            stack = torch.stack([parts[number] for number in batch])[:, None].to(plan.device).float()
            log_mels = encoder.statistics.normalise(stack)
            with compute_in("float32", plan.device):
                embedded = network(log_mels.contiguous(memory_format=torch.channels_last)).cpu()
            for number, row in zip(batch, embedded, strict=True):
                rows[number] = row
    embeddings: NDArray[np.float32] = torch.stack([row for row in rows if row is not None]).numpy()
    return embeddings


def read_predictions_of(out: Path) -> pd.DataFrame:
    """All predictions: encoder, task, setting, fold, clip_id, group, background, score."""
    tables: list[Any] = [
        pd.read_csv(path, dtype={"group": str, "background": str}).assign(task=path.parent.name, encoder=path.stem)
        for path in sorted((out / "predictions").glob("*/*.csv"))
    ]
    return pd.concat(tables, ignore_index=True)
