"""JAMS written here against those that Scaper writes."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgknown.jams.writing import compose_jams
from bgknown.render import scaper
from bgknown.soundscape import Layer, Soundscape
from tests.conftest import noise, write_wav


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_wav(root / "background" / "rain" / "1.wav", noise(21.0, 1))
    for number, label in enumerate(("dog", "birds", "dog")):
        write_wav(root / "foreground" / label / f"{number}.wav", noise(5.0, number))
    return root


events = st.lists(
    st.tuples(
        st.sampled_from([("dog", 0), ("birds", 1), ("dog", 2)]), st.floats(0, 5), st.floats(0.1, 5), st.floats(-9, 9)
    ),
    max_size=4,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=events, start=st.floats(0, 10))
def test_the_jams_is_scapers_own(drawn, start, tree, tmp_path):
    background, foreground = tree / "background", tree / "foreground"
    core = scaper.load()
    with scaper._lend_modules(core, None):
        scape = core.Scaper(10.0, str(foreground), str(background))
        scape.ref_db = -36.0
        scape.add_background(("const", "rain"), ("const", str(background / "rain" / "1.wav")), ("const", start))
        for (label, number), onset, length, snr in drawn:
            scape.add_event(
                ("const", label),
                ("const", str(foreground / label / f"{number}.wav")),
                ("const", 0.0),
                ("const", onset),
                ("const", length),
                ("const", snr),
                None,
                None,
            )
        expected = scape.generate(no_audio=True, jams_path=str(tmp_path / "scaper.jams"))
    del expected
    soundscape = Soundscape(
        name="x",
        duration_s=10.0,
        ref_db=-36.0,
        backgrounds=(
            Layer(label="rain", file=str(background / "rain" / "1.wav"), source_time_s=start, duration_s=10.0),
        ),
        events=tuple(
            Layer(
                label=label,
                file=str(foreground / label / f"{number}.wav"),
                source_time_s=0.0,
                duration_s=length,
                event_time_s=onset,
                snr_db=snr,
            )
            for (label, number), onset, length, snr in drawn
        ),
    )
    found = compose_jams(
        soundscape,
        fg_path=str(foreground),
        bg_path=str(background),
        fg_labels=["birds", "dog"],
        bg_labels=["rain"],
        paths=(None, str(tmp_path / "scaper.jams")),
        no_audio=True,
    )
    assert json.loads(json.dumps(found)) == json.loads((tmp_path / "scaper.jams").read_text())
