"""What the tests of pretrain share."""

import pytest


@pytest.fixture(autouse=True)
def without_trial(request, monkeypatch):
    """Runs without the trial step that times them, half of what a tiny run costs; ``test_precision`` tests it."""
    if not request.module.__name__.endswith("test_precision"):
        monkeypatch.setattr("pretrain.train.time_step", lambda *_: None)
