"""The ways of asking that bench/transport.py compares: their servers, and clients of those.

A server whose client is not being timed is stopped (SIGSTOP): one that spins would take its CPU
from the others.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from processes import BUILD, Answering, Failed, Process, cpu_ns, end, pin, start_sidecar

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {"sentiment": ROOT / "tests/data/nsmc-bert-ko"}  # nacelled wants one; it is not asked
# Idle clients' memory is of no interest here.
# The ring holds four of the largest pieces that are measured.
SIDECAR_OPTIONS = ["--transport.connections_max=128", "--transport.stream_ring_bytes=262144"]


class Way(NamedTuple):
    key: str  # as in the C++ programs
    name: str  # for people
    program: str
    spins: bool  # without end: useless when both sides share a CPU
    many: bool  # serves any number of clients


WAYS = {way.key: way for way in (
    Way("nacelle", "Nacelle", "nacelle", False, True),
    Way("ring", "unchecked ring", "plain", True, False),
    Way("iceoryx", "iceoryx, polling", "iceoryx", True, False),
    Way("spinning_socket", "Unix socket, spinning", "plain", True, False),
    Way("futex", "bare futex", "plain", False, False),
    Way("pipe", "pipe", "plain", False, False),
    Way("socket", "Unix socket", "plain", False, True),
    Way("message_queue", "Boost message_queue", "plain", False, False),
    Way("redis", "Redis GET, Unix socket", "redis", False, True),
    Way("http_unix", "cpp-httplib, Unix socket", "http", False, True),
    Way("http_tcp", "cpp-httplib, TCP", "http", False, True),
    Way("grpc_blocking", "gRPC, Unix socket", "grpc", False, True),
    Way("grpc_queue", "gRPC, completion queue", "grpc", False, True),
)}

# Why a program that is not there is missing.
PACKAGES = {"iceoryx": "libiceoryx-posh-dev and iceoryx", "redis": "libhiredis-dev",
            "http": "libcpp-httplib-dev", "grpc": "libgrpc++-dev and protobuf-compiler-grpc"}


def program(way):
    return BUILD / f"bin/transport_{way.program}"


def absent(way):
    """Why this way cannot take part; "" when it can."""
    if not program(way).exists():
        return f"not built: {PACKAGES.get(way.program, 'its library')} was not found"
    daemon = {"redis": "redis-server", "iceoryx": "iox-roudi"}.get(way.key)
    if daemon and not shutil.which(daemon):
        return f"{daemon} is not installed"
    return ""


class Server:
    """The serving side of a way, with everything it needs to run.

    cpus    CPUs that it may use from its start on
    before  runs in the new process, before the program
    """

    def __init__(self, stack, way, folder, cpus, before=None):
        self.way = way
        self.folder = folder
        self.before = before
        self.cpus = cpus
        folder.mkdir()
        self.helpers = []
        getattr(self, f"start_{way.key}", self.start_own)(stack)

    def limit(self):
        os.sched_setaffinity(0, self.cpus)
        if self.before:
            self.before()

    def start_own(self, stack):
        server = Process(stack, f"{self.way.name}'s server",
                         [program(self.way), "serve", self.way.key, self.folder],
                         before=self.limit)
        stack.callback(end, server.process, 5)
        word, _, self.at = server.receive().partition(" ")
        if word != "ready":
            raise Failed(f"{self.way.name}: the server said {word!r}")
        self.pid = server.pid

    def start_nacelle(self, stack):
        sidecar, self.at = start_sidecar(stack, self.folder, SERVICES, SIDECAR_OPTIONS,
                                         before=self.limit)
        self.pid = sidecar.pid

    def start_redis(self, stack):
        self.at = self.folder / "socket"
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.at, "--save", "",
             "--appendonly", "no", "--dir", self.folder, "--loglevel", "warning"],
            stdout=subprocess.DEVNULL, preexec_fn=self.limit)
        stack.callback(end, server, 10)
        self.pid = server.pid
        for _ in range(500):
            if self.at.exists():
                return
            time.sleep(0.01)
        raise Failed("redis-server does not listen")

    def start_iceoryx(self, stack):
        daemon = subprocess.Popen(["iox-roudi", "--monitoring-mode", "off", "--log-level", "fatal"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stack.callback(end, daemon, 10)
        for line in daemon.stdout:
            if "ready" in line:
                break
        else:
            raise Failed("iox-roudi ended at once: does another one run?")
        self.start_own(stack)

    def client(self, stack, cpus, before=None):
        def limit():
            os.sched_setaffinity(0, cpus)
            if before:
                before()

        return Answering(stack, f"{self.way.name}'s client",
                         [program(self.way), "call", self.way.key, self.at], before=limit)

    def pin(self, cpus):
        pin(self.pid, cpus)

    def stop(self):
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def cpu_ns(self):
        return cpu_ns(self.pid)
