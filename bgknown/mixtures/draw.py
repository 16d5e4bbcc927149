"""The draw: which recording, which crops and which SNR each clip gets.

Every draw comes from a generator of (seed, clip), so that a clip's row does not depend on the other clips, unless two
clips prefer the same recording and there are enough recordings to use each of them once.

Where clips have several draws, these are made one after another, and each of them knows the recordings of the earlier
ones: so the first is the same as that of a single draw, and fewer draws are the first of more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from bgknown import seeding
from bgknown.audio.files import count_frames_44k
from bgknown.audio.loudness import SILENCE_LUFS
from bgknown.corpora.licences import parse_families
from bgknown.corpora.pair import Corpora
from bgknown.errors import BrokenInputError, InvalidInputError
from bgknown.jobs.problems import Problem, list_problems
from bgknown.mixtures.assignment import assign
from bgknown.mixtures.crop_starts import draw_a_starts, draw_b_start, draw_c_start
from bgknown.mixtures.hearing import CropCheck, Hearing, Listener
from bgknown.mixtures.naming import SNR_DECIMALS, name_row
from bgknown.mixtures.pool import FindTwins, Pool, PoolCounts, PoolRules, make_pools
from bgknown.mixtures.recipe import (
    MIXTURE_S,
    REF_LIMITS_DB,
    SNR_LIMITS_DB,
    RecipeRow,
    count_clip_frames,
    list_columns,
)
from bgknown.tables import list_records

MOST_DRAWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOptions:
    """The options of the draw."""

    seed: int = 0
    """Seed of every draw."""
    snr_db: tuple[float, float] = (0.0, 3.0)
    """Range of the signal-to-noise ratio, uniform."""
    ref_db: float = -30.0
    """Loudness of the background in the mixture, LUFS."""
    min_level_lufs: float = -60.0
    """Least loudness of crop (a) in its recording, LUFS; a quieter one is drawn again."""
    draws: int = 1
    """Number of draws: recordings, crops and SNRs of each clip."""
    snr_grid_db: tuple[float, ...] = ()
    """SNRs of which each draw gets a row, with the same background; then none is drawn. Empty: one drawn SNR."""
    duration_s: float = MIXTURE_S
    """Duration of mixtures and references, seconds."""
    keep_sources: bool = False
    """Also use recordings as backgrounds that other clips were cut from; by default none of any clip is used."""
    exclude_same_class: bool = False
    """Give no clip a background that contains its class."""
    licences: tuple[str, ...] = ()
    """Families of licences that a background must have (``bgknown.corpora.licences.FAMILIES``); none means any."""

    @property
    def pool_rules(self) -> PoolRules:
        """Which recordings may be backgrounds."""
        return PoolRules(
            clip_frames=self.clip_frames,
            keep_sources=self.keep_sources,
            exclude_same_class=self.exclude_same_class,
            licences=self.licences,
        )

    @property
    def clip_frames(self) -> int:
        """Samples in a mixture and in each reference."""
        return count_clip_frames(self.duration_s)

    def __post_init__(self) -> None:
        low, high = self.snr_db
        if not SNR_LIMITS_DB[0] <= low <= high <= SNR_LIMITS_DB[1]:
            raise InvalidInputError(f"the SNR range is {low:g} to {high:g} dB; it must rise, within -40..40")
        if not REF_LIMITS_DB[0] <= self.ref_db <= REF_LIMITS_DB[1]:
            raise InvalidInputError(f"ref_db is {self.ref_db:g} LUFS; it must be in -50..0")
        check_min_level(self.min_level_lufs)
        if not 1 <= self.draws <= MOST_DRAWS:
            raise InvalidInputError(f"draws is {self.draws}; it must be in 1..{MOST_DRAWS:,}")
        check_grid(self.snr_grid_db)
        count_clip_frames(self.duration_s)
        object.__setattr__(self, "licences", parse_families(self.licences))


def check_grid(snr_grid_db: Sequence[float]) -> None:
    """Refuse a grid of SNRs whose rows would not have different names, or would not fit into 16 bits.

    Raises:
        InvalidInputError: a value is out of range, has too many decimals, or occurs twice.
    """
    low, high = SNR_LIMITS_DB
    for value in snr_grid_db:
        if not low <= value <= high or round(value, SNR_DECIMALS) != value:
            rule = f"each value must be in {low:g}..{high:g}, with at most {SNR_DECIMALS} decimals"
            raise InvalidInputError(f"the SNR grid has {value:g} dB; {rule}")
        if list(snr_grid_db).count(value) > 1:
            raise InvalidInputError(f"the SNR grid has {value:g} dB twice; give each value once")


def check_min_level(min_level_lufs: float) -> None:
    """Refuse a minimum level that silence would reach.

    Raises:
        InvalidInputError: it is not above -70, the loudness that Scaper gives to silence, or above 0.
    """
    if not SILENCE_LUFS < min_level_lufs <= 0.0:
        raise InvalidInputError(
            f"the minimum level is {min_level_lufs:g} LUFS; it must be above -70 (silence) and at most 0"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A recipe, and the recordings that could not be used."""

    recipe: pd.DataFrame
    """The recipe's columns, sorted by clip_id."""
    problems: list[Problem]
    """Recordings that are missing, unreadable or hold NaN."""
    too_quiet: list[str]
    """Recordings in which no crop reached the minimum level."""
    pools: Mapping[str, PoolCounts] = field(default_factory=dict)
    """How many recordings of each split could be backgrounds; none for a given recipe."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Files of recordings that were left out of training, each with the file in the test set that is the same audio."""


def find_no_twins(_: object, __: object) -> Mapping[str, str]:
    """Where audio cannot be compared."""
    return {}


def draw_recipe(
    corpora: Corpora, options: DrawOptions, listen: Listener, find_twins: FindTwins = find_no_twins
) -> Draw:
    """Draw a recipe for every listed clip.

    Args:
        corpora: the corpora; clips whose file is broken get a row too, so that repairing one changes no other row.
        options: seed and ranges.
        listen: measures crops; see ``bgknown.mixtures.crop_levels.measure_crop_levels``.
        find_twins: finds audio that both splits have; it is left out of training.

    Raises:
        BrokenInputError: a split has clips, but no recording that can be used; says why.
        InvalidInputError: no recording has one of the licences, or all of them contain a class that they must not.
    """
    problems: list[Problem] = []
    too_quiet: list[str] = []
    rows: list[RecipeRow] = []
    twins: dict[str, str] = {}
    pools = make_pools(corpora, options.pool_rules)
    sides = {
        split: replace(
            corpora,
            foreground=corpora.foreground.select_split(split),
            background=corpora.background.select_split(split),
        )
        for split in pools
    }
    for split, pool in pools.items():  # before the first is listened to, which can take hours
        _check_pool(sides[split], pool.recordings, options, pool.counts, _hear_nothing(sides[split]))
    in_test = list_records(pools["test"].recordings) if "test" in pools else []
    for split, pool in pools.items():
        hearing = Hearing(listen=listen, find_twins=find_twins, others=in_test if split == "train" else [])
        rows += _draw_split(sides[split], pool, options, hearing)
        problems += hearing.problems
        too_quiet += sorted(hearing.too_quiet)
        twins |= hearing.twins
        pools[split] = replace(pool, counts=replace(pool.counts, identical_audio=len(hearing.twins)))
    table = pd.DataFrame([row.to_columns(corpora.prefixes) for row in rows])
    recipe = table[list_columns(table.columns)].sort_values("clip_id", ignore_index=True)
    counts = {split: pool.counts for split, pool in pools.items()}
    return Draw(recipe=recipe, problems=problems, too_quiet=too_quiet, pools=counts, twins=twins)


def draw_snr_db(options: DrawOptions, random: np.random.Generator) -> float:
    """An SNR, uniform over the range, in steps of 0.0001 dB so that a CSV holds it exactly."""
    low, high = options.snr_db
    return float(min(max(round(random.uniform(low, high), SNR_DECIMALS), low), high))


def _draw_split(side: Corpora, choices: Pool, options: DrawOptions, hearing: Hearing) -> list[RecipeRow]:
    """Make one draw after another; a recording that fails in one is left out of it and of those that follow."""
    clips, pool = side.foreground.table, choices.recordings
    hearing.problems += side.background.problems()
    recordings = {row["recording_id"]: row for row in list_records(pool)}
    never = {row["clip_id"]: choices.find_barred(row["category"]) for row in list_records(clips)}
    rows: list[RecipeRow] = []
    earlier: list[dict[str, str]] = []
    for number in range(options.draws):
        heard: dict[tuple[str, str], int] = {}
        while True:
            _check_pool(side, pool, options, choices.counts, hearing)
            choices.check_classes(pool, clips)
            chosen = assign(clips, pool, options.seed, earlier, never=never)
            refused = hearing.hear(_list_checks(chosen, recordings, heard, options, number), heard)
            if not refused:
                break
            pool = pool[~pool["recording_id"].isin(refused)]
        earlier.append(chosen)
        for clip in list_records(clips):
            recording = recordings[chosen[clip["clip_id"]]]
            rows += draw_rows(clip, recording, heard[clip["clip_id"], recording["recording_id"]], options, number)
    return rows


def _check_pool(side: Corpora, pool: pd.DataFrame, options: DrawOptions, counts: PoolCounts, hearing: Hearing) -> None:
    """Refuse to draw where no recording is left, or only one that a clip was cut from."""
    if pool.empty or _is_one_source_of_a_clip(pool["source"], side.foreground.table["source"]):
        raise BrokenInputError(_explain_shortage(side, pool, options, counts, hearing))


def _hear_nothing(side: Corpora) -> Hearing:
    """What is known before anything is listened to."""
    return Hearing(listen=lambda _: (), find_twins=find_no_twins, others=[], problems=side.background.problems())


def _is_one_source_of_a_clip(sources: pd.Series, of_clips: pd.Series) -> bool:
    """Whether all recordings are of one known source that a clip has too."""
    return len(set(sources)) == 1 and bool(sources.iloc[0]) and bool(of_clips.isin(sources).any())


def _explain_shortage(
    side: Corpora, pool: pd.DataFrame, options: DrawOptions, counts: PoolCounts, hearing: Hearing
) -> str:
    corpus = side.background.facts.name
    if len(pool):
        name = pool["recording_id"].iloc[0]
        source = "Freesound source" if side.background.reader == "fsd50k" else "source"
        return f"the only background left, recording {name}, is the {source} of a clip; add recordings to {corpus}"
    split = side.foreground.table["split"].iloc[0]
    part = side.background.part_of_split[split]
    if side.background.reader == "table" and not (side.background.table["split"] == split).any():
        return f"{corpus} lists no recordings for {split}, and there are {split} clips; give some rows that split"
    problems, too_quiet = hearing.problems, hearing.too_quiet
    reasons = {
        "of another licence (--licence)": counts.licence,
        "from which clips were cut (--keep-sources)": counts.sources_of_clips,
        "whose audio is in the other split too": len(hearing.twins),
        f"have no crop of {options.min_level_lufs:g} LUFS (--min-level)": len(too_quiet),
    }
    why = "".join(f", {count} {reason}" for reason, count in reasons.items() if count)
    broken = f", {len(problems)} are broken:\n{list_problems(problems)}" if problems else ""
    least = f"recordings must have {2 * options.duration_s:g} s or more"
    return f"no background is left in {corpus}'s {part} set: {least}{why}{broken}"


def _list_checks(
    chosen: Mapping[str, str],
    recordings: Mapping[str, Mapping[str, Any]],
    heard: Mapping[tuple[str, str], int],
    options: DrawOptions,
    number: int,
) -> list[CropCheck]:
    unheard: dict[str, dict[str, list[int]]] = {}
    for clip_id, recording_id in sorted(chosen.items()):
        if (clip_id, recording_id) not in heard:
            frames = _count_frames(recordings[recording_id])
            random = _make_generator(options.seed, clip_id, "a", number)
            starts = draw_a_starts(frames, random, clip_frames=options.clip_frames)
            unheard.setdefault(recording_id, {})[clip_id] = starts
    return [
        CropCheck(recording=recordings[name], starts=starts, clip_frames=options.clip_frames, draw=number)
        for name, starts in sorted(unheard.items())
    ]


def draw_rows(
    clip: Mapping[str, Any], recording: Mapping[str, Any], a_start: int, options: DrawOptions, number: int
) -> list[RecipeRow]:
    """The rows of a clip's draw: one for each SNR.

    Args:
        clip: the clip's row of the index.
        recording: the row of its recording.
        a_start: where crop (a) begins.
        options: the options of the draw.
        number: number of the draw.
    """
    clip_id, frames, seed, size = clip["clip_id"], _count_frames(recording), options.seed, options.clip_frames
    draw = number if options.draws > 1 else None
    snrs_db = options.snr_grid_db or (draw_snr_db(options, _make_generator(seed, clip_id, "snr", number)),)
    return [
        RecipeRow(
            clip_id=name_row(clip_id, draw, snr_db if options.snr_grid_db else None),
            split=clip["split"],
            fold=clip["fold"],
            target=clip["target"],
            category=clip["category"],
            foreground_file=clip["file"],
            background_file=recording["file"],
            a_start=a_start,
            b_start=draw_b_start(frames, a_start, _make_generator(seed, clip_id, "b", number), size),
            c_start=draw_c_start(frames, a_start, _make_generator(seed, clip_id, "c", number), size),
            snr_db=float(snr_db),
            ref_db=options.ref_db,
            draw=draw,
        )
        for snr_db in snrs_db
    ]


def _make_generator(seed: int, clip_id: str, what: str, number: int) -> np.random.Generator:
    """The generator of one thing that a clip draws; that of its first draw is the same however many follow."""
    return seeding.make_generator(seed, clip_id, what, *[f"draw {number}"] * (number > 0))


def _count_frames(recording: Mapping[str, Any]) -> int:
    return int(count_frames_44k(recording["frames"], recording["rate_hz"]))
