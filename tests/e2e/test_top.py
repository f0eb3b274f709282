"""nacellectl top on a terminal, in a pipe, and beside a sidecar that stops."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import nacelle
import pytest

PATIENCE_S = 30


class Terminal:
    """A program on a pseudo terminal, with what its screen would show."""

    def __init__(self, nacelled, *arguments, columns=120, rows=40):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [nacelled.ctl_program, f"--socket={nacelled.control}", *arguments],
            stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=nacelled.environment(),
            start_new_session=True,
        )
        self.bytes = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, wanted):
        """Reads on until `wanted` (a function of all that came) is true."""
        end = time.monotonic() + PATIENCE_S
        while not wanted(self.bytes):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"it did not come: {self.bytes[-2000:]!r}"
            self.bytes += os.read(self.master, 65536)

    def frames(self):
        """What was drawn, screen by screen, without the escape codes."""
        frames = self.bytes.split(b"\x1b[H")[1:]
        return [re.sub(rb"\x1b\[[?0-9]*[A-Za-z]", b"", frame).decode() for frame in frames]

    def finish(self):
        status = self.process.wait(timeout=PATIENCE_S)
        while select.select([self.master], [], [], 0)[0]:
            self.bytes += os.read(self.master, 65536)
        return status


@pytest.fixture
def busy(nacelled):
    """A sidecar with a client that asks all the time."""
    nacelled.start()
    done = threading.Event()

    def ask():
        with nacelle.connect(str(nacelled.socket), name="asker-한글") as engine:
            while not done.is_set():
                engine.classify("sentiment", ["하나", "둘", "셋"])

    thread = threading.Thread(target=ask)
    thread.start()
    yield nacelled
    done.set()
    thread.join()


def test_a_terminal_shows_it_live_and_is_given_back(busy):
    terminal = Terminal(busy, "top", "--interval=500")
    terminal.read_until(lambda seen: seen.count(b"\x1b[H") >= 3 and b"asker" in seen)
    frame = terminal.frames()[1]
    assert "nacelled serving" in frame and "sentiment" in frame and "asker" in frame
    assert re.search(r"requests/s +[1-9]", frame)
    os.write(terminal.master, b"q")
    assert terminal.finish() == 0
    assert terminal.bytes.startswith(b"\x1b[?1049h") and terminal.bytes.endswith(b"\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_new_size_is_drawn_at_once(busy):
    terminal = Terminal(busy, "top", "--interval=3600000", columns=120, rows=40)
    terminal.read_until(lambda seen: b"asker" in seen)
    terminal.resize(30, 10)
    os.killpg(terminal.process.pid, signal.SIGWINCH)
    terminal.read_until(lambda seen: b"more lines" in seen)
    frame = terminal.frames()[-1]
    lines = frame.replace("\r", "").split("\n")
    assert len(lines) <= 10 and max(map(len, lines)) <= 30
    os.write(terminal.master, b"\x03")
    assert terminal.finish() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(busy, number):
    terminal = Terminal(busy, "top")
    terminal.read_until(lambda seen: b"sentiment" in seen)
    terminal.process.send_signal(number)
    assert terminal.finish() == 0
    assert terminal.bytes.endswith(b"\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_without_a_terminal_it_prints_readings(busy):
    done = busy.ctl("top", "--once")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^nacelled serving", done.stdout)
    two = busy.ctl("top", "-n", "2", "--interval=500")
    assert two.stdout.count("nacelled serving") == 2


def test_json_is_a_reading_a_line(busy):
    done = busy.ctl("--json", "top", "--count=2", "--interval=500")
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert second["requests"] > first["requests"] > 0
    assert second["requests_per_s"] > 0
    assert 0 < second["busy_percent"] <= 110  # a batch counts when it ends
    stages = second["services"][0]["stages"]
    assert stages["request"]["count"] > 0
    whole, compute = stages["request"], stages["compute"]
    assert whole["p99_ns"] >= whole["p50_ns"] >= compute["p50_ns"] / 2
    assert [c["name"][:5] for c in second["clients"] if c["requests"]] == ["asker"]


def test_a_reader_that_leaves_ends_it(busy):
    top = subprocess.Popen(
        [busy.ctl_program, f"--socket={busy.control}", "--json", "top", "--interval=500"],
        stdout=subprocess.PIPE, env=busy.environment(),
    )
    assert json.loads(top.stdout.readline())
    top.stdout.close()
    assert top.wait(timeout=PATIENCE_S) in (0, 1, -signal.SIGPIPE)


def test_a_sidecar_that_stops_ends_it(nacelled):
    nacelled.start()
    terminal = Terminal(nacelled, "top", "--interval=500")
    terminal.read_until(lambda seen: b"sentiment" in seen)
    assert nacelled.stop() == 0
    assert terminal.finish() in (1, 3)
    assert terminal.bytes.endswith(b"\x1b[?1049l")
    assert b"sidecar" in terminal.process.stderr.read()


@pytest.mark.parametrize("option", ["--interval=10", "--interval=x", "--count=0", "-n", "--last=3"])
def test_bad_options_are_refused(nacelled, option):
    nacelled.start()
    done = nacelled.ctl("top", "--once", option)
    assert done.returncode in (1, 2) and done.stderr and not done.stdout
