"""Time, bytes and memory of every stage at three sizes, and what they give for the published corpora.

    python tests/speed/full_size.py [--stage build --stage train] [--turns 2] [--write]

Each stage is the command that users run, in one process with one thread, on synthetic audio in the page cache. Measured
are the CPU seconds of the process and its children (other work on the machine changes these less than wall time), the
bytes that it wrote, and its largest memory, with mapped files and without: these are shared by all processes, and the
system takes them back when it needs memory. A line through the three sizes gives the cost of a unit and the
fixed cost; the residual is the largest distance from that line, and growth compares the cost of a further unit at the
larger sizes with that at the smaller ones. What the whole takes is projected from the line, not measured. On n cores
the commands share the work, so divide by n, except for training, whose threads gain less.

The stage ``corpora`` makes corpora with as many files as published (ESC-50, FSD50K, VoxCeleb1, NSynth) from hard links,
and measures reading their lists and headers, and drawing BgKnown's recipe without listening. It projects nothing.

``--device cuda`` measures the stages that use a GPU, in wall seconds. ``--write`` stores the measurements in
full_size.json and writes the tables of README.md and REPRODUCE.md, which are made from it; other stages stay.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from full_size_fit import Cost  # noqa: E402
from full_size_lists import measure_lists, run_step  # noqa: E402
from full_size_stages import STAGES, Stage, Workshop  # noqa: E402
from full_size_tables import ON_GPU, Measurement, Measurements, list_tables, write_documents, write_store  # noqa: E402


def name_processor(device: str) -> str:
    """The card or the CPU, as the system names it."""
    if device != "cpu":
        import torch  # noqa: PLC0415

        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def name_commit() -> str:
    """The commit, with a mark where code differs from it."""
    git = ["git", "-C", str(HERE.parents[1])]
    found = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=False)
    same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "*.py", "*.toml"], capture_output=True, check=False)
    return (found.stdout.strip() or "unknown commit") + ", changed" * (same.returncode != 0)


def measure_stage(shop: Workshop, stage: Stage, turns: int) -> dict[int, Cost]:
    """The costs of a stage at each size: of several turns the least CPU time, because noise only adds to it."""
    costs: dict[int, Cost] = {}
    sizes = stage.sizes if shop.device == "cpu" or stage.on_gpu is None else stage.on_gpu
    if stage.compiles or shop.device != "cpu":
        shop.measure(stage, sizes[0])
    for turn in range(turns):
        for size in sizes:
            cost = shop.measure(stage, size)
            print(f"{stage.name}, turn {turn + 1}, {size:,}: {cost.seconds:.2f} s, {cost.peak_mb:,.0f} MB",
                  file=sys.stderr, flush=True)  # fmt: skip
            if size not in costs or cost.seconds < costs[size].seconds:
                costs[size] = cost
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [stage.name for stage in STAGES]
    parser.add_argument("--stage", action="append", choices=[*names, "corpora"], help="may be repeated; default all")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="folder for temporary files (about 3 GB)")
    parser.add_argument("--write", action="store_true", help="store the measurements, and write the tables")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(run_step(given.step[0], Path(given.step[1]))))
        return
    chosen = given.stage or [*names, "corpora"]
    on_gpu = given.device != "cpu"
    measured_on = f"{name_processor(given.device)}, {name_commit()}"
    found = Measurements(stages={}, lists={})
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="full-size-") as folder:
        shop = Workshop(Path(folder), given.device)
        for stage in STAGES:
            if stage.name not in chosen or (on_gpu and stage.on_gpu is None):
                continue
            measured = Measurement(costs=measure_stage(shop, stage, given.turns), measured_on=measured_on)
            if measured.seconds.per_unit <= 0:
                print(f"warning: {stage.name}: larger sizes took less time, so there is nothing to project from; "
                      "measure it again with more --turns", file=sys.stderr)  # fmt: skip
                continue
            found.stages[stage.name + ON_GPU * on_gpu] = measured
            if measured.seconds.grows:
                print(f"warning: {stage.name}: a further unit costs {measured.seconds.growth:.2f} times as much at the "
                      "larger sizes", file=sys.stderr)  # fmt: skip
            if given.write:  # what is measured is kept if a later stage is interrupted
                write_store(found)
        if "corpora" in chosen and not on_gpu:
            found.lists.update(measure_lists(shop, measured_on, Path(__file__)))
    if given.write:
        write_store(found)
        write_documents()
        return
    tables = list_tables(found)
    print(tables["stages"] + ("\n" + tables["lists"] if found.lists else ""))


if __name__ == "__main__":
    main()
