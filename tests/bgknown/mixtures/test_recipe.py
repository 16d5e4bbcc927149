import pandas as pd
import pytest

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.recipe import COLUMNS, format_recipe, hash_recipe, read_recipe
from bgknown.mixtures.rules import check_recipe


@pytest.fixture
def recipe(built):
    return read_recipe(built[1] / "recipe.csv")


def test_round_trip_is_exact(recipe, tmp_path):
    (tmp_path / "r.csv").write_bytes(format_recipe(recipe))
    again = read_recipe(tmp_path / "r.csv")
    assert again.equals(recipe)
    assert format_recipe(again) == format_recipe(recipe)


def test_order_line_ends_and_other_columns_do_not_matter(recipe, tmp_path):
    text = recipe.sample(frac=1, random_state=0).assign(note="x").to_csv(index=False, lineterminator="\r\n")
    (tmp_path / "r.csv").write_bytes(text.encode("utf-8-sig"))
    assert hash_recipe(read_recipe(tmp_path / "r.csv")) == hash_recipe(recipe)


def test_a_manifest_is_a_recipe_too(built, recipe):
    assert read_recipe(built[1] / "manifest.csv").equals(recipe)


def test_its_columns_are_the_contract():
    assert COLUMNS == (
        [
            "clip_id",
            "split",
            "fold",
            "target",
            "category",
            "esc50_file",
            "fsd50k_file",
            "a_start",
            "b_start",
            "c_start",
            "snr_db",
            "ref_db",
        ]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["b_start", "snr_db"]), "columns b_start, snr_db missing"),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "line 12: clip 1-100-A-0 has two rows"),
        (lambda t: t.assign(a_start="--5"), "line 2: a_start is '--5'; it must be a whole number"),
        (lambda t: t.assign(a_start="9" * 5000), "line 2: a_start is '9{40}'; it must be a whole number"),
        (lambda t: t.assign(a_start="1.5"), "line 2: a_start is '1.5'; it must be a whole number"),
        (lambda t: t.assign(snr_db="loud"), "line 2: snr_db is 'loud'; it must be a number"),
        (lambda t: t.assign(ref_db="nan"), "line 2: ref_db is 'nan'; it must be a number"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(recipe, tmp_path, change, message):
    change(recipe).to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(InvalidInputError, match=message):
        read_recipe(tmp_path / "r.csv")


def test_no_recipe_and_no_table(tmp_path):
    with pytest.raises(NotFoundError, match="no such file; `bgknown plan` writes"):
        read_recipe(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="not a CSV table"):
        read_recipe(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("fsd50k_file", "../secret/x.wav", "leaves the corpus"),
        ("esc50_file", "audio/../../x.wav", "leaves the corpus"),
        ("esc50_file", "/etc/x.wav", "leaves the corpus"),
        ("esc50_file", "C:\\x.wav", "leaves the corpus"),
        ("fsd50k_file", "..\\x.wav", "leaves the corpus"),
        ("fsd50k_file", "", "leaves the corpus"),
        ("fsd50k_file", ".", "leaves the corpus"),
        ("fsd50k_file", "FSD50K.dev_audio/1.wav", "is not listed in this FSD50K"),
        ("esc50_file", "audio/5-1-A-1.wav", "is not the clip of that name"),
        ("fold", 2, "fold is 2, in ESC-50 it is 1"),
        ("category", "cat", "category is 'cat', in ESC-50 it is 'bell'"),
        ("split", "test", "split is 'test', fold 1 belongs to 'train'"),
        ("fsd50k_file", "FSD50K.eval_audio/8000.wav", "takes its background from FSD50K's dev set"),
        ("snr_db", 300.0, r"snr_db is 300.0; it must be in -40..40"),
        ("c_start", 600 * 44_100, "goes beyond 'FSD50K.dev_audio"),
        ("a_start", -1, "a_start -1 to 220,499 goes beyond"),
        ("b_start", 5, "b_start must be 110,250 samples before or after a_start"),
        ("c_start", 10, "c_start must be at least 220,500 samples"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(built, recipe, column, value, message):
    broken = recipe.copy()
    broken[column] = broken[column].astype(object)
    broken.loc[0, "a_start"] = 0
    broken.loc[0, column] = value
    corpora = built[0].open()
    with pytest.raises(InvalidInputError, match=f"(?s)nothing was built:.*  1-100-A-0: .*{message}"):
        check_recipe(broken, corpora)


def test_a_shared_freesound_id_is_refused(tiny, recipe):
    table = (tiny.esc50 / "meta" / "esc50.csv").read_text()
    name = recipe.loc[0, "fsd50k_file"].split("/")[1].removesuffix(".wav")
    (tiny.esc50 / "meta" / "esc50.csv").write_text(table.replace("False,100,", f"False,{name},"))
    corpora = tiny.open()
    with pytest.raises(InvalidInputError, match=f"shares the Freesound id {name} with the clip"):
        check_recipe(recipe, corpora)


def test_all_bad_rows_are_listed_together(built, recipe):
    corpora = built[0].open()
    with pytest.raises(InvalidInputError, match=r"breaks 10 rules; nothing was built:\n(  .*\n){9}  .*$"):
        check_recipe(recipe.assign(ref_db=1.0), corpora)
