import shutil

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main as benchmark
from bgknown.cli import main
from pretrain.cli import main as pretrain


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def commands(group, name):
    yield name, group
    for child, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {child}")


ALL = [*commands(main, "bgknown"), *commands(benchmark, "benchmark"), *commands(pretrain, "pretrain")]


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_help_ends_in_an_example_and_explains_every_option(name, command):
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert f"Example:\n    {name.split()[0]} " in result.output.split("Options:")[-1]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize(
    "name", ["--cache", "--jobs", "--device", "--skip-broken", "--format", "--trust-code", "--name"]
)
def test_an_option_of_several_commands_has_one_help_text(name):
    own = {  # other things
        "--name": {"bgknown apwd draw", "bgknown plan", "bgknown build"},
        "--format": {"benchmark leaderboard", "bgknown export", "benchmark plot", "pretrain plot"},
    }.get(name, set())
    options = [option for place, command in ALL if place not in own for option in command.params if name in option.opts]
    assert len(options) > 1
    assert len({option.help for option in options}) == 1


def test_plan_build_and_verify(tiny, tmp_path):
    recipe, out = tmp_path / "deep" / "recipe.csv", tmp_path / "out"
    planned = run("plan", *tiny.arguments(), "--seed", 3, "--snr", 1, 2, "--out", recipe)
    assert "train      6        2            4" in planned.output
    table = pd.read_csv(recipe)
    assert table["snr_db"].between(1, 2).all()
    build = run("build", *tiny.arguments(), "--recipe", recipe, "--out", out, "--jobs", 1)
    assert "10 rendered, 0 kept" in build.output
    assert pd.read_csv(out / "manifest.csv")[list(table.columns)].equals(table)
    assert "ok: 10 clips, 50 files" in run("verify", out, "--jobs", 1).output
    again = run("build", *tiny.arguments(), "--recipe", recipe, "--out", out)
    assert "nothing was done" in again.output


def test_plan_draws_what_build_draws(tiny, tmp_path):
    run("plan", *tiny.arguments(), "--out", tmp_path / "recipe.csv")
    run("build", *tiny.arguments(), "--out", tmp_path / "out", "--jobs", 1)
    assert (tmp_path / "recipe.csv").read_bytes() == (tmp_path / "out" / "recipe.csv").read_bytes()


def test_a_dry_run_says_what_it_would_do(tiny, tmp_path):
    result = run("build", *tiny.arguments(), "--out", tmp_path / "out", "--dry-run")
    assert "would write about 0.02 GB" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["build", "--esc50", "nowhere", "--fsd50k", "nowhere", "--out", "o"],
            "nowhere: no such folder; give the folder",
        ),
        (["verify", "nowhere"], "nowhere: no dataset"),
        (["verify", "nowhere", "--jobs", "0"], "nowhere: no dataset"),
        (["build", "--out", "o", "--esc50", "x", "--fsd50k", "x", "--jobs", "0"], "jobs is 0; it must be at least 1"),
        (["build", "--out", "o", "--esc50", "x", "--fsd50k", "x", "--snr", "3", "0"], "the SNR range is 3 to 0 dB"),
        (["build", "--out", "o", "--esc50", "x", "--fsd50k", "x", "--limit", "0"], "the limit is 0"),
    ],
)
def test_errors_are_reported_in_one_line(arguments, message):
    result = run(*arguments, status=1)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--out", "o"], "give --esc50 and --fsd50k, or --miniature"),
        (["build", "--out", "o", "--miniature", "--esc50", "x"], "--miniature replaces"),
        (["build", "--out", "o", "--miniature", "--recipe", "r", "--seed", "1"], "set up a draw"),
        (["build", "--miniature"], "Missing option '--out'"),
    ],
)
def test_wrong_usage_is_explained(arguments, message):
    assert message in run(*arguments, status=2).stderr


def test_broken_inputs_are_listed_and_verify_fails(tiny, tmp_path):
    tiny.clip("1-100-A-0").unlink()
    result = run("build", *tiny.arguments(), "--out", tmp_path / "out", "--jobs", 1, status=1)
    assert "  1-100-A-0: missing: ESC-50 audio/1-100-A-0.wav: no such file\n" in result.stderr
    assert "its build is not finished" in run("verify", tmp_path / "out", status=1).stderr
    run("build", *tiny.arguments(), "--out", tmp_path / "out", "--jobs", 1, "--skip-broken")
    assert "ok: 9 clips" in run("verify", tmp_path / "out", "--jobs", 1).output
    (tmp_path / "out" / "jams" / "1-101-A-1.jams").unlink()
    result = run("verify", tmp_path / "out", "--jobs", 1, status=1)
    assert result.stdout == "jams/1-101-A-1.jams: No such file or directory\n"
    assert "1 fault" in result.stderr


def test_plan_lists_broken_recordings_and_writes_nothing(tiny, tmp_path):
    tiny.recording("dev", 7001).write_bytes(b"")
    result = run("plan", *tiny.arguments(), "--out", tmp_path / "recipe.csv", status=1)
    assert "FSD50K.dev_audio/7001.wav: unreadable" in result.stderr
    assert not (tmp_path / "recipe.csv").exists()
    run("plan", *tiny.arguments(), "--out", tmp_path / "recipe.csv", "--skip-broken")
    assert "7001" not in (tmp_path / "recipe.csv").read_text()


def test_plan_writes_over_recipes_only(tiny, tmp_path):
    run("plan", *tiny.arguments(), "--out", tmp_path / "recipe.csv")
    run("plan", *tiny.arguments(), "--out", tmp_path / "recipe.csv", "--seed", 1)
    table = tiny.esc50 / "meta" / "esc50.csv"
    before = table.read_bytes()
    result = run("plan", *tiny.arguments(), "--out", table, status=1)
    assert "already exists and is not a recipe" in result.stderr
    assert table.read_bytes() == before
    run("build", *tiny.arguments(), "--out", tmp_path / "out", "--jobs", 1)
    for name in ("manifest.csv", "recipe.csv"):
        result = run("plan", *tiny.arguments(), "--out", tmp_path / "out" / name, status=1)
        assert "is in a dataset" in result.stderr
    shutil.copy(tmp_path / "out" / "manifest.csv", tmp_path / "mine.csv")
    assert "is not a recipe" in run("plan", *tiny.arguments(), "--out", tmp_path / "mine.csv", status=1).stderr
    assert "the recipe needs a file name" in run("plan", *tiny.arguments(), "--out", "", status=1).stderr


def test_the_report_distinguishes_what_was_done(tiny, tmp_path):
    tiny.clip("1-100-A-0").unlink()
    build = ("build", *tiny.arguments(), "--out", tmp_path / "out", "--jobs", 1)
    run(*build, status=1)
    skipping = run(*build, "--skip-broken")
    assert "0 rendered, 9 kept" in skipping.output
    assert "1 broken inputs skipped" in skipping.output
    again = run(*build)
    assert "was already complete; nothing was done" in again.output
    assert "1 broken inputs skipped" in again.output


def test_the_cache_is_shown_and_cleared(tiny):
    cache = tiny.root / "cache"
    tiny.open()
    assert run("cache", "--cache", cache).output.strip() == str(cache)
    assert "MB deleted" in run("cache", "--cache", cache, "--clear").output
    assert list(cache.iterdir()) == []
