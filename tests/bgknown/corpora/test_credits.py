import json

import pytest

from bgknown.corpora.credits import Credit, read_esc50_credits, read_fsd50k_credits
from bgknown.errors import InvalidInputError

LICENSE = r"""# ESC-50: Dataset for Environmental Sound Classification

101 - Dog:
- [1-100032-A.ogg]: clip derived from bark.wav (http://www.freesound.org/people/ann/sounds/100032/) by ann [CC0]
- [5-9032-A.ogg]:  clip derived from Dog 2.wav (http://www.freesound.org/people/bo/sounds/9032/) by bo [CC-BY]
- [5-251962-A.ogg]: clip derived from Jet (clean) (http://www.freesound.org/people/a/sounds/251962/) by A B [CC-BY-NC]
- [1-40730-A.ogg]: clip derived from cock (http://www.freesound.org/people/c/sounds/40730/) by c [CC-Sampling+]
- [3-253081-A.ogg]: clip derived from sy\xf6v\xe4t (http://www.freesound.org/people/d%20e/sounds/253081/) by d e [CC-BY]
- [1-1-A.ogg]: something else
"""


def test_the_clips_of_esc50_have_their_credits(tmp_path):
    (tmp_path / "LICENSE").write_text(LICENSE)
    found = read_esc50_credits(tmp_path)
    assert found == {
        "1-100032-A": Credit(title="bark.wav", uploader="ann", licence="CC0-1.0"),
        "5-9032-A": Credit(title="Dog 2.wav", uploader="bo", licence="CC-BY-3.0"),
        "5-251962-A": Credit(title="Jet (clean)", uploader="A B", licence="CC-BY-NC-3.0"),
        "1-40730-A": Credit(title="cock", uploader="c", licence="CC-Sampling+-1.0"),
        "3-253081-A": Credit(title="syövät", uploader="d e", licence="CC-BY-3.0"),
    }


def test_a_corpus_without_lists_has_no_credits(tmp_path):
    assert read_esc50_credits(tmp_path) == read_fsd50k_credits(tmp_path, "dev") == {}


def test_the_recordings_of_fsd50k_have_their_credits(tmp_path):
    url = "http://creativecommons.org/licenses/by/3.0/"
    entries = {
        "64760": {"title": "a\nb  c", "description": "", "tags": ["x"], "license": url, "uploader": "u"},
        "1": {"title": 3},
    }
    (tmp_path / "FSD50K.metadata").mkdir()
    path = tmp_path / "FSD50K.metadata" / "eval_clips_info_FSD50K.json"
    path.write_text(json.dumps(entries))
    assert read_fsd50k_credits(tmp_path, "eval") == {
        "64760": Credit(title="a b c", uploader="u", licence="CC-BY-3.0"),
        "1": Credit(),
    }
    path.write_text('{"1": []}')
    with pytest.raises(InvalidInputError, match=r"eval_clips_info_FSD50K.json: the entry of '1' is not an object"):
        read_fsd50k_credits(tmp_path, "eval")


@pytest.mark.data
def test_every_clip_of_the_real_list_is_read(shared_data):
    found = read_esc50_credits(shared_data / "esc10")
    text = (shared_data / "esc10" / "ATTRIBUTION.txt").read_text()
    assert len(found) == text.count("\n- [") == 400
    assert {credit.licence for credit in found.values()} == {"CC0-1.0", "CC-BY-3.0", "CC-Sampling+-1.0"}
    assert all(credit.title and credit.uploader for credit in found.values())
