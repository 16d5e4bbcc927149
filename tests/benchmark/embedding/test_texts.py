"""Text encoders of transformers, against the models themselves called one text at a time."""

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from benchmark.embedding import texts
from benchmark.embedding.texts import embed_texts, load_text_encoder
from benchmark.protocol import TEXT_ENCODER as DEFAULT
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from tests.benchmark import kinds as made

TEXTS = ["add the dog", "make the rain louder , and remove the bell", "add the dog", "remove the dog"]


def words(folder, model, **tokens):
    """A tiny text model with a tokenizer of words, saved to disk."""
    vocabulary = ["[PAD]", "[UNK]", *sorted({word for text in TEXTS for word in text.split()})]
    raw = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", **tokens)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def distilbert(folder, seed=0):
    torch.manual_seed(seed)
    config = transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    return words(folder, transformers.DistilBertModel(config), pad_token="[PAD]", model_max_length=64)


@pytest.fixture
def encoder(tmp_path):
    return load_text_encoder(str(distilbert(tmp_path / "tiny")))


def test_a_text_is_the_mean_of_its_own_tokens(encoder):
    together = encoder.embed(TEXTS)
    assert together.shape == (4, 16)
    model = transformers.AutoModel.from_pretrained(encoder.model.config._name_or_path).eval()
    for text, row in zip(TEXTS, together, strict=True):
        tokens = encoder.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            alone = model(**tokens).last_hidden_state[0]
        assert torch.allclose(row, alone.mean(dim=0), atol=1e-5)  # whatever it is padded with in a batch


def test_cls_is_the_first_token(encoder, tmp_path):
    first = load_text_encoder(str(tmp_path / "tiny"), pooling="cls")
    tokens = encoder.tokenizer([TEXTS[1]], return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(**tokens).last_hidden_state
    assert torch.allclose(first.embed(TEXTS)[1], hidden[0, 0], atol=1e-5)


def test_each_different_text_is_embedded_once_and_kept(encoder, tmp_path, monkeypatch):
    rows, places = embed_texts(encoder, TEXTS, tmp_path / "cache")
    assert rows.shape == (3, 16)
    assert np.allclose(rows[places], encoder.embed(TEXTS).numpy(), atol=1e-5)
    seen = []
    real = texts.TextEncoder.embed
    monkeypatch.setattr(texts.TextEncoder, "embed", lambda self, batch: seen.extend(batch) or real(self, batch))
    again, order = embed_texts(encoder, [TEXTS[3], TEXTS[0]], tmp_path / "cache")
    assert seen == []
    assert np.array_equal(again[order], rows[places][[3, 0]])
    embed_texts(encoder, ["remove the rain"], tmp_path / "cache")
    assert seen == ["remove the rain"]


def test_other_weights_and_poolings_have_embeddings_of_their_own(encoder, tmp_path):
    other = load_text_encoder(str(distilbert(tmp_path / "other", seed=1)))
    first = load_text_encoder(str(tmp_path / "tiny"), pooling="cls")
    found = [embed_texts(each, TEXTS, tmp_path / "cache")[0] for each in (encoder, other, first)]
    assert len(list((tmp_path / "cache" / "texts").iterdir())) == 3
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_a_damaged_cache_is_made_again(encoder, tmp_path):
    rows, _ = embed_texts(encoder, TEXTS, tmp_path / "cache")
    (path,) = (tmp_path / "cache" / "texts").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(embed_texts(encoder, TEXTS, tmp_path / "cache")[0], rows)


def test_a_cache_that_cannot_be_written_is_one_line(encoder, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path / "cache")):
        embed_texts(encoder, TEXTS, tmp_path / "cache")


def test_any_text_model_serves(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    folder = words(tmp_path / "bert", transformers.BertModel(config), pad_token="[PAD]")
    assert load_text_encoder(str(folder)).embed(TEXTS).shape == (4, 24)


def test_of_a_model_with_a_decoder_its_encoder_serves(tmp_path):
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    encoder = load_text_encoder(str(words(tmp_path / "t5", transformers.T5Model(config), pad_token="[PAD]")))
    assert encoder.embedding_size == 16
    assert encoder.embed(TEXTS).shape == (4, 16)


def test_of_a_model_of_text_and_images_its_text_tower_serves(tmp_path):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 40}, vision_config={**small, "image_size": 8, "patch_size": 4}
    )
    encoder = load_text_encoder(str(words(tmp_path / "clip", transformers.CLIPModel(config), pad_token="[PAD]")))
    assert encoder.embedding_size == 16
    assert encoder.embed(TEXTS).shape == (4, 16)


def test_a_link_gives_a_folder_the_name_that_is_wanted(encoder, tmp_path):
    (tmp_path / "named").symlink_to(tmp_path / "tiny", target_is_directory=True)
    assert load_text_encoder(str(tmp_path / "named")).name == "named"
    assert encoder.name == "tiny"


def test_what_is_embedded_before_a_stop_is_kept(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "BATCH", 1)
    monkeypatch.setattr(texts, "INTERVAL_S", 0.0)
    real, seen = texts.TextEncoder.embed, []

    def stopping(self, batch):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.extend(batch)
        return real(self, batch)

    monkeypatch.setattr(texts.TextEncoder, "embed", stopping)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(encoder, TEXTS, tmp_path / "cache")
    again = []
    monkeypatch.setattr(texts.TextEncoder, "embed", lambda self, batch: again.extend(batch) or real(self, batch))
    embed_texts(encoder, TEXTS, tmp_path / "cache")
    assert sorted(seen + again) == sorted(set(TEXTS))
    assert len(again) == 1


def test_without_the_hub_one_line_says_the_two_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError) as error:
        load_text_encoder(DEFAULT)
    message = str(error.value)
    assert message.startswith("text encoder distilbert-base-uncased: no such folder, and the hub lacks it or cannot be")
    assert "use a folder that save_pretrained wrote, or download the model first" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        (lambda path: path.mkdir() or path, "this folder does not hold a complete model"),
        (lambda path: made.hubert(path).removeprefix("hf:"), "text encoder .*Hubert"),
    ],
)
def test_what_is_no_text_model_is_one_line(tmp_path, maker, message):
    with pytest.raises(InvalidInputError, match=message):
        load_text_encoder(str(maker(tmp_path / "model")))


def test_a_tokenizer_that_cannot_pad_is_one_line(tmp_path):
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    folder = words(tmp_path / "tiny", transformers.DistilBertModel(config))
    with pytest.raises(InvalidInputError, match="its tokenizer does not have a padding token"):
        load_text_encoder(str(folder))


def test_pooling_is_checked():
    with pytest.raises(InvalidInputError, match="text pooling is 'max'; it must be one of mean, cls"):
        load_text_encoder("nowhere", pooling="max")
