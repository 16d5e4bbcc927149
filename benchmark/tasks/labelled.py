"""Tasks of labelled clips: a table of files, labels and splits to a ``TaskData``.

Every clip is one embedding. A clip that is longer than the task's length is cut at its start where it is tested, and at
a place drawn from its name where it is trained on (PROTOCOL.md, section 3), so a clip that is trained on in one fold
and tested in another has two views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.embedding.clips import Clip
from benchmark.tasks import splits
from benchmark.tasks.contract import (
    PLAIN,
    Fold,
    Setting,
    TaskData,
    TaskFacts,
    TaskOptions,
    format_classes,
    shuffle_labels,
)
from bgknown.audio.files import NO_SUCH_FILE
from bgknown.corpora.headers import read_header_facts
from bgknown.corpora.listing import compose_name
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.seeding import derive_key, draw_ranks
from bgknown.shown import escape_line, name_few

TASK_SPLITS = ("train", "valid", "test")
"""Values of ``split``."""


def prepare(facts: TaskFacts, table: pd.DataFrame, root: Path, options: TaskOptions) -> TaskData:
    """Make a task from a table of clips.

    Args:
        facts: what is published about the task.
        table: file, label, split or fold, and group, as ``benchmark.tasks.contract`` says.
        root: the folder of the files.
        options: how to read it.

    Raises:
        NotFoundError, InvalidInputError: the table breaks a rule, or clips are broken and must not be skipped.
    """
    notes, difference = [], ""
    if options.splits is None:
        difference = describe_difference(facts, table)
        if difference:
            notes.append(f"the corpus is incomplete: {difference}")
    else:
        table = splits.apply_splits(options.splits, table, root)
        notes.append(f"labels and splits are those of {options.splits}")
    listed = _list_clips(facts, table, root, options)
    whole = listed[listed["problem"] == ""].sort_values("file", ignore_index=True)
    notes += _describe_left_out(listed, whole)
    clips = take_limit(whole, options.limit)
    if clips.empty:
        raise InvalidInputError(f"{root}: task {facts.name}: it has no usable clips")
    folds = make_folds(clips)
    views, training_rows = cut_views(clips, folds, facts.duration_s, root)
    data = TaskData(
        facts=facts,
        root=root,
        table=clips.assign(clip_id=clips["file"]),
        signals={"audio": views},
        settings=[Setting(name=name, about=about, signal=signal) for name, (about, signal, _) in PLAIN.items()],
        folds=folds,
        sha256=fingerprint_table(facts, clips),
        skipped=len(listed) - len(whole),
        leak_check=check_leaks(clips["group"].to_numpy(), folds, facts.groups),
        in_part=bool(difference) or len(clips) < len(listed),
        notes=notes,
        training_rows=training_rows,
    )
    if not options.shuffle_labels:
        return data
    parts = clips["fold" if "fold" in clips else "split"]
    mixed = data.table.assign(label=shuffle_labels(clips["label"], parts, clips["file"]))
    return dataclasses.replace(data, table=mixed)


def _list_clips(facts: TaskFacts, table: pd.DataFrame, root: Path, options: TaskOptions) -> pd.DataFrame:
    """All clips with what their headers say; broken ones are refused or, where they are skipped, have a problem."""
    # draws and hashes by name must not depend on the Unicode form in which a disk returns names
    composed = {column: [compose_name(text) for text in table[column]] for column in ("file", "label", "group")}
    table = table.assign(on_disk=table["file"], **composed)
    check_table(table, f"{root}: task {facts.name}")
    listed = pd.concat([table.reset_index(drop=True), read_headers(facts, table, root, options)], axis=1)
    broken = listed[listed["problem"] != ""]
    if not broken.empty and not options.skip_broken:
        raise InvalidInputError(_describe_broken(facts, root, broken, len(listed)))
    return listed


def _describe_left_out(listed: pd.DataFrame, whole: pd.DataFrame) -> list[str]:
    """Sentences on clips that are broken, and on classes that have no others."""
    broken = listed[listed["problem"] != ""]
    if broken.empty:
        return []
    notes = [f"{len(broken)} of {len(listed)} clips are left out, {_describe_state(broken)}: {_name_clips(broken)}"]
    lost = sorted(set(listed["label"]) - set(whole["label"]))
    if lost:
        notes.append(f"{format_classes(lost)} left out with them: the task has {whole['label'].nunique():,} classes")
    return notes


def check_table(table: pd.DataFrame, where: str) -> None:
    """Check that a table has clips, each once, with labels and parts.

    Raises:
        InvalidInputError: names the first such file.
    """
    if table.empty:
        raise InvalidInputError(f"{where}: lists no clips")
    for fault, rows in (
        ("is listed twice", table["file"].duplicated()),
        ("has no label", table["label"].str.strip() == ""),
    ):
        if rows.any():
            raise InvalidInputError(f"{where}: {escape_line(table['file'][rows].iloc[0])} {fault}; repair the table")
    if "fold" in table:
        if table["fold"].nunique() < 2:
            raise InvalidInputError(
                f"{where}: there is only one fold, {table['fold'].iloc[0]}; at least two are needed"
            )
        return
    strange = ~table["split"].isin(TASK_SPLITS)
    if strange.any():
        first = table[strange].iloc[0]
        raise InvalidInputError(
            f"{where}: the split of {escape_line(first['file'])} is {first['split']!r}; "
            f"it must be one of {', '.join(TASK_SPLITS)}"
        )


def read_headers(facts: TaskFacts, table: pd.DataFrame, root: Path, options: TaskOptions) -> pd.DataFrame:
    """Header facts of a table's files (``on_disk``), and the problems of those that are known to be broken."""
    files = table["on_disk"].tolist()
    found = read_header_facts(root, files, cache=options.cache, title=f"{facts.name} headers")
    if options.broken:
        known = [options.broken.get(root / file, "") for file in files]
        found["problem"] = found["problem"].where(found["problem"] != "", known)
    return found


def describe_difference(facts: TaskFacts, table: pd.DataFrame) -> str:
    """By how much a table differs in size from the published corpus; empty for not at all."""
    found, total = count_clips(table), sum(facts.counts.values())
    other = [part for part, count in facts.counts.items() if found.get(part, 0) != count]
    parts = [f"{found.get(part, 0):,} of {facts.counts[part]:,} {_name_part(part)}" for part in other]
    if other and len(table) != total and len(facts.counts) > len(TASK_SPLITS):
        parts = [f"{len(table):,} of {total:,} clips"]
    classes = table["label"].nunique()
    if classes != facts.classes:
        parts.append(f"{classes:,} of {facts.classes:,} classes")
    return ", ".join(parts)


def count_clips(table: pd.DataFrame) -> dict[str, int]:
    """Clips of each part of a table, and of all."""
    column = "fold" if "fold" in table else "split"
    by_part = table[column].value_counts().to_dict()
    named = {f"fold {part}" if column == "fold" else str(part): int(count) for part, count in by_part.items()}
    return {**named, "clips": len(table)}


def take_limit(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most ``limit`` rows, of as many classes as fit, each with a clip of all of its parts.

    The rows of a smaller limit are a subset of those of a larger one.
    """
    if limit is None or limit >= len(table):
        return table
    part = table["fold" if "fold" in table else "split"]
    ranked = pd.DataFrame(
        {
            "clip": draw_ranks(0, "limit", table["file"].tolist()),
            "label": [derive_key(0, "limit", label) for label in table["label"]],
            "part": part,
        },
        index=table.index,
    )
    ranked["round"] = ranked.groupby(["label", "part"])["clip"].rank(method="first")
    first = ranked.sort_values(["round", "label", "part"]).head(limit)
    return table.loc[sorted(first.index)].reset_index(drop=True)


def make_folds(table: pd.DataFrame) -> list[Fold]:
    """The folds of a table: one for each value of ``fold``, which is tested, or one for ``split``."""
    if "fold" in table:
        of_clip = table["fold"].to_numpy()
        return [
            Fold(name=name, train=np.flatnonzero(of_clip != name), test=np.flatnonzero(of_clip == name))
            for name in sorted(set(of_clip), key=lambda name: (len(name), name))
        ]
    split = table["split"].to_numpy()
    train, valid, test = (np.flatnonzero(split == part) for part in TASK_SPLITS)
    return [Fold(name="", train=train, test=test, valid=valid if len(valid) else None)]


def cut_views(
    table: pd.DataFrame, folds: Sequence[Fold], duration_s: float | None, root: Path
) -> tuple[list[Clip], NDArray[np.int64] | None]:
    """The views of the clips: cut at the start, and where they are longer and trained on, at a place by their name.

    Returns:
        one view per clip, then the further ones; and for each clip the view that is trained on, where any differs.
    """
    paths = [root / file for file in table.get("on_disk", table["file"])]
    if duration_s is None:
        return [Clip(path=path) for path in paths], None
    longer = table["frames"].to_numpy(np.float64) > duration_s * table["rate_hz"].to_numpy(np.float64)
    trained, from_start = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
    for fold in folds:
        trained[fold.train] = True
        from_start[fold.test] = True
        # without a validation part, some of the training clips decide when to stop
        from_start[fold.train if fold.valid is None else fold.valid] = True
    places = draw_ranks(0, "crop", table["file"].tolist()) / 2.0**64
    drawn = np.where(longer & trained, places, 0.0)
    views = [
        Clip(path=path, duration_s=duration_s, place=0.0 if start else float(place))
        for path, start, place in zip(paths, from_start, drawn, strict=True)
    ]
    further = np.flatnonzero((drawn > 0.0) & from_start)
    if len(further) == 0:
        return views, None
    training_rows = np.arange(len(table))
    training_rows[further] = len(table) + np.arange(len(further))
    views += [Clip(path=paths[row], duration_s=duration_s, place=float(drawn[row])) for row in further]
    return views, training_rows


def check_leaks(groups: NDArray[np.object_], folds: Sequence[Fold], what: str) -> str:
    """Look for groups (speakers, sources) that are on both sides of a split.

    Returns:
        ``ok``; or how many there are, and where; or that groups are unknown.
    """
    if not (groups != "").any():
        return f"not checked: {what} are not known"
    shared: dict[str, set[str]] = {"training and test": set(), "validation and test": set()}
    for fold in folds:
        tested = set(groups[fold.test]) - {""}
        shared["training and test"] |= tested & set(groups[fold.train])
        if fold.valid is not None:
            shared["validation and test"] |= tested & set(groups[fold.valid])
    leaks = "; ".join(f"{len(found):,} {what} in {where}" for where, found in shared.items() if found)
    unknown = int((groups == "").sum())
    return (leaks or "ok") + (f" ({what} of {unknown:,} clips are not known)" if unknown else "")


def fingerprint_table(facts: TaskFacts, table: pd.DataFrame) -> str:
    """SHA-256 of what is measured: names, labels, parts, and lengths, rates and channels of the audio."""
    columns = ["file", "label", "fold" if "fold" in table else "split", "frames", "rate_hz", "channels"]
    text = table[columns].to_csv(index=False, lineterminator="\n")
    return hash_bytes(f"{facts.duration_s!r}\n".encode(), text.encode())


def _name_part(part: str) -> str:
    names = {"clips": "clips", "train": "training clips", "valid": "validation clips", "test": "test clips"}
    return names.get(part, f"clips of {part}")


def _describe_broken(facts: TaskFacts, root: Path, broken: pd.DataFrame, total: int) -> str:
    return (
        f"{root}: {len(broken)} of {total} clips of {facts.name} are {_describe_state(broken)}: {_name_clips(broken)}; "
        f"repair them, or leave them out with --skip-broken (`benchmark data validate {facts.name} {root}` lists all)"
    )


def _describe_state(broken: pd.DataFrame) -> str:
    missing = int((broken["problem"] == NO_SUCH_FILE).sum())
    return "missing" if missing == len(broken) else f"broken or missing ({missing:,})" if missing else "broken"


def _name_clips(broken: pd.DataFrame) -> str:
    return name_few((f"{row.file} ({row.problem})" for row in broken.itertuples()), 3)
