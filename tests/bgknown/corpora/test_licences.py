import pytest

from bgknown.corpora.licences import FAMILIES, find_licence_family, find_licence_url, name_licence, parse_families
from bgknown.errors import InvalidInputError

KNOWN = {
    "http://creativecommons.org/licenses/by/3.0/": ("CC-BY-3.0", "cc-by"),
    "https://creativecommons.org/licenses/by/4.0/": ("CC-BY-4.0", "cc-by"),
    "http://creativecommons.org/licenses/by-nc/3.0/": ("CC-BY-NC-3.0", "cc-by-nc"),
    "https://creativecommons.org/licenses/by-nc/4.0/deed.en": ("CC-BY-NC-4.0", "cc-by-nc"),
    "http://creativecommons.org/licenses/sampling+/1.0/": ("CC-Sampling+-1.0", "sampling+"),
    "http://creativecommons.org/publicdomain/zero/1.0/": ("CC0-1.0", "cc0"),
    "CC0": ("CC0-1.0", "cc0"),
    "Creative Commons 0": ("CC0-1.0", "cc0"),
    "Attribution": ("CC-BY", "cc-by"),
    "Attribution NonCommercial": ("CC-BY-NC", "cc-by-nc"),
    "Sampling+": ("CC-Sampling+-1.0", "sampling+"),
    "CC  BY 3.0": ("CC-BY-3.0", "cc-by"),
    "cc-by-nc-sa-4.0": ("CC-BY-NC-SA-4.0", "cc-by-nc-sa"),
}
UNKNOWN = [
    "",
    "0",
    "by",
    "cc",
    "Public Domain",
    "CC0 (as the repo states; a YouTube upload)",
    "Pixabay Content License or CC0",
    "Creative Commons (variant not stated)",
    "http://creativecommons.org/licenses/nc/1.0/",
    "http://example.org/creativecommons.org/licenses/by/3.0/",
]


@pytest.mark.parametrize("text", KNOWN)
def test_a_licence_has_one_short_name(text):
    name, family = KNOWN[text]
    assert name_licence(text) == name
    assert name_licence(name) == name
    assert find_licence_family(name) == family


@pytest.mark.parametrize("text", UNKNOWN)
def test_any_other_text_is_kept_and_has_no_family(text):
    assert name_licence(f" {text}\n") == text
    assert find_licence_family(name_licence(text)) == find_licence_url(text) == ""


def test_an_address_gives_the_short_name_again():
    for name, _ in KNOWN.values():
        url = find_licence_url(name)
        assert url == "" if name in {"CC-BY", "CC-BY-NC"} else name_licence(url) == name


def test_a_version_is_added_only_where_the_text_has_none():
    assert name_licence("CC-BY", version="3.0") == "CC-BY-3.0"
    assert name_licence("CC-BY-4.0", version="3.0") == "CC-BY-4.0"
    assert name_licence("CC0", version="3.0") == "CC0-1.0"
    assert name_licence("unclear", version="3.0") == "unclear"


def test_families_are_named_in_any_order_and_case():
    assert parse_families(["CC-BY", " cc0", "cc-by", "CC-Sampling+"]) == ("cc0", "cc-by", "sampling+")
    assert parse_families(FAMILIES) == FAMILIES
    with pytest.raises(InvalidInputError, match=r"no licence 'cc-bye'; did you mean cc-by\? there are: cc0, cc-by"):
        parse_families(["cc-bye"])
