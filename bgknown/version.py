"""The version, in a module of its own so that any other may import it."""

from __future__ import annotations

VERSION = "0.2.0"
