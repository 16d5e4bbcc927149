"""MTEB: retrieval of audio by audio and text, in the layout that mteb's ``RetrievalDatasetLoader`` reads.

::

    README.md                                        dataset card with a configuration for each folder, written last
    rain-corpus/eval-00000-of-00002.parquet          id, audio: the soundscapes s2
    rain-queries/eval-00000-of-00002.parquet         id, audio, text: the soundscape s1 and what to change
    rain-qrels/eval-00000-of-00001.parquet           query-id, corpus-id, score
    manifest.csv                                     the dataset's own table

Each scene is a subset, since its targets are the gallery of its queries; a set with one scene has the plain names
corpus, queries and qrels. Targets with the same bytes are all relevant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bgknown.errors import InvalidInputError
from bgknown.exports.arrow import (
    ArrowColumn,
    format_config,
    format_dataset_info,
    import_pyarrow,
    make_audio_value,
    write_parquet,
)
from bgknown.exports.card import CARD, CardFacts, compose_card
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart, measure_rows, split_rows
from bgknown.exports.source import ExportSource
from bgknown.mixtures.dataset import MANIFEST

_FORMAT_NAME = "mteb"
_ROLES = ("corpus", "queries", "qrels")
_SIDE_OF_ROLE = {"corpus": "s2", "queries": "s1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MtebExport:
    """The export of pairs as a retrieval task."""

    source: ExportSource
    """The pairs."""
    shard_bytes: int
    """Largest sum of files in a shard."""

    @property
    def scenes(self) -> list[str]:
        """The scenes, sorted."""
        return sorted(set(self.source.table["scene"]))

    def check(self) -> None:
        """Refuse what has no queries and targets.

        Raises:
            InvalidInputError: it is not a set of pairs, or its pairs have one side only.
            NotFoundError: pyarrow is not installed.
        """
        if not self.source.is_pairs:
            raise InvalidInputError(
                f"{self.source.root}: --format mteb is retrieval with pairs of `bgknown apwd build`, and this is "
                f"{self.source.name}; give another --format"
            )
        if not (self.source.table["s2_file"] != "").all():
            raise InvalidInputError(
                f"{self.source.root}: --format mteb needs both sides of every pair; some have only s1; "
                "give another --format"
            )
        import_pyarrow(_FORMAT_NAME)

    def list_facts(self) -> list[object]:
        """Other versions of pyarrow write other bytes."""
        return [import_pyarrow(_FORMAT_NAME).__version__]

    def list_parts(self) -> list[ExportPart]:
        """The shards of corpus, queries and qrels, by scene and split."""
        table = self.source.table
        sizes = {role: measure_rows(self.source, [side]) for role, side in _SIDE_OF_ROLE.items()}
        sizes["qrels"] = [64] * len(table)
        parts: list[ExportPart] = []
        for scene in self.scenes:
            for split in self.source.splits:
                here = (table["scene"] == scene) & (table["split"] == split)
                places = [place for place, fits in enumerate(here) if fits]
                for role in _ROLES if places else ():
                    parts += self._list_shards(self._name_config(scene, role), split, places, sizes[role])
        return parts

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """Write a shard."""
        role = part.kind.rsplit("-", 1)[-1]
        rows = self._list_relevance(part) if role == "qrels" else self._list_values(part, role)
        return write_parquet(stream, self._list_columns(role), rows, advance=advance, format=_FORMAT_NAME)

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The card, and the dataset's own table."""
        configs, infos = ["configs:"], ["dataset_info:"]
        for name in dict.fromkeys(part.kind for part in parts):
            of = [part for part in parts if part.kind == name]
            configs += format_config(name, name, dict.fromkeys(part.split for part in of))
            first, *rest = format_dataset_info(name, self._list_columns(name.rsplit("-", 1)[-1]), of)
            infos += [f"- {first}", *(f"  {line}" for line in rest)]
        subsets = self.scenes if len(self.scenes) > 1 else ["default"]
        facts = CardFacts(
            title="A retrieval task for MTEB: the query is s1 with the text, the target is s2.",
            layout="\n".join(
                f"{self._name_config(scene, role)}/{{split}}-{{shard}}-of-{{shards}}.parquet"
                for scene in self.scenes
                for role in _ROLES
            ),
            loading=(
                "from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader\n\n"
                f'loader = RetrievalDatasetLoader("FOLDER OR REPOSITORY", "main", split="{self.source.splits[-1]}", '
                f'config="{subsets[0]}")\n'
                "task = loader.load()  # corpus, queries, relevant_docs; decoding audio needs torchcodec"
            ),
            columns=[
                (column.name, column.shown_type)
                for column in dict.fromkeys(column for role in _ROLES for column in self._list_columns(role))
            ],
            header=[*configs, *infos],
            notes=f"Subsets of the task: {', '.join(subsets)}. Its splits: {', '.join(self.source.splits)}.",
        )
        return {MANIFEST: self.source.read_table(MANIFEST), CARD: compose_card(self.source, facts)}

    def _name_config(self, scene: str, role: str) -> str:
        return f"{scene}-{role}" if len(self.scenes) > 1 else role

    def _list_shards(self, config: str, split: str, places: list[int], sizes: list[int]) -> Iterator[ExportPart]:
        groups = split_rows([sizes[place] for place in places], self.shard_bytes)
        for number, group in enumerate(groups):
            chosen = tuple(places[place] for place in group)
            yield ExportPart(
                file=f"{config}/{split}-{number:05d}-of-{len(groups):05d}.parquet",
                kind=config,
                split=split,
                places=chosen,
                size_bytes=sum(sizes[place] for place in chosen) + 1_024 * len(chosen),
            )

    def _list_columns(self, role: str) -> list[ArrowColumn]:
        if role == "qrels":
            score = ArrowColumn(name="score", kind="integer")
            return [ArrowColumn(name="query-id", kind="text"), ArrowColumn(name="corpus-id", kind="text"), score]
        audio = ArrowColumn(name="audio", kind="audio", rate_hz=self.source.rate_hz)
        text = [ArrowColumn(name="text", kind="text")] if role == "queries" else []
        return [ArrowColumn(name="id", kind="text"), audio, *text]

    def _list_values(self, part: ExportPart, role: str) -> Iterator[dict[str, Any]]:
        side = _SIDE_OF_ROLE[role]
        for row in self.source.list_rows(part.places):
            audio = make_audio_value(row[f"{side}_file"], self.source.read_file(row, side))
            if role == "corpus":
                yield {"id": name_target(row["pair"]), "audio": audio}
            else:
                yield {"id": row["pair"], "audio": audio, "text": row["text"]}

    def _list_relevance(self, part: ExportPart) -> Iterator[dict[str, Any]]:
        """Each query with its target, and with all others of its gallery that have the same bytes."""
        table = self.source.table
        here = table.iloc[list(part.places)]
        gallery = table[(table["scene"] == here["scene"].iloc[0]) & (table["split"] == part.split)]
        targets = gallery.groupby("s2_sha256", sort=False)["pair"].agg(list).to_dict()
        for pair, sha256 in zip(here["pair"], here["s2_sha256"], strict=True):
            for target in targets[sha256]:
                yield {"query-id": pair, "corpus-id": name_target(target), "score": 1}


def name_target(pair: str) -> str:
    """The id of a pair's second soundscape in the corpus."""
    return f"{pair}_s2"
