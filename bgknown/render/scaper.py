"""The reference renderer: Scaper 1.6.5 itself.

Scaper is installed without its soxbindings requirement (see README). Two things keep it from running on current
Pythons, and both are answered here, for the time of a call and for Scaper's own module only:

* it writes ``np.Inf``, which numpy 2 has not: ``scaper.core`` gets a view of numpy that has;
* it hands every source to SoX for conversion: ``scaper.core`` gets a stand-in that passes 44.1 kHz mono through as SoX
  would (32-bit PCM) and refuses everything else, which ``bgknown.sources`` has converted before.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.audio import RATE_HZ, as_pcm32
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.soundscape import Layer, Soundscape

VERSION = "1.6.5"
INSTALL = f"pip install --no-deps scaper=={VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What Scaper makes of a soundscape, before anything is rounded."""

    mixture: NDArray[np.float64]
    """[N] the sum of the layers; may exceed full scale."""
    layers: list[NDArray[np.float64]]
    """[N] each: backgrounds, then events, as they are in the mixture."""
    jams: dict[str, Any]
    """The JAMS of the soundscape as a tree; sources are named relative to their corpora."""


def render(soundscape: Soundscape, folder: Path) -> Rendered:
    """Render a soundscape with ``Scaper.add_background``, ``add_event`` and ``generate``.

    Args:
        soundscape: what to render; every layer's path is 44.1 kHz mono.
        folder: a folder of this process for the tree of links that Scaper wants; emptied afterwards.

    Raises:
        NotFoundError: Scaper is not installed.
        InvalidInputError: another version of Scaper is installed, or Scaper would not keep to the record.
    """
    core = load()
    trees = {"foreground": folder / "fg", "background": folder / "bg"}
    try:
        names = {str(tree): "." for tree in trees.values()}
        staged = {
            layer: _link(layer, tree)
            for role, tree in trees.items()
            for layer in (soundscape.events if role == "foreground" else soundscape.backgrounds)
        }
        names.update({path: layer.file for layer, path in staged.items()})
        scape = core.Scaper(soundscape.duration_s, str(trees["foreground"]), str(trees["background"]))
        scape.sr, scape.ref_db, scape.n_channels = RATE_HZ, soundscape.ref_db, 1
        scape.fade_in_len = scape.fade_out_len = soundscape.fade_s
        with _at_home(core):
            for layer in soundscape.backgrounds:
                scape.add_background(("const", layer.label), ("const", staged[layer]), ("const", layer.source_time_s))
            for layer in soundscape.events:
                _add_event(scape, layer, staged[layer])
            mixture, jam, _, layers = scape.generate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Rendered(mixture=mixture[:, 0], layers=[layer[:, 0] for layer in layers], jams=_renamed(jam.__json__, names))


def load() -> Any:
    """The module ``scaper.core``, imported without SoX.

    Raises:
        NotFoundError: Scaper is not installed.
        InvalidInputError: it has another version.
    """
    if "scaper.core" in sys.modules:
        core: Any = sys.modules["scaper.core"]
    else:
        before = sys.modules.get("soxbindings")
        sys.modules["soxbindings"] = (
            _STAND_IN  # scaper.core tries soxbindings first; pysox would start a shell to look for SoX
        )
        try:
            core = importlib.import_module("scaper.core")
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] != "scaper":
                raise
            raise NotFoundError(f"Scaper is not installed; run: {INSTALL}") from error
        finally:
            del sys.modules["soxbindings"]
            if before is not None:
                sys.modules["soxbindings"] = before
    if core.scaper_version != VERSION:
        raise InvalidInputError(f"Scaper {core.scaper_version} is installed, {VERSION} is needed; run: {INSTALL}")
    return core


def _add_event(scape: Any, layer: Layer, path: str) -> None:
    scape.add_event(
        label=("const", layer.label),
        source_file=("const", path),
        source_time=("const", layer.source_time_s),
        event_time=("const", layer.event_time_s),
        event_duration=("const", layer.duration_s),
        snr=("const", layer.snr_db),
        pitch_shift=None,
        time_stretch=None,
    )


def _link(layer: Layer, tree: Path) -> str:
    """Put a source where Scaper looks for it: ``tree/label/file``."""
    target = tree / layer.label / Path(layer.file).with_suffix(layer.path.suffix).name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            target.symlink_to(layer.path.resolve())
        except (OSError, NotImplementedError):  # Windows without the right to make links
            shutil.copyfile(layer.path, target)
    return str(target)


@contextmanager
def _at_home(core: Any) -> Iterator[None]:
    """Give Scaper its numpy and its SoX, and take both back; its warnings about a changed event are errors."""
    before = core.np, core.sox
    level = logging.getLogger().level  # Scaper sets it and, after an error, leaves it
    core.np, core.sox = _NUMPY, _STAND_IN
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", core.ScaperWarning)
            warnings.filterwarnings("ignore", "Soundscape audio is clipping", core.ScaperWarning)
            yield
    except (core.ScaperWarning, core.ScaperError) as error:
        raise InvalidInputError(f"Scaper would not render this as asked: {error}") from error
    finally:
        core.np, core.sox = before
        logging.getLogger().setLevel(level)


def _renamed(tree: Any, names: Mapping[str, str]) -> Any:
    """A JSON tree in which every path of this machine has become the source's name relative to its corpus."""
    if isinstance(tree, Mapping):
        return {key: _renamed(value, names) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_renamed(value, names) for value in tree]
    if isinstance(tree, str):
        return names.get(tree, tree)
    if isinstance(tree, np.generic):
        return tree.item()
    return tree


class _Transformer:
    """The part of ``sox.Transformer`` that Scaper calls for a source at the right rate."""

    def convert(self, samplerate: int, n_channels: int, bitdepth: int | None) -> None:
        """Remember nothing: 44.1 kHz mono is what comes in and goes out."""

    def set_output_format(self, rate: int, channels: int) -> None:
        """Check what Scaper asks for."""
        if (rate, channels) != (RATE_HZ, 1):
            raise InvalidInputError(
                f"only 44100 Hz mono can be rendered without SoX, not {rate} Hz with {channels} channels"
            )

    def build_array(self, input_array: NDArray[np.float64], sample_rate_in: int) -> NDArray[np.float64]:
        """Hand samples [N, 1] over as SoX would."""
        if sample_rate_in != RATE_HZ or input_array.shape[1] != 1:
            raise InvalidInputError(
                f"a source of {sample_rate_in} Hz with {input_array.shape[1]} channels reached Scaper unconverted"
            )
        return as_pcm32(input_array)


class _NumpyWithInf(types.ModuleType):
    """numpy as ``scaper.core`` knows it."""

    Inf = np.inf

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _stand_in() -> types.ModuleType:
    module = types.ModuleType("soxbindings")
    module.Transformer = _Transformer  # type: ignore[attr-defined]
    return module


_STAND_IN = _stand_in()
_NUMPY = _NumpyWithInf("numpy")
