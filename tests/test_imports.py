"""The direction of imports, and what may not be imported where."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bgknown", "benchmark", "pretrain")
FORBIDDEN = {
    "bgknown": {"benchmark", "pretrain", "torch", "tests"},
    "benchmark": {"pretrain", "tests"},
    "pretrain": {"benchmark", "tests"},
}
LIGHT = (
    "bgknown.audio.mel",
    "bgknown.errors",
    "bgknown.seeding",
    "benchmark.probe",
    "benchmark.probe.linear",
    "benchmark.ranking",
    "pretrain.corpus",
    "pretrain.frontend",
    "pretrain.networks",
    "pretrain.encoder",
    "pretrain.train",
    "pretrain.untrained",
)
"""Modules that must run where no audio library is: they need numpy, pandas, torch (with its filelock), and Python."""
WITHOUT_AUDIO = (
    "benchmark.composed_retrieval.evaluation",
    "benchmark.composed_retrieval.training",
    "benchmark.heads.head",
    "tests.speed.retrieval_at_scale",
)
"""Modules that also need scipy and tqdm; retrieval is trained on GPU machines that have no audio library."""
ABSENT_THERE = (
    *("click", "jams", "joblib", "librosa", "pyloudnorm", "safetensors", "scaper", "scipy", "sklearn"),
    *("soundfile", "sox", "soxr", "tqdm"),
)
AUDIO_LIBRARIES = ("jams", "librosa", "pyloudnorm", "scaper", "soundfile", "sox", "soxr")


WALLS = {
    "bgknown.render": {"bgknown.mixtures", "bgknown.apwd", "bgknown.corpora"},
    "bgknown.jobs": {"bgknown.mixtures", "bgknown.apwd", "bgknown.corpora", "bgknown.audio"},
    "bgknown.audio": {"bgknown.mixtures", "bgknown.apwd", "bgknown.render", "bgknown.corpora"},
    "benchmark.results": {"benchmark.encoders", "benchmark.embedding", "benchmark.tasks", "benchmark.probe"},
    "benchmark.encoders": {"benchmark.tasks", "benchmark.results"},
}
"""What a room must not import, whether at the top of a module or within a function."""


@functools.cache
def modules():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@functools.cache
def parse(path):
    return ast.parse(path.read_text())


def imports(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert not FORBIDDEN[package] & set(imports(path))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def arrows(*, lazy):
    """Which module imports which, by name; with ``lazy`` also within functions. Imports for types are left out."""
    names = {name_of(path): path for path in modules()}
    found = {name: set() for name in names}

    def visit(node, importer):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.FunctionDef) and not lazy:
                continue
            if isinstance(child, ast.ImportFrom):
                whole = (f"{child.module}.{alias.name}" for alias in child.names)
                found[importer].update(name if name in names else child.module for name in whole)
            elif isinstance(child, ast.Import):
                found[importer].update(alias.name for alias in child.names)
            visit(child, importer)

    for name, path in names.items():
        visit(parse(path), name)
    return {name: {other for other in others if other in names and other != name} for name, others in found.items()}


def room(name):
    """The folder of a module below its package, or the module itself."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 or (ROOT / "/".join(parts)).is_dir() else name


def circle(graph):
    """A path that ends where it began, or nothing."""
    left, path = dict.fromkeys(graph, False), []

    def follow(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if left[name]:
            return []
        left[name] = True
        path.append(name)
        found = next((found for other in sorted(graph[name]) if (found := follow(other))), [])
        path.pop()
        return found

    return next((found for name in sorted(graph) if (found := follow(name))), [])


@pytest.mark.parametrize("lazy", [False, True])
def test_no_modules_import_each_other_in_a_circle(lazy):
    assert circle(arrows(lazy=lazy)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_import_each_other_in_a_circle(package):
    graph = {}
    for name, others in arrows(lazy=False).items():
        if name.split(".")[0] == package and name != package:
            inside = {room(other) for other in others if other.split(".")[0] == package and other != package}
            graph.setdefault(room(name), set()).update(inside - {room(name)})
    assert circle(graph) == []


@pytest.mark.parametrize("walled", WALLS)
def test_walls_between_rooms_hold(walled):
    for name, others in arrows(lazy=True).items():
        if room(name) == walled:
            assert not {room(other) for other in others} & WALLS[walled], name


def test_the_leaderboard_is_imported_without_torch():
    code = "import sys, benchmark.results.leaderboard; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


EACH_IN_A_CHILD = """
import os, sys, traceback
sys.modules.update(dict.fromkeys({absent!r}))
import filelock, numpy, pandas, torch  # what every one of them may import, once for all
failed = []
for name in {names!r}:
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
sys.exit(", ".join(failed) or None)
"""


@pytest.mark.parametrize(("names", "absent"), [(LIGHT, ABSENT_THERE), (WITHOUT_AUDIO, AUDIO_LIBRARIES)])
def test_light_modules_need_no_audio_library(names, absent):
    code = EACH_IN_A_CHILD.format(names=names, absent=absent)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_help_imports_nothing_heavy(package):
    heavy = {"torch", "pandas", "numpy", "scipy", "soundfile", "scaper", "jams", "joblib"}
    code = (
        f"import sys\nfrom {package}.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.exit(', '.join(sorted({heavy!r} & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_stay_small(path):
    assert len(path.read_text().splitlines()) <= 350
