"""How fast `bgknown apwd build` renders against the published loop over scaper.generate_from_jams.

One process against one process, the same JAMS and sources, 16-bit files on both sides (Scaper's own have 32 bits
and take longer), with the same stand-in for SoX in the loop. The build also checks every field of the JAMS, makes the
texts, hashes each file and flushes it to the disk; the loop does none of these. Rates are taken inside each process,
from the first pair to the last; the loop is warmed up with a few soundscapes, the build with a first pass that opens
every recording. The two sides take turns, and a build in two processes takes one as well. A ratio is taken in each
turn, and the median of the turns counts; the ratio of CPU seconds is the one to trust on cores that other programs use
as well.

One process renders in one thread and stores in others, so it keeps more than one core busy by itself. Hence what a
second process gains is also measured with one core for each process (``taskset``), and with the output in memory
(``--memory /dev/shm``), where no disk is the limit. Then rendering alone with more processes, and the build's peak
memory for more and more pairs, without a first pass (it counts the pages of the sources that are mapped).

    bgknown apwd prepare --fsd50k ../shared/data/fsd50k --esc50 ../shared/data/esc10 --background rain=Rain \\
        --event dog --event rooster --out source
    bgknown apwd draw --source source --scene rain --event dog --event rooster --pairs 1000 --out jams
    python tests/speed/apwd_against_scaper.py --source source --jams jams
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import soundfile

from bgknown.apwd import build as building
from bgknown.apwd.build import PairBuildOptions
from bgknown.apwd.rendering import render_pcm16
from bgknown.audio.files import RATE_HZ, to_pcm16
from bgknown.jams.reading import parse_jams
from bgknown.render import scaper

WARM_UP = 4


def jams_of(folder: Path, pairs: int) -> list[Path]:
    """The JAMS of the first pairs."""
    return sorted(folder.rglob("*.jams"))[: 2 * pairs]


def loop(source: Path, paths: list[Path], out: Path) -> tuple[float, float]:
    """The published loop; gives soundscapes per second, and CPU seconds."""
    out.mkdir()
    start = begun = 0.0
    for number, path in enumerate([*paths[:WARM_UP], *paths]):
        if number == WARM_UP:
            start, begun = time.perf_counter(), time.process_time()
        first = json.loads(path.read_bytes())["annotations"][0]["data"][0]["value"]["source_file"]
        split = source / first.split("/")[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            audio = scaper.render_jams(path, split / "foreground", split / "background")
        soundfile.write(str(out / f"{path.stem}.wav"), to_pcm16(audio), RATE_HZ, subtype="PCM_16")
    return len(paths) / (time.perf_counter() - start), time.process_time() - begun


def build(source: Path, jams: Path, out: Path, jobs: int, *, opened: bool) -> tuple[float, float]:
    """The build; gives soundscapes per second, and the CPU seconds of this process.

    With ``opened``, all pairs are built once before, so that every recording is open, as it is for nearly all of the
    204,000 soundscapes that are made of some four hundred recordings.
    """
    if opened:
        building.build(PairBuildOptions(jams=jams, source=source, out=out / "before", jobs=jobs))
        shutil.rmtree(out / "before")
    start, begun = time.perf_counter(), time.process_time()
    report = building.build(PairBuildOptions(jams=jams, source=source, out=out / "set", jobs=jobs))
    return 2 * len(report.table) / (time.perf_counter() - start), time.process_time() - begun


def in_process(*arguments: str, cores: str = "") -> dict[str, float]:
    """One side in a process of its own: its rate, CPU seconds and peak memory; ``cores`` as ``taskset`` takes them."""
    command = [*(["taskset", "-c", cores] if cores else []), sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def equal_files(folder: Path, plain: Path) -> tuple[int, int, int]:
    """How many files there are, how many have the same samples, and the largest difference in steps."""
    same, count, largest = 0, 0, 0
    for path in plain.iterdir():
        found = next((folder / "set" / "audio").rglob(path.name))
        apart = soundfile.read(found, dtype="int16")[0].astype(int) - soundfile.read(path, dtype="int16")[0]
        count, same, largest = count + 1, same + (not apart.any()), max(largest, int(np.abs(apart).max()))
    return count, same, largest


def rendering(source: Path, jams: Path, processes: int) -> float:
    """Soundscapes per second of several processes that render and store nothing, once every recording is open."""
    barrier = multiprocessing.Barrier(processes)
    parts = [(source, jams, number, processes) for number in range(processes)]
    with multiprocessing.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        return len(list(jams.rglob("*.jams"))) / max(pool.starmap(_render_part, parts, chunksize=1))


def _share(barrier) -> None:
    global _BARRIER  # noqa: PLW0603
    _BARRIER = barrier


def _render_part(source: Path, jams: Path, number: int, processes: int) -> float:
    contents = [(path.read_bytes(), path.stem) for path in sorted(jams.rglob("*.jams"))]
    memory = np.empty(10 * RATE_HZ, np.int16)
    for data, name in contents:
        render_pcm16(parse_jams(data, name), source, name, memory)
    _BARRIER.wait()
    start = time.perf_counter()
    for data, name in contents[number::processes]:
        render_pcm16(parse_jams(data, name), source, name, memory)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--jams", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=100, help="pairs of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", type=Path, help="a folder in memory, for the output of some of the builds")
    parser.add_argument("--side", choices=["loop", "build"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--opened", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        paths = jams_of(options.jams, options.pairs)
        if options.side == "loop":
            rate, cpu_s = loop(options.source, paths, options.out)
        else:
            rate, cpu_s = build(options.source, options.jams, options.out, options.jobs, opened=options.opened)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"rate": rate, "cpu_s": cpu_s, "peak_mb": peak / 1e3}))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> None:
    chosen = folder / "jams"
    chosen.mkdir()
    for path in jams_of(options.jams, options.pairs):
        shutil.copy(path, chosen / path.name)
    common = ["--source", str(options.source), "--jams", str(chosen), "--pairs", str(options.pairs), "--opened"]
    for side in ("loop", "build"):
        in_process("--side", side, "--out", str(folder / side), *common)
    count, same, largest = equal_files(folder / "build", folder / "loop")
    print(f"{same} of {count} files have the same samples; largest difference {largest} steps of 16 bits", flush=True)
    for side in ("loop", "build"):
        shutil.rmtree(folder / side)
    compare_rates(options, folder, common)
    cores = os.cpu_count() or 1
    ratios = [rendering(options.source, chosen, cores) / rendering(options.source, chosen, 1) for _ in range(3)]
    print(f"rendering alone, nothing stored: {cores} processes / one process: {median(ratios):.2f}")
    for pairs in (options.pairs // 4, options.pairs // 2, options.pairs):
        growing = folder / f"growing{pairs}"
        growing.mkdir()
        for path in jams_of(options.jams, pairs):
            shutil.copy(path, growing / path.name)
        common[common.index("--jams") + 1] = str(growing)
        peak = in_process("--side", "build", "--out", str(folder / f"out{pairs}"), *common[:-1])["peak_mb"]
        print(f"peak memory with {pairs} pairs: {peak:.0f} MB")
        shutil.rmtree(folder / f"out{pairs}")


def compare_rates(options: argparse.Namespace, folder: Path, common: list[str]) -> None:
    """Print the rates of the build over those of the loop, and those of two processes over those of one."""
    ratios: dict[str, list[float]] = {}
    for turn in range(options.turns):
        plain = in_process("--side", "loop", "--out", str(folder / "loop"), *common)
        shutil.rmtree(folder / "loop")
        for place, where in {"on the disk": folder, "in memory": options.memory}.items():
            if where is None:
                continue
            with tempfile.TemporaryDirectory(dir=where) as out:

                def measure(jobs: int, cores: str = "", out: str = out) -> dict[str, float]:
                    where = f"{out}/{jobs} on {cores}"
                    return in_process("--side", "build", "--out", where, "--jobs", str(jobs), *common, cores=cores)

                one, two, alone, both = measure(1), measure(2), measure(1, "0"), measure(2, "0,1")
            found = {
                "build / loop, one process each": one["rate"] / plain["rate"],
                "CPU seconds of the loop / of the build": plain["cpu_s"] / one["cpu_s"],
                "build, two processes / one": two["rate"] / one["rate"],
                "build, two processes on two cores / one on one core": both["rate"] / alone["rate"],
            }
            for what, ratio in found.items():
                ratios.setdefault(f"{what}, output {place}", []).append(ratio)
        print(f"turn {turn}: {', '.join(f'{values[-1]:.2f}' for values in ratios.values())}", flush=True)
    for what, values in ratios.items():
        print(f"{what}: {median(values):.2f}")


def median(values: list[float]) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    main()
