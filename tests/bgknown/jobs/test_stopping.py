"""Signals end commands: how soon they are acknowledged, with which line and status, and what is left."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bgknown.jobs import stopping
from tests.stopping import heard

PROGRAM = """
import hashlib, os, signal, sys, time
from pathlib import Path
import click
from bgknown.jobs import stopping
from bgknown.commands import Group

@click.group(cls=Group, resumable=['build'])
def main():
    pass

def ready():
    print("ready", flush=True)

def long_call():  # one call into C that gives the interpreter away, as torch's operations do
    ready()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)

@main.command()
def build():
{body}

main()
"""
SLEEP = "ready(); time.sleep(60)"
STEP = 'with stopping.finish_step_first("finishing", kept="the last one is kept"): long_call()'


class Command:
    """A command with one body, in a process of its own."""

    def __init__(self, body, **options):
        program = PROGRAM.format(body="".join(f"    {line}\n" for line in body.splitlines()))
        with heard(signal.SIGINT), heard(signal.SIGHUP):
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "build"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
            )
        assert self.process.stdout.readline() == b"ready\n"
        time.sleep(0.3)  # until it is within its long call

    def line(self, number):
        """Send a signal; the line that comes, and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.process.stderr.readline().decode().strip(), time.monotonic() - begun

    def end(self):
        """The exit status and what else was said."""
        with self.process:
            rest = self.process.stderr.read().decode()
            return self.process.wait(timeout=30), rest


KEPT = "interrupted; finished work is kept, and the same command resumes where it left off"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_one_line_and_its_own_status(number):
    command = Command(SLEEP)
    line, _ = command.line(number)
    assert line == KEPT
    assert command.end() == (128 + number, "")


def test_a_signal_that_was_ignored_stays_ignored():
    command = Command("ready(); time.sleep(1.5)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    command.process.send_signal(signal.SIGHUP)
    assert command.end() == (0, "")


def test_a_long_call_is_acknowledged_within_a_second_and_a_second_signal_ends_it():
    command = Command("long_call()")
    line, seconds = command.line(signal.SIGINT)
    assert line == "stopping, Ctrl-C again to stop now"
    assert seconds < 1.0
    line, seconds = command.line(signal.SIGINT)
    assert line == "interrupted"
    assert seconds < 1.0
    assert command.end() == (130, "")


def test_a_long_call_that_nobody_interrupts_again_is_ended_too():
    body = "stopping.END_AFTER_S = 0.5\nlong_call()"
    command = Command(body)
    command.line(signal.SIGTERM)
    assert command.end() == (143, "interrupted\n")


def test_a_step_is_acknowledged_at_once_and_a_second_signal_ends_it():
    command = Command(STEP)
    line, seconds = command.line(signal.SIGINT)
    assert line == "finishing"
    assert seconds < 1.0
    assert command.line(signal.SIGINT)[0] == "interrupted; the last one is kept"
    assert command.end()[0] == 130


def test_several_signals_of_one_request_let_a_step_finish():
    body = """with stopping.finish_step_first("finishing", kept="kept") as request:
    ready()
    for _ in range(20):
        time.sleep(0.05)
        if request.is_set():
            time.sleep(0.3)
            raise request.interruption()"""
    command = Command(body)
    assert command.line(signal.SIGHUP)[0] == "finishing"
    command.process.send_signal(signal.SIGTERM)
    assert command.end() == (129, f"{KEPT}\n")


def test_an_immediate_end_removes_what_was_registered(tmp_path):
    (tmp_path / "scratch").touch()
    body = f"with stopping.clean_up_when_stopped(Path({str(tmp_path / 'scratch')!r}).unlink): long_call()"
    command = Command(body)
    command.line(signal.SIGINT)
    command.line(signal.SIGINT)
    command.end()
    assert not (tmp_path / "scratch").exists()


def test_signals_of_a_forked_child_are_not_the_command_s():
    body = """child = os.fork()
if not child:
    time.sleep(60)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
assert os.WTERMSIG(status) == signal.SIGTERM
ready()
time.sleep(1)"""
    assert Command(body).end() == (0, "")


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.listen(), stopping.finish_step_first("x", kept="y"):
        assert [signal.getsignal(number) for number in stopping.SIGNALS] != before
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before


def test_outside_a_command_a_second_interrupt_is_an_exception(capfd):
    def interrupt_twice():
        with stopping.finish_step_first("finishing", kept="kept") as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert request.is_set()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

    with heard(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        interrupt_twice()
    assert capfd.readouterr().err == "finishing\n"
