import pytest

from bgknown.apwd.text_table import choose_text, read_text_tables, read_texts
from bgknown.errors import InvalidInputError, NotFoundError

CAPTIONS = """key,s1_fn,s2_fn,caption_1,caption_2,caption_3
adc_0000,adc_0000_s1.wav,adc_0000_s2.wav,remove dog barking,"remove the dog, please",
adc_0001,adc_0001_s1.wav,adc_0001_s2.wav,add bird sounds,add  bird sounds,add the bird
"""


def write(tmp_path, text, name="texts.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_pairs_and_texts(tmp_path):
    path = write(tmp_path, "text,pair,who\nadd the dog,p1,a\nremove it,p2,a\nmix in a dog,p1,b\n")
    assert read_texts(path) == {"p1": ("add the dog", "mix in a dog"), "p2": ("remove it",)}


def test_columns_of_audiodiffcaps(tmp_path):
    assert read_texts(write(tmp_path, "\ufeff" + CAPTIONS)) == {
        "adc_0000": ("remove dog barking", "remove the dog, please"),
        "adc_0001": ("add bird sounds", "add the bird"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,text\np,x\n", "has the columns name, text; give the columns pair,text"),
        ("key,caption\np,x\n", "give the columns pair,text"),
        ("pair,text\n", "the table has no rows"),
        ("pair,text\np,\n", "line 2: the text of p is empty"),
        ("pair,text\n,x\n", "line 2: the pair is empty"),
        ("pair,text\np,x\np,x\n", "line 3: the pair p already has the text 'x'"),
        ("key,caption_1\np,x\np,y\n", "line 3: the pair p has two rows"),
        ("key,caption_1,caption_2\np,,\n", "line 2: the text of p is empty"),
        ("", "not a CSV table"),
        ("pair,text\np1,put a dog, then a cat\n", "line 2: 3 fields, the header has 2"),
        ('pair,text\np1,"a\nb"\np1,"a b"\n', "line 4: the pair p1 already has the text 'a b'"),
        ('pair,text\np,"x\n', "not a CSV table"),
    ],
)
def test_tables_that_break_a_rule(text, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_texts(path)
    assert str(path) in str(caught.value)


def test_several_tables(tmp_path):
    first, second = write(tmp_path, "pair,text\np,x\n", "1.csv"), write(tmp_path, "pair,text\nq,y\n", "2.csv")
    assert read_text_tables([first, second]) == {"p": ("x",), "q": ("y",)}
    assert read_text_tables([]) == {}
    with pytest.raises(InvalidInputError, match="the pair p has texts in another table too"):
        read_text_tables([first, first])
    with pytest.raises(NotFoundError, match="no such file"):
        read_texts(tmp_path / "none.csv")


def test_the_pair_chooses_its_text():
    texts = ("a", "b", "c")
    assert {choose_text(texts, f"p{number}") for number in range(50)} == set(texts)
    assert choose_text(texts, "p1") == choose_text(texts, "p1")


def test_texts_of_a_pair_never_reach_another(tmp_path):
    path = write(tmp_path, "pair,text\np1,a\np1 ,b\np10,c\nd/p1,d\n")
    assert read_texts(path) == {"p1": ("a",), "p1 ": ("b",), "p10": ("c",), "d/p1": ("d",)}
