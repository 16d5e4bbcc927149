"""Probes side by side: on a CPU every core works on one of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def count_workers(items: int, device: str) -> int:
    """Items that are worked on at a time."""
    return max(1, min(torch.get_num_threads(), items)) if device == "cpu" else 1


def run_threads(work: Callable[[T], R], items: Sequence[T], device: str, stopped: threading.Event) -> list[R]:
    """Results of all items, in their order; on a GPU one comes after another.

    Args:
        work: gives the result of an item; it should end soon after ``stopped`` is set.
        items: the items.
        device: where ``work`` computes.
        stopped: set when an item has failed or the caller was interrupted.
    """
    workers = count_workers(len(items), device)
    if workers <= 1:
        return [work(item) for item in items]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads // workers)
    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(work, items))
            except BaseException:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)
