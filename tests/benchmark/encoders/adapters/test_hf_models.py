"""Models with decoders, language models that hear, codecs: the part that hears, called directly, or one plain line."""

import numpy as np
import pytest
import torch
import transformers

from benchmark.encoders.adapters.hf_padding import Window, measure_window
from benchmark.encoders.adapters.huggingface import Options, load
from bgknown.errors import InvalidInputError
from tests.benchmark import kinds as made

SMALL_ENCODER = {
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
LLAMA = {**made.SMALL, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 40}
RATE_HZ = 16_000
WINDOW_S = 2


def noise(clips, seconds, seed=0):
    return 0.1 * torch.randn(clips, round(seconds * RATE_HZ), generator=torch.Generator().manual_seed(seed))


def classes(*names):
    """Classes of transformers; the test is skipped where this version does not have them."""
    absent = [name for name in names if not hasattr(transformers, name)]
    if absent:
        pytest.skip(f"transformers {transformers.__version__} has no {', '.join(absent)}")
    return [getattr(transformers, name) for name in names]


def save(folder, model, extractor):
    return made.saved(folder, "model", model, extractor).removeprefix("hf:")


def whispers():
    return transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=WINDOW_S)


def qwen2_audio_encoder():
    config, model = classes("Qwen2AudioEncoderConfig", "Qwen2AudioEncoder")
    return model(config(d_model=16, num_mel_bins=20, max_source_positions=100, **SMALL_ENCODER))


def qwen2_audio():
    config, model = classes("Qwen2AudioConfig", "Qwen2AudioForConditionalGeneration")
    encoder = qwen2_audio_encoder().config.to_dict()
    return model(config(audio_config=encoder, text_config={"model_type": "qwen2", **LLAMA}, audio_token_index=3))


def voxtral_encoder():
    config, model = classes("VoxtralEncoderConfig", "VoxtralEncoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return model(config(num_mel_bins=20, max_source_positions=100, **sizes))


def audioflamingo3_encoder():
    config, model = classes("AudioFlamingo3EncoderConfig", "AudioFlamingo3Encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return model(config(num_mel_bins=20, max_source_positions=100, **sizes))


def tower_in(model):
    model = getattr(model, "model", model)
    return getattr(model, "audio_tower", model)


@pytest.mark.parametrize(
    ("make", "frames"),
    [(qwen2_audio_encoder, 50), (qwen2_audio, 50), (voxtral_encoder, 100), (audioflamingo3_encoder, 50)],
)
def test_of_a_padded_clip_its_own_frames_are_pooled_and_of_a_long_one_all(tmp_path, make, frames):
    torch.manual_seed(0)
    model = make().eval()
    folder = save(tmp_path, model, whispers())
    encoder = load(folder, Options())
    assert (encoder.window.longest, encoder.window.padded) == (WINDOW_S * RATE_HZ, True)
    audio = noise(2, 1)
    prepared = whispers()(list(audio.numpy()), sampling_rate=RATE_HZ, return_tensors="pt", return_attention_mask=True)
    masked = {"input_features_mask": prepared.attention_mask} if make is audioflamingo3_encoder else {}
    with torch.no_grad():
        states = tower_in(model)(prepared.input_features, **masked).last_hidden_state
    assert states.shape[1] == frames
    assert torch.allclose(encoder.embed(audio), states[:, : frames // 2].mean(dim=1), atol=1e-5)
    long = noise(1, 2 * WINDOW_S)
    pieces = [encoder.embed(piece) for piece in long.split(WINDOW_S * RATE_HZ, dim=1)]
    assert torch.allclose(encoder.embed(long), (pieces[0] + pieces[1]) / 2, atol=1e-5)


def moonshine():
    config, model = classes("MoonshineConfig", "MoonshineModel")
    heads = {"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2}
    layers = {"encoder_num_hidden_layers": 1, "decoder_num_hidden_layers": 1}
    made_of = config(hidden_size=16, intermediate_size=16, vocab_size=40, **heads, **layers, **TOKENS)
    return model(made_of), transformers.Wav2Vec2FeatureExtractor(), lambda whole: whole.encoder


def speech_to_text():
    config = transformers.Speech2TextConfig(
        d_model=16, conv_channels=8, vocab_size=40, input_feat_per_channel=24, **SMALL_ENCODER, **TOKENS
    )
    extractor = transformers.Speech2TextFeatureExtractor(feature_size=24, num_mel_bins=24)
    return transformers.Speech2TextModel(config), extractor, lambda whole: whole.encoder


def speecht5():
    config = transformers.SpeechT5Config(
        hidden_size=16, vocab_size=40, **made.CONVOLUTIONS, **SMALL_ENCODER, feat_extract_norm="layer"
    )
    model = transformers.SpeechT5ForSpeechToText(config)
    return model, transformers.SpeechT5FeatureExtractor(), lambda whole: whole.speecht5.encoder


def seamless(version=""):
    heads = dict.fromkeys(("speech_encoder_attention_heads", "t2u_encoder_attention_heads"), 2)
    config = getattr(transformers, f"SeamlessM4T{version}Config")(
        hidden_size=16,
        vocab_size=40,
        t2u_vocab_size=40,
        unit_hifi_gan_vocab_size=40,
        speech_encoder_layers=1,
        speech_encoder_intermediate_size=16,
        num_conv_pos_embedding_groups=2,
        num_conv_pos_embeddings=4,
        t2u_encoder_layers=1,
        t2u_decoder_layers=1,
        t2u_encoder_ffn_dim=16,
        t2u_decoder_ffn_dim=16,
        t2u_decoder_attention_heads=2,
        upsample_initial_channel=64,
        unit_embed_dim=8,
        lang_embed_dim=8,
        spkr_embed_dim=8,
        t2u_pad_token_id=0,
        **heads,
        **SMALL_ENCODER,
        **TOKENS,
    )
    model = getattr(transformers, f"SeamlessM4T{version}Model")(config)
    return model, transformers.SeamlessM4TFeatureExtractor(), lambda whole: whole.speech_encoder


def speech_encoder_decoder():
    ears = transformers.Wav2Vec2Config(**made.SMALL, **made.CONVOLUTIONS)
    mouth = transformers.BertConfig(**made.SMALL, vocab_size=40, is_decoder=True, add_cross_attention=True)
    config = transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(ears, mouth)
    model = transformers.SpeechEncoderDecoderModel(config)
    return model, transformers.Wav2Vec2FeatureExtractor(), lambda whole: whole.encoder


@pytest.mark.parametrize(
    "make",
    [moonshine, speech_to_text, speecht5, seamless, lambda: seamless("v2"), speech_encoder_decoder],
    ids=["moonshine", "speech_to_text", "speecht5", "seamless_m4t", "seamless_m4t_v2", "speech-encoder-decoder"],
)
def test_models_with_a_decoder_are_measured_through_their_encoder(tmp_path, make):
    torch.manual_seed(0)
    model, extractor, encoder_of = make()
    encoder = load(save(tmp_path, model.eval(), extractor), Options())
    audio = noise(2, 1)
    for clip, row in zip(audio.numpy(), encoder.embed(audio), strict=True):
        inputs = extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt")
        with torch.no_grad():
            states = encoder_of(model)(**inputs).last_hidden_state
        assert torch.allclose(row, states[0].mean(dim=0), atol=1e-5)
    assert encoder.embedding_size == 16
    assert sum(tensor.numel() for tensor in encoder.model.parameters()) < sum(
        tensor.numel() for tensor in model.parameters()
    )  # the decoder is not kept


def codec():
    config = transformers.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=16, codebook_dim=16)
    return transformers.EncodecModel(config), transformers.EncodecFeatureExtractor()


def dac():
    config = transformers.DacConfig(encoder_hidden_size=8, decoder_hidden_size=32, codebook_size=16, hidden_size=128)
    return transformers.DacModel(config), transformers.DacFeatureExtractor()


def vocoder():
    return transformers.UnivNetModel(transformers.UnivNetConfig()), transformers.UnivNetFeatureExtractor()


def talker():
    config = transformers.FastSpeech2ConformerConfig(hidden_size=24, vocab_size=40, encoder_layers=1, decoder_layers=1)
    return transformers.FastSpeech2ConformerModel(config), transformers.Wav2Vec2FeatureExtractor()


def text_to_speech():
    """SpeechT5's prenet for audio is not in a file that speaks: random layers would be measured."""
    config = speecht5()[0].config
    return transformers.SpeechT5ForTextToSpeech(config), transformers.SpeechT5FeatureExtractor()


def reader():
    return transformers.BertModel(transformers.BertConfig(**made.SMALL, vocab_size=40)), whispers()


def other_bins():
    return qwen2_audio_encoder(), transformers.WhisperFeatureExtractor(feature_size=24, chunk_length=WINDOW_S)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (codec, "EncodecModel is a codec: it turns audio into tokens and back, and has no embedding of a clip"),
        (dac, "DacModel is a codec"),
        (vocoder, "UnivNetModel gives .* and no hidden states: it has no embedding"),
        (talker, "no part that turns audio into an embedding .* takes input_ids"),
        (text_to_speech, "lacks .* of the .* tensors of SpeechT5ForSpeechToText"),
        (reader, r"BertModel has no part that turns audio into an embedding \(BertModel takes input_ids\)"),
        (other_bins, "Qwen2AudioEncoder gives no embedding for the output of its preprocessor"),
    ],
)
def test_models_without_an_embedding_of_audio_are_one_plain_line(tmp_path, make, message):
    torch.manual_seed(0)
    folder = save(tmp_path, *make())
    with pytest.raises(InvalidInputError, match=message) as raised:
        load(folder, Options())
    said = str(raised.value)
    assert "\n" not in said
    assert not any(word in said for word in ("Error:", "Traceback", ".py", "argument", "<class"))


class Extractor:
    """Features of 10 values per 100 samples, of at least, at most or exactly so many samples."""

    def __init__(self, least=0, most=None):
        self.least, self.most = least, most

    def __call__(self, audio):
        audio = np.pad(audio, (0, max(0, self.least - len(audio))))[: self.most]
        return np.abs(audio[: len(audio) // 10 * 10])


@pytest.mark.parametrize(
    ("least", "most", "longest", "padded"),
    [(0, None, None, False), (0, 12_340, 12_340, False), (9_870, 9_870, 9_870, True), (1_600, None, None, False)],
)
def test_what_an_extractor_does_to_lengths_is_found_by_trying(least, most, longest, padded):
    extractor = Extractor(least, most)
    window = measure_window(extractor, extractor, 1_000 if most else RATE_HZ, "hf:x", masked=False)
    assert (window.longest, window.padded) == (longest, padded)


def test_invisible_padding_is_refused_unless_a_mask_marks_it():
    extractor = Extractor(20_000)
    with pytest.raises(InvalidInputError, match="it is unknown which of its frames belong to a clip"):
        measure_window(extractor, extractor, RATE_HZ, "hf:x", masked=False)
    assert measure_window(extractor, extractor, RATE_HZ, "hf:x", masked=True) == Window(longest=None, padded=False)


def test_clips_that_are_cut_beyond_what_was_tried_are_refused():
    extractor = Extractor(most=50_000)
    window = measure_window(extractor, extractor, 1_000, "hf:x", masked=False)
    assert window.longest is None
    for samples in (100, 40_000, 50_000):
        window.check_whole(samples, extractor(np.ones(samples)).size, "hf:x")
    with pytest.raises(InvalidInputError, match=r"drops a part of clips of 60,000 samples: .*\(--duration\)"):
        window.check_whole(60_000, extractor(np.ones(60_000)).size, "hf:x")
