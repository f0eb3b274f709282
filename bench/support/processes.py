"""The processes that a benchmark written in Python starts, talks to, pins and measures."""

import os
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("NACELLE_BUILD", ROOT / "build/release"))
CGROUPS = Path("/sys/fs/cgroup")


class Failed(Exception):
    """The benchmark cannot go on; the message says why."""


def end(process, seconds):
    """Asks it to end, and waits so long before it is killed."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Process:
    """A program that answers each line it reads with a line."""

    def __init__(self, stack, name, command, before=None):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding="utf-8", preexec_fn=before)
        self.pid = self.process.pid
        stack.callback(self.stop)

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended; its own words are above")
        return line.rstrip("\n")

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Answering(Process):
    """One that begins its lines with "ok", or with "error" and the reason."""

    def answer(self):
        status, _, rest = self.receive().partition(" ")
        if status != "ok":
            raise Failed(f"{self.name}: {rest}")
        return rest

    def ask(self, *words):
        self.send(" ".join(map(str, words)))
        return self.answer()


def start_sidecar(stack, folder, services, options=(), before=None):
    """nacelled with a configuration of its own: the process and its clients' socket. A service is a
    model's folder, or a map with `model` and what else it is given."""
    folder.mkdir(exist_ok=True)
    socket = folder / "nacelle.sock"
    lines = [f"socket: {socket}", "control:", f"  socket: {folder}/control.sock", "log:",
             "  level: warn", "services:"]
    for name, model in services.items():
        keys = model if isinstance(model, dict) else {"model": model}
        lines.append(f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}")
    (folder / "nacelle.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("NACELLE_")}
    sidecar = subprocess.Popen(
        [BUILD / "bin/nacelled", f"--config={folder}/nacelle.yaml", *options], env=environment,
        preexec_fn=before)
    stack.callback(end, sidecar, 20)
    return sidecar, socket


def pin(pid, cpus):
    """Every thread of a process that runs already."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cpus)


def cpu_ns(pid):
    """CPU time that a process has used, threads that ended included."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # its clock: clock_getcpuclockid(3)


class CpuQuota:
    """A control group that may use one CPU's worth of time in each 100 ms, version 1 or 2."""

    PERIOD_US = 100_000

    def __init__(self, stack):
        self.version = 2 if (CGROUPS / "cgroup.controllers").exists() else 1
        root = CGROUPS if self.version == 2 else CGROUPS / "cpu"
        self.folder = root / f"nacelle-bench-{os.getpid()}"
        try:
            self.folder.mkdir()
            stack.callback(self.remove)
            if self.version == 2:
                (self.folder / "cpu.max").write_text(f"{self.PERIOD_US} {self.PERIOD_US}")
            else:
                (self.folder / "cpu.cfs_period_us").write_text(str(self.PERIOD_US))
                (self.folder / "cpu.cfs_quota_us").write_text(str(self.PERIOD_US))
        except OSError as error:
            raise Failed(f"no control group with a CPU quota can be made here: {error}") from error

    def join(self, pid=0):
        """A process and what it starts later; 0 is the caller."""
        (self.folder / "cgroup.procs").write_text(str(pid or os.getpid()))

    def throttled(self):
        """(periods in which the group had to stop, seconds that it stood still)"""
        values = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        seconds = (int(values["throttled_usec"]) / 1e6 if self.version == 2
                   else int(values["throttled_time"]) / 1e9)
        return int(values["nr_throttled"]), seconds

    def remove(self):
        for _ in range(100):  # its processes have just been waited for
            try:
                self.folder.rmdir()
                return
            except OSError:
                time.sleep(0.02)
