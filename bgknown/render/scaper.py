"""The reference renderer: Scaper 1.6.5 itself.

Scaper is optional, and installed without its soxbindings requirement (see README). During a call, and in Scaper's own
module only, four of the modules that it uses are replaced:

* numpy, because Scaper uses ``np.Inf``, which numpy 2 does not have: it gets a view of numpy that has it;
* SoX, to which it passes every source for conversion: a stand-in passes 44.1 kHz mono through as SoX would (32-bit PCM)
  and refuses everything else, which ``bgknown.audio.sources`` has already converted;
* soundfile, with which it would open each source five times: it gets the expected slice from memory, and an error if
  it asks for another one;
* tempfile, with which it makes an empty file for each layer that it never uses, and which a kill would leave behind.

The slicing, the loudness, gains, fades and sums are Scaper's.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import json
import logging
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown.audio.files import RATE_HZ, as_pcm32
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jams.writing import JAMS_VERSION
from bgknown.jobs.files import hash_bytes
from bgknown.render.layers import Rendered, Slice, convert_to_float
from bgknown.soundscape import Layer, Soundscape

VERSION = "1.6.5"
NEEDED = {"scaper": VERSION, "jams": JAMS_VERSION, "pyloudnorm": ""}
"""What must be installed, and in which version where the bytes depend on it."""
INSTALL = f"pip install 'bgknown[scaper]' && pip install --no-deps scaper=={VERSION}"


def render(soundscape: Soundscape, slices: Sequence[Slice], folder: Path) -> Rendered:
    """Render a soundscape with ``Scaper.add_background``, ``add_event`` and ``generate``.

    Args:
        soundscape: what to render.
        slices: the samples of each layer, backgrounds first.
        folder: a folder of this process for the trees of empty files that Scaper requires; its parent exists.

    Raises:
        NotFoundError: Scaper is not installed.
        InvalidInputError: another version of Scaper is installed, or Scaper would change the soundscape.
    """
    core = load()
    backgrounds, bg_paths = _make_tree(soundscape.backgrounds, folder, "background")
    foregrounds, fg_paths = _make_tree(soundscape.events, folder, "foreground")
    paths = [*bg_paths, *fg_paths]
    with _lend_modules(core, dict(zip(paths, slices, strict=True))):
        scape = core.Scaper(soundscape.duration_s, str(foregrounds), str(backgrounds))
        scape.sr, scape.ref_db, scape.n_channels = RATE_HZ, soundscape.ref_db, 1
        scape.fade_in_len, scape.fade_out_len = soundscape.fade_in_s, soundscape.fade_out_s
        for layer, path in zip(soundscape.backgrounds, bg_paths, strict=True):
            scape.add_background(("const", layer.label), ("const", path), ("const", layer.source_time_s))
        for layer, path in zip(soundscape.events, fg_paths, strict=True):
            _add_event(scape, layer, path)
        mixture, jam, _, rendered = scape.generate()
    files = [layer.file for layer in (*soundscape.backgrounds, *soundscape.events)]
    names = {str(foregrounds): ".", str(backgrounds): ".", **dict(zip(paths, files, strict=True))}
    return Rendered(
        mixture=mixture[:, 0], layers=[layer[:, 0] for layer in rendered], jams=_rename_paths(jam.__json__, names)
    )


def render_jams(path: Path, foregrounds: Path, backgrounds: Path) -> NDArray[np.float64]:
    """Render a JAMS file with ``scaper.generate_from_jams``, from source files on disk.

    Args:
        path: the JAMS file.
        foregrounds: folder that holds one folder of sources per foreground label.
        backgrounds: the same for backgrounds.

    Returns:
        [N] float64, as it is before Scaper writes it; may exceed full scale.

    Raises:
        NotFoundError, InvalidInputError: as ``render``.
    """
    core = load()
    with _lend_modules(core, None):
        mixture, *_ = core.generate_from_jams(str(path), None, fg_path=str(foregrounds), bg_path=str(backgrounds))
    return np.asarray(mixture[:, 0])


def explain_absence() -> str:
    """Say, without importing it, why Scaper cannot render here; empty where it can."""
    for name, needed in NEEDED.items():
        found = _find_version(name)
        if found is None:
            return "Scaper is not installed" if name == "scaper" else f"Scaper is installed without {name}"
        if needed and found != needed:
            return f"{name.replace('scaper', 'Scaper')} {found} is installed, {needed} is required"
    return ""


def check_installed() -> None:
    """Check, without importing it, that the right version of Scaper is installed.

    Raises:
        NotFoundError: Scaper, or a package that it imports, is not installed.
        InvalidInputError: another version is installed.
    """
    fault = explain_absence()
    if fault:
        kind = InvalidInputError if fault.endswith("is required") else NotFoundError
        raise kind(f"{fault}; run: {INSTALL}; or render with --engine direct, which writes the same bytes")


def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def load() -> Any:
    """The module ``scaper.core``, imported without SoX.

    Raises:
        NotFoundError: Scaper is not installed.
        InvalidInputError: it has another version.
    """
    if "scaper.core" in sys.modules:
        return sys.modules["scaper.core"]
    check_installed()
    before = sys.modules.get("soxbindings")
    sys.modules["soxbindings"] = _STAND_IN  # scaper.core tries it first; pysox would start a shell to look for SoX
    try:
        return importlib.import_module("scaper.core")
    finally:
        del sys.modules["soxbindings"]
        if before is not None:
            sys.modules["soxbindings"] = before


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


def _make_tree(layers: Sequence[Layer], folder: Path, role: str) -> tuple[Path, list[str]]:
    """The folder tree that Scaper requires: one folder per label, with an empty file for each layer.

    Trees are kept: soundscapes with the same labels share one. Backgrounds and events never do: a background may have
    the label of an event, and its file must not be the event's.
    """
    labels = [layer.label for layer in layers]
    root = folder / f"{role}-{hash_bytes(json.dumps(labels).encode())[:16]}"
    paths = [root / label / str(number) for number, label in enumerate(labels)]
    if not (paths[-1] if paths else root).exists():
        folder.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.touch()
    return root, [str(path) for path in paths]


@contextmanager
def _lend_modules(core: Any, slices: Mapping[str, Slice] | None) -> Iterator[None]:
    """Replace Scaper's numpy, SoX and soundfile within; its warnings about a changed event are errors.

    Without slices Scaper reads files itself, and its warnings are ignored.
    """
    before = core.np, core.sox, core.soundfile, core.tempfile
    level = logging.getLogger().level  # Scaper sets it and, after an error, leaves it
    core.np, core.sox, core.tempfile = _NUMPY, _STAND_IN, _NO_FILES
    core.soundfile = before[2] if slices is None else _SlicesInMemory(slices)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if slices is None else "error", core.ScaperWarning)
            warnings.filterwarnings("ignore", "Soundscape audio is clipping", core.ScaperWarning)
            yield
    except (core.ScaperWarning, core.ScaperError) as error:
        raise InvalidInputError(f"Scaper would not render this unchanged: {error}") from error
    finally:
        core.np, core.sox, core.soundfile, core.tempfile = before
        logging.getLogger().setLevel(level)


def _rename_paths(tree: Any, names: Mapping[str, str]) -> Any:
    """A JSON tree with every path of this machine replaced by the source's name relative to its corpus."""
    if isinstance(tree, Mapping):
        return {key: _rename_paths(value, names) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_rename_paths(value, names) for value in tree]
    if isinstance(tree, str):
        return names.get(tree, tree)
    if isinstance(tree, np.generic):
        return tree.item()
    return tree


class _SlicesInMemory:
    """The part of soundfile that Scaper calls, for files that exist in name only."""

    def __init__(self, slices: Mapping[str, Slice]) -> None:
        self._slices = slices

    def info(self, file: str) -> types.SimpleNamespace:
        """Rate and duration of a source, one sample longer than it is.

        Scaper moves a slice whose end in rounded seconds is past the end of the file, even if no sample is.
        """
        return types.SimpleNamespace(samplerate=RATE_HZ, duration=(self._slices[file].source_frames + 1) / RATE_HZ)

    def read(self, file: str, always_2d: bool, start: int, stop: int) -> tuple[NDArray[np.float64], int]:
        """The samples [N, 1] of a slice."""
        part = self._slices[file]
        if not always_2d or (start, stop) != (part.start, part.start + part.audio.shape[0]):
            raise InvalidInputError(
                f"Scaper asked for samples {start} to {stop} of a source, "
                f"{part.start} to {part.start + part.audio.shape[0]} were expected"
            )
        return convert_to_float(part.audio)[:, None], RATE_HZ


class _Transformer:
    """The part of ``sox.Transformer`` that Scaper calls for a source at the right rate."""

    def convert(self, samplerate: int, n_channels: int, bitdepth: int | None) -> None:
        """Do nothing: input and output are 44.1 kHz mono."""

    def set_output_format(self, rate: int, channels: int) -> None:
        """Check what Scaper asks for."""
        if (rate, channels) != (RATE_HZ, 1):
            raise InvalidInputError(
                f"only 44100 Hz mono can be rendered without SoX, not {rate} Hz with {channels} channels"
            )

    def build_array(self, input_array: NDArray[np.float64], sample_rate_in: int) -> NDArray[np.float64]:
        """Return samples [N, 1] as SoX would."""
        if sample_rate_in != RATE_HZ or input_array.shape[1] != 1:
            raise InvalidInputError(
                f"a source of {sample_rate_in} Hz with {input_array.shape[1]} channels was not converted before Scaper"
            )
        return as_pcm32(input_array)


class _NumpyWithInf(types.ModuleType):
    """numpy with the name ``Inf`` that ``scaper.core`` uses."""

    Inf = np.inf

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _make_stand_in() -> types.ModuleType:
    module = types.ModuleType("soxbindings")
    module.Transformer = _Transformer  # type: ignore[attr-defined]
    return module


_STAND_IN = _make_stand_in()
_NO_FILES = types.SimpleNamespace(NamedTemporaryFile=lambda **_: io.BytesIO())
_NUMPY = _NumpyWithInf("numpy")
