"""The sources that a draw takes: those of a tree, without what would leak, and advice where too few are left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bgknown.apwd.pair_draw import PairRules, Sources, gather_sources
from bgknown.apwd.scenes import Scene
from bgknown.apwd.sources.tree import SourceTree
from bgknown.apwd.sources.twins import count_recordings, find_twins
from bgknown.errors import InvalidInputError, NotFoundError

OF_CLIPS = "sources_of_clips"
IDENTICAL = "identical_audio"
_ADVICE = {
    OF_CLIPS: "recordings left out because clips were cut from them: {count} (--keep-sources allows them)",
    IDENTICAL: (
        "recordings of dev left out because eval has the same audio: {count} (prepare others, or delete those of eval)"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawSources:
    """What a draw of pairs takes from a tree."""

    tree: SourceTree
    """The tree without what must not be drawn."""
    of_split: Mapping[str, Sources]
    """The sources of each split that is drawn."""
    left_out: Mapping[str, int]
    """Recordings of these splits that are not drawn, by the reason: sources_of_clips, identical_audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What is drawn, and from where."""

    tree: SourceTree
    scene: Scene
    splits: Collection[str]
    rules: PairRules

    @property
    def labels(self) -> list[str]:
        return sorted({self.scene.background, *self.scene.events})

    def find_leaks(self, *, keep_sources: bool) -> dict[str, frozenset[str]]:
        """The files that must not be drawn, by the reason.

        A recording that an ESC-50 clip was cut from would be an event of one pair and the background of another,
        perhaps of the other split. Audio that dev and eval share stays in eval.
        """
        of_clips = frozenset() if keep_sources else self.tree.find_sources_of_clips()
        return {OF_CLIPS: of_clips, IDENTICAL: find_twins(self.tree.leave_out(of_clips))}

    def count(self, files: Collection[str]) -> int:
        """How many recordings files are of, among those that could be drawn."""
        return count_recordings([file for file in files if file.partition("/")[0] in self.splits], self.labels)

    def gather(self, tree: SourceTree) -> dict[str, Sources]:
        scene = self.scene
        return {split: gather_sources(tree, split, scene.background, scene.events, self.rules) for split in self.splits}


def choose_sources(
    tree: SourceTree, scene: Scene, splits: Collection[str], rules: PairRules, *, keep_sources: bool
) -> DrawSources:
    """Choose the sources of a draw.

    Args:
        tree: the source tree.
        scene: the background and the event classes to draw.
        splits: the splits to draw.
        rules: ranges and weights of the draw.
        keep_sources: whether recordings that clips of the tree were cut from are drawn too.

    Raises:
        NotFoundError: the tree lacks a label.
        InvalidInputError: too few sources, or dev and eval share some. Both name what was left out if the draw would be
            possible with it.
    """
    search = _Search(tree=tree, scene=scene, splits=splits, rules=rules)
    leaks = search.find_leaks(keep_sources=keep_sources)
    safe = tree.leave_out(frozenset().union(*leaks.values()))
    safe.check_disjoint(search.labels)
    try:
        of_split = search.gather(safe)
    except (InvalidInputError, NotFoundError) as error:
        raise type(error)(f"{error}{_advise(search, leaks[OF_CLIPS])}") from error
    left_out = {why: search.count(files) for why, files in leaks.items()}
    return DrawSources(tree=safe, of_split=of_split, left_out=left_out)


def _advise(search: _Search, of_clips: Collection[str]) -> str:
    """What to do about recordings that were left out; nothing if the draw would not be possible with them either."""
    for reasons in ({OF_CLIPS}, {IDENTICAL}, {OF_CLIPS, IDENTICAL}):
        leaks = search.find_leaks(keep_sources=OF_CLIPS in reasons or not of_clips)
        left_out = leaks[OF_CLIPS] | (frozenset() if IDENTICAL in reasons else leaks[IDENTICAL])
        try:
            search.gather(search.tree.leave_out(left_out))
        except (InvalidInputError, NotFoundError):
            continue
        files = {OF_CLIPS: of_clips, IDENTICAL: leaks[IDENTICAL]}
        return "".join(
            f"; {advice.format(count=search.count(files[why]))}" for why, advice in _ADVICE.items() if why in reasons
        )
    return ""
