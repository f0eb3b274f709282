"""Holes: a client may punch its request region, and whoever touches a hole next is charged for the
page. The sidecar reads with plain loads, so it may be the one. It must not be killed for that.

NACELLE_HOSTILE_PUNCHES=1000 instead of 20. Needs a memory controller of cgroup v1 to write to.
"""

import ctypes
import mmap
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTROLLER = Path("/sys/fs/cgroup/memory")
MIB = 1 << 20
ARENA = 16 * MIB
CONNECTIONS = 2
PUNCHES = int(os.environ.get("NACELLE_HOSTILE_PUNCHES", "20"))
PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
LIBC = ctypes.CDLL(None, use_errno=True)


class Group:
    """A memory cgroup for one process."""

    def __init__(self):
        try:
            self.path = Path(tempfile.mkdtemp(prefix="nacelle-test-", dir=CONTROLLER))
        except OSError as error:
            pytest.skip(f"no cgroup v1 memory group can be made: {error.strerror}")
        if not (self.path / "memory.limit_in_bytes").exists():
            self.remove()
            pytest.skip(f"{CONTROLLER} is no cgroup v1 memory controller")

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def number(self, name):
        return int((self.path / f"memory.{name}").read_text())

    def remove(self):
        for _ in range(100):  # the last process may still be on its way out
            try:
                return self.path.rmdir()
            except OSError:
                time.sleep(0.01)


class Client:
    """A raw client: docs/formats/shm.md, in Python."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        self.socket.send(struct.pack("<IHHQ16x64s", 0x484C434E, 1, 0, 0, b"puncher"))
        message, fds, _, _ = socket.recv_fds(self.socket, 320, 3)
        code, a_size, b_size = struct.unpack_from("<H6xQQ", message, 16)
        assert code == 0, message[64:].rstrip(b"\0").decode()
        self.fd, reply_fd, self.doorbell = fds
        self.fds = fds
        self.size = a_size
        self.a = mmap.mmap(self.fd, a_size)
        self.b = mmap.mmap(reply_fd, b_size, prot=mmap.PROT_READ)
        (self.arena,) = struct.unpack_from("<I", self.b, 52)
        self.generation = 0

    def close(self):
        self.a.close()
        self.b.close()
        self.socket.close()
        for fd in self.fds:
            os.close(fd)

    def punch(self):
        result = LIBC.fallocate(self.fd, PUNCH, ctypes.c_long(0), ctypes.c_long(self.size))
        assert result == 0, os.strerror(ctypes.get_errno())

    def ping_the_arena(self):
        """Has the sidecar read the whole arena. After a punch nothing was there: all is said anew."""
        # The slot's generation went with its page; the sidecar must not see it fall back while the
        # request is made: it looks at slots below slots_used only.
        self.generation += 1
        struct.pack_into("<HHIIIII", self.a, 128 + 8, 0, 0, 0, 0, ARENA, 0, 0)
        struct.pack_into("<Q", self.a, 128 + 48, self.generation - 1)  # released
        struct.pack_into("<Q", self.a, 128, self.generation)
        struct.pack_into("<I", self.a, 0, 1)
        os.write(self.doorbell, struct.pack("<Q", 1))
        stop = time.monotonic() + 20
        while struct.unpack_from("<Q", self.b, 256)[0] != self.generation:
            assert not select.select([self.socket], [], [], 0)[0], "the sidecar hung up"
            assert time.monotonic() < stop
        code, items, size = struct.unpack_from("<HxxII", self.b, 256 + 8)
        assert (code, size) == (0, ARENA)


@pytest.fixture
def group():
    group = Group()
    yield group
    group.remove()


def start(group, folder):
    """nacelled, in the group from its first page on; returns it once it serves."""
    if "NACELLE_BUILD" not in os.environ:
        pytest.skip("NACELLE_BUILD names no build: these tests run nacelled")
    config = folder / "nacelle.yaml"
    config.write_text(
        f"socket: {folder}/s\ncontrol: {{socket: {folder}/c}}\n"
        f"services: {{sentiment: {ROOT}/tests/data/nsmc-bert-ko}}\n"
        f"transport: {{connections_max: {CONNECTIONS}, request_arena_bytes: {ARENA},"
        f" reply_arena_bytes: {ARENA}, slots: 8}}\n"
    )
    process = subprocess.Popen(
        [Path(os.environ["NACELLE_BUILD"]) / "bin" / "nacelled", f"--config={config}"],
        preexec_fn=group.enter,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if '"serving"' in line or " serving" in line:
            return process
    raise AssertionError("nacelled did not start")


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    return process.returncode


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="nacelle-test-"))
    yield path
    shutil.rmtree(path)


def test_holes_do_not_get_the_sidecar_killed(group, folder):
    # What it needs by itself, and what it admits: its budget.
    process = start(group, folder)
    regions = CONNECTIONS * 2 * (ARENA + 64 * 1024)
    budget = group.number("usage_in_bytes") + regions
    limit = budget + 16 * MIB
    (group.path / "memory.limit_in_bytes").write_text(str(limit))

    clients = [Client(folder / "s") for _ in range(CONNECTIONS)]
    for client in clients:
        client.ping_the_arena()
    filled = group.number("usage_in_bytes")
    assert filled > regions, "regions are charged to the sidecar at connect"

    for _ in range(PUNCHES):
        for client in clients:
            before = group.number("usage_in_bytes")
            client.punch()
            punched = group.number("usage_in_bytes")
            client.ping_the_arena()
            read = group.number("usage_in_bytes")
            # A read of a hole allocates the page, and the reader pays: what was punched comes back,
            # and never more than that.
            assert before - punched > ARENA - 2 * MIB
            assert abs(read - before) < 2 * MIB
            assert read < limit
    assert group.number("max_usage_in_bytes") <= budget + 8 * MIB
    assert process.poll() is None
    assert group.number("failcnt") == 0, "the limit was never even met"
    for client in clients:
        client.close()
    assert stop(process) == 0


def test_the_check_would_see_a_sidecar_that_is_killed(group, folder):
    process = start(group, folder)
    limit = group.number("usage_in_bytes") + ARENA // 2  # less than one client's regions
    (group.path / "memory.limit_in_bytes").write_text(str(limit))
    with pytest.raises((AssertionError, OSError, struct.error, ValueError)):
        client = Client(folder / "s")
        client.punch()
        client.ping_the_arena()
    assert group.number("failcnt") > 0
    process.kill()
    process.communicate()
