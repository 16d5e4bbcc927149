"""Ctrl-C, SIGTERM and SIGHUP: every command ends in the same way, whatever it is doing.

The first signal raises ``Interrupted`` in the main thread; within ``finish_step_first`` it only asks to stop after the
current step. Python runs its signal handlers between its own instructions, so a long call into C delays them. A thread
that the signal wakes at once covers that time: it acknowledges the signal with a message, and a second signal ends the
process.

A signal that was ignored when the command started (``nohup``, ``trap '' HUP``) stays ignored.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ACKNOWLEDGE_AFTER_S = 0.4
"""A command that is still running after this time says that it is stopping."""
END_AFTER_S = 15.0
"""A command that is still running after this time, and has no step to finish, is ended."""
SAME_REQUEST_S = 1.0
"""Schedulers and terminals send several signals for one request; within this time only Ctrl-C counts as a second."""
_CLEAN_UP_S = 2.0
_STOPPING = "stopping, Ctrl-C again to stop now"


class Interrupted(KeyboardInterrupt):
    """A command was asked to stop by a signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


class Request:
    """Whether, and by which signal, the work within ``finish_step_first`` was asked to stop."""

    def __init__(self) -> None:
        self.number = 0

    def is_set(self) -> bool:
        """Whether a signal has arrived."""
        return self.number != 0

    def interruption(self) -> Interrupted:
        """The exception to raise when the step is finished; the signal of another process counts as Ctrl-C."""
        return Interrupted(self.number or signal.SIGINT)


@contextlib.contextmanager
def listen() -> Iterator[None]:
    """React to signals while a command runs; without effect outside the main thread, or within itself."""
    if _Listener.current is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _Listener(ends=True)
    try:
        yield
    finally:
        listener.close()


@contextlib.contextmanager
def finish_step_first(words: str, *, kept: str) -> Iterator[Request]:
    """Turn the first signal into a request that the work within checks after each step.

    Outside a command (in a notebook, for example) a second signal raises ``KeyboardInterrupt``; in a command it ends
    the process.

    Args:
        words: the acknowledgement.
        kept: what the last line says about finished work if the process is ended at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Request()
        return
    outer = _Listener.current
    listener = outer or _Listener(ends=False)
    listener.words, listener.kept, listener.request = words, f"; {kept}", Request()
    try:
        yield listener.request
    finally:
        if listener.request.is_set():  # a short step may end before the thread gets to say so
            listener.acknowledge(listener.words)
        listener.words = listener.kept = ""
        if outer is None:
            listener.close()


@contextlib.contextmanager
def clean_up_when_stopped(clean_up: Callable[[], Any]) -> Iterator[None]:
    """Clean up even if the process is ended at once; a normal end cleans up by itself."""
    _clean_ups.append(clean_up)
    try:
        yield
    finally:
        _clean_ups.remove(clean_up)


def acknowledge() -> None:
    """Note that the command has already said that it is stopping."""
    if _Listener.current is not None:
        _Listener.current.acknowledged = True


def remove_at_end(folder: Path) -> None:
    """Remove a folder when this process ends, in any way that it can detect."""

    def remove(owner: int = os.getpid()) -> None:
        if os.getpid() == owner:  # not a forked child
            shutil.rmtree(folder, ignore_errors=True)

    _clean_ups.append(remove)
    atexit.register(remove)


_clean_ups: list[Callable[[], Any]] = []


class _Listener:
    """Signal handlers, and the thread that signals wake."""

    current: _Listener | None = None

    def __init__(self, *, ends: bool) -> None:
        self.words, self.kept, self.request, self.acknowledged = "", "", Request(), False
        self._ends, self._raised, self._speaking = ends, False, threading.Lock()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        # None is a handler that was not set from Python; it may ignore the signal as well
        self._before = {number: old for number, old in handlers.items() if old not in {signal.SIG_IGN, None}}
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._before:
            signal.signal(number, self._handle)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        _Listener.current = self

    def close(self) -> None:
        """Restore everything."""
        self.let_go()
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")
        self._thread.join(timeout=_CLEAN_UP_S)
        self._reader.close()
        self._writer.close()

    def let_go(self) -> None:
        """Restore the signal handlers."""
        _Listener.current = None
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal in the main thread, as soon as Python gets to it."""
        if self.words and not self.request.is_set():
            self.request.number = number
        elif self.words and self._ends:
            return  # the thread ends the process
        elif not self._raised or not self._ends:
            self._raised = True
            raise Interrupted(number)

    def _watch(self) -> None:
        """Acknowledge the first signal; end the process on the second, or if the first has no effect."""
        first, since = 0, 0.0
        deadline: float | None = None
        while True:
            wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self._reader], [], [], wait)[0]:
                now = time.monotonic()
                if not self.acknowledged:
                    self.acknowledge(_STOPPING)
                elif self._ends and not self.words and now - since >= END_AFTER_S:
                    self._end(first)
                deadline = now + END_AFTER_S
                continue
            for number in self._reader.recv(64):
                if number == 0:
                    return
                if number not in self._before:
                    continue
                if not first:
                    first, since = number, time.monotonic()
                    deadline = since + ACKNOWLEDGE_AFTER_S
                    if self.words:
                        self.acknowledge(self.words)
                elif self._ends and (number == signal.SIGINT or time.monotonic() - since > SAME_REQUEST_S):
                    self._end(first)

    def acknowledge(self, words: str) -> None:
        """Say that the command is stopping, once; both threads may come to it."""
        with self._speaking:
            if not self.acknowledged:
                self.acknowledged = True
                _say(words)

    def _end(self, number: int) -> NoReturn:
        """Clean up and end the process, whatever the main thread does."""

        def clean_up() -> None:
            for remove in list(_clean_ups):
                with contextlib.suppress(Exception):
                    remove()
            with contextlib.suppress(Exception):
                sys.stdout.flush()

        cleaner = threading.Thread(target=clean_up, daemon=True)
        cleaner.start()
        cleaner.join(timeout=_CLEAN_UP_S)  # a disk that hangs must not keep the process
        _say(f"interrupted{self.kept}")
        os._exit(128 + number)


def _say(words: str) -> None:
    """Write a line directly to the file of stderr: the main thread may hold the lock of Python's stream."""
    try:
        descriptor, terminal = sys.stderr.fileno(), sys.stderr.isatty()
    except (AttributeError, OSError, ValueError):  # not a file, as in tests
        with contextlib.suppress(Exception):
            sys.stderr.write(f"{words}\n")
        return
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [descriptor], [], 0)[1]:  # do not wait for a terminal that is paused
            os.write(descriptor, f"{chr(10) * terminal}{words}\n".encode())  # below a progress bar


def _forget() -> None:
    """A forked child shares the socket; its signals are not the command's."""
    if _Listener.current is not None:
        _Listener.current.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
