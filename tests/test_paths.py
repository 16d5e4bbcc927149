"""``~`` in every path of all command lines, environment variables and Python calls."""

import click
import pytest
from click.testing import CliRunner

import benchmark.cli
import bgknown
import bgknown.cli
import pretrain.cli
from benchmark.embedding.embed import EmbedSettings
from benchmark.encoders.registry import load_encoder
from benchmark.pages.audio_beside import parse_audio_folders
from benchmark.protocol import open_protocol
from benchmark.tasks import own
from benchmark.tasks.locations import parse_locations, split_tables
from bgknown.apwd.build import PairBuildOptions
from bgknown.commands import UserPath
from bgknown.corpora.headers import default_cache
from bgknown.errors import BgknownError, NotFoundError
from bgknown.userpath import absolute, expand, user_path
from pretrain.config import read_config
from pretrain.pack import PackOptions
from tests.benchmark.made_encoders import write

MAINS = {"bgknown": bgknown.cli.main, "benchmark": benchmark.cli.main, "pretrain": pretrain.cli.main}
TEXT_PATHS = {
    *("--data", "--splits", "--encoder", "--task", "TASK", "--protocol", "--text-encoder", "--config", "--names"),
    *("--cluster", "--dataset"),
}
"""Options that may be names as well as paths; what reads them expands ``~``, which the tests below show."""
NO_PATHS = {
    *("--name", "--device", "--suite", "--metric", "--match", "--set", "A", "B", "--scene", "--background", "--event"),
    *("--pairs", "--changes", "--kept", "--kind", "--columns", "--sort", "--snr-grid", "--licence", "--test-folds"),
    *("--shard", "--lambdas", "--vary"),
    *("KIND", "--format", "--setting"),
}


def parameters(command, name):
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from parameters(below, f"{name} {below.name}")
        return
    for parameter in command.params:
        shown = parameter.opts[0] if isinstance(parameter, click.Option) else (parameter.name or "").upper()
        yield pytest.param(parameter, shown, id=f"{name} {shown}")


ALL = [found for name, main in MAINS.items() for found in parameters(main, name)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(("parameter", "shown"), ALL)
def test_every_path_option_expands_the_home_folder(parameter, shown, home):
    if isinstance(parameter.type, UserPath):
        assert parameter.type.convert("~/x", parameter, None) == home / "x"
    else:
        assert not isinstance(parameter.type, (click.Path, click.File)), "use the types of bgknown.commands"
        if isinstance(parameter.type, click.types.StringParamType):
            assert shown in TEXT_PATHS | NO_PATHS, "say whether this option may be a path"


def test_a_path_as_the_user_typed_it(home, monkeypatch):
    assert user_path("~") == home
    assert user_path("~nosuchuser/x").name == "x"
    assert str(user_path("~nosuchuser/x")) == "~nosuchuser/x"
    assert expand("a~/~b") == "a~/~b"
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("HOME")
            monkeypatch.setattr("os.path.expanduser", lambda text: text)  # an unknown uid
        else:
            monkeypatch.setenv("HOME", value)
        with pytest.raises(NotFoundError, match=r"^~/x: there is no home folder \(HOME is not set\)"):
            user_path("~/x")
        done = CliRunner().invoke(pretrain.cli.main, ["pack", "--audio", "~/x", "--out", "y"])
        assert (done.exit_code, done.output) == (1, "error: " + str(no_home()) + "\n")


def no_home():
    with pytest.raises(NotFoundError) as caught:
        user_path("~/x")
    return caught.value


def test_absolute_keeps_the_names_of_links(tmp_path):
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "in")
    assert absolute(tmp_path / "link") == tmp_path / "link"
    assert absolute(tmp_path / "real" / ".." / "link") == tmp_path / "link"
    assert absolute(tmp_path / "link" / "..") == tmp_path / "real"  # as the file system reads it


def test_values_with_a_name_in_front(home):
    (home / "esc50").mkdir()
    table = write(home / "my.csv", "file,label,split\na.wav,a,train\n")
    assert parse_locations(["esc50=~/esc50", "~"]).named == {"esc50": home / "esc50"}
    assert parse_locations(["esc50=~/esc50", "~"]).general == home
    assert split_tables(["~/my.csv"], ["gtzan"]) == {"gtzan": table}
    assert split_tables(["gtzan=~/my.csv"], ["gtzan"]) == {"gtzan": table}
    assert own.locate_table("~/my.csv?duration_s=2") == table
    assert parse_audio_folders(["esc50=~/esc50"], []).corpora == {"esc50": home / "esc50"}
    assert own.read_own_facts("~/my.csv").name == "my"


def test_environment_variables(home, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", "~/cache")
    assert default_cache() == home / "cache"
    monkeypatch.setenv("BGKNOWN_DATA", "~/")
    assert parse_locations([]).general == home


def test_files_that_may_be_names(home):
    write(home / "p.toml", "seeds = 2\n")
    assert open_protocol("~/p.toml").seeds == 2
    write(home / "c.toml", "[training]\nbatch = 32\n")
    assert read_config("~/c.toml").training.batch == 32


CODE = """
import torch

class Mine:
    name, rate_hz, embedding_size = "mine", 16_000, 2

    def __init__(self, weights=None):
        self.configuration = {"weights": str(weights)}

    def embed(self, audio):
        return audio[:, :2]

class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16_000, 2, 2

def load_model(path=""):
    assert "~" not in path
    return Model()

def get_scene_embeddings(audio, model):
    return audio[:, :2]
"""


@pytest.mark.parametrize("spec", ["~/m.py:Mine", "~/m.py:Mine?weights=~/w.bin", "hear:~/m.py", "hear:~/m.py@~/w.bin"])
def test_encoders(spec, home):
    write(home / "m.py", CODE)
    write(home / "w.bin", "weights")
    loaded = load_encoder(spec, trust_code=True)
    assert loaded.encoder.embedding_size == 2
    assert "~" not in str(getattr(loaded.encoder, "configuration", ""))


@pytest.mark.parametrize("spec", ["~/no.pt", "onnx:~/no.onnx", "hf:~/no", "evar:m.C?config=~/no.yaml"])
def test_a_missing_encoder_is_named_as_it_was_typed_or_in_full(spec, home):
    write(home.parent / "m.py", "class C: pass")
    with pytest.raises(BgknownError, match=r"no such|no "):
        load_encoder(spec, trust_code=True)


def test_python_calls(home, built):
    (home / "data").symlink_to(built[1])
    assert bgknown.open_dataset("~/data").root == home / "data"
    with pytest.raises(NotFoundError, match=f"^{home}/none"):
        bgknown.open_pairs("~/none")
    with pytest.raises(NotFoundError, match=f"^{home}/none"):
        bgknown.open_pairs(jams="~/none", source="~/source")
    options = PackOptions(audio=("~/a", "~/b"), out="~/o")
    assert (options.audio, options.out) == ((home / "a", home / "b"), home / "o")
    assert EmbedSettings(cache="~/c").cache == home / "c"
    assert PairBuildOptions(jams="~/j", out="~/o").jams == home / "j"
