"""The text of a loader module for soundata, made of what is known about a dataset."""

from __future__ import annotations

import json
import keyword
from collections.abc import Sequence
from dataclasses import dataclass

from bgknown.exports.columns import TableColumn, describe_column
from bgknown.shown import escape_line
from bgknown.version import VERSION

_TYPES = {"text": "str", "integer": "int", "number": "float"}
_HEAD = '''"""{title}: a loader for soundata, written by bgknown {version}.

The audio is in the folder of the dataset: ``Dataset(data_home=...)``.
"""

import csv
import os

import numpy as np
import soundfile
from soundata import annotations, core, io, jams_utils

BIBTEX = {bibtex}
LICENSE_INFO = {licence}
INDEXES = {{
    "default": {dataset_version},
    {dataset_version}: core.Index(filename=os.path.join(os.path.dirname(os.path.abspath(__file__)), {index})),
}}
KEY = {key}
TYPES = {types}
"""Types of the columns that are not text."""
COLUMNS = {columns}
"""Names of columns in the manifest that are attributes under another name."""


@io.coerce_to_bytes_io
def load_audio(fhandle):
    """Load an audio file

    Args:
        fhandle (str or file-like): path of the file, or its content

    Returns:
        * np.ndarray - the mono audio signal
        * float - its sample rate

    """
    return soundfile.read(fhandle, dtype="float32")


class Clip(core.Clip):
    """{title} Clip class

    Args:
        clip_id (str): id of the clip

    Attributes:
{attributes}
    """

    def __init__(self, clip_id, data_home, dataset_name, index, metadata):
        super().__init__(clip_id, data_home, dataset_name, index, metadata)
{paths}
'''
_AUDIO = '''
    @property
    def {signal}(self):
        """{meaning}

        Returns:
            * np.ndarray - audio signal
            * float - sample rate

        """
        return load_audio(self.{signal}_path)
'''
_COLUMN = '''
    @property
    def {name}(self):
        """{meaning}

        Returns:
            * {type} - {value}

        """
        return self._clip_metadata.get({name_text})
'''
_CLIP_TAGS = '''
    @property
    def tags(self):
        """The class of the clip

        Returns:
            * annotations.Tags - the class

        """
        return annotations.Tags([self.category], "open", np.array([1.0]))

    @property
    def events(self):
        """When the clip can be heard in the mixture

        Returns:
            * annotations.Events - one event, from the start of the mixture

        """
        intervals = np.array([[0.0, self.event_frames / {rate_hz}]])
        return annotations.Events(intervals, "seconds", [self.category], "open", np.array([1.0]))

    def to_jams(self):
        """Get the clip's data in jams format

        Returns:
            jams.JAMS: the clip's data in jams format

        """
        return jams_utils.jams_converter(
            audio_path=self.mix_path, tags=self.tags, events=self.events, metadata=self._clip_metadata
        )
'''
_PAIR_TAGS = '''
    def to_jams(self):
        """Get the pair's data in jams format, of the first soundscape

        Returns:
            jams.JAMS: the pair's data in jams format

        """
        return jams_utils.jams_converter(audio_path=self.s1_path, metadata=self._clip_metadata)
'''
_TAIL = '''

@core.docstring_inherit(core.Dataset)
class Dataset(core.Dataset):
    """The {title} dataset"""

    def __init__(self, data_home=None, version="default"):
        super().__init__(
            data_home,
            version,
            name={name},
            clip_class=Clip,
            bibtex=BIBTEX,
            indexes=INDEXES,
            license_info=LICENSE_INFO,
            download_info="Build the dataset with bgknown, and give its folder as data_home.",
        )

    @core.copy_docs(load_audio)
    def load_audio(self, *args, **kwargs):
        return load_audio(*args, **kwargs)

    @core.cached_property
    def _metadata(self):
        path = os.path.join(self.data_home, "manifest.csv")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{{path}}: missing; give the folder of the dataset as data_home")
        with open(path, newline="", encoding="utf-8") as fhandle:
            rows = list(csv.DictReader(fhandle))
        return {{row[KEY]: _parse_row(row) for row in rows}}


def _parse_row(row):
    return {{COLUMNS.get(name, name): _parse(name, text) for name, text in row.items()}}


def _parse(name, text):
    if name not in TYPES:
        return text
    return TYPES[name](text) if text else None
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderFacts:
    """What a loader is made of."""

    name: str
    """Name of the module and of the dataset in soundata."""
    title: str
    """Name of the dataset."""
    version: str
    """Version of the dataset."""
    index: str
    """File of the index, next to the loader."""
    key: str
    """The column that names a row."""
    signals: Sequence[str]
    """The audio of a row."""
    has_jams: bool
    """Whether a row has a JAMS file."""
    columns: Sequence[TableColumn]
    """The columns of the manifest, with audio files as ``{signal}_file``."""
    citations: str
    """BibTeX."""
    licences: str
    """Licences in one line."""
    rate_hz: int = 44_100
    """Sampling rate of the audio."""


def compose_loader(facts: LoaderFacts) -> bytes:
    """The module's file."""
    columns = [column for column in facts.columns if _may_be_attribute(column.name, facts.signals)]
    kinds = [*facts.signals, *(["jams"] if facts.has_jams else [])]
    renamed = {} if facts.has_jams else {signal: f"{signal}_file" for signal in facts.signals}
    title = escape_line(" ".join(facts.title.replace("\\", " ").replace('"', " ").split()))
    head = _HEAD.format(
        title=title,
        version=VERSION,
        bibtex=_quote(facts.citations),
        licence=_quote(facts.licences),
        dataset_version=_quote(facts.version),
        index=_quote(facts.index),
        key=_quote(facts.key),
        types=_format_types(facts.columns),
        columns=json.dumps(renamed),
        attributes="\n".join(
            [
                *(f"        {kind}_path (str): path of the file of {kind}" for kind in kinds),
                *(f"        {column.name} ({_TYPES[column.kind]}): {column.meaning}" for column in columns),
            ]
        ),
        paths="\n".join(f"        self.{kind}_path = self.get_path({_quote(kind)})" for kind in kinds),
    )
    body = [
        *(_AUDIO.format(signal=signal, meaning=_describe(signal)) for signal in facts.signals),
        *(
            _COLUMN.format(
                name=column.name,
                name_text=_quote(column.name),
                meaning=_describe(column.name),
                type=_TYPES[column.kind],
                value="the text" if column.kind == "text" else "the number; None if there is none",
            )
            for column in columns
        ),
        _CLIP_TAGS.replace("{rate_hz}", str(facts.rate_hz)) if facts.has_jams else _PAIR_TAGS,
    ]
    return (head + "".join(body) + _TAIL.format(title=title, name=_quote(facts.name))).encode()


def _may_be_attribute(name: str, signals: Sequence[str]) -> bool:
    """Whether a column can be an attribute of a clip: soundata and the loader have some of their own."""
    taken = {"clip_id", "get_path", "tags", "events", "to_jams", *signals}
    return name.isidentifier() and not keyword.iskeyword(name) and name not in taken and not name.endswith("_path")


def _quote(text: str) -> str:
    """Text as a Python string: the escapes of JSON are a part of Python's, except those of pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)


def _format_types(columns: Sequence[TableColumn]) -> str:
    typed = [f"{_quote(column.name)}: {_TYPES[column.kind]}" for column in columns if column.kind != "text"]
    return f"{{{', '.join(typed)}}}"


def _describe(name: str) -> str:
    text = describe_column(name) or f"the column {name}"
    return text[0].upper() + text[1:]
