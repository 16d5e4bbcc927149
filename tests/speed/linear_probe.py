"""Time of protocol ``linear``, next to scikit-learn's for the same fits.

    python -m tests.speed.linear_probe                                          # 7 settings, 400 clips x 3,072
    python -m tests.speed.linear_probe --clips 2000 --classes 50
    python -m tests.speed.linear_probe --clips 153516 --classes 1251 --settings 1 --validation --no-peer   # VoxCeleb1

Embeddings are synthetic: overlapping clusters whose variances fall from direction to direction like those of real ones.
The peer, scikit-learn's ``LogisticRegression``, fits the same rows with the same strengths; only a part of its fits is
run, and the time is scaled up.
"""

import argparse
import resource
import time

import numpy as np
import torch

from benchmark.probe.design import Standardiser
from benchmark.probe.linear import LinearProblem, Variant, fit_linear_probes, list_strengths


def make_embeddings(clips, size, classes, setting):
    """[clips, size] float32 with variances that fall as 1 / rank, and labels."""
    draw = torch.Generator().manual_seed(setting)
    labels = torch.arange(clips) % classes
    falling = torch.arange(1, size + 1).float().rsqrt()
    features = torch.empty(clips, size)
    centres = torch.randn(classes, size, generator=draw)
    mixing = torch.randn(size, size, generator=draw) / size**0.5
    for start in range(0, clips, 8192):
        part = labels[start : start + 8192]
        noise = torch.randn(len(part), size, generator=draw)
        features[start : start + 8192] = ((0.2 * centres[part] + noise) * falling) @ mixing
    return features, labels


def make_problem(clips, size, classes, setting, validation):
    """Three fifths of the clips to train on, in three folds, the others to test; or VoxCeleb1's shares."""
    features, labels = make_embeddings(clips, size, classes, setting)
    rows = np.arange(clips)
    if validation:
        train, valid, test = np.split(rows, [int(clips * 0.9013), int(clips * 0.9464)])
        inner = ((train, valid),)
    else:
        train, test = np.split(rows, [clips * 3 // 5])
        fold = train // classes % 3
        inner = tuple((train[fold != f], train[fold == f]) for f in range(3))
    return LinearProblem(
        name=f"setting {setting}",
        variants=(Variant(key=f"setting {setting}", alpha=None, make=lambda: features),),
        labels=labels,
        train=train,
        inner=inner,
        test=test,
        groups=[""] * len(train),
        classes=classes,
        size=size,
    )


def time_peer(problem, fits):
    """Seconds that scikit-learn needs for every fit of a problem, of which ``fits`` are run."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    features, rows = problem.variants[0].make(), problem.inner[0][0]
    x = Standardiser(features, rows).apply(features, rows, dtype=torch.float64, device="cpu").numpy()
    y = problem.labels[torch.from_numpy(rows)].numpy()
    strengths = list_strengths(features.shape[1])
    chosen = np.linspace(0, len(strengths) - 1, fits).round().astype(int)
    began = time.perf_counter()
    for place in chosen:
        LogisticRegression(C=strengths[place], tol=1e-6, max_iter=10_000).fit(x, y)
    return (time.perf_counter() - began) / fits * (len(strengths) * len(problem.inner) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--size", type=int, default=3072)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--settings", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--validation", action="store_true", help="one validation split in place of three folds")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-fits", type=int, default=3, help="fits of scikit-learn that are run for one setting")
    options = parser.parse_args()
    problems = [
        make_problem(options.clips, options.size, options.classes, setting, options.validation)
        for setting in range(options.settings)
    ]
    if options.device != "cpu":
        torch.zeros(1, device=options.device)
    began, cpu = time.perf_counter(), time.process_time()
    results = fit_linear_probes(problems, device=options.device)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    accuracy = np.mean(
        [np.mean(r.predicted == p.labels.numpy()[p.test]) for p, r in zip(problems, results, strict=True)]
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    where = torch.cuda.get_device_name() if options.device != "cpu" else f"{torch.get_num_threads()} threads"
    print(
        f"{options.settings} settings, {options.clips:,} clips x {options.size:,}, {options.classes:,} classes, "
        f"{where}: {wall:.1f} s ({cpu:.1f} s of CPU), peak {peak:.1f} GiB, accuracy {100 * accuracy:.1f}, "
        f"C {sorted({r.strength for r in results})}, converged {np.mean([r.converged for r in results]):.0%}"
    )
    if options.device != "cpu":
        print(f"GPU memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if not options.no_peer:
        peer = time_peer(problems[0], options.peer_fits) * options.settings
        print(f"scikit-learn, same fits: {peer:.1f} s; {peer / wall:.1f} times as long")


if __name__ == "__main__":
    main()
