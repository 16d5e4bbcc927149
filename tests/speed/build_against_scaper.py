"""How long `bgknown build` takes against a plain loop over Scaper in one process.

Both sides write the same mixtures, references and JAMS from the same recipes (one for each seed), with the same
stand-in for SoX. The plain loop neither hashes nor flushes to the disk; the build does both. Each side is timed as
whole processes, from start to end, in turn.

    python tests/speed/build_against_scaper.py --esc50 ../shared/data/esc10 --fsd50k ../shared/data/fsd50k --seeds 5
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from bgknown.audio.files import LARGEST_PCM16, RATE_HZ, as_pcm32, read_header, read_whole_44k, to_pcm16
from bgknown.corpora import esc50, fsd50k
from bgknown.corpora.headers import default_cache
from bgknown.mixtures.recipe import resolve_sources
from bgknown.render import scaper as renderer

FRAMES = 5 * RATE_HZ


@contextlib.contextmanager
def at_home(core):
    """Scaper with the same numpy and SoX as in the build, and its own soundfile."""
    before = core.np, core.sox
    core.np, core.sox = renderer._NUMPY, renderer._STAND_IN
    yield
    core.np, core.sox = before


def plain_loop(esc50_root: Path, fsd50k_root: Path, recipe: Path, out: Path) -> None:
    """What a user of Scaper would write: one soundscape after another."""
    core = renderer.load()
    corpora = esc50.index(esc50_root, cache=default_cache()), fsd50k.index(fsd50k_root, cache=default_cache())
    for name in ("mix", "a", "b", "c", "jams", "links"):
        (out / name).mkdir(parents=True)
    for sources in resolve_sources(pd.read_csv(recipe), *corpora):
        with at_home(core), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _plain_row(
                core,
                sources.row.to_columns(),
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


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=None)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--fsd50k", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--plain", nargs=2, type=Path, metavar=("RECIPE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain_loop(options.esc50, options.fsd50k, *options.plain)
        return
    corpora = ["--esc50", str(options.esc50), "--fsd50k", str(options.fsd50k)]
    bgknown = [sys.executable, "-m", "bgknown"]
    totals = {"plain": 0.0, "build": 0.0}
    rows = equal = files = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            recipe, plain, built = (Path(folder) / f"{name}{seed}" for name in ("recipe.csv", "plain", "built"))
            timed([*bgknown, "plan", *corpora, "--seed", str(seed), "--out", str(recipe)])
            totals["plain"] += timed([sys.executable, __file__, *corpora, "--plain", str(recipe), str(plain)])
            command = [*bgknown, "build", *corpora, "--recipe", str(recipe), "--out", str(built)]
            totals["build"] += timed([*command, "--jobs", str(options.jobs)])
            rows += len(pd.read_csv(recipe))
            for name in ("mix", "a", "b", "c"):
                for path in (plain / name).iterdir():
                    files += 1
                    equal += path.read_bytes() == (built / "audio" / name / path.name).read_bytes()
            print(f"seed {seed}: build / plain so far {totals['build'] / totals['plain']:.3f}", flush=True)
            subprocess.run(["rm", "-rf", str(plain), str(built)], check=True)
    print(f"{rows} rows, {options.jobs} processes: build / plain loop = {totals['build'] / totals['plain']:.3f}")
    print(f"{equal} of {files} audio files have the same bytes on both sides")


if __name__ == "__main__":
    main()
