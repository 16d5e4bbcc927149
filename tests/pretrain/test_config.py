import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.errors import InvalidInputError, NotFoundError
from pretrain.config import NAMES, Config, read_config


def test_the_paper_s_configuration_writes_out_the_defaults():
    assert read_config("paper") == Config()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_printed_is_one_that_can_be_read(name, tmp_path):
    config = read_config(name)
    path = tmp_path / "mine.toml"
    path.write_text(config.as_toml())
    assert read_config(str(path)) == config
    assert tomllib.loads(config.as_toml()) == config.tables()


def test_the_defaults_are_the_paper_s_numbers():
    """PROTOCOL.md, section 4."""
    config = Config()
    front_end, views, objective, training = config.front_end, config.views, config.objective, config.training
    assert (front_end.rate_hz, front_end.window, front_end.hop, front_end.n_mels) == (16_000, 400, 160, 64)
    assert (front_end.f_min, front_end.f_max, config.crop_samples) == (50.0, 8_000.0, 15_200)
    assert (views.mixup_ratio, views.memory, views.canvas_time, views.crop_low, views.crop_high) == (
        *(0.2, 2_048, 1.5, 0.6, 1.5),
    )
    assert (objective.gamma_low, objective.gamma_high, objective.target_decay) == (0.4, 0.6, 0.99)
    assert (objective.head_hidden, objective.projection) == (4_096, 256)
    assert (training.batch, training.epochs, training.learning_rate) == (256, 100, 1e-3)
    assert config.total_steps(200_000) == 78_125


def test_values_are_changed_one_by_one():
    changes = ["training.batch=32", "objective.lambda=1", "objective.mix_domain=power", "network.name='AudioNTT2020'"]
    config = read_config("small", changes)
    assert config.training.batch == 32
    assert config.training.steps == 500
    assert config.objective.lambda_ == 1.0
    assert config.objective.mix_domain == "power"
    assert config.network.name == "AudioNTT2020"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.batches=3", "unknown key 'batches' in [training]; did you mean batch?"),
        ("trainig.batch=3", "unknown table 'trainig'; did you mean training?"),
        ("objective.colour=3", "unknown key 'colour' in [objective]; there are: lambda, gamma_low"),
        ("training.batch=big", "training.batch is 'big'; it must be a whole number"),
        ("training.batch=2.5", "training.batch is 2.5; it must be a whole number"),
        ("training.batch=true", "training.batch is True; it must be a whole number"),
        ("training.compile=1", "training.compile is 1; it must be true or false"),
        ("training.learning_rate=nan", "training.learning_rate is nan; it must be above 0"),
        ("objective.lambda=1.5", "objective.lambda is 1.5; it must be from 0 to 1"),
        ("objective.lambda=nan", "objective.lambda is nan; it must be from 0 to 1"),
        ("objective.gamma_low=0.7", "both must be above 0 and below 1, the lower first"),
        ("objective.mix_domain=air", "objective.mix_domain is 'air'; it must be one of normalised, power"),
        ("training.precision=int8", "must be one of auto, float32, bf16"),
        ("training.accumulate=3", "training.batch is 256 in 3 parts; the parts must be equal"),
        ("training.accumulate=256", "of at least 2 clips"),
        ("training.steps=-1", "training.steps is -1; it must be at least 0"),
        ("network.name=ResNet", "must be one of AudioNTT2022, AudioNTT2020"),
        ("views.crop_low=0", "crops of 0.0 to 1.5"),
        ("views.canvas_time=inf", "canvas_time is inf"),
        ("front_end.n_mels=0", "n_mels is 0"),
        ("training.batch", "write TABLE.KEY=VALUE"),
        ("batch=3", "write TABLE.KEY=VALUE"),
    ],
)
def test_wrong_values_are_reported_in_one_line(change, message):
    with pytest.raises(InvalidInputError) as caught:
        read_config("paper", [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_are_named_in_messages(tmp_path):
    path = tmp_path / "mine.toml"
    for text, message in (
        ("[training]\nbatch = \n", "not TOML"),
        ("training = 3\n", "training is 3; it must be a table: write [training] above its keys"),
        ("[training]\nbatchh = 3\n", "unknown key 'batchh' in [training]; did you mean batch?"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInputError) as caught:
            read_config(str(path))
        assert str(caught.value).startswith(str(path))
        assert message in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="not a text in UTF-8"):
        read_config(str(path))
    for name in ("none", str(tmp_path / "none.toml"), str(tmp_path)):
        with pytest.raises(NotFoundError, match="give paper, small, smoke, or a .toml file that exists"):
            read_config(name)


@given(st.integers(2, 10**6), st.integers(1, 512))
def test_epochs_become_steps(clips, batch):
    config = read_config("paper", [f"training.batch={2 * batch}"])
    steps = config.total_steps(clips)
    assert steps == max(1, 100 * clips // (2 * batch))
    assert read_config("paper", ["training.steps=7"]).total_steps(clips) == 7


def test_crops_must_fill_a_transform():
    with pytest.raises(InvalidInputError, match=r"training.frames is 8, crops of 1120 samples; .* needs 2049 or more"):
        read_config("small", ["front_end.n_fft=4096", "training.frames=8"])


@pytest.mark.parametrize(
    "changes",
    [
        ("objective.gamma_low=0.7", "objective.gamma_high=0.8"),
        ("front_end.window=1024", "front_end.n_fft=1024"),
        ("training.accumulate=3", "training.batch=258"),
        ("views.crop_low=1.6", "views.crop_high=2.0"),
    ],
)
def test_values_that_make_sense_together_may_come_in_any_order(changes):
    assert read_config("paper", changes) == read_config("paper", changes[::-1])
