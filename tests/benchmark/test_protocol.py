import dataclasses
from types import SimpleNamespace

import pytest

from benchmark.composed_retrieval import ComposedSettings
from benchmark.protocol import (
    CHOICES,
    PROTOCOLS,
    Protocol,
    choose_protocols,
    name_in_results,
    name_when_measured,
    open_protocol,
)
from benchmark.run import _list_protocols
from benchmark.tasks.locations import parse_locations
from bgknown.errors import InvalidInputError, NotFoundError


def test_paper_is_the_default_protocol():
    assert open_protocol("paper") == Protocol()
    assert (Protocol().batch_size, Protocol().max_epochs, Protocol().patience, Protocol().seeds) == (256, 200, 20, 3)


def test_file_changes_some_settings_and_the_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("lr = 1\nmax_epochs = 50\n")
    protocol = open_protocol(str(path))
    assert (protocol.lr, protocol.max_epochs, protocol.patience) == (1.0, 50, 20)
    path.write_text("max_epochs = 50\nlr = 1.0\n")
    assert open_protocol(str(path)).name == protocol.name
    path.write_text("lr = 2.0\nmax_epochs = 50\n")
    assert open_protocol(str(path)).name.startswith("mine-")
    assert open_protocol(str(path)).name != protocol.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = ", "not TOML"),
        ("patiense = 3", "unknown key 'patiense'; did you mean patience"),
        ("name = 'x'", "unknown key 'name'"),
        ("patience = 3.5", "patience is 3.5; it must be a whole number"),
        ("lr = 'fast'", "lr is 'fast'; it must be a number"),
        ("seeds = true", "seeds is True"),
        ("seeds = 0", "seeds is 0; it must be at least 1"),
        ("stop_on = 'f1'", "stop_on is 'f1'; it must be one of loss, accuracy"),
        ("ties = 1", "ties is 1; it must be"),
        ("weight_decay = -1e-8", "weight_decay is -1e-08; it must not be negative"),
        ("weight_decay = inf", "weight_decay is inf"),
        ("loss_mean = 'classes'", "loss_mean is 'classes'; it must be one of clips, clips and classes"),
        ("standardise_on = 'test'", "standardise_on is 'test'; it must be one of train, train and held-out"),
        ("validation_draw = ''", "validation_draw is ''; it must be one of stratified, random"),
    ],
)
def test_invalid_file_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_unknown_protocol_is_one_line():
    with pytest.raises(NotFoundError, match="no protocol 'papr'; did you mean paper"):
        open_protocol("papr")


def test_data_is_found_by_name_in_a_folder_or_as_a_folder(tmp_path, monkeypatch):
    for name in ("bgknown", "esc50", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("BGKNOWN_DATA", raising=False)
    general = parse_locations([str(tmp_path)])
    assert general.of("bgknown") == tmp_path / "bgknown"
    assert general.of("gtzan") == tmp_path
    assert general.known(["esc50", "gtzan"]) == {"esc50": tmp_path / "esc50"}
    named = parse_locations([str(tmp_path), f"bgknown={tmp_path / 'elsewhere'}"])
    assert named.of("bgknown") == tmp_path / "elsewhere"
    with pytest.raises(NotFoundError, match="give --data DIR or --data bgknown=DIR, or set BGKNOWN_DATA"):
        parse_locations([]).of("bgknown")
    monkeypatch.setenv("BGKNOWN_DATA", str(tmp_path))
    assert parse_locations([]).of("bgknown") == tmp_path / "bgknown"
    assert parse_locations([f"esc50={tmp_path / 'elsewhere'}"]).known(["esc50"]) == {"esc50": tmp_path / "elsewhere"}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["nowhere"], NotFoundError, "nowhere: no such folder"),
        (["bgknown=nowhere"], NotFoundError, "nowhere: no such folder"),
        ([""], InvalidInputError, "--data is ''"),
        (["=."], InvalidInputError, "--data is '=.'"),
        ([".", ".."], InvalidInputError, "names two folders"),
        (["x=.", "x=.."], InvalidInputError, "gives x twice"),
    ],
)
def test_invalid_data_is_one_line(given, error, message):
    with pytest.raises(error, match=message):
        parse_locations(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = 0", "lr is 0.0; it must be above 0"),
        ("lr = -1.0", "lr is -1.0"),
        ("lr = nan", "lr is nan"),
        ("max_epochs = 0", "max_epochs is 0; it must be at least 1"),
        ("patience = 0", "patience is 0"),
        ("batch_size = 0", "batch_size is 0"),
        ("validation_share = 1.0", "validation_share is 1.0; it must be between 0 and 1"),
    ],
)
def test_settings_that_cannot_train_are_refused(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_file_sets_retrieval_and_rates_to_choose_from(tmp_path):
    (tmp_path / "mine.toml").write_text("rates = [1e-4, 1e-3]\n[retrieval]\nepochs = 20\ndropout = 0\n")
    found = open_protocol(str(tmp_path / "mine.toml"))
    assert found.rates == (1e-4, 1e-3)
    assert found.retrieval == ComposedSettings(epochs=20, dropout=0.0)
    assert found.name.startswith("mine-")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[retrieval]\nepoch = 3", r"unknown key 'epoch' in \[retrieval\]; did you mean epochs"),
        ("[retrieval]\nepochs = 1.5", "retrieval.epochs is 1.5; it must be a whole number"),
        ("retrieval = 3", "retrieval is 3; it must be a table"),
        ("rates = 1e-3", "rates is 0.001; it must be a list of numbers"),
        ("rates = [1e-3, 1e-3]", "each must be given once"),
        ("rates = [1e-3]\nlr = 1e-3", "lr and rates are both given"),
        ("rates = [-1.0]", "lr is -1.0; it must be above 0"),
    ],
)
def test_invalid_rates_and_retrieval_are_one_line(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_nine_tasks_use_evar_unless_another_protocol_is_given():
    assert [protocol.name for protocol in choose_protocols(("linear", "paper"), ())] == ["linear", "paper"]
    assert choose_protocols(("evar",), [open_protocol("search")]) == [open_protocol("search")]


def test_evar_is_the_probe_of_evar_s_program():
    found = open_protocol("evar")
    assert (found.batch_size, found.max_epochs, found.patience, found.weight_decay) == (200, 200, 20, 1e-8)
    assert (found.stop_on, found.ties, found.loss_mean) == ("accuracy", "last", "clips and classes")
    assert (found.standardise_on, found.validation_draw, found.validation_share) == (
        "train and held-out",
        "random",
        0.1,
    )
    assert found.lr is None


def test_file_can_restate_evar(tmp_path):
    lines = [f"{name} = {getattr(PROTOCOLS['evar'], name)!r}" for name in (*CHOICES, "batch_size", "weight_decay")]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    found = open_protocol(str(tmp_path / "mine.toml"))
    assert dataclasses.replace(found, name="evar") == PROTOCOLS["evar"]
    assert found.name.startswith("mine-")


def test_rows_of_the_earlier_evar_have_another_name():
    assert name_in_results("evar", "0.1.0") == "evar of 0.1.0"
    assert name_in_results("evar, seeds 1, limit 20", "0.1.0") == "evar of 0.1.0, seeds 1, limit 20"
    assert name_in_results("evar of 0.1.0", "0.1.0") == "evar of 0.1.0"
    for protocol, version in (("evar", "0.2.0"), ("evar", ""), ("paper", "0.1.0"), ("evar-1a2b3c", "0.1.0")):
        assert name_in_results(protocol, version) == protocol
    assert name_when_measured("evar of 0.1.0, seeds 1") == "evar, seeds 1"
    assert name_when_measured("paper, seeds 1") == "paper, seeds 1"


def test_options_change_protocols_and_mark_their_names():
    options = SimpleNamespace(protocols=(), seeds=2, retrieval_patience=30)
    facts = SimpleNamespace(protocols=("paper",))
    (paired,) = _list_protocols(options, SimpleNamespace(facts=facts, text_encoder="words"))
    assert paired.name == "paper, seeds 2, retrieval patience 30"
    assert (paired.seeds, paired.retrieval) == (2, ComposedSettings(patience=30))
    (other,) = _list_protocols(options, SimpleNamespace(facts=facts, text_encoder=None))
    assert (other.name, other.retrieval) == ("paper, seeds 2", ComposedSettings())
