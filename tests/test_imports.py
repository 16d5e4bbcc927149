"""The direction of imports, and what may not be imported where."""

from __future__ import annotations

import ast
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
    "bgknown.errors",
    "bgknown.seeding",
    "benchmark.probe",
    "benchmark.ranking",
    "pretrain.corpus",
    "pretrain.frontend",
    "pretrain.networks",
    "pretrain.encoder",
    "pretrain.train",
    "pretrain.untrained",
)
"""Modules that must run where no audio library is: they need numpy, pandas, torch (with its filelock), and Python."""
ABSENT_THERE = (
    *("click", "jams", "joblib", "librosa", "pyloudnorm", "safetensors", "scaper", "scipy", "sklearn"),
    *("soundfile", "sox", "soxr", "tqdm"),
)


def modules():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert not FORBIDDEN[package] & set(imports(path))


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_need_no_audio_library(name):
    code = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT_THERE!r}))\nimport {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
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
