"""Time, bytes and memory of every stage at three sizes, and what they give for the published corpora.

    python tests/speed/full_size.py [--stage build --stage train] [--turns 2] [--write]

Each stage is the command that users run, in one process with one thread, on synthetic audio in the page cache. Measured
are the CPU seconds of the process and its children (other work on the machine changes these less than wall time), the
bytes that it wrote, and its largest resident memory. A line through the three sizes gives the cost of a unit and the
fixed cost; the residual is the largest distance from that line, and growth compares the cost of a further unit at the
larger sizes with that at the smaller ones. What the whole takes is projected from the line, not measured. On n cores
the commands share the work, so divide by n, except for training, whose threads gain less.

The stage ``corpora`` makes corpora with as many files as published (ESC-50, FSD50K, VoxCeleb1, NSynth) from hard links,
and measures reading their lists and headers, and drawing BgKnown's recipe without listening. It projects nothing.

``--device cuda`` measures the stages that use a GPU, in wall seconds; ``--write`` puts the rows into README.md.
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

from full_size_fit import COLUMNS, Cost, fit_line, format_row, format_table, replace_rows  # noqa: E402
from full_size_lists import LIST_COLUMNS, STEPS_OF_LISTS, measure_lists, run_step  # noqa: E402
from full_size_stages import STAGES, Stage, Workshop  # noqa: E402

README = HERE / "README.md"


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
    if stage.compiles:
        shop.measure(stage, stage.sizes[0])
    for turn in range(turns):
        for size in stage.sizes:
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
    parser.add_argument("--write", action="store_true", help="put the rows into README.md")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(run_step(given.step[0], Path(given.step[1]))))
        return
    chosen = given.stage or [*names, "corpora"]
    on_gpu = given.device != "cpu"
    about = {"measured on": f"{name_processor(given.device)}, {name_commit()}", "device": given.device}
    rows, lists, growing = [], [], []
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="full-size-") as folder:
        shop = Workshop(Path(folder), given.device)
        for stage in STAGES:
            if stage.name not in chosen or (on_gpu and not stage.on_gpu):
                continue
            costs = measure_stage(shop, stage, given.turns)
            key = stage.name + " with a GPU" * on_gpu
            rows.append(format_row(key, stage.unit, costs, stage.whole, {**about, "gpu": stage.gpu}))
            line = fit_line(stage.sizes, [costs[size].seconds for size in stage.sizes])
            growing += [f"{stage.name}: a further unit costs {line.growth:.2f} times as much"] * line.grows
        if "corpora" in chosen and not on_gpu:
            lists = measure_lists(shop, about["measured on"], Path(__file__))
    print(format_table(COLUMNS, rows) + ("\n" + format_table(LIST_COLUMNS, lists) if lists else ""))
    for warning in growing:
        print(f"warning: {warning} at the larger sizes", file=sys.stderr)
    if given.write:
        order = [f"`{name}{suffix}`" for name in names for suffix in ("", " with a GPU")]
        text = replace_rows(README.read_text(), "stages", COLUMNS, rows, order)
        README.write_text(replace_rows(text, "lists", LIST_COLUMNS, lists, [step.title for step in STEPS_OF_LISTS]))


if __name__ == "__main__":
    main()
