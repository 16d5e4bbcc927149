import json
import math

import pytest

from bgknown.errors import InvalidInputError
from bgknown.jams.reading import parse_jams
from bgknown.jams.writing import compose_jams
from bgknown.soundscape import Layer, Soundscape

SCENE = Soundscape(
    name="pair_s1",
    duration_s=10.0,
    ref_db=-35.8,
    backgrounds=(Layer(label="rain", file="source/dev/background/rain/1.wav", source_time_s=1.5, duration_s=10.0),),
    events=(
        Layer(
            label="dog",
            file="source/dev/foreground/dog/1-1-A-0.wav",
            source_time_s=0.0,
            duration_s=3.5,
            event_time_s=6.0,
            snr_db=8.5,
        ),
        Layer(
            label="birds",
            file="source/dev/foreground/birds/2-1-A-14.wav",
            source_time_s=0.25,
            duration_s=4.0,
            event_time_s=2.0,
            snr_db=-1.5,
        ),
    ),
    fade_in_s=0.01,
    fade_out_s=0.02,
    peak_normalization=True,
)


def tree() -> dict:
    return json.loads(json.dumps(compose_jams(SCENE)))


def read(content) -> Soundscape:
    return parse_jams(json.dumps(content).encode(), "pair_s1")


def test_what_is_written_is_read_back():
    found = read(tree())
    assert [layer.file for layer in found.backgrounds] == ["dev/background/rain/1.wav"]
    assert [layer.label for layer in found.events] == ["birds", "dog"]  # by onset, as jams.load has them
    assert found.events[1].snr_db == 8.5
    assert (found.duration_s, found.ref_db, found.fade_in_s, found.fade_out_s) == (10.0, -35.8, 0.01, 0.02)
    assert (found.fix_clipping, found.peak_normalization) == (False, True)


def test_whole_numbers_nulls_and_missing_options_are_read_as_published():
    content = tree()
    settings = content["annotations"][0]["sandbox"]["scaper"]
    settings |= {"original_duration": 10, "fix_clipping": None}
    del settings["peak_normalization"]
    found = read(content)
    assert found.duration_s == 10.0
    assert not found.peak_normalization


def test_the_original_duration_counts():
    content = tree()
    content["annotations"][0]["sandbox"]["scaper"]["duration"] = 5.0
    assert read(content).duration_s == 10.0
    del content["annotations"][0]["sandbox"]["scaper"]["original_duration"]
    assert read(content).duration_s == 5.0


def test_other_annotations_are_passed_over():
    content = tree()
    content["annotations"].insert(0, {"namespace": "beat", "data": []})
    assert read(content).events


def value(content, number=1):
    return content["annotations"][0]["data"][number]["value"]


def settings(content):
    return content["annotations"][0]["sandbox"]["scaper"]


CASES = {
    "snr NaN": (lambda t: value(t).update(snr=math.nan), r"data\[1\].value.snr is nan, must be a finite number"),
    "snr text": (lambda t: value(t).update(snr="8"), r"value.snr is '8', must be a finite number"),
    "snr true": (lambda t: value(t).update(snr=True), r"value.snr is True, must be a finite number"),
    "snr huge": (lambda t: value(t).update(snr=1e9), r"value.snr is 1e\+09; it must be in -120..120"),
    "no snr": (lambda t: value(t).pop("snr"), r"value.snr is missing, must be a finite number"),
    "no duration": (lambda t: value(t).update(event_duration=0), r"value.event_duration is 0; it must be in"),
    "before 0": (lambda t: value(t).update(source_time=-0.1), r"value.source_time is -0.1; it must be in 0"),
    "absolute": (
        lambda t: value(t).update(source_file="/etc/dog/passwd.wav"),
        r"source_file is '/etc/dog/passwd.wav', which is an absolute path; it must not leave the source tree",
    ),
    "drive": (lambda t: value(t).update(source_file=r"C:\dog\x.wav"), "an absolute path"),
    "upwards": (lambda t: value(t).update(source_file="source/../../dog/x.wav"), "must not leave the source tree"),
    "backslash": (
        lambda t: value(t).update(source_file="source\\..\\..\\dog\\x.wav"),
        "must not leave the source tree",
    ),
    "label": (lambda t: value(t).update(label="cat"), "its folder must be the label, 'cat'"),
    "label type": (lambda t: value(t).update(label=7), r"value.label is 7, must be a text"),
    "role": (lambda t: value(t).update(role="middle"), "role is 'middle', must be 'background' or 'foreground'"),
    "pitch": (lambda t: value(t).update(pitch_shift=1.5), "pitch_shift is 1.5; it is not supported, it must be null"),
    "stretch": (lambda t: value(t).update(time_stretch=0.9), "time_stretch is 0.9; it is not supported"),
    "value": (lambda t: t["annotations"][0]["data"][1].update(value=[]), r"data\[1\].value is \[\], must be an object"),
    "item": (lambda t: t["annotations"][0]["data"].append(3), r"data\[3\] is 3, must be an object"),
    "columns": (lambda t: t["annotations"][0].update(data={"time": []}), "data is {'time': .*}, must be a list"),
    "empty": (lambda t: t["annotations"][0]["data"].clear(), "data is empty"),
    "reverb": (lambda t: settings(t).update(reverb=0.3), "reverb is 0.3; reverb is not supported"),
    "rate": (lambda t: settings(t).update(sr=16000), "sr is 16000, only 44100 is supported"),
    "stereo": (lambda t: settings(t).update(n_channels=2), "n_channels is 2, only 1 is supported"),
    "ref_db": (lambda t: settings(t).update(ref_db=None), "ref_db is None, must be a finite number"),
    "flag": (lambda t: settings(t).update(fix_clipping=1), "fix_clipping is 1, must be true or false"),
    "trimmed": (lambda t: t["annotations"][0]["sandbox"].update(slice=[{}]), "a part was cut out of this soundscape"),
    "sandbox": (lambda t: t["annotations"][0].pop("sandbox"), r"annotations\[0\].sandbox is missing"),
    "namespace": (lambda t: t["annotations"][0].update(namespace="beat"), "no annotation of the namespace 'scaper'"),
    "annotations": (lambda t: t.update(annotations=None), "not a JAMS file"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_breaks_a_rule_is_named(name):
    edit, message = CASES[name]
    content = tree()
    edit(content)
    with pytest.raises(InvalidInputError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith("pair_s1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", json.dumps(tree()).encode()[:2000]])
def test_file_that_is_not_a_jams_is_refused(data):
    with pytest.raises(InvalidInputError, match="pair_s1: not a JAMS file"):
        parse_jams(data, "pair_s1")
