"""How long `bgknown build` takes: against a plain loop over Scaper, with either engine, and against its floor.

For each seed, in turn and each as whole processes from start to exit:

* a plain loop over Scaper, in one process, which neither hashes nor flushes to the disk, and a build of the same recipe
  with the engine `scaper`, which does both (`--jobs` processes);
* whole builds, the draw included, with the engines `scaper` and `direct` (one process);
* the floor of a build: each source decoded once and K-weighted once, and all files of the rows encoded and written,
  neither hashed nor flushed; there is no draw, no mixing, no measuring of what was mixed. Sources are decoded by
  libsndfile and K-weighted one after another;
* the quick floor: the same with the means of the build, which reads 16-bit WAV files as integers and K-weights four
  signals at a time.

All sides write the same audio, which is compared. CPU times are those of all processes of a side, so they can be
compared while other work runs; the elapsed times cannot.

    python tests/speed/build_against_scaper.py --esc50 ../shared/data/esc10 --fsd50k ../shared/data/fsd50k --seeds 5

`--as-wav` first makes copies of the corpora as 16-bit WAV files of 44.1 kHz, as they were published.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from bgknown.audio.files import (
    LARGEST_PCM16,
    RATE_HZ,
    as_pcm32,
    encode_parts,
    open_samples,
    read_header,
    read_whole_44k,
    to_pcm16,
)
from bgknown.audio.sources import SourceStore
from bgknown.corpora.columns import ESC50_PREFIXES
from bgknown.corpora.headers import default_cache
from bgknown.corpora.pair import CorpusPaths, open_corpus_paths
from bgknown.mixtures.rules import RowSources, resolve_sources
from bgknown.render import scaper as renderer
from bgknown.render.parts import read_part
from bgknown.render.weighted import weigh
from bgknown.render.weighted_lanes import LANES, measure_each_lufs

FRAMES = 5 * RATE_HZ


@contextlib.contextmanager
def at_home(core):
    """Scaper with the same numpy and SoX as in the build, and its own soundfile."""
    before = core.np, core.sox
    core.np, core.sox = renderer._NUMPY, renderer._STAND_IN
    yield
    core.np, core.sox = before


def list_sources(esc50_root: Path, fsd50k_root: Path, recipe: Path) -> list[RowSources]:
    corpora = open_corpus_paths(CorpusPaths(esc50=esc50_root, fsd50k=fsd50k_root), cache=default_cache())
    return list(resolve_sources(pd.read_csv(recipe), corpora))


def plain_loop(esc50_root: Path, fsd50k_root: Path, recipe: Path, out: Path) -> None:
    """What a user of Scaper would write: one soundscape after another."""
    core = renderer.load()
    for name in ("mix", "a", "b", "c", "jams", "links"):
        (out / name).mkdir(parents=True)
    for sources in list_sources(esc50_root, fsd50k_root, recipe):
        with at_home(core), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _plain_row(
                core,
                sources.row.to_columns(ESC50_PREFIXES),
                clip=esc50_root / sources.clip_file,
                recording=fsd50k_root / sources.recording_file,
                label=sources.background_label,
                out=out,
            )


def _plain_row(core, row, *, clip: Path, recording: Path, label: str, out: Path) -> None:
    links = out / "links" / row["clip_id"]
    sources = {"fg": _link(clip, links / "fg" / row["category"]), "bg": _link(recording, links / "bg" / label)}
    start_s = (row["a_start"] + 0.25) / RATE_HZ
    if row["a_start"] + FRAMES == soundfile.info(str(sources["bg"])).frames:
        start_s = row["a_start"] / RATE_HZ
    scape = core.Scaper(5.0, str(links / "fg"), str(links / "bg"))
    scape.ref_db = row["ref_db"]
    scape.add_background(("const", label), ("const", str(sources["bg"])), ("const", start_s))
    duration_s = min(5.0, soundfile.info(str(sources["fg"])).duration)
    scape.add_event(
        label=("const", row["category"]),
        source_file=("const", str(sources["fg"])),
        source_time=("const", 0.0),
        event_time=("const", 0.0),
        event_duration=("const", duration_s),
        snr=("const", row["snr_db"]),
        pitch_shift=None,
        time_stretch=None,
    )
    mixture, _, _, layers = scape.generate(jams_path=str(out / "jams" / f"{row['clip_id']}.jams"))
    crops = {}
    for name in "abc":
        first = row[f"{name}_start"]
        crops[name] = as_pcm32(soundfile.read(str(sources["bg"]), start=first, stop=first + FRAMES)[0])
    gain = np.exp((row["ref_db"] - core.get_integrated_lufs(crops["a"][:, None], RATE_HZ)) * np.log(10) / 20)
    signals = {"mix": mixture[:, 0], "a": layers[0][:, 0], "b": crops["b"] * gain, "c": crops["c"] * gain}
    scale = min(1.0, LARGEST_PCM16 / max(np.abs(signal).max() for signal in signals.values()))
    for name, signal in signals.items():
        soundfile.write(str(out / name / f"{row['clip_id']}.wav"), to_pcm16(signal * scale), RATE_HZ, subtype="PCM_16")


def _link(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    header = read_header(source)
    if header.rate_hz == RATE_HZ and header.channels == 1:
        (folder / source.name).symlink_to(source.resolve())
        return folder / source.name
    converted = folder / f"{source.stem}.wav"
    soundfile.write(str(converted), np.append(read_whole_44k(source, header), 0.0), RATE_HZ, subtype="DOUBLE")
    return converted


def do_the_least(esc50_root: Path, fsd50k_root: Path, recipe: Path, out: Path, *, quick: bool) -> None:
    """Decode and K-weight each source of a recipe once, and write four files of audio for each row."""
    for name in ("mix", "a", "b", "c"):
        (out / name).mkdir(parents=True)
    sources = list_sources(esc50_root, fsd50k_root, recipe)
    files = {esc50_root / row.clip_file for row in sources} | {fsd50k_root / row.recording_file for row in sources}
    (weigh_quickly if quick else weigh_one_by_one)(sorted(files))
    pcm = np.random.default_rng(0).integers(-3_000, 3_000, FRAMES, dtype=np.int16)
    for row in sources:
        for name in ("mix", "a", "b", "c"):
            with (out / name / f"{row.row.clip_id}.wav").open("wb") as file:
                file.writelines(encode_parts(pcm, "wav"))


def weigh_one_by_one(files: list[Path]) -> None:
    for file in files:
        _, audio = open_samples(file)
        weigh(soundfile.read(str(file))[0] if audio is None else audio)


def weigh_quickly(files: list[Path]) -> None:
    store = SourceStore()
    for begin in range(0, len(files), LANES):
        sources = [store.open(file) for file in files[begin : begin + LANES]]
        measure_each_lufs([read_part(source, 0, source.frames).samples for source in sources])


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command has taken, with all processes that it has started."""

    elapsed_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.elapsed_s + other.elapsed_s, self.cpu_s + other.cpu_s)


def timed(command: list[str]) -> Cost:
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=None)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Cost(time.perf_counter() - start, cpu_s)


RATIOS = [
    ("scaper_recipe", "plain", "Scaper engine / plain loop"),
    ("direct", "scaper", "direct engine / Scaper engine"),
    ("direct", "floor", "direct engine / floor"),
    ("direct", "quick_floor", "direct engine / quick floor"),
    ("floor", "scaper", "floor / Scaper engine"),
    ("quick_floor", "scaper", "quick floor / Scaper engine"),
]


def print_ratios(totals: dict[str, Cost]) -> None:
    for over, under, what in RATIOS:
        one, other = totals[over], totals[under]
        elapsed, cpu = one.elapsed_s / other.elapsed_s, one.cpu_s / other.cpu_s
        print(f"  {what}: CPU {cpu:.3f}, elapsed {elapsed:.3f}", flush=True)


def name_cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def copy_as_wav(root: Path, out: Path) -> Path:
    """A copy of a corpus whose audio is 16-bit WAV of 44.1 kHz and mono; the tables name stems, or get other names."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        target = out / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in {".ogg", ".wav", ".flac"}:
            audio = read_whole_44k(path, read_header(path))
            soundfile.write(str(target.with_suffix(".wav")), to_pcm16(audio), RATE_HZ, subtype="PCM_16")
        elif path.suffix == ".csv":
            target.write_bytes(path.read_bytes().replace(b".ogg", b".wav"))
        else:
            shutil.copy(path, target)
    return out


def measure_seed(seed: int, corpora: list[str], jobs: int, folder: Path) -> tuple[dict[str, Cost], int, int, int]:
    """The cost of each side, the number of rows, and how many files of audio are equal, of how many."""
    bgknown = [sys.executable, "-m", "bgknown"]
    recipe, out = folder / "recipe.csv", {name: folder / name for name in SIDES}
    timed([*bgknown, "plan", *corpora, "--seed", str(seed), "--out", str(recipe)])
    of_recipe = ["--recipe", str(recipe), "--jobs", str(jobs), "--engine", "scaper"]
    whole = ["--seed", str(seed), "--jobs", "1", "--engine"]
    again = [sys.executable, __file__, *corpora]
    commands = {
        "plain": [*again, "--plain", str(recipe), str(out["plain"])],
        "scaper_recipe": [*bgknown, "build", *corpora, *of_recipe, "--out", str(out["scaper_recipe"])],
        "scaper": [*bgknown, "build", *corpora, *whole, "scaper", "--out", str(out["scaper"])],
        "direct": [*bgknown, "build", *corpora, *whole, "direct", "--out", str(out["direct"])],
        "floor": [*again, "--floor", str(recipe), str(out["floor"])],
        "quick_floor": [*again, "--quick-floor", str(recipe), str(out["quick_floor"])],
    }
    costs = {name: timed(command) for name, command in commands.items()}
    files = equal = 0
    for path in (path for name in ("mix", "a", "b", "c") for path in (out["plain"] / name).iterdir()):
        for side in ("scaper_recipe", "scaper", "direct"):
            files += 1
            equal += path.read_bytes() == (out[side] / "audio" / path.relative_to(out["plain"])).read_bytes()
    return costs, len(pd.read_csv(recipe)), equal, files


SIDES = ("plain", "scaper_recipe", "scaper", "direct", "floor", "quick_floor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--fsd50k", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--as-wav", action="store_true")
    for side in ("--plain", "--floor", "--quick-floor"):
        parser.add_argument(side, nargs=2, type=Path, metavar=("RECIPE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain_loop(options.esc50, options.fsd50k, *options.plain)
        return
    for floor, quick in ((options.floor, False), (options.quick_floor, True)):
        if floor:
            do_the_least(options.esc50, options.fsd50k, *floor, quick=quick)
            return
    # compiled before anything is measured, or the floor of the first seed would be charged with it
    weigh(np.zeros(FRAMES))
    totals: dict[str, Cost] = defaultdict(Cost)
    rows = equal = files = 0
    with tempfile.TemporaryDirectory() as folder:
        roots = {"--esc50": options.esc50, "--fsd50k": options.fsd50k}
        if options.as_wav:
            roots = {name: copy_as_wav(root, Path(folder) / name.strip("-")) for name, root in roots.items()}
        corpora = [text for name, root in roots.items() for text in (name, str(root))]
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                costs, *counts = measure_seed(seed, corpora, options.jobs, Path(place))
            for side, cost in costs.items():
                totals[side] += cost
            rows, equal, files = (total + count for total, count in zip((rows, equal, files), counts, strict=True))
            print(f"seeds up to {seed}:")
            print_ratios(totals)
    print(f"{name_cpu()}: {rows} rows; builds of a recipe with {options.jobs} processes, whole builds with one")
    print("CPU seconds: " + ", ".join(f"{side} {cost.cpu_s:.1f}" for side, cost in totals.items()))
    print_ratios(totals)
    print(f"{equal} of {files} audio files have the bytes of the plain loop's")


if __name__ == "__main__":
    main()
