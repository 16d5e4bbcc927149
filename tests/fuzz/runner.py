"""Running mutated inputs through a parser: what comes out, what it touches, and that it ends."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgknown.errors import BgknownError
from bgknown.shown import escape_text
from tests.fuzz.mutate import mutate

CASE_S = 10
"""Seconds that a case may take."""
MEMORY_BYTES = 3 << 30
"""What a worker may take beyond what it has when it starts."""
OUTCOMES = ("accepted", "refused", "unclear", "traceback", "timeout", "memory", "crash")
"""What may come of a case; ``unclear`` is a refusal that is not one line."""
_PROJECT = Path(__file__).resolve().parents[2]
_WATCHED = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
}
_FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser, and what it is fed with."""

    name: str
    """Its name on the command line."""
    seed_inputs: Callable[[], Sequence[bytes]]
    """Makes good files, of which cases are mutations."""
    call: Callable[[Path], object]
    """Reads the file: is given the case's folder."""
    place: str
    """Where in that folder the file goes."""
    kind: str = "bytes"
    """Its format, for ``mutate``."""
    surround: Callable[[Path], None] = lambda folder: None
    """Puts what else is needed into the folder, once."""
    mutation: Callable[[bytes, random.Random], bytes] | None = None
    """A mutation of its own."""
    absolute: bool = False
    """Whether absolute paths in the file may be followed: the user's own word."""
    ci_cases: int = 30
    """Cases that run in CI."""
    pickles: bool = False
    """Whether the restricted unpickler of torch is at work, which looks up what it allows."""


@dataclass
class Counts:
    """What came of the cases of a target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Cases by outcome."""
    outside: int = 0
    """Cases that touched something outside their folder."""
    faults: list[str] = field(default_factory=list)
    """The first of what must not be, with the number of the case."""

    def __iadd__(self, other: Counts) -> Counts:
        self.outcomes += other.outcomes
        self.outside += other.outside
        self.faults = (self.faults + other.faults)[:20]
        return self

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        return not self.outside and set(self.outcomes) <= {"accepted", "refused"}


class _TooLongError(BaseException):
    """A case that does not end; not an Exception, so that no parser takes it for its own."""


class Watch:
    """Notes what the code touches outside a folder, while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.folder, self.excused, self.pickles = "", "", False
        self.touched: list[str] = []
        self.allowed = tuple(
            {
                str(_PROJECT),
                sys.prefix,
                sys.base_prefix,
                "/usr/lib",
                "/usr/local/lib",
                "/usr/share",
                "/dev/null",
                "/proc",
                "/sys/fs/cgroup",
            }
        )

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of the interpreter."""
        if not self.on:
            return
        if name in _FORBIDDEN and not (name == "pickle.find_class" and self.pickles):
            self.touched.append(f"{name} {arguments}"[:200])
        elif name in _WATCHED:
            for argument in arguments[: 2 if name in {"os.rename", "os.link", "os.symlink"} else 1]:
                self.path(name, argument)

    def path(self, what: str, argument: Any) -> None:
        """Something that is done to a path."""
        if not self.on or not isinstance(argument, str | bytes | os.PathLike):
            return
        self.on = False
        path = os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(argument)))  # noqa: PTH109, PTH118
        inside = (self.folder, *self.allowed)
        if not any(path == folder or path.startswith(folder + os.sep) for folder in inside):
            ancestor = self.folder.startswith(path.rstrip(os.sep) + os.sep)
            looked = what == "os.stat" and bool(self.excused)  # absolute paths may be looked for
            if not ancestor and not looked and path not in self.excused:
                self.touched.append(f"{what} {path}"[:200])
        self.on = True


WATCH = Watch()
_hooked: list[bool] = []


@contextmanager
def watched(folder: Path, target: Target, data: bytes) -> Iterator[list[str]]:
    """Note what is touched outside a folder meanwhile."""
    if not _hooked:
        sys.addaudithook(WATCH.event)
        _hooked.append(True)
    real = os.stat, os.lstat

    def stat(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        WATCH.path("os.stat", path)
        return real[0](path, *arguments, **named)

    WATCH.folder, WATCH.touched, WATCH.pickles = str(folder), [], target.pickles
    WATCH.excused = data.decode("utf-8", "replace") if target.absolute else ""
    os.stat = stat
    WATCH.on = True
    try:
        yield WATCH.touched
    finally:
        WATCH.on = False
        os.stat = real[0]


def case_of(target: Target, inputs: Sequence[bytes], number: int, seed: int) -> bytes:
    """The input of a case: depends on the seed, the target and the number alone."""
    draw = random.Random(f"{seed}/{target.name}/{number}")
    data = draw.choice(inputs)
    return target.mutation(data, draw) if target.mutation is not None else mutate(target.kind, data, draw)


def run_case(target: Target, folder: Path, data: bytes) -> tuple[str, str, list[str]]:
    """The outcome of a case, what there is to say of it, and what it touched outside."""
    file = folder / target.place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(CASE_S)
    touched: list[str] = []
    try:
        with watched(folder, target, data) as touched:
            target.call(folder)
        return "accepted", "", touched
    except BgknownError as error:
        text = escape_text(str(error))
        return ("refused", "", touched) if len(text.splitlines()) == 1 else ("unclear", repr(text)[:300], touched)
    except _TooLongError:
        return "timeout", f"more than {CASE_S} s", touched
    except MemoryError:
        return "memory", "out of memory", touched
    except BaseException as error:  # noqa: BLE001  (what it is, is what is looked for)
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if str(_PROJECT) in frame.filename]
        spot = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        return "traceback", f"{type(error).__name__}: {error} in {spot} {last.name}"[:300], touched
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_cases(target: Target, numbers: Sequence[int], seed: int, report: Any = None) -> Counts:
    """Run some cases of a target in this process.

    Args:
        target: the parser.
        numbers: the numbers of the cases.
        seed: of the mutations.
        report: a shared integer that is set to the case at work.
    """
    counts, inputs = Counts(), target.seed_inputs()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve() / "case"
        folder.mkdir()
        target.surround(folder)
        os.chdir(folder)
        try:
            _check_seeds(target, folder, inputs)
            for number in numbers:
                if report is not None:
                    report.value = number
                outcome, what, touched = run_case(target, folder, case_of(target, inputs, number, seed))
                counts.outcomes[outcome] += 1
                counts.outside += bool(touched)
                if outcome not in {"accepted", "refused"}:
                    counts.faults.append(f"{target.name} case {number}: {outcome}: {what}")
                counts.faults += [f"{target.name} case {number}: outside: {touched[0]}"] if touched else []
        finally:
            os.chdir(here)
    return counts


class Worker:
    """A process with limited memory that runs cases; one that dies is replaced, and counted as a crash of its case."""

    def __init__(self) -> None:
        self._process: Any = None

    def run(self, target: Target, cases: int, seed: int) -> Counts:
        """Run cases of a target.

        Raises:
            RuntimeError: the fault is the script's own.
        """
        counts, number = Counts(), 0
        while number < cases:
            if self._process is None:
                self._start()
            try:
                self._pipe.send((target.name, range(number, cases), seed))
                found: Counts = self._pipe.recv()
            except (EOFError, OSError):
                self._process.join()
                self._process, last = None, self._report.value
                counts += Counts(outcomes=Counter(crash=1, lost=last - number))
                counts.faults.append(f"{target.name} case {last}: crash")
                number = last + 1
                continue
            if not found.outcomes:
                raise RuntimeError(found.faults[0])
            counts += found
            number = cases
        return counts

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._report, (self._pipe, theirs) = context.Value("q", 0), context.Pipe()
        self._process = context.Process(target=_work, args=(self._report, theirs), daemon=True)
        self._process.start()
        theirs.close()


def _check_seeds(target: Target, folder: Path, inputs: Sequence[bytes]) -> None:
    """A target whose good files are refused would test nothing."""
    for data in inputs:
        outcome, what, touched = run_case(target, folder, data)
        if outcome != "accepted" or touched:
            (folder / target.place).write_bytes(data)
            target.call(folder)
            raise AssertionError(f"{target.name}: a good input is not accepted: {outcome} {what} {touched}")


def _work(report: Any, pipe: Any) -> None:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  (a process of its own, which knows the parsers by name)

    targets = {target.name: target for target in TARGETS}
    with open("/proc/self/statm") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    while True:
        name, numbers, seed = pipe.recv()
        try:
            pipe.send(run_cases(targets[name], numbers, seed, report))
        except Exception:  # noqa: BLE001  (a fault of the script itself)
            pipe.send(Counts(faults=[traceback.format_exc()]))


def _alarm(_number: int, _frame: Any) -> None:
    raise _TooLongError


def fresh(folder: Path) -> Path:
    """An empty folder in the place of another."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
