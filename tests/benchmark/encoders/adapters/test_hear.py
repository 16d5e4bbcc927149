"""Modules of HEAR's interface."""

import pytest
import torch

from benchmark.encoders.adapters import hear
from benchmark.encoders.adapters.foreign import import_file
from benchmark.encoders.contract import FrameEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError
from tests.benchmark import kinds as made
from tests.benchmark.made_encoders import noise, write


def test_hear_gives_what_the_module_gives(folder):
    spec = made.hear(folder)
    module = import_file(folder / "hearing.py")
    model = module.load_model(str(folder / "hear.pth"))
    encoder = hear.load(spec.removeprefix("hear:"), hear.Options())
    audio = noise(3, 12_000)
    assert torch.equal(encoder.embed(audio), module.get_scene_embeddings(audio, model).detach())
    frames, times_ms = encoder.frames(audio)
    assert torch.equal(frames.mean(dim=1), encoder.embed(audio))
    assert times_ms.shape == frames.shape[:2]
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("hearing", 16_000, 6)
    assert not encoder.embed(audio).requires_grad


def test_hear_modules_are_found_by_name_and_put_in_evaluation_mode(folder):
    write(folder / "heard.py", made.HEAR.replace("return model", "assert model.training\n    return model"))
    encoder = hear.load("heard", hear.Options())
    assert encoder.name == "heard"
    assert not encoder.model.training
    assert hear.weights_of("heard", hear.Options()) == []
    without = write(folder / "plain.py", made.HEAR.replace("get_timestamp_embeddings", "frames_of"))
    assert not isinstance(hear.load(str(without), hear.Options()), FrameEncoder)


def test_hear_loads_late_imports_and_weights_of_a_folder(folder):
    text = made.HEAR.replace(
        "    model = Model()\n", "    import late\n    model = late.put(Model(), model_file_path)\n"
    )
    text = text.replace("    if model_file_path:\n        model.load_state", "    if False:\n        model.load_state")
    write(folder / "code" / "heard.py", text)
    write(folder / "code" / "late.py", "def put(model, path):\n    model.path = path\n    return model\n")
    for name in ("b.bin", "a/c.bin"):
        write(folder / "weights" / name, name)
    encoder = hear.load("code/heard.py@weights", hear.Options())
    assert encoder.model.path == "weights"
    files = hear.weights_of("code/heard.py@weights", hear.Options())
    assert [file.as_posix() for file in files] == ["weights/a/c.bin", "weights/b.bin"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def load_model", "def load", "has no function load_model; HEAR's interface requires it"),
        ("def get_scene_embeddings", "def scene", "has no function get_scene_embeddings"),
        ("sample_rate, scene", "rate, scene", "its model has no sample_rate, which HEAR's interface requires"),
        (
            " = 16000, 6, 6",
            " = 16000, None, 6",
            "scene_embedding_size of its model is None; it must be a positive whole",
        ),
        ("    model = Model()", "    model = Modell()", r"cannot be loaded: NameError.*hearing\.py, line 1\d\)"),
    ],
)
def test_hear_modules_that_lack_something_are_reported_in_one_line(folder, old, new, message):
    assert old in made.HEAR
    write(folder / "hearing.py", made.HEAR.replace(old, new))
    with pytest.raises(InvalidInputError, match=message) as raised:
        hear.load("hearing.py", hear.Options())
    assert "\n" not in str(raised.value)


def test_wrong_shapes_are_reported_when_files_are_embedded(folder):
    write(folder / "hearing.py", made.HEAR.replace("return get_timestamp_embeddings(audio, model)[0].mean(dim=1)", "1"))
    loaded = load_encoder("hear:hearing.py", trust_code=True)
    assert loaded.encoder.embed(noise(2, 9_000)) is None
    write(folder / "hearing.py", made.HEAR.replace(")[0].mean(dim=1)", ")[0].mean(dim=2)"))
    from benchmark.encoders.contract import check_output  # noqa: PLC0415

    loaded = load_encoder("hear:hearing.py", trust_code=True)
    with pytest.raises(InvalidInputError, match=r"embed returned shape \[2, 15\]; it must be \[2, 6\]"):
        check_output(loaded.encoder, loaded.encoder.embed(noise(2, 9_000)), 2)
