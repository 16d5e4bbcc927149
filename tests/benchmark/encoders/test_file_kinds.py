"""Files that are encoders or pretend to be: what they hold, where they point, and what they may not do."""

import logging
import os
import pickle
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from benchmark.encoders.adapters.checkpoint import describe_entries
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made


class Evil:
    def __reduce__(self):
        return (os.system, ("touch touched",))


def infected(path: Path) -> None:
    """Put a pickle with code in the place of every pickled member, and of the constants, of a torch archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(members)).partition("/")[0]
    for name in [*members, f"{folder}/data.pkl", f"{folder}/data/sample_inputs/model.pt"]:
        if name.endswith((".pkl", ".pt")):
            members[name] = pickle.dumps(Evil())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("make", [made.exported, made.torchscript])
@pytest.mark.parametrize("name", ["evil.pt2", "evil.pt", "evil.pth", "evil.ckpt"])
def test_code_in_a_program_is_not_run(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(make(tmp_path), name)
    infected(Path(name))
    for spec in (name, f"exported:{name}", f"torchscript:{name}", f"byola:{name}"):
        with pytest.raises(InvalidInputError) as raised:
            load_encoder(spec)
        assert "\n" not in str(raised.value)
    assert not Path("touched").exists()


def test_packages_are_not_run_before_they_are_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "logmel_"
    package.mkdir()
    (package / "__init__.py").write_text("open('touched', 'w').close()\n")
    (package / "made.py").write_text(made.PYTHON)
    with pytest.raises(InvalidInputError, match="runs arbitrary code .* pass --trust-code"):
        load_encoder("logmel_.made:Mine")
    assert not Path("touched").exists()
    assert load_encoder("logmel_.made:Mine", trust_code=True).name == "mine"
    assert Path("touched").exists()


@pytest.fixture
def logged():
    """What torch.export logs while a test runs."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.export.pt2_archive._package")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("make", [made.exported, made.torchscript, made.onnx_model, made.own_checkpoint])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_truncated_file_is_reported_in_one_line(tmp_path, logged, make, keep):
    path = Path(make(tmp_path))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InvalidInputError, match=path.name) as raised:
        load_encoder(str(path), trust_code=True)
    assert "\n" not in str(raised.value)
    assert logged == []


@pytest.mark.parametrize("kind", ["torchscript", "exported", "onnx"])
def test_a_file_kind_requires_a_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("folder").mkdir()
    for spec in (kind, f"{kind}:"):
        with pytest.raises(InvalidInputError, match=f"names no file; write {kind}:FILE"):
            load_encoder(spec, trust_code=True)
    with pytest.raises(NotFoundError, match=r"no such file; did you mean empty\?"):
        load_encoder(f"{kind}:emty", trust_code=True)
    with pytest.raises(InvalidInputError, match=r"the file is empty \(0 bytes\)"):
        load_encoder(f"{kind}:empty", trust_code=True)
    with pytest.raises(InvalidInputError, match="is a folder; it must be a file"):
        load_encoder(f"{kind}:folder", trust_code=True)


def test_unrecognised_files_are_reported_with_their_content(tmp_path):
    nested = {"model": {"head": {"weight": torch.zeros(2)}, "tail\nline": torch.zeros(1)}, "epoch": 3}
    torch.save(nested, tmp_path / "nested.pt")
    with pytest.raises(InvalidInputError, match=r"found: model\.head\.weight, model\.tail line, epoch$"):
        load_encoder(str(tmp_path / "nested.pt"))
    save_file({f"layer{i}": torch.zeros(1) for i in range(9)}, tmp_path / "many.safetensors")
    with pytest.raises(InvalidInputError, match=r"found: layer0, layer1, layer2, layer3, \.\.\.$"):
        load_encoder(str(tmp_path / "many.safetensors"))


def test_names_in_a_file_are_read_without_running_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "evil.pt")
    torch.save([torch.zeros(1)], "list.pt")
    torch.save({}, "none.pt")
    assert describe_entries(Path("evil.pt")).startswith("nothing that can be read as data")
    assert describe_entries(Path("list.pt")) == "one list"
    assert describe_entries(Path("none.pt")) == "no entries"
    assert not Path("touched").exists()


def test_data_of_a_linked_onnx_model_is_next_to_the_model_itself(tmp_path):
    real, link, other = (tmp_path / name for name in ("real", "link", "other"))
    for folder in (real, link, other):
        folder.mkdir()
    direct = load_encoder(made.onnx_external(real))
    data = bytearray((real / "weights.bin").read_bytes())
    data[:64] = bytes(64)
    (other / "weights.bin").write_bytes(data)
    (link / "model.onnx").symlink_to(real / "model.onnx")
    (link / "weights.bin").symlink_to(other / "weights.bin")
    linked = load_encoder(str(link / "model.onnx"))
    audio = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(linked.encoder.embed(audio), direct.encoder.embed(audio))
    assert linked.weights_sha256 == direct.weights_sha256


def test_onnx_data_of_functions_stay_in_the_folder_too(tmp_path):
    path = Path(made.onnx_model(tmp_path))
    model = onnx.load(str(path))
    tensor = onnx.TensorProto(
        dims=[2], data_type=onnx.TensorProto.FLOAT, data_location=onnx.TensorProto.EXTERNAL, name="far"
    )
    tensor.external_data.add(key="location", value="../outside.bin")
    node = onnx.helper.make_node("Constant", [], ["out"], value=tensor)
    opset = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("local", "Far", [], ["out"], [node], opset))
    onnx.save(model, str(path))
    with pytest.raises(InvalidInputError, match=r"'\.\./outside\.bin' is outside its folder"):
        load_encoder(str(path))


def test_audio_that_is_too_short_for_a_program_is_reported(tmp_path, capfd):
    encoder = load_encoder(made.torchscript(tmp_path), trust_code=True).encoder
    with pytest.raises(InvalidInputError, match=r"script\.pt: fails on audio \[1, 100\]: .*Kernel size") as raised:
        encoder.embed(torch.zeros(1, 100))
    assert "\n" not in str(raised.value)
    with pytest.raises(Exception, match="Invalid input shape"):
        load_encoder(made.onnx_model(tmp_path)).encoder.embed(torch.zeros(1, 100))
    assert capfd.readouterr().err == ""


def test_bands_without_a_frequency_are_refused():
    with pytest.raises(InvalidInputError, match=r"of 300 contains no bin of a 400-point transform \(\d+ such bands\)"):
        load_encoder("logmel?n_mels=300")
    assert load_encoder("logmel?n_mels=300&n_fft=4096").encoder.embedding_size == 600


def test_an_encoder_that_cannot_be_moved_is_reported_in_one_line():
    with pytest.raises(InvalidInputError, match="logmel: cannot be moved to device 'tpu': RuntimeError"):
        load_encoder("logmel", device="tpu")


@dataclass(frozen=True)
class Fixed:
    """Its name cannot be changed."""

    name: str = "fixed"
    rate_hz: int = 16_000
    embedding_size: int = 1

    def embed(self, audio):
        return audio.mean(dim=1, keepdim=True)


class Unwritable(Fixed):
    """Its configuration cannot be stored."""

    configuration = {"gain": np.float32(1.0)}  # noqa: RUF012


def test_what_an_encoder_says_of_itself_is_checked():
    here = f"{Path(__file__)}"
    assert load_encoder(f"{here}:Fixed", trust_code=True).name == "fixed"
    with pytest.raises(InvalidInputError, match="name 'fixed' cannot be changed to 'mine'; omit the new name"):
        load_encoder(f"{here}:Fixed", trust_code=True, name="mine")
    with pytest.raises(InvalidInputError, match=r"configuration cannot be written as JSON \(Object of type float32"):
        load_encoder(f"{here}:Unwritable", trust_code=True)
