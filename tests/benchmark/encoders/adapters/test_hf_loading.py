"""What a model's file lacks: refused where the embedding needs it, let pass where it does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from benchmark.embedding.texts import load_text_encoder
from benchmark.encoders.adapters.huggingface import Options, load
from bgknown.errors import InvalidInputError
from tests.benchmark import kinds as made
from tests.benchmark.embedding.test_texts import distilbert

AUDIO = 0.1 * torch.randn(2, 9_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Path(made.wav2vec2(tmp_path_factory.mktemp("whole")).removeprefix("hf:"))


def variant(whole, folder, change, **config):
    """A copy of a model with other tensors, or other entries in its configuration."""
    shutil.copytree(whole, folder)
    save_file(change(load_file(whole / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    entries = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(entries | config))
    return str(folder)


def without(text):
    return lambda state: {name: tensor for name, tensor in state.items() if text not in name}


def renamed(old, new):
    return lambda state: {name.replace(old, new): tensor for name, tensor in state.items()}


def with_prefix(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def changed(name, value):
    return lambda state: state | {name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layers.1."),
            r"lacks 19 of the 51 tensors of Wav2Vec2Model.*depends on them: encoder\.layers\.1\.att",
        ),
        (
            without("layers.1.final_layer_norm.bias"),
            r"lacks 1 of the 51 .*: encoder\.layers\.1\.final_layer_norm\.bias",
        ),
        (without("feature_projection"), "lacks 4 of the 51 tensors .*feature_projection.*; copy the model again"),
        (
            with_prefix("module."),
            r"lacks 51 .*; the file has 51 of them below the prefix 'module\.': save them without",
        ),
        (with_prefix("model.encoder."), r"the file has 51 of them below the prefix 'model\.encoder\.'"),
        (with_prefix("base_model.model."), r"below the prefix 'base_model\.model\.'"),
        (renamed("attention.k_proj.weight", "attention.k_proj.lora_A.weight"), "the file holds an adapter: merge it"),
        (renamed("feed_forward", "ffn"), r"the file has others instead: encoder\.layers\.0\.ffn.* another model\?"),
        (
            changed("encoder.layer_norm.bias", torch.zeros(8)),
            r"1 tensors have shapes other than those in its config\.json: encoder\.layer_norm\.bias \[8\] for \[16\]",
        ),
        (
            changed("encoder.layer_norm.bias", torch.full((16,), torch.nan)),
            r"1 tensors hold NaN or infinite values: encoder\.layer_norm\.bias",
        ),
    ],
)
def test_a_file_that_lacks_what_the_embedding_needs_is_refused(whole, tmp_path, change, message):
    folder = variant(whole, tmp_path / "other", change)
    with pytest.raises(InvalidInputError, match=message) as raised:
        load(folder, Options())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        without("masked_spec_embed"),
        with_prefix("wav2vec2."),  # as a model with a head has it
        lambda state: renamed("parametrizations.weight.original1", "weight_v")(
            renamed("parametrizations.weight.original0", "weight_g")(state)
        ),
        changed("lm_head.weight", torch.zeros(4, 16)),
        changed("masked_spec_embed", torch.full((16,), torch.nan)),
        changed("masked_spec_embed", torch.zeros(5)),
    ],
)
def test_what_does_not_enter_the_embedding_may_be_missing(whole, tmp_path, change):
    expected = load(str(whole), Options()).embed(AUDIO)
    assert torch.equal(load(variant(whole, tmp_path / "other", change), Options()).embed(AUDIO), expected)


def test_layers_above_the_chosen_one_may_be_missing(whole, tmp_path):
    folder = variant(whole, tmp_path / "other", without("layers.1.final_layer_norm"))
    expected = load(str(whole), Options(layer=1)).embed(AUDIO)
    assert torch.equal(load(folder, Options(layer=1)).embed(AUDIO), expected)
    with pytest.raises(InvalidInputError, match="lacks 2 of the 51 tensors"):
        load(folder, Options())


def test_a_missing_tensor_that_is_used_later_gives_nan_and_never_a_figure(whole, tmp_path):
    encoder = load(variant(whole, tmp_path / "other", without("masked_spec_embed")), Options())
    assert bool(torch.isnan(encoder.model.masked_spec_embed).all())


def test_a_decoder_may_be_missing_and_an_encoder_may_not(tmp_path):
    whole = Path(made.whisper(tmp_path).removeprefix("hf:"))
    expected = load(str(whole), Options()).embed(AUDIO)
    decoderless = variant(whole, tmp_path / "encoder", without("decoder."))
    assert torch.equal(load(decoderless, Options()).embed(AUDIO), expected)
    with pytest.raises(InvalidInputError, match="lacks .*encoder.conv1"):
        load(variant(whole, tmp_path / "decoder", without("encoder.conv1")), Options())


def test_of_clap_the_projection_is_needed_and_the_text_tower_is_not(tmp_path):
    whole = Path(made.clap(tmp_path).removeprefix("hf:"))
    expected = load(str(whole), Options()).embed(AUDIO)
    assert torch.equal(load(variant(whole, tmp_path / "a", without("text_")), Options()).embed(AUDIO), expected)
    folder = variant(whole, tmp_path / "b", without("audio_projection"))
    with pytest.raises(InvalidInputError, match="audio_projection"):
        load(folder, Options())
    load(folder, Options(pooling="mean"))


def test_an_adapter_alone_is_refused(whole, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "somebody/model"}')
    save_file({"base_model.model.lora_A.weight": torch.zeros(2, 2)}, adapter / "adapter_model.safetensors")
    for folder in (adapter, Path(shutil.copytree(adapter, tmp_path / "both"))):
        if folder.name == "both":
            shutil.copytree(whole, folder, dirs_exist_ok=True)
        with pytest.raises(InvalidInputError, match=r"holds an adapter .*merge_and_unload"):
            load(str(folder), Options())
        with pytest.raises(InvalidInputError, match=r"text encoder .*holds an adapter"):
            load_text_encoder(str(folder))


def test_a_missing_shard_is_named(whole, tmp_path):
    transformers.AutoModel.from_pretrained(whole).save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    shutil.copy(whole / "preprocessor_config.json", tmp_path / "shards")
    expected = load(str(whole), Options()).embed(AUDIO)
    assert torch.equal(load(str(tmp_path / "shards"), Options()).embed(AUDIO), expected)
    (tmp_path / "shards" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InvalidInputError, match=r"does not hold a whole model .*model-00002-of-00003"):
        load(str(tmp_path / "shards"), Options())


def test_quantised_weights_without_their_package_are_one_plain_line(whole, tmp_path):
    folder = variant(whole, tmp_path / "q", dict, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(InvalidInputError, match=r"cannot be loaded \(a package is not installed: .*optimum") as raised:
        load(folder, Options())
    assert "Error" not in str(raised.value)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_encoder_that_lacks_tensors_is_refused(tmp_path, pooling):
    whole = distilbert(tmp_path / "whole")
    for change, message in (
        (without("layer.1."), "text encoder .*lacks 16 of the"),
        (with_prefix("module."), r"below the prefix 'module\.'"),
        (changed("embeddings.LayerNorm.bias", torch.full((16,), torch.inf)), "1 tensors hold NaN or infinite"),
    ):
        folder = variant(whole, tmp_path / message[-6:-1].strip("."), change)
        with pytest.raises(InvalidInputError, match=message):
            load_text_encoder(folder, pooling=pooling)


def test_a_text_encoder_needs_no_pooler(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=40, **made.SMALL)
    folder = distilbert(tmp_path / "bert")
    transformers.BertModel(config).eval().save_pretrained(folder)
    expected = load_text_encoder(str(folder)).embed(["add the dog"])
    other = variant(folder, tmp_path / "other", without("pooler"))
    assert torch.equal(load_text_encoder(other).embed(["add the dog"]), expected)
