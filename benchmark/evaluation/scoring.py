"""Predictions of probes as a table, and scores made of it."""

from __future__ import annotations



