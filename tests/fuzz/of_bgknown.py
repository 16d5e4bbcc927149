"""Parsers of the package bgknown: recipe, dataset, corpora, APwD's lists, pairs, JAMS, workspace."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from bgknown.apwd import draw as drawn
from bgknown.apwd import manifest, scenes, text_table
from bgknown.apwd.sources import manifest as prepared
from bgknown.apwd.sources import published_lists as lists
from bgknown.corpora import esc50, fsd50k
from bgknown.errors import BgknownError
from bgknown.jams.reading import parse_jams
from bgknown.jobs.units import read_units
from bgknown.mixtures.build import open_workspace
from bgknown.mixtures.dataset import open_dataset, read_description
from bgknown.mixtures.manifest import FILES, MANIFEST_COLUMNS
from bgknown.mixtures.recipe import check_target, read_recipe
from bgknown.tables import list_records
from tests.fuzz.runner import Target

RECIPE: list[dict[str, object]] = [
    {
        **{"clip_id": f"{fold}-10{fold}-A-0", "split": split, "fold": fold, "target": 0, "category": "dog"},
        **{"esc50_file": f"audio/{fold}-10{fold}-A-0.wav", "fsd50k_file": f"FSD50K.{part}/7.wav"},
        **{"a_start": 0, "b_start": 110_250, "c_start": 220_500, "snr_db": 1.5, "ref_db": -30.0},
    }
    for fold, split, part in ((1, "train", "dev_audio"), (4, "test", "eval_audio"))
]
DESCRIPTION = {
    "name": "BgKnown ESC-50",
    "version": "0.2.0",
    "format": 1,
    "configuration": {"renderer": "Scaper 1.6.5", "reference_gain": "mixture", "container": "wav"},
    "corpora": {"esc50": {}, "fsd50k": {}},
    "recipe_sha256": "0" * 64,
    "counts": {"rows": 2, "train": 1, "test": 1, "skipped": 1},
    "skipped": [{"where": "x", "code": "missing", "what": "no such file"}],
}
SOURCE = {
    "name": "APwD sources",
    "format": 1,
    "configuration": {"style": "apwd"},
    "counts": {"files": 1, "not_clean": 0, "skipped": 1},
    "skipped": [{"where": "x", "code": "missing", "what": "no such file"}],
}
PAIRS = {
    "name": "APwD pairs",
    "format": 1,
    "configuration": {},
    "inputs": {},
    "counts": {"pairs": 1, "skipped": 0},
    "skipped": [],
}
DRAW = {"name": drawn.NAME, "format": drawn.FORMAT, "kinds": {"event_added": 3}, "configuration": {}}
SCENES = """[splits.dev]
fsd50k = "dev"
esc50_folds = [1, 2, 3, 4]
pairs = 50000
[splits.eval]
fsd50k = "eval"
esc50_folds = [5]
[scenes.rain]
background = "rain"
fsd50k = ["Rain", "Raindrop"]
events = ["dog", "thunder"]
[events.dog]
esc50 = "dog"
nouns = ["a dog", "the dog"]
[events.thunder]
esc50 = "thunderstorm"
[backgrounds.rain]
nouns = ["the rain"]
"""


def table(rows: list[dict[str, object]]) -> bytes:
    """A CSV table."""
    lines = [list(rows[0]), *(row.values() for row in rows)]
    return "".join(",".join(f'"{v}"' if "," in str(v) else str(v) for v in line) + "\n" for line in lines).encode()


def manifest_rows() -> list[dict[str, object]]:
    """Rows of a manifest of BgKnown ESC-50."""
    return [
        {
            **row,
            **{f"{name}_file": f"audio/{name}/{row['clip_id']}.wav" for name in FILES},
            **{f"{name}_sha256": "0" * 64 for name in FILES},
            **dict.fromkeys(("scale", "event_gain_db", "background_gain_db", "achieved_snr_db"), 1.0),
            "event_frames": 44_100,
            "scaper_version": "1.6.5",
            **dict.fromkeys(MANIFEST_COLUMNS[MANIFEST_COLUMNS.index("group") :], ""),
            "same_class": "1",
        }
        for row in RECIPE
    ]


def jams() -> bytes:
    """A soundscape in Scaper's form."""

    def observed(role: str, label: str, snr: float) -> dict[str, object]:
        value = {"label": label, "role": role, "source_file": f"source/dev/{role}/{label}/1.wav", "snr": snr}
        value |= {"source_time": 0.0, "event_time": 0.0, "event_duration": 1.0, "pitch_shift": None}
        return {"time": 0.0, "duration": 1.0, "confidence": 1.0, "value": {**value, "time_stretch": None}}

    settings = {
        "sr": 44100,
        "n_channels": 1,
        "duration": 10.0,
        "original_duration": 10.0,
        "ref_db": -50,
        "reverb": None,
    }
    settings |= {"fade_in_len": 0.01, "fade_out_len": 0.01, "fix_clipping": False, "peak_normalization": False}
    data = [observed("background", "rain", 0.0), observed("foreground", "dog", 8.0)]
    annotation = {"namespace": "scaper", "sandbox": {"scaper": settings}, "data": data}
    return json.dumps({"annotations": [annotation], "file_metadata": {"duration": 10.0}, "sandbox": {}}).encode()


def _dataset(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(table(manifest_rows()))
    (folder / "dataset.json").write_text(json.dumps(DESCRIPTION))


def _open_dataset(folder: Path) -> None:
    found = open_dataset(folder)
    for row in list_records(found.table):
        for name in FILES[:-1]:
            with contextlib.suppress(BgknownError):  # the audio is not there
                found.audio(row["clip_id"], name)


def _recipe(folder: Path) -> None:
    read_recipe(folder / "recipe.csv")
    check_target(folder / "recipe.csv")


def _jams(folder: Path) -> None:
    found = parse_jams((folder / "x.jams").read_bytes(), "x")
    for layer in (*found.backgrounds, *found.events):
        (folder / layer.file).is_file()


def _esc50(folder: Path) -> None:
    (folder / "ESC-50" / "audio").mkdir(parents=True, exist_ok=True)


def _fsd50k(folder: Path) -> None:
    for part in ("dev", "eval"):
        (folder / "FSD50K" / f"FSD50K.{part}_audio").mkdir(parents=True)
    (folder / "FSD50K" / "FSD50K.ground_truth").mkdir()
    (folder / "FSD50K" / "FSD50K.ground_truth" / "eval.csv").write_text("fname,labels,mids\n9,Rain,/m/a\n")


def _lists(folder: Path) -> None:
    (folder / "org_audio_csv/event/esc50").mkdir(parents=True)
    (folder / "org_audio_csv/background/fsd50k/rain").mkdir(parents=True)
    (folder / "org_audio_csv/event/esc50/a.csv").write_text("fname,label,clean\n1-100-A-0,dog,TRUE\n")
    (folder / "org_audio_csv/background/fsd50k/rain/dev.csv").write_text("fname,label\n7,rain\n")
    (folder / "other/audio_csv/bg").mkdir(parents=True)
    (folder / "other/audio_csv/ev").mkdir(parents=True)
    (folder / "other/audio_csv/bg/fsd50k.csv").write_text("fname,label,split\n7,rain,dev\n")


def _read_sources(root: Path) -> None:
    for row in lists.read_lists(root).sources:
        for file in row.files:
            (root / file).is_file()


def _manifest(folder: Path) -> None:
    for row in list_records(manifest.read_manifest(folder)):
        for name in ("s1", "s2", "jams_s1", "jams_s2"):
            (folder / row[name]).is_file()


def _sources(folder: Path) -> None:
    for row in list_records(prepared.read_table(folder)):
        (folder / row["file"]).is_file()


def _workspace(folder: Path) -> None:
    found = open_workspace(folder)
    for unit in read_units(found.journal):
        dict(unit.record, name=unit.name, digest=unit.digest)
    found.read_plan()
    with contextlib.suppress(BgknownError):
        found.is_finished({"name": "x", "configuration": {"a": 1}})


def _journal(folder: Path) -> None:
    (folder / ".work").mkdir()
    (folder / ".work" / "build.json").write_text('{"name": "x"}')
    (folder / ".work" / "plan.json").write_text('{"name": "x"}')


_PAIR = dict.fromkeys(manifest.COLUMNS, "0" * 64) | {"pair": "p1", "split": "dev", "scene": "rain", "text": "a, b"}
_PAIR |= {"s1": "audio/p1_s1.wav", "s2": "audio/p1_s2.wav", "jams_s1": "d/p1_s1.jams", "jams_s2": "d/p1_s2.jams"}
_BG_LIST, _EV_LIST = "background/fsd50k/rain/dev.csv", "event/esc50/a.csv"
_ESC50 = b"filename,fold,target,category,esc10,src_file\n1-100-A-0.wav,1,0,dog,True,100\n2-1-B-1.wav,2,1,r,False,1\n"
_SOURCES = table([dict.fromkeys(prepared.COLUMNS, "x") | {"file": "dev/background/rain/1.wav", "frames": 441_000}])
_JOURNAL = "".join(f"\n{json.dumps({'name': str(n), 'digest': 'd', 'record': {'a': n}})}\n" for n in range(3)).encode()
_STATE = json.dumps({"name": "x", "configuration": {"a": 1, "b": {"c": [1]}}, "skipped": [{"where": "x"}]}).encode()

TARGETS = [
    Target(name="recipe", kind="csv", place="recipe.csv", seed_inputs=lambda: [table(RECIPE)], call=_recipe),
    Target(
        name="manifest",
        kind="csv",
        place="manifest.csv",
        seed_inputs=lambda: [table(manifest_rows())],
        call=_open_dataset,
        surround=_dataset,
    ),
    Target(
        name="dataset.json",
        kind="json",
        place="dataset.json",
        seed_inputs=lambda: [json.dumps(DESCRIPTION).encode()],
        call=read_description,
    ),
    Target(name="jams", kind="json", place="x.jams", seed_inputs=lambda: [jams()], call=_jams),
    Target(
        name="esc50.csv",
        kind="csv",
        place="ESC-50/meta/esc50.csv",
        seed_inputs=lambda: [_ESC50],
        call=lambda folder: esc50.index(folder / "ESC-50", cache=folder / "cache"),
        surround=_esc50,
    ),
    Target(
        name="fsd50k",
        kind="csv",
        place="FSD50K/FSD50K.ground_truth/dev.csv",
        seed_inputs=lambda: [b'fname,labels,mids,split\n7,"Rain,Water","/m/a,/m/b",train\n8,Wind,/m/c,val\n'],
        call=lambda folder: fsd50k.index(folder / "FSD50K", cache=folder / "cache"),
        surround=_fsd50k,
    ),
    Target(
        name="apwd backgrounds",
        kind="csv",
        place=f"org_audio_csv/{_BG_LIST}",
        seed_inputs=lambda: [b"fname,label\n7,rain\n8.wav,rain\n"],
        call=lambda folder: _read_sources(folder / "org_audio_csv"),
        surround=_lists,
    ),
    Target(
        name="apwd events",
        kind="csv",
        place=f"org_audio_csv/{_EV_LIST}",
        seed_inputs=lambda: [b"fname,label,clean\n1-100-A-0,dog,TRUE\n5-1-A-0,dog,False\n"],
        call=lambda folder: _read_sources(folder / "org_audio_csv"),
        surround=_lists,
    ),
    Target(
        name="audiodiffcaps events",
        kind="csv",
        place="other/audio_csv/ev/esc50.csv",
        seed_inputs=lambda: [b"fname,label,split,st,ed\n1-100-A-0,dog,dev,0,44100\n5-1-A-0,dog,eval,1,900\n"],
        call=lambda folder: _read_sources(folder / "other"),
        surround=_lists,
    ),
    Target(name="sources.csv", kind="csv", place="sources.csv", seed_inputs=lambda: [_SOURCES], call=_sources),
    Target(
        name="source.json",
        kind="json",
        place="source.json",
        seed_inputs=lambda: [json.dumps(SOURCE).encode()],
        call=prepared.read_source_description,
    ),
    Target(
        name="draw.json",
        kind="json",
        place="draw.json",
        seed_inputs=lambda: [json.dumps(DRAW).encode()],
        call=drawn.read_draw_description,
    ),
    Target(
        name="scenes",
        kind="toml",
        place="s.toml",
        seed_inputs=lambda: [SCENES.encode()],
        call=lambda f: scenes.read_scenes(f / "s.toml"),
    ),
    Target(
        name="texts",
        kind="csv",
        place="t.csv",
        seed_inputs=lambda: [b'pair,text\np1,"put a dog, then a cat"\np2,b\n', b"key,caption_1,caption_2\np1,a,b\n"],
        call=lambda folder: text_table.read_text_tables([folder / "t.csv"]),
    ),
    Target(
        name="pairs manifest", kind="csv", place="manifest.csv", seed_inputs=lambda: [table([_PAIR])], call=_manifest
    ),
    Target(
        name="pairs dataset.json",
        kind="json",
        place="dataset.json",
        seed_inputs=lambda: [json.dumps(PAIRS).encode()],
        call=manifest.read_pair_description,
    ),
    Target(
        name="journal",
        kind="lines",
        place=".work/journal.jsonl",
        seed_inputs=lambda: [_JOURNAL],
        call=_workspace,
        surround=_journal,
    ),
    Target(
        name="build.json",
        kind="json",
        place=".work/build.json",
        seed_inputs=lambda: [_STATE],
        call=_workspace,
        surround=_journal,
    ),
]
