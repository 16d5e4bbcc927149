"""A folder in which other people's code is run."""

import socket
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


@pytest.fixture
def offline(monkeypatch):
    """No connection may be tried, not even one whose failure would be ignored."""
    tried = []

    def refuse(*address, **more):
        tried.append(address)
        raise OSError("the tests have no network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert tried == []
