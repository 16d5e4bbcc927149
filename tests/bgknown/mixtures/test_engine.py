"""Builds where Scaper, and what only Scaper imports, is not installed."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgknown.errors import NotFoundError, StorageError
from bgknown.mixtures.engine import choose_engine, find_engine
from bgknown.mixtures.options import BuildOptions
from bgknown.render import scaper
from tests.conftest import contents

ROOT = Path(__file__).resolve().parents[3]
BLOCKER = """
import importlib.metadata, sys
BLOCKED = {"scaper", "jams", "sox", "soxbindings", "pyloudnorm"}

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def version(name, of=importlib.metadata.version):
    if name in BLOCKED:
        raise importlib.metadata.PackageNotFoundError(name)
    return of(name)

sys.meta_path.insert(0, Blocker)
importlib.metadata.version = version
"""
"""Python runs this, as ``sitecustomize``, at the start of every process."""


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """Runs Python where the packages are blocked, worker processes included."""
    folder = tmp_path_factory.mktemp("blocker")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

    def run(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


def test_without_an_engine_option_the_direct_engine_renders_the_same_bytes(without, built, tmp_path):
    corpora, by_scaper = built
    out = tmp_path / "out"
    options = [*corpora.arguments(), "--out", out]
    done = without("-m", "bgknown", "build", *options, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "Scaper" in line]
    assert said == ["warning: Scaper is not installed; the direct engine renders instead and writes the same bytes"]
    found, expected = contents(out), contents(by_scaper)
    assert {name for name in expected if found[name] != expected[name]} == {"dataset.json"}
    assert found.keys() == expected.keys()
    about, theirs = json.loads(found["dataset.json"]), json.loads(expected["dataset.json"])
    assert about["configuration"].pop("renderer") == "direct 1.6.5"
    assert theirs["configuration"].pop("renderer") == "scaper 1.6.5"
    assert about == theirs
    assert without("-m", "bgknown", "verify", out, "--jobs", 1).returncode == 0
    assert "already" in without("-m", "bgknown", "build", *options, "--dry-run").stdout


def test_a_finished_dataset_of_scapers_is_left_alone_without_scaper(without, built):
    corpora, by_scaper = built
    done = without("-m", "bgknown", "build", *corpora.arguments(), "--out", by_scaper)
    assert done.returncode == 0, done.stderr
    assert "nothing was done" in done.stdout


def test_scaper_that_is_asked_for_must_be_installed(without, tmp_path):
    done = without("-m", "bgknown", "build", "--miniature", "--engine", "scaper", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Scaper is not installed; run: pip install ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_every_module_is_imported_without_what_scaper_needs(without):
    code = (
        "import importlib, pkgutil\n"
        "for package in ('bgknown', 'benchmark', 'pretrain'):\n"
        "    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + '.'):\n"
        "        if not found.name.endswith('__main__'):\n"
        "            importlib.import_module(found.name)\n"
    )
    done = without("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def no_scaper(monkeypatch):
    monkeypatch.setattr(scaper, "explain_absence", lambda: "Scaper is not installed")


def test_options_name_the_engine_that_is_installed(no_scaper, caplog, monkeypatch):
    assert (find_engine(), BuildOptions().engine) == ("direct", "direct")
    assert caplog.messages == []
    monkeypatch.setattr(scaper, "explain_absence", lambda: "")
    assert (find_engine(), BuildOptions().engine) == ("scaper", "scaper")


def test_a_build_is_continued_by_the_engine_that_began_it(no_scaper, tiny, tmp_path, caplog, monkeypatch):
    with caplog.at_level(logging.WARNING):
        assert choose_engine(tmp_path / "out") == "direct"
    assert len(caplog.messages) == 1
    tiny.clip("5-501-A-1").rename(tiny.root / "away.wav")
    with pytest.raises(ValueError, match="broken"):
        tiny.build(tmp_path / "out", engine="direct")
    monkeypatch.setattr(scaper, "explain_absence", lambda: "")
    assert choose_engine(tmp_path / "out") == "direct"
    assert choose_engine(tmp_path / "other") == "scaper"
    assert sum("Scaper" in message for message in caplog.messages) == 1


def test_a_build_that_scaper_began_needs_scaper_to_end(tiny, tmp_path, monkeypatch):
    tiny.clip("5-501-A-1").rename(tiny.root / "away.wav")
    with pytest.raises(ValueError, match="broken"):
        tiny.build(tmp_path / "out", engine="scaper")
    monkeypatch.setattr(scaper, "explain_absence", lambda: "Scaper is not installed")
    assert choose_engine(tmp_path / "out") == "scaper"
    with pytest.raises(NotFoundError, match="Scaper is not installed; run:"):
        tiny.build(tmp_path / "out", engine="scaper")
    with pytest.raises(StorageError, match='renderer is "scaper 1.6.5" there and "direct 1.6.5" here'):
        tiny.build(tmp_path / "out", engine="direct")
