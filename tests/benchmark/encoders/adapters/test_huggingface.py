"""Models of transformers, against the models themselves called directly."""

import json
import os
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from benchmark.encoders.adapters import huggingface
from benchmark.encoders.adapters.huggingface import Options, load, weights_of
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made

MAKERS = [made.wav2vec2, made.hubert, made.wavlm, made.data2vec, made.ast, made.whisper, made.clap]


def noise(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))


def folder_of(spec: str) -> str:
    return spec.removeprefix("hf:")


def direct(folder: str, audio: torch.Tensor):
    """The model and its extractor as their authors would call them, one clip at a time."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    rate_hz = extractor.sampling_rate
    for clip in audio.numpy():
        inputs = extractor(clip, sampling_rate=rate_hz, return_tensors="pt")
        with torch.no_grad():
            yield model, inputs


@pytest.mark.parametrize("maker", [made.wav2vec2, made.hubert, made.wavlm, made.data2vec])
def test_waveform_models_give_the_mean_of_their_frames(tmp_path, maker):
    folder = folder_of(maker(tmp_path))
    audio = noise(3, 9_000)
    expected = []
    for model, inputs in direct(folder, audio):
        with torch.no_grad():
            expected.append(model(inputs.input_values).last_hidden_state[0].mean(dim=0))
    assert torch.allclose(load(folder, Options()).embed(audio), torch.stack(expected), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_a_layer_is_an_index_of_the_hidden_states(tmp_path, layer):
    folder = folder_of(made.hubert(tmp_path))
    audio = noise(1, 9_000)
    model, inputs = next(direct(folder, audio))
    with torch.no_grad():
        states = model(inputs.input_values, output_hidden_states=True).hidden_states
    encoder = load(folder, Options(layer=layer, pooling="mean+max"))
    assert torch.allclose(encoder.embed(audio), states[layer].mean(dim=1) + states[layer].amax(dim=1), atol=1e-5)
    assert (encoder.configuration["layer"], encoder.configuration["pooling"]) == (layer, "mean+max")


def test_ast_gives_its_class_tokens(tmp_path):
    folder = folder_of(made.ast(tmp_path))
    audio = noise(2, 12_000)
    encoder = load(folder, Options())
    for clip, (model, inputs) in enumerate(direct(folder, audio)):
        with torch.no_grad():
            output = model(**inputs)
        assert torch.allclose(encoder.embed(audio)[clip], output.pooler_output[0], atol=1e-5)
        first = load(folder, Options(pooling="first")).embed(audio)
        assert torch.allclose(first[clip], output.last_hidden_state[0, 0], atol=1e-5)


@pytest.mark.parametrize(("samples", "columns"), [(400 + 160 * 127, 16), (400 + 160 * 63, 8), (400 + 160 * 2, 1)])
def test_frames_of_ast_leave_its_tokens_and_its_padding_out(tmp_path, samples, columns):
    folder = folder_of(made.ast(tmp_path))  # 32 bands and 128 spectra in patches of 8 x 8: 4 rows of 16 columns
    audio = noise(1, samples)
    model, inputs = next(direct(folder, audio))
    with torch.no_grad():
        tokens = model(**inputs).last_hidden_state[0, 2:]
    kept = torch.stack([tokens[row * 16 + column] for row in range(4) for column in range(columns)])
    assert torch.allclose(load(folder, Options(pooling="mean")).embed(audio)[0], kept.mean(dim=0), atol=1e-5)
    assert torch.allclose(load(folder, Options(pooling="max")).embed(audio)[0], kept.amax(dim=0), atol=1e-5)


def test_clap_gives_the_embedding_that_texts_are_compared_with(tmp_path):
    folder = folder_of(made.clap(tmp_path))
    audio = noise(2, 24_000)
    embeddings = load(folder, Options()).embed(audio)
    for clip, (model, inputs) in enumerate(direct(folder, audio)):
        with torch.no_grad():
            projected = model.audio_projection(model.audio_model(**inputs).pooler_output)[0]
        assert torch.allclose(embeddings[clip], projected / projected.norm(), atol=1e-5)


def fused_clap(folder: Path) -> str:
    path = Path(folder_of(made.clap(folder)))
    config = json.loads((path / "config.json").read_text())
    config["audio_config"] |= {"enable_fusion": True, "fusion_type": None}
    torch.manual_seed(0)
    fused = transformers.ClapModel(transformers.ClapConfig(**config))
    extractor = transformers.ClapFeatureExtractor(feature_size=64, truncation="fusion", padding="repeatpad")
    return folder_of(made.saved(folder, "fused", fused, extractor))


def test_a_fused_clap_draws_nothing(tmp_path):
    """Its extractor says of one clip of a batch, drawn at random, that it was longer than 10 s."""
    encoder = load(fused_clap(tmp_path), Options())
    audio = noise(4, 24_000)
    drawn = np.random.get_state()[2]  # noqa: NPY002
    together = encoder.embed(audio)
    assert np.random.get_state()[2] == drawn  # noqa: NPY002
    assert torch.equal(together, encoder.embed(audio))
    alone = torch.cat([encoder.embed(clip.unsqueeze(0)) for clip in audio])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("maker", [made.clap, fused_clap, made.ast])
def test_long_clips_are_embedded_in_pieces_and_the_same_each_time(tmp_path, maker):
    encoder = load(folder_of(maker(tmp_path)), Options())
    length = encoder.longest
    assert length is not None
    audio = noise(2, 2 * length)
    parts = encoder.embed(audio[:, :length]) + encoder.embed(audio[:, length:])
    assert torch.allclose(encoder.embed(audio), parts / 2, atol=1e-5)
    longer = noise(2, 2 * length + 7)
    assert torch.equal(encoder.embed(longer), encoder.embed(longer))
    changed = longer.clone()
    changed[:, -length // 4 :] = 0
    assert not torch.allclose(encoder.embed(longer), encoder.embed(changed), atol=1e-5)


def test_an_ast_takes_what_it_says_it_takes_and_not_a_spectrum_more(tmp_path):
    folder = folder_of(made.ast(tmp_path))
    encoder = load(folder, Options())
    extractor = encoder.extractor
    audio = noise(1, encoder.longest + 160)
    whole, cut = (
        extractor(audio[0, :samples].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        for samples in (encoder.longest + 160, encoder.longest)
    )
    assert torch.equal(whole, cut)
    shorter = extractor(audio[0, : encoder.longest - 1].numpy(), sampling_rate=16_000, return_tensors="pt")
    assert not torch.equal(shorter.input_values, cut)


def short_whisper(folder: Path) -> str:
    """Of 2 s in place of 30."""
    torch.manual_seed(0)
    config = transformers.WhisperConfig.from_pretrained(folder_of(made.whisper(folder)))
    config.max_source_positions = 100
    model = transformers.WhisperModel(config)
    extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    return folder_of(made.saved(folder, "short", model, extractor))


def test_whisper_pools_frames_of_the_clip_over_all_pieces(tmp_path):
    folder = short_whisper(tmp_path)
    encoder = load(folder, Options())
    audio = noise(2, 16_000)
    for clip, (model, inputs) in enumerate(direct(folder, audio)):
        with torch.no_grad():
            states = model.get_encoder()(inputs.input_features).last_hidden_state[0]
        assert len(states) == 100
        assert torch.allclose(encoder.embed(audio)[clip], states[:50].mean(dim=0), atol=1e-5)
    long = noise(1, 64_000)  # two pieces of 2 s
    frames, times_ms = encoder.frames(long)
    assert frames.shape[1] == 200
    assert torch.allclose(frames[:, :100], encoder.frames(long[:, :32_000])[0], atol=1e-5)
    assert torch.allclose(frames[:, 100:], encoder.frames(long[:, 32_000:])[0], atol=1e-5)
    assert times_ms[0].tolist() == pytest.approx([10 + 20 * place for place in range(200)])
    assert torch.allclose(encoder.embed(long), frames.mean(dim=1), atol=1e-5)
    most = load(folder, Options(pooling="max"))
    assert torch.allclose(most.embed(long), frames.amax(dim=1), atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_run_in_single(tmp_path, kind):
    folder = folder_of(made.wav2vec2(tmp_path))
    whole = load(folder, Options())
    transformers.AutoModel.from_pretrained(folder).to(kind).save_pretrained(tmp_path / "half")
    whole.extractor.save_pretrained(tmp_path / "half")
    audio = noise(2, 9_000)
    embeddings = load(str(tmp_path / "half"), Options()).embed(audio)
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings, whole.embed(audio), atol=0.05)
    assert not torch.equal(embeddings, whole.embed(audio))


def test_code_of_a_repository_is_never_run(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "n")
    folder = Path(folder_of(made.wav2vec2(tmp_path)))
    (folder / "theirs.py").write_text("from pathlib import Path\nPath('touched').touch()\n")
    monkeypatch.chdir(tmp_path)
    for name, entry in (("preprocessor_config.json", "AutoFeatureExtractor"), ("config.json", "AutoModel")):
        values = json.loads((folder / name).read_text())
        for key in ("feature_extractor_type", "model_type", "architectures"):
            values.pop(key, None)
        values["auto_map"] = {entry: "theirs.Theirs", "AutoConfig": "theirs.Config"}
        original = (folder / name).read_bytes()
        (folder / name).write_text(json.dumps(values))
        with pytest.raises(InvalidInputError, match="cannot be loaded") as raised:
            load(str(folder), Options())
        assert "\n" not in str(raised.value)
        (folder / name).write_bytes(original)
    assert asked == []
    assert not Path("touched").exists()
    load(str(folder), Options())


class Evil:
    def __reduce__(self):
        return (os.system, ("touch touched",))


def test_a_bin_file_is_read_as_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(folder_of(made.wav2vec2(tmp_path)))
    before = load(str(folder), Options())
    (folder / "model.safetensors").unlink()
    torch.save(before.model.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(load(str(folder), Options()).embed(noise(1, 9_000)), before.embed(noise(1, 9_000)))
    assert folder / "pytorch_model.bin" in weights_of(str(folder), Options())
    torch.save({**before.model.state_dict(), "extra": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load(str(folder), Options())
    assert not Path("touched").exists()


def test_the_users_settings_of_transformers_are_kept(tmp_path, capfd):
    folder = folder_of(made.wav2vec2(tmp_path))
    settings = transformers.utils.logging
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    capfd.readouterr()
    load(folder, Options())
    with pytest.raises(InvalidInputError, match="does not hold a whole model"):
        load(str(tmp_path), Options())
    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("maker", MAKERS)
def test_what_an_embedding_depends_on_is_recorded(tmp_path, maker):
    folder = folder_of(maker(tmp_path))
    encoder = load(folder, Options())
    assert encoder.name == Path(folder).name
    assert encoder.configuration["transformers"] == transformers.__version__
    assert encoder.configuration["model_type"] == encoder.model.config.model_type
    files = {file.name for file in weights_of(folder, Options())}
    assert {"config.json", "preprocessor_config.json", "model.safetensors"} <= files


def fetched(cache: Path, repository: str, folder: str) -> None:
    """A model as the hub's client keeps it: a snapshot under the name of its commit."""
    kept = cache / f"models--{repository.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40)
    (kept / "snapshots").mkdir()
    Path(folder).rename(kept / "snapshots" / ("a" * 40))


def test_a_model_that_was_fetched_before_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = folder_of(made.wav2vec2(tmp_path))
    expected = load(folder, Options()).embed(noise(1, 9_000))
    fetched(tmp_path / "cache", "somebody/tiny", folder)
    options = Options(local_files_only=True)
    encoder = load("somebody/tiny", options)
    assert encoder.name == "tiny"
    assert torch.equal(encoder.embed(noise(1, 9_000)), expected)
    assert {file.name for file in weights_of("somebody/tiny", options)} >= {"config.json", "model.safetensors"}
    with pytest.raises(NotFoundError, match=r"no such folder, and the hub lacks it .* hf download somebody/other"):
        load("somebody/other", options)


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        ("", {}, InvalidInputError, "hf: names no model; write hf:DIRECTORY or hf:OWNER/NAME"),
        ("./Wav2Vec", {}, NotFoundError, r"hf:\./Wav2Vec: no such folder; did you mean Wav2Vec2\?"),
        ("/nowhere/at/all", {}, NotFoundError, "no such folder, and ids on the hub have another form"),
        ("Wav2Vec2", {"revision": "main"}, InvalidInputError, "is a folder; option revision is for models on the hub"),
        ("Wav2Vec2", {"layer": 9}, InvalidInputError, r"option layer is 9; it must be from -3 to 2"),
        ("text", {}, InvalidInputError, "hf:text: this folder does not hold a whole model .*preprocessor_config"),
    ],
)
def test_files_that_cannot_be_loaded_are_reported_in_one_line(tmp_path, monkeypatch, target, options, error, message):
    made.wav2vec2(tmp_path)
    made.saved(
        tmp_path,
        "text",
        transformers.BertModel(transformers.BertConfig(**made.SMALL, vocab_size=10)),
        transformers.BertConfig(),
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as raised:
        load(target, Options(**options))
    assert "\n" not in str(raised.value)


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(NotFoundError, match="pip install transformers"):
        huggingface.load(str(tmp_path), Options())
