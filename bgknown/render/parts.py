"""Parts of sources as renderers take them: as they are stored where that is exact, otherwise as Scaper mixes them.

16-bit samples are integers and stay so: every loop multiplies them by ``scale`` on the way. A source that was decoded
into memory is turned into what Scaper mixes once, in place, and not once for each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.amplitude import SILENT_PEAK, Amplitude
from bgknown.audio.sources import Source
from bgknown.render.layers import convert_to_float
from bgknown.render.passes import convert_to_pcm32, find_peak, find_peak_pcm16, scale_to_pcm16, settle_samples
from bgknown.render.weighted import Samples, find_scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourcePart:
    """Samples of a source."""

    samples: Samples
    """[N] 16-bit steps, or 32-bit PCM as float64 of full scale -1..1."""
    peak: float
    """Their largest magnitude, of full scale 1."""
    amplitude: Amplitude
    """Whether the source is silent or beyond full scale here."""

    @property
    def audio(self) -> NDArray[np.float64]:
        """[N] the samples as Scaper gets them."""
        return convert_to_float(self.samples)


def read_part(source: Source, start: int, stop: int) -> SourcePart:
    """Samples [start, stop) of a source.

    Raises:
        InvalidInputError: the slice exceeds the recording or cannot be decoded.
        NotFiniteError: it holds NaN or infinite samples.
    """
    if source.pcm16_start is not None:
        pcm = source.read_pcm16(start, stop)
        peak = find_peak_pcm16(pcm) * 2.0**-15
        return SourcePart(samples=pcm, peak=peak, amplitude=Amplitude(silent=peak <= SILENT_PEAK))
    if source.converted is not None and source.settled is None:
        source.settled = settle_samples(source.converted)
    samples = source.decode(start, stop)
    if source.settled:
        peak = find_peak(samples)
        return SourcePart(samples=samples, peak=peak, amplitude=Amplitude(silent=peak <= SILENT_PEAK))
    found = convert_to_pcm32(samples)
    return SourcePart(samples=found.audio, peak=find_peak(found.audio), amplitude=found.amplitude)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PendingSignal:
    """Samples that a gain is yet to be applied to, so that they are passed over once on their way to a file."""

    samples: Samples
    """[N] 16-bit steps, or float64 of full scale -1..1."""
    gain: float
    """The factor."""
    peak: float
    """The largest magnitude after the gain, of full scale 1."""

    @classmethod
    def amplify(cls, part: SourcePart, gain: float) -> PendingSignal:
        """A part with a positive gain; rounding keeps the order of numbers, so the largest sample remains it."""
        return cls(samples=part.samples, gain=gain, peak=gain * part.peak)

    @classmethod
    def hold(cls, audio: NDArray[np.float64]) -> PendingSignal:
        """A signal that has its gain."""
        audio = np.ascontiguousarray(audio)
        return cls(samples=audio, gain=1.0, peak=find_peak(audio))

    def to_pcm16(self, scale: float) -> NDArray[np.int16]:
        """``bgknown.audio.files.to_pcm16`` of the signal times a scale."""
        return scale_to_pcm16(self.samples, scale, gain=self.gain, unit=find_scale(self.samples))
