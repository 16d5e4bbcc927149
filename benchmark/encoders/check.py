"""Checks that an encoder keeps the contract (``benchmark.encoders.contract``), to run before measuring it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.encoders.contract import FittedEncoder, FrameEncoder, LoadedEncoder, TextAudioEncoder, check_output
from benchmark.text_tables import align_columns
from bgknown.errors import BgknownError
from bgknown.seeding import make_generator

CHECK_BATCH = 8
"""Clips in a batch of the checks."""
CHECK_CLIP_S = 5.0
"""Length of these clips, s."""
SHORT_S, LONG_S = 0.1, 30.0
BATCH_TOLERANCE = 1e-4
"""Largest difference, relative to the largest value of an embedding, that rounding may explain."""
SPEED_S = 2.0
"""Duration of the speed measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    name: str
    """What was checked."""
    passed: bool | None
    """Whether it holds; None for what is only reported."""
    detail: str
    """The number, or what went wrong."""


def check_encoder(loaded: LoadedEncoder) -> list[Finding]:
    """Run all checks; an exception of the encoder is a failed finding, never raised.

    Encoders that take statistics of training audio take them from noise first.
    """
    encoder, rate_hz = loaded.encoder, loaded.encoder.rate_hz
    findings = [_report_facts(loaded)]
    noise = _make_batch(loaded)
    if isinstance(encoder, FittedEncoder):
        findings.append(_run_check("needs fit", lambda: _check_fit(loaded, noise)))
    checks: list[tuple[str, Callable[[], tuple[bool | None, str]]]] = [
        ("shape and type", lambda: _check_shape(loaded, noise)),
        ("finite: silence", lambda: _check_finite(loaded, torch.zeros_like(noise))),
        ("finite: full scale", lambda: _check_finite(loaded, torch.sign(noise))),
        ("finite: constant", lambda: _check_finite(loaded, torch.full_like(noise, 0.5))),
        ("deterministic", lambda: _check_deterministic(loaded, noise)),
        ("batch invariant", lambda: _check_batch_invariance(loaded, noise)),
        ("input unchanged", lambda: _check_input_unchanged(loaded, noise)),
        ("distinguishes clips", lambda: _check_distinction(loaded, noise)),
        (f"short input, {SHORT_S:g} s", lambda: _check_finite(loaded, noise[:, : round(SHORT_S * rate_hz)])),
        (f"long input, {LONG_S:g} s", lambda: _check_finite(loaded, make_noise("noise", 1, round(LONG_S * rate_hz)))),
        ("padding", lambda: _measure_padding(loaded, noise)),
        *([("frames", lambda: _check_frames(loaded, noise))] if isinstance(encoder, FrameEncoder) else []),
        *([("texts", lambda: _check_texts(encoder))] if isinstance(encoder, TextAudioEncoder) else []),
        ("speed", lambda: _measure_speed(loaded, noise)),
        ("memory", _measure_memory),
    ]
    return [*findings, *(_run_check(name, work) for name, work in checks)]


def has_passed(findings: Sequence[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.passed is not False for finding in findings)


def format_findings(findings: Sequence[Finding]) -> str:
    """The findings as a table."""
    words = {True: "pass", False: "FAIL", None: "-"}
    lines = [[finding.name, words[finding.passed], finding.detail] for finding in findings]
    return align_columns(["check", "", "detail"], lines, left=3)


def make_noise(name: str, clips: int, samples: int) -> Tensor:
    """Noise [B, N] float32 within -1..1, the same for the same name."""
    draw = make_generator(0, "check", name).standard_normal((clips, samples))
    return torch.from_numpy(np.clip(0.1 * draw, -1.0, 1.0).astype(np.float32))


def measure_rate(loaded: LoadedEncoder, noise: Tensor | None = None) -> float:
    """Clips of ``CHECK_CLIP_S`` seconds that an encoder embeds a second, in batches of ``CHECK_BATCH``.

    Args:
        loaded: the encoder; one that takes statistics of training audio must have them.
        noise: a batch to embed again and again (default: a new one).

    Raises:
        InvalidInputError: it breaks its contract.
    """
    noise = _make_batch(loaded) if noise is None else noise
    clips, began = 0, time.perf_counter()
    while time.perf_counter() - began < SPEED_S or clips == 0:
        _embed(loaded, noise)
        clips += len(noise)
    return clips / (time.perf_counter() - began)


def _make_batch(loaded: LoadedEncoder) -> Tensor:
    samples = round(CHECK_CLIP_S * loaded.encoder.rate_hz)
    return make_noise("noise", CHECK_BATCH, samples).to(loaded.device)


def _run_check(name: str, work: Callable[[], tuple[bool | None, str]]) -> Finding:
    try:
        holds, detail = work()
    except BgknownError as error:
        holds, detail = False, str(error)
    except Exception as error:  # noqa: BLE001  (an encoder may run any code)
        reason = (str(error).strip().splitlines() or [""])[0]
        holds, detail = False, f"{type(error).__name__}: {reason}"
    return Finding(name=name, passed=holds, detail=detail)


def _report_facts(loaded: LoadedEncoder) -> Finding:
    encoder = loaded.encoder
    plausible = 4_000 <= encoder.rate_hz <= 192_000
    weights = f"weights {loaded.weights_sha256[:12]}" if loaded.weights_sha256 else "no weights"
    training = "training data unknown" if loaded.trained_on is None else loaded.trained_on.describe()
    detail = f"{encoder.rate_hz:,} Hz, {encoder.embedding_size:,} values, {weights}, {training}, on {loaded.device}"
    return Finding(name=f"encoder {encoder.name}", passed=plausible, detail=detail)


def _embed(loaded: LoadedEncoder, audio: Tensor) -> Tensor:
    """Embed a copy, so that an encoder that writes to its input fails only the check for that."""
    with torch.inference_mode():
        output = loaded.encoder.embed(audio.clone().to(loaded.device))
    return check_output(loaded.encoder, output, len(audio))


def _check_fit(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    """Check that the encoder refuses audio before it is fitted, with any error, and fit it."""
    try:
        _embed(loaded, noise[:1])
        fault = "embeds without statistics; it must refuse"
    except Exception:  # noqa: BLE001  (an encoder may run any code)
        fault = ""
    if isinstance(loaded.encoder, FittedEncoder):
        loaded.encoder.fit(iter([noise[: CHECK_BATCH // 2], noise[CHECK_BATCH // 2 :]]))
    return not fault, fault or "statistics taken from noise"


def _check_shape(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    with torch.inference_mode():
        raw = loaded.encoder.embed(noise.clone())
    output = check_output(loaded.encoder, raw, CHECK_BATCH)
    return raw.dtype == torch.float32, f"{list(output.shape)} {str(raw.dtype).removeprefix('torch.')}"


def _check_finite(loaded: LoadedEncoder, audio: Tensor) -> tuple[bool, str]:
    output = _embed(loaded, audio)
    return True, f"largest value {float(output.abs().max()):.3g}"


def _check_deterministic(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    apart = _measure_difference(_embed(loaded, noise), _embed(loaded, noise))
    return apart <= BATCH_TOLERANCE, f"differs by {apart:.2g} from one run to the next"


def _check_batch_invariance(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    together = _embed(loaded, noise)
    alone = torch.cat([_embed(loaded, clip.unsqueeze(0)) for clip in noise])
    apart = _measure_difference(together, alone)
    return apart <= BATCH_TOLERANCE, f"a clip alone differs by {apart:.2g} from itself in a batch"


def _check_input_unchanged(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    given = noise.clone()
    with torch.inference_mode():
        loaded.encoder.embed(given)
    same = torch.equal(given, noise)
    return same, "" if same else "embed writes to its input"


def _check_distinction(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    tone = torch.sin(torch.arange(noise.shape[1]) * 0.2).expand(2, -1)
    apart = _measure_difference(_embed(loaded, noise[:2]), _embed(loaded, 0.5 * tone))
    return apart > BATCH_TOLERANCE, f"noise and a tone differ by {apart:.2g}"


def _measure_padding(loaded: LoadedEncoder, noise: Tensor) -> tuple[None, str]:
    whole = _embed(loaded, noise)
    padded = _embed(loaded, torch.nn.functional.pad(noise, (0, noise.shape[1])))
    return None, f"appending its own length of silence changes an embedding by {_measure_difference(whole, padded):.2g}"


def _check_frames(loaded: LoadedEncoder, noise: Tensor) -> tuple[bool, str]:
    if not isinstance(loaded.encoder, FrameEncoder):
        return False, "no frames"
    with torch.inference_mode():
        frames, times_ms = loaded.encoder.frames(noise.clone())
    if frames.ndim != 3 or len(frames) != CHECK_BATCH or list(times_ms.shape) != list(frames.shape[:2]):
        return False, f"frames {list(frames.shape)} and times {list(times_ms.shape)}; it must be [B, T, D] and [B, T]"
    rising = bool((times_ms[:, 1:] > times_ms[:, :-1]).all())
    inside = float(times_ms.min()) >= 0 and float(times_ms.max()) <= 1_000 * CHECK_CLIP_S + 1_000
    finite = bool(torch.isfinite(frames).all())
    step_ms = float(times_ms[0, -1] - times_ms[0, 0]) / max(frames.shape[1] - 1, 1)
    return rising and inside and finite, f"{list(frames.shape)}, one every {step_ms:.1f} ms"


def _check_texts(encoder: TextAudioEncoder) -> tuple[bool, str]:
    texts = ("the sound of a dog", "rain")
    with torch.inference_mode():
        rows = check_output(encoder, encoder.embed_texts(texts), len(texts))
    apart = _measure_difference(rows[:1], rows[1:])
    return apart > BATCH_TOLERANCE, f"{list(rows.shape)}, two texts differ by {apart:.2g}"


def _measure_speed(loaded: LoadedEncoder, noise: Tensor) -> tuple[None, str]:
    rate = measure_rate(loaded, noise)
    return None, f"{rate:,.1f} clips of {CHECK_CLIP_S:g} s a second, {rate * CHECK_CLIP_S:,.0f} times real time"


def _measure_difference(one: Tensor, other: Tensor) -> float:
    """Largest difference relative to the largest value of each clip's embedding."""
    scale = one.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)
    return float(((one - other).abs() / scale).max())


def _measure_memory() -> tuple[None, str]:
    try:
        import resource  # noqa: PLC0415  (absent on Windows)
    except ImportError:
        return None, "unknown on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    return None, f"peak of this process {peak:,.0f} MB"
