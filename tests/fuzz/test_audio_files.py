from tests.fuzz.audio_files import run


def test_broken_audio_files_are_read_whole_or_refused(tmp_path):
    outcomes = run(60, 0, tmp_path)
    assert outcomes["read"] > 5
    assert outcomes["refused"] > 5
