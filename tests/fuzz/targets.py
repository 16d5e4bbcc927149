"""Every parser that is fuzzed, in the order of the packages; further ones are added to this list."""

from __future__ import annotations

from tests.fuzz.of_benchmark import TARGETS as BENCHMARK
from tests.fuzz.of_bgknown import TARGETS as BGKNOWN
from tests.fuzz.of_pretrain import TARGETS as PRETRAIN
from tests.fuzz.runner import Target

TARGETS: list[Target] = [*BGKNOWN, *BENCHMARK, *PRETRAIN]
