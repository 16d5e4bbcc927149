"""A folder in which other people's code is run."""

import sys

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which leaves nothing behind in the interpreter."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        del sys.modules[name]
