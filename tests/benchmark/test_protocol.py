import pytest

from benchmark.composed_retrieval import ComposedSettings
from benchmark.protocol import Protocol, choose_protocol, open_protocol
from benchmark.tasks.locations import parse_locations
from bgknown.errors import InvalidInputError, NotFoundError


def test_the_paper_s_protocol_is_the_default():
    assert open_protocol("paper") == Protocol()
    assert (Protocol().batch_size, Protocol().max_epochs, Protocol().patience, Protocol().seeds) == (256, 200, 20, 3)


def test_a_file_changes_some_settings_and_the_name_tells(tmp_path):
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
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_an_unknown_protocol_is_one_line():
    with pytest.raises(NotFoundError, match="no protocol 'papr'; did you mean paper"):
        open_protocol("papr")


def test_data_is_found_by_name_below_or_as_such(tmp_path, monkeypatch):
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
def test_wrong_data_is_one_line(given, error, message):
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
        ("validation_share = 1.0", "validation_share is 1.0; it must lie between 0 and 1"),
    ],
)
def test_settings_that_train_nothing_are_refused_at_once(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_a_file_may_say_how_retrieval_is_trained_and_which_rates_to_choose_from(tmp_path):
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
        ("rates = [1e-3, 1e-3]", "each must stand there once"),
        ("rates = [1e-3]\nlr = 1e-3", "lr and rates are both given"),
        ("rates = [-1.0]", "lr is -1.0; it must be above 0"),
    ],
)
def test_wrong_rates_and_retrieval_are_one_line(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_protocol(str(tmp_path / "mine.toml"))


def test_the_nine_tasks_take_evar_for_the_paper():
    assert choose_protocol("evar", None).name == "evar"
    assert choose_protocol("evar", open_protocol("paper")).name == "evar"
    assert choose_protocol("evar", open_protocol("search")).name == "search"
    assert choose_protocol("paper", None) == open_protocol("paper")
