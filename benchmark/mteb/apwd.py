"""APwD as retrieval tasks of mteb, from a set that ``bgknown apwd build`` made.

A query is a soundscape s1 and a text that says what to change, the target s2, and the corpus the targets of all test
pairs of the scene, as in ``benchmark.tasks.apwd``. Every scene is four tasks:

=====================================  ========  ===================================================================
``APwDRainAT2ARetrieval``              at2a      the query is s1 and its text
``APwDRainTextOnlyT2ARetrieval``       t2a       control: the text alone
``APwDRainAudioOnlyA2ARetrieval``      a2a       control: s1 alone
``APwDRainShuffledTextAT2ARetrieval``  at2a      control: s1 and the text of another pair
=====================================  ========  ===================================================================

``recall_at_k`` is R@K. If several targets are exactly as similar to a query, because their audio is the same, mteb
ranks them arbitrarily; R@K of this project (``benchmark.ranking``) ranks the query's own target last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from mteb import TaskMetadata
from mteb.abstasks import AbsTaskRetrieval

from benchmark.mteb.audio import PairAudio, make_dataset
from bgknown.apwd.dataset import PairSet, open_pairs
from bgknown.apwd.manifest import derive_pair_set_id
from bgknown.errors import NotFoundError
from bgknown.jobs.files import hash_bytes

SPLIT = "test"
"""mteb's name of APwD's eval pairs."""
CITATION = """
@inproceedings{takeuchi2022introducing,
  author = {Takeuchi, Daiki and Ohishi, Yasunori and Niizumi, Daisuke and Harada, Noboru and Kashino, Kunio},
  booktitle = {Interspeech 2022},
  title = {Introducing Auxiliary Text Query-modifier to Content-based Audio Retrieval},
  year = {2022},
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryForm:
    """What a query consists of."""

    name: str
    """Part of the task's name."""
    category: str
    """mteb's category."""
    audio: bool
    """Whether it has the audio of s1."""
    text: bool
    """Whether it has a text."""
    shuffle: bool = False
    """Whether the text is that of another pair."""
    about: str
    """The first sentence of the task's description."""


FORMS = (
    QueryForm(
        name="AT2A",
        category="at2a",
        audio=True,
        text=True,
        about="The query is audio and a text that says what to change.",
    ),
    QueryForm(
        name="TextOnlyT2A", category="t2a", audio=False, text=True, about="Control: the query is the text alone."
    ),
    QueryForm(
        name="AudioOnlyA2A", category="a2a", audio=True, text=False, about="Control: the query is the audio alone."
    ),
    QueryForm(
        name="ShuffledTextAT2A",
        category="at2a",
        audio=True,
        text=True,
        shuffle=True,
        about="Control: the query is the audio and the text of another pair.",
    ),
)
"""The task and its controls."""


class ApwdRetrieval(AbsTaskRetrieval):  # type: ignore[misc]
    """The test pairs of one scene as a retrieval task of mteb."""

    def __init__(self, pairs: PairSet, scene: str, form: QueryForm, *, seed: int = 42) -> None:
        """Describe the task; its dataset is made by ``load_data``.

        Args:
            pairs: the scene's test pairs, all with both sides.
            scene: the scene's name.
            form: what a query consists of.
            seed: mteb's seed, which has no effect here.
        """
        self.pairs, self.scene, self.form = pairs, scene, form
        super().__init__(seed=seed)

    @cached_property
    def metadata(self) -> TaskMetadata:
        """What mteb stores about the task; mteb deletes it with the data, and reads it again."""
        return describe_mteb_task(self.pairs, self.scene, self.form)

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Make queries, corpus and relevant documents; audio is read or rendered when a row is used."""
        table, sides = self.pairs.table, PairAudio(self.pairs)
        names = table["pair"].tolist()
        texts = shuffle_texts(table) if self.form.shuffle else table["text"].tolist()
        queries = {"id": names}
        if self.form.audio:
            queries["audio"] = [f"{name}/s1" for name in names]
        if self.form.text:
            queries["text"] = texts
        targets = {name: f"{name}_s2" for name in names}
        corpus = {"id": list(targets.values()), "audio": [f"{name}/s2" for name in names]}
        split = {
            "queries": make_dataset(queries, sides),
            "corpus": make_dataset(corpus, sides),
            "relevant_docs": {name: {target: 1} for name, target in targets.items()},
            "top_ranked": None,
        }
        self.dataset = {"default": {SPLIT: split}}
        self.data_loaded: bool = True


def make_apwd_tasks(
    root: str | Path,
    *,
    scenes: Sequence[str] | None = None,
    jams: str | Path | None = None,
    source: str | Path | None = None,
) -> list[ApwdRetrieval]:
    """The task and its three controls, for every scene of a set.

    Args:
        root: a set that ``bgknown apwd build`` made.
        scenes: some of its scenes; None for all.
        jams, source: what a set made with ``--manifest-only`` is rendered from.

    Raises:
        NotFoundError: there is no finished set, or no such scene, or a scene has no test pairs with both sides.
        InvalidInputError: the set is damaged, or has no audio and nothing to render it from.
        StorageError: a file of the set is missing.
    """
    pairs = open_pairs(root, jams=jams, source=source)
    tasks = []
    for scene in sorted(set(pairs.table["scene"])) if scenes is None else scenes:
        some = pairs.select(scene=scene)
        tested = some.table[(some.table["split"] == "eval") & (some.table["jams_s2"] != "")].sort_values("pair")
        if tested.empty:
            raise NotFoundError(f"{root}: the scene {scene} has no eval pairs with both sides")
        some = replace(some, table=tested)
        some.audio(tested["pair"].iloc[0], "s1")  # says now, and not after a model is loaded, what is missing
        tasks += [ApwdRetrieval(some, scene, form) for form in FORMS]
    return tasks


def describe_mteb_task(pairs: PairSet, scene: str, form: QueryForm) -> TaskMetadata:
    """What mteb stores about a task; its dataset's revision changes with the pairs, their texts and their audio."""
    named = "".join(part.capitalize() for part in scene.replace("-", "_").split("_"))
    return TaskMetadata(
        name=f"APwD{named}{form.name}Retrieval",
        description=(
            f"{form.about} The target is the same soundscape ({scene}) after the change, the corpus the targets of all "
            f"{len(pairs)} test pairs. Soundscapes are rendered from ESC-50 and FSD50K (APwD)."
        ),
        reference="https://github.com/nttcslab/apwd-dataset",
        dataset={"path": "bgknown/apwd", "revision": derive_pair_set_id(pairs.table)},
        type="Any2AnyRetrieval",
        category=form.category,
        modalities=["audio", "text"] if form.text else ["audio"],
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn"],
        main_score="recall_at_1",
        date=("2013-01-01", "2022-09-18"),
        domains=["AudioScene"],
        task_subtypes=["Environment Sound Retrieval"],
        license="not specified",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation=CITATION,
        prompt={
            "query": "Given a recording and a text that says what to change in it, retrieve the changed recording."
        },
    )


def shuffle_texts(table: pd.DataFrame) -> list[str]:
    """The texts of other pairs: every text is used as often as before, and no pair gets its own.

    Pairs are ordered by a hash of their text, and texts move on by as many places as the commonest text is frequent.
    If that text is more than half of all, some pairs get it again.

    Args:
        table: the columns ``pair`` and ``text``.

    Returns:
        a text for each row.
    """
    texts = table["text"].tolist()
    order = sorted(range(len(texts)), key=lambda row: (hash_bytes(texts[row].encode()), table["pair"].iloc[row]))
    step = max(Counter(texts).values())
    given = dict(zip(order, [*order[step:], *order[:step]], strict=True))
    return [texts[given[row]] for row in range(len(texts))]
