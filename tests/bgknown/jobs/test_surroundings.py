"""Commands without a home, a name, an encoding or open streams; and where compiled code is kept."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from bgknown.errors import NotFoundError
from bgknown.jobs import stopping, surroundings
from bgknown.render.compiled import _Tolerant, compile_function

PROGRAM = """
import click
from bgknown.commands import Group

@click.group(cls=Group)
def main():
    pass

@main.command()
def show():
    print("50 \\u00b1 1 % \\u2264 \\udcff")
    click.echo("50 \\u00b1 1 % \\u2264 \\udcff")
    click.echo("error \\u00b1 \\udcff", err=True)

main()
"""


def show(redirection="", **environment):
    command = f"\"{sys.executable}\" -c '{PROGRAM}' show {redirection}"
    return subprocess.run(["sh", "-c", command], env={**os.environ, **environment}, capture_output=True, check=False)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-8"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb"},
    ],
)
def test_any_encoding_of_the_output_will_do(environment):
    done = show(**environment)
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    first = done.stdout.decode(encoding if encoding != "ascii" else "utf-8").splitlines()[0]
    assert first.startswith("50 ± 1 %" if encoding != "ascii" and "LC_ALL" not in environment else "50 \\xb1 1 %")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(redirection):
    done = show(redirection)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_closed_stream_s_number_is_not_given_to_a_file(tmp_path):
    code = (
        f"from bgknown.jobs import surroundings; surroundings.adapt(); import sys\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); sys.exit(file.fileno() < 3)"
    )
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" >&- 2>&-'], check=False)
    assert done.returncode == 0


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, without HOME."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "BGKNOWN_CACHE", "NUMBA_CACHE_DIR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that it is put back in the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("BGKNOWN_LENT_HOME", "")
    monkeypatch.delenv("BGKNOWN_LENT_HOME")
    monkeypatch.setattr(stopping, "_clean_ups", [])


def test_missing_home_is_one_line_with_the_ways_out(homeless, monkeypatch):
    with pytest.raises(NotFoundError, match="no home folder for the cache: give --cache DIR, or set BGKNOWN_CACHE=DIR"):
        surroundings.default_cache()
    monkeypatch.setenv("BGKNOWN_CACHE", "/somewhere")
    assert surroundings.default_cache() == Path("/somewhere")


def test_an_unknown_user_gets_a_name(homeless, monkeypatch):
    monkeypatch.setenv("LOGNAME", "")
    surroundings._name_user()
    import getpass  # noqa: PLC0415

    assert getpass.getuser() == f"user-{os.geteuid()}"


def test_compiled_code_follows_the_cache_folder(homeless, monkeypatch, tmp_path):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    folder = surroundings.prepare_libraries()
    assert folder == tmp_path / "cache" / f"numba-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)


def test_libraries_find_a_home_that_is_removed_in_the_end(homeless):
    surroundings.prepare_libraries()
    home = Path.home()
    assert home.is_dir()
    with pytest.raises(NotFoundError, match="BGKNOWN_CACHE"):  # it would be gone next time
        surroundings.default_cache()
    for clean_up in stopping._clean_ups:
        clean_up()
    assert not home.exists()


def test_numba_s_own_variable_is_respected(homeless, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert surroundings.prepare_libraries() == tmp_path


@pytest.mark.parametrize("planted", [False, True], ids=["no home", "others can write"])
def test_compiled_code_is_kept_nowhere_that_others_can_write(homeless, monkeypatch, tmp_path, planted):
    if planted:
        monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path))
        (tmp_path / f"numba-{os.geteuid()}").mkdir()
        (tmp_path / f"numba-{os.geteuid()}").chmod(0o777)
    folder = surroundings.prepare_libraries()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert tmp_path not in folder.parents or folder.name.startswith("bgknown-numba-")
    for clean_up in stopping._clean_ups:
        clean_up()
    assert not folder.exists()


def test_nothing_is_kept_where_nothing_can_be_written(homeless, monkeypatch):
    def refuse(**_):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(surroundings.tempfile, "mkdtemp", refuse)
    assert surroundings.prepare_libraries() is None
    monkeypatch.setattr("bgknown.render.compiled._KEPT", None)
    assert compile_function(double)(4) == 8


def double(number):
    return 2 * number


class Failing:
    """A cache on a failing disk."""

    def load_overload(self, signature, target):
        raise EOFError("Ran out of input")

    def save_overload(self, signature, code):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(30, "Read-only file system")


def test_a_damaged_or_full_cache_costs_a_compilation():
    loop = compile_function(double)
    loop._cache = _Tolerant(Failing())
    assert loop(21) == 42
